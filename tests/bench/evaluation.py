"""64 prompts scored greedily in bfloat16: ours beside lm-eval's `hf` at its best setting.

Both answer the same chat prompts of text:smollm2 with at most 64 tokens. First the answers alone,
in one process; then the two command lines, whole processes with imports. Rounds are interleaved.

    python tests/bench/evaluation.py --rounds 5

Ends with an error if the median ratio is above 0.4 (answers) or 0.5 (whole process).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from side_by_side import Found, Run, interleaved, seconds

HOUSE = Path(__file__).resolve().parents[2]
FLOORS = {"answers": 0.4, "whole process": 0.5}
COUNT, TOKENS = 64, 64
ASKED = "What is {a} + {b}? Give only the number."
TASK = '''"""sums: one-digit sums.

Data     Made here.
Scores   correct: 1 if the last number is right.
Metric   pass@1.
Members  digits
"""

import json
from pathlib import Path

from harness import Completion, Example, Message, Prompt, Split, Task, Verdict
from harness.metrics import pass_at
from harness.reading import last_number

ROWS = [json.loads(line) for line in Path(__file__).with_name("rows.jsonl").open()]


def examples(split: Split) -> list[Example]:
    return [Example(str(n), row, row["answer"]) for n, row in enumerate(ROWS) if split == "test"]


def prompt(example: Example) -> Prompt:
    return Prompt(example, (Message("user", example.inputs["question"]),))


def verify(example: Example, completion: Completion) -> Verdict:
    found = last_number(str(completion.output))
    right = found is not None and str(found).rstrip(".") == str(example.target)
    return Verdict({"correct": float(right)}, found, "ok" if right else "wrong", "")


TASKS = [
    Task(
        name="sums/digits",
        version=1,
        examples=examples,
        prompt=prompt,
        verify=verify,
        gold=lambda example: str(example.target),
        metrics=(pass_at(1),),
        reward={"correct": 1.0},
        source="generated",
    ),
]
'''
YAML = """task: bench_sums
dataset_path: json
dataset_kwargs:
  data_files:
    test: {folder}/rows.jsonl
test_split: test
output_type: generate_until
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{answer}}}}"
generation_kwargs:
  until: []
  max_gen_toks: {tokens}
  do_sample: false
filter_list:
  - name: last
    filter:
      - function: regex
        regex_pattern: "(-?[0-9]+)"
        group_select: -1
      - function: take_first
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
"""


def rows() -> list[dict[str, Any]]:
    """Questions and answers."""
    draw = random.Random(0)
    pairs = [(draw.randint(1, 9), draw.randint(1, 9)) for _ in range(COUNT)]
    return [{"question": ASKED.format(a=a, b=b), "answer": str(a + b)} for a, b in pairs]


def answers(
    batch: int, theirs: int, threads: int, rounds: int, clock: Callable[[], float]
) -> Found:
    """Seconds that each takes to answer, models loaded and warm."""
    import torch
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    from harness.models import Sampling
    from harness.types import Example, Message, Prompt
    from trainers.policies.text import open_text

    torch.set_num_threads(threads)
    sampling = Sampling(temperature=0, max_tokens=TOKENS)
    policy = open_text("smollm2", sampling, dtype="bfloat16", batch_size=batch)
    told = [
        Prompt(Example(str(n), {}, None), (Message("user", row["question"]),))
        for n, row in enumerate(rows())
    ]
    opener: Any = HFLM
    model = opener(
        pretrained=str(policy.loaded.origin.folder),
        dtype="bfloat16",
        batch_size=theirs,
        device="cpu",
    )
    settings = {"until": [], "max_gen_toks": TOKENS, "do_sample": False, "temperature": 0.0}
    requests = [
        Instance("generate_until", {}, (policy.chat.written(prompt), settings), number)
        for number, prompt in enumerate(told)
    ]
    said: dict[str, Sequence[str]] = {}

    def ours() -> None:
        found = dict(policy.answer(told))
        said["ours"] = [str(found[number].output) for number in range(COUNT)]

    def lm_eval() -> None:
        said["lm-eval"] = model.generate_until(list(requests), disable_tqdm=True)

    timed = {"ours": seconds(ours, clock), "lm-eval": seconds(lm_eval, clock)}
    found = interleaved(timed, rounds)
    same = sum(mine == its for mine, its in zip(said["ours"], said["lm-eval"], strict=True))
    print(f"{same} of {COUNT} answers are the same text (bfloat16 rounds in another order)")
    return found


def processes(batch: int, theirs: int, threads: int, rounds: int, folder: Path) -> Found:
    """Seconds of the two command lines."""
    from trainers.policies.smollm2 import checkpoint
    from trainers.text.files import user_cache

    model = checkpoint(user_cache())
    (folder / "sums.py").write_text(TASK, "utf-8")
    (folder / "bench_sums.yaml").write_text(YAML.format(folder=folder, tokens=TOKENS), "utf-8")
    lines = "".join(json.dumps(row) + "\n" for row in rows())
    (folder / "rows.jsonl").write_text(lines, "utf-8")
    ours = [sys.executable, "-m", "harness", "eval", str(folder / "sums.py"), "-m", "text:smollm2"]
    ours += ["--dtype", "bfloat16", "--max-tokens", str(TOKENS), "-b", str(batch), "--fresh"]
    ours += ["-o", str(folder / "ours")]
    lm_eval = [sys.executable, "-m", "lm_eval", "--model", "hf", "--tasks", "bench_sums"]
    lm_eval += ["--model_args", f"pretrained={model},dtype=bfloat16", "--device", "cpu"]
    lm_eval += ["--include_path", str(folder), "--batch_size", str(theirs)]
    lm_eval += ["--apply_chat_template", "--output_path", str(folder / "theirs")]
    quiet = {"HF_DATASETS_OFFLINE": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(HOUSE)}
    whole = {**os.environ, **quiet, "OMP_NUM_THREADS": str(threads)}

    def run(command: list[str]) -> Run:
        def once() -> None:
            done = subprocess.run(command, env=whole, cwd=folder, capture_output=True, text=True)
            if done.returncode:
                sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")

        return seconds(once)

    return interleaved({"ours": run(ours), "lm-eval": run(lm_eval)}, rounds)


def told(title: str, found: Found) -> bool:
    """Print the figures; whether the ratio is low enough."""
    ratio, most = found.ratio("ours", "lm-eval"), FLOORS[title]
    good = ratio[len(ratio) // 2] <= most
    print(
        f"{title}: ours {found.median('ours'):.2f} s, lm-eval {found.median('lm-eval'):.2f} s, "
        f"ratio {found.told('ours', 'lm-eval')}; asked for: {most:g} "
        f"{'reached' if good else 'MISSED'}"
    )
    return good


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=32, help="ours")
    parser.add_argument("--theirs", type=int, default=16, help="lm-eval's")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cpu", action="store_true", help="answers: seconds of the processor")
    parser.add_argument("--only", choices=list(FLOORS))
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    sizes = (asked.batch, asked.theirs, asked.threads, asked.rounds)
    good = True
    if asked.only != "whole process":
        clock = time.process_time if asked.cpu else time.perf_counter
        good = told("answers", answers(*sizes, clock))
    if asked.only != "answers":
        with tempfile.TemporaryDirectory() as folder:
            good = told("whole process", processes(*sizes, Path(folder))) and good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
