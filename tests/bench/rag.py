"""Does ps_grpo make answers agree, and stay right? Beside grpo at the same budget: `make rag`.

`tiny`: ragqa/miniature from five short supervised phases (a model that knows nothing is never
paid) on two of the six phrasings, so that the others are answered otherwise; each start is then
trained by grpo and by ps_grpo for as many steps and attempts. `real`: thirty steps of four sets on
a checkpoint of 135M, with two seeds; ragqa/paraphrase with one passage a prompt, which is the right
one for some phrasings of a question and not for others. `easy`: the same checkpoint with two
passages, one set a step: nearly every prompt has the right one, being right is all there is to
agreeing, and the two recipes do as well. Every number but the supervised phase comes from the
command line as users have it, test phrasings are those that training never saw, and the unit of
every comparison is the set. Killed at any moment, it goes on where it was.

    python tests/bench/rag.py [tiny|real|easy] [-o results]

Writes rag_tiny.md, rag_real.md and rag_easy.md beside the records. Ends with an error unless, in
the first two, ps_grpo raises agreement above what it was before and after grpo at the level of 1 %
(sign flips over sets), and its accuracy is significantly lower neither than after grpo nor than
before.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from statistics import fmean

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from harness.comparing import Paired, compare
from results.record import load

LEVEL = 0.01
FALLS = 0.05
"""Accuracy that is lower at this level has fallen."""
RECIPES = ("grpo", "ps_grpo")
METRICS = ("agreement", "correct", "all_correct")
PAIRS = (("ps_grpo", "grpo"), ("ps_grpo", "before"), ("grpo", "before"))


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One start on one task, trained by each recipe with one budget."""

    name: str
    task: str
    model: str
    steps: int
    lr: float
    sampler: str
    limit: int
    max_tokens: int
    beta: float = 0.04
    """Weight of the KL to the start, the same for both recipes."""
    weight: str = "1.0"
    """What agreement is worth, beside 1 for a right answer: a number or a schedule."""
    dtype: str = "float32"
    seed: int = 0
    tag: str = ""
    """What the names of its evaluations have besides, where it is asked more than once."""
    start: str = ""
    """Name of the trial whose evaluation of the same start is this one's too."""

    def looked(self, end: str) -> str:
        """Name of the evaluation of one end: `before`, or `RECIPE-after`."""
        name = self.start if self.start and end == "before" else self.name
        return f"{name}{self.tag}-{end}"

    def asked(self) -> list[str]:
        """How the test split is asked, before and after alike: greedily."""
        how = f"--limit {self.limit} --max-tokens {self.max_tokens} --dtype {self.dtype} -b 64"
        return [self.task, *how.split()]

    def trained(self, recipe: str) -> list[str]:
        """How it is trained; both recipes with one KL, so that they differ in the reward alone."""
        how = f"--steps {self.steps} --max-tokens {self.max_tokens} --seed {self.seed} --no-test"
        looks = "--dev-every 0 --save-every 10 --keep 1"
        changes = [f"losses.KLToReference.beta={self.beta:g}", f"optimizer.lr={self.lr}"]
        changes += self.sampler.split()
        if recipe == "ps_grpo":
            changes.append("rewards.PayAgreement.similarity=token_f1")  # answers of one word
            # the exact reward: one-word answers cost nothing to compare, drawn ones add noise
            changes += [f"rewards.PayAgreement.{of}=None" for of in ("phrasings", "rollouts")]
            changes.append(f"rewards.PayAgreement.weight={self.weight}")
        return [
            *(self.task, "-m", self.model, "--recipe", recipe, *how.split(), *looks.split()),
            *("--dtype", self.dtype, "--set", *changes),
        ]


def tiny(output: Path) -> list[Trial]:
    """Five starts, each taught by a few hundred right answers."""
    return [
        Trial(
            name=f"rag-tiny-{seed}",
            task="ragqa/miniature",
            model=f"text:{start(seed, output)}",
            steps=40,
            lr=2e-4,
            sampler="samplers.prompts=24 samplers.rollouts=4",
            limit=600,
            max_tokens=4,
            seed=seed,
        )
        for seed in range(5)
    ]


def real(output: Path) -> list[Trial]:
    """The embedded checkpoint, trained with two seeds; one passage a prompt.

    A start that answers wrongly agrees on what is wrong: at temperature 1 this one is right in 7 %
    of its attempts. So the first ten steps pay for right answers alone.
    """
    return [
        replace(
            trial,
            name=f"rag-one-{trial.seed}",
            task="ragqa/paraphrase+k=1",
            sampler="samplers.prompts=24 samplers.rollouts=4",
            weight="Stairs(0,0.5,10,0.5)",
            tag="",
            start="rag-one-0",
        )
        for trial in easy(output)
    ]


def easy(output: Path) -> list[Trial]:
    """The embedded checkpoint, trained with two seeds; two passages a prompt."""
    return [
        Trial(
            name=f"rag-real{f'-{seed}' if seed else ''}",
            task="ragqa/paraphrase+k=2",
            model="text:smollm2",
            steps=30,
            lr=1e-5,
            sampler="samplers.prompts=6 samplers.rollouts=4",
            limit=852,
            max_tokens=24,
            dtype="bfloat16",
            seed=seed,
            tag="-all",
            start="rag-real",
        )
        for seed in range(2)
    ]


PARTS: dict[str, Callable[[Path], list[Trial]]] = {"tiny": tiny, "real": real, "easy": easy}
WARM_STEPS, WARM_BATCH, WARM_RATE = 100, 64, 3e-3
WARM_PHRASINGS = 2
"""The first so many of six are taught."""


def start(seed: int, output: Path) -> Path:
    """The folder of a tiny model after its supervised phase; made if it is not there."""
    import numpy as np
    import torch

    from harness import registry
    from harness.models import Sampling
    from harness.types import Rollout, Verdict
    from trainers.policies.text import open_text

    folder = output / "runs" / f"rag-tiny-{seed}-start"
    if (folder / "whole").exists():
        return folder
    task = registry.task("ragqa/miniature")
    policy = open_text("tiny", Sampling(max_tokens=4), dtype="float32", seed=seed, batch_size=64)
    examples = [e for e in task.examples("train") if int(e.id.rpartition("/")[2]) < WARM_PHRASINGS]
    rng = np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=WARM_RATE)
    for step in range(WARM_STEPS):
        for group in optimizer.param_groups:
            group["lr"] = WARM_RATE * (1 - step / WARM_STEPS)
        shown = [examples[n] for n in rng.choice(len(examples), WARM_BATCH, replace=False)]
        turns = [(task.prompt(e), policy.spell(task.prompt(e), task.gold(e))) for e in shown]
        rollouts = [Rollout((turn,), Verdict({}), turn[0].example.id) for turn in turns]
        live = policy.review(rollouts, temperature=1.0)
        cost = -(live.logprobs * live.mask).sum() / live.mask.sum()
        optimizer.zero_grad()
        cost.backward()
        optimizer.step()
    folder.mkdir(parents=True, exist_ok=True)
    policy.save(folder)
    (folder / "whole").touch()
    return folder


def harness(*words: str | Path) -> str:
    """What `harness WORDS` prints; an error ends all."""
    from harness.commands import main

    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out):
            main([*map(str, words)])
    except SystemExit as end:
        if end.code:
            raise
    return out.getvalue()


def measured(trial: Trial, output: Path) -> None:
    """The start and what each recipe made of it, each on the test split; records tell the rest."""
    where = ("-o", output)
    harness("eval", *trial.asked(), "-m", trial.model, "--name", trial.looked("before"), *where)
    for recipe in RECIPES:
        name = f"{trial.name}-{recipe}"
        harness("train", *trial.trained(recipe), "--name", f"{name}-run", *where)
        policy = output / "runs" / f"{name}-run" / "policy"
        after = trial.looked(f"{recipe}-after")
        harness("eval", *trial.asked(), "-m", f"text:{policy}", "--name", after, *where)


@dataclass(frozen=True)
class Gap:
    """One arm's metric beside another's: of one start, or the mean over several."""

    start: str
    ours: str
    theirs: str
    metric: str
    values: tuple[float, float]
    """Means of both."""
    paired: Paired

    def row(self) -> str:
        """As a line of the page."""
        ours, theirs = self.values
        of = self.paired
        return (
            f"| {self.start} | {self.ours} - {self.theirs} | {self.metric} | {theirs:.3f} | "
            f"{ours:.3f} | {of.difference:+.3f} [{of.low:+.3f}, {of.high:+.3f}] | {of.p:.1g} |"
        )


def gaps(trials: list[Trial], output: Path) -> Iterator[Gap]:
    """All pairs and metrics: the mean over the trials, and where there are several each trial.

    The unit is the set. Seeds are averaged example by example first: what is told is of these
    starts, not of all that could be drawn.
    """
    found = {(r.run, r.metric): r for r in load(output / "records") if r.family == "ragqa"}
    groups = [("all", trials)] if len(trials) > 1 else []
    groups += [(trial.name, [trial]) for trial in trials]
    for (label, group), (ours, theirs), metric in product(groups, PAIRS, METRICS):
        sides: list[dict[str, float]] = []
        clusters: dict[str, str] = {}
        for arm in (ours, theirs):
            end = "before" if arm == "before" else f"{arm}-after"
            of = [found[trial.looked(end), metric] for trial in group]
            means = [fmean(each) for each in zip(*(record.values for record in of), strict=True)]
            sides.append({str(n): value for n, value in enumerate(means)})
            clusters = {str(n): str(cluster) for n, cluster in enumerate(of[0].cluster_of)}
        values = (fmean(sides[0].values()), fmean(sides[1].values()))
        yield Gap(label, ours, theirs, metric, values, compare(sides[0], sides[1], clusters))


def by_starts(found: list[Gap]) -> Iterator[str]:
    """ps_grpo against grpo with the start as the unit, as lines: what as many others might show."""
    for metric in METRICS:
        each = [g.paired.difference for g in found[len(PAIRS) * len(METRICS) :]
                if (g.ours, g.theirs, g.metric) == (*PAIRS[0], metric)]  # fmt: skip
        if len(each) > 2:
            of = compare(
                {str(n): gap for n, gap in enumerate(each)}, {str(n): 0.0 for n in range(len(each))}
            )
            yield (
                f"- {metric}, ps_grpo - grpo: higher from {sum(gap > 0 for gap in each)} of "
                f"{len(each)} starts; over starts {of.difference:+.3f} [{of.low:+.3f}, "
                f"{of.high:+.3f}], p {of.p:.2g}"
            )


def demands(found: list[Gap]) -> list[tuple[str, bool]]:
    """What is asked of the first start of a list of gaps: the mean over starts, or the only one."""
    of = {(gap.ours, gap.theirs, gap.metric): gap.paired for gap in found
          if gap.start == found[0].start}  # fmt: skip
    rose = of["ps_grpo", "grpo", "agreement"]
    against = of["ps_grpo", "grpo", "correct"]
    before = of["ps_grpo", "before", "correct"]
    gained = of["ps_grpo", "before", "agreement"]
    return [
        ("agreement is higher than before", gained.difference > 0 and gained.p < LEVEL),
        ("agreement is higher than after grpo", rose.difference > 0 and rose.p < LEVEL),
        (
            "accuracy is not significantly lower than after grpo",
            against.difference >= 0 or against.p >= FALLS,
        ),
        (
            "accuracy is not significantly lower than before",
            before.difference >= 0 or before.p >= FALLS,
        ),
    ]


ABOUT = """# {title}

Made by `tests/bench/rag.py {part}`: {task} on {model}, {steps} steps of `{sampler}`, learning rate
{lr:g}, KL weight {beta:g}, {limit} test questions in sets of six phrasings, asked greedily. `grpo`
is paid 1 for a right answer, `ps_grpo` besides `{weight}` for an answer that agrees with those to
the other phrasings (all of them, by token F1). {apart}
Intervals and p (sign flips) are over sets; values of several starts or seeds are averaged first.
{settled}
"""
APART = {
    "tiny": "No test phrasing and no test name is in training, nor in a line that is shown there.",
    "real": "No test phrasing and no question about a test subject\n"
    "is trained on; no article of one is shown there, and its notices, which hold no fact, in 15 "
    "of 2,550 prompts.",
    "easy": "No test phrasing and no question about a test subject\n"
    "is trained on; articles of two stand among the passages of 2 of the 2,550 training prompts.",
}
"""What of the test split training may see."""
TITLES = {
    "tiny": "Trained to agree: five small starts",
    "real": "Trained to agree: a 135M model, passages that differ",
    "easy": "Trained to agree: a 135M model, passages that suffice",
}
SETTLED = {
    "tiny": "The exact reward and the KL were settled on another text:tiny and test sets beyond "
    "the first 600\nquestions of ragqa/miniature.",
    "real": "One passage a prompt, four sets a step and the schedule (nothing for agreement in "
    "the first ten steps)\nwere settled on the dev split with seed 100; these two seeds are the "
    "only ones that were asked the\ntest split.",
    "easy": "Settings are those of the first part; nothing was chosen here.",
}


def section(part: str, trials: list[Trial], output: Path) -> tuple[str, bool]:
    """The page of a part as Markdown; whether every demand is met."""
    found = list(gaps(trials, output))
    told = demands(found)
    one = trials[0]
    model = "five text:tiny" if part == "tiny" else f"{one.model} with two seeds"
    told_of = {"title": TITLES[part], "part": part, "model": model, "settled": SETTLED[part],
               "apart": APART[part]}  # fmt: skip
    lines = [
        ABOUT.format(**{**asdict(one), **told_of}),
        *(f"- {what}: {'yes' if met else 'NO'}" for what, met in told),
        *by_starts(found),
        "\n| start | pair | metric | second | first | difference (95 %) | p |",
        "|---" * 7 + "|",
        *(gap.row() for gap in found),
    ]
    return "\n".join(lines) + "\n", all(met for _, met in told)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("part", nargs="?", choices=PARTS, help="default: the first two")
    parser.add_argument("-o", "--output", type=Path, default=Path("results"))
    asked = parser.parse_args()
    good = True
    for part in (asked.part,) if asked.part else ("tiny", "real"):
        begun = time.process_time()
        trials = PARTS[part](asked.output)
        for trial in trials:
            measured(trial, asked.output)
        text, met = section(part, trials, asked.output)
        print(text, f"{(time.process_time() - begun) / 60:.0f} minutes of a core", flush=True)
        (asked.output / f"rag_{part}.md").write_text(text)
        good &= met or part == "easy"
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
