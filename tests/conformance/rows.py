"""The rows of the conformance table: definitions of a gradient, and what must not change it.

A row says what is asked, of which rollouts, and what the truth is: the plain reference on the same
rollouts. Where a trainer is known to differ, the row says why; a test holds that it still does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from torch import Tensor

from tests.conformance.cases import END, Case, Stored
from tests.conformance.golden import DEFINITIONS
from tests.conformance.plain import Plain
from tests.conformance.settings import ONCE, How, Settings, Trainer, cosine, flat, gap

EXACT, NEAR = 1e-5, 0.9999
"""Largest relative gap of ours; smallest cosine of another trainer."""
Status = Literal["same", "differs", "not available"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table."""

    name: str
    settings: Settings
    how: How = ONCE
    change: Callable[[Case], Case] | None = None
    """What is done to the stored rollouts first."""
    truth: Settings | None = None
    """Whose gradient it is held against, where not its own: how far two definitions are apart."""
    least: float | None = None
    """Cosine that is enough for everybody: of precisions that cannot be exact."""
    differs: Mapping[str, str] = field(default_factory=dict[str, str])
    """By name of trainer: why it does not give that gradient."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a trainer gave for a row."""

    row: str
    trainer: str
    status: Status
    cosine: float | None = None
    gap: float | None = None
    """|found - truth| / |truth|."""
    why: str = ""

    @property
    def said(self) -> str:
        """As a cell of the table."""
        if self.status == "not available":
            return "not available"
        assert self.cosine is not None
        assert self.gap is not None
        return f"{self.status}: gap {self.gap:.1e}, cosine {self.cosine:.6f}"


def definitions() -> list[Row]:
    """One row a definition, each in one micro-batch."""
    masked = "it divides by all rollouts, masked ones too; ours by those that count"
    known = {"grpo, truncated masked": {"TRL 1.16": masked}}
    rows = [
        Row(name=name, settings=settings, differs=known.get(name, {}))
        for name, settings in DEFINITIONS.items()
    ]
    shipped = Row(
        name="grpo as shipped here (population std) against TRL's default (sample std)",
        settings=DEFINITIONS["grpo, population std"],
        truth=DEFINITIONS["grpo"],
        differs={
            "ours": "the paper's std divides by G, TRL's and verl's by G - 1: a factor of "
            "sqrt(G / (G - 1)); --set advantages.ScaleByStd.ddof=1 gives theirs"
        },
    )
    leash = Row(
        name="KL without the ratio (the paper, ours) against KL with it (TRL's default)",
        settings=DEFINITIONS["grpo, KL"],
        truth=DEFINITIONS["grpo, KL times ratio"],
        differs=dict.fromkeys(
            ("ours", "TRL 1.16"),
            "two definitions: use_bias_correction_kl in TRL, KLToReference.corrected here",
        ),
    )
    return [*rows, shipped, leash]


PAPER = Settings(scale="population_std", off_policy=True)
SHIPPED = {
    "grpo": PAPER,
    "dr_grpo": PAPER.but(mean="length", scale="none"),
    "dapo": PAPER.but(mean="steps", high=0.28),
    "gspo": PAPER.but(ratio="sequence", low=3e-4, high=4e-4),
    "rloo": PAPER.but(scale="leave_one_out", ratio="product"),
    "cispo": PAPER.but(mean="steps", detached=True, high=5.0),
}
"""What the recipes of these names define, apart from their samplers and shaped rewards."""


def shipped() -> list[Row]:
    """Recipes as they are shipped, not put together for this table."""
    return [
        Row(name=f"recipe {name}, old policy", settings=settings.but(recipe=name))
        for name, settings in SHIPPED.items()
    ]


OLD = {name: DEFINITIONS[f"{name}, old policy"] for name in ("grpo", "dapo", "dr_grpo")}
ALL = {
    **OLD,
    "gspo": DEFINITIONS["gspo"],
    "cispo": DEFINITIONS["cispo"],
    "rloo": DEFINITIONS["rloo, old policy"],
}
GRPO, DAPO = OLD["grpo"], OLD["dapo"]


def invariances() -> list[Row]:
    """What must change nothing, on off-policy rollouts with clipping."""
    rows = [
        Row(name=f"{name}: gradient accumulated over {parts} micro-batches", settings=s, how=how)
        for name, s in ALL.items()
        for parts in ((2, 6, 24) if name == "grpo" else (6,))
        for how in [How(parts=parts)]
    ]
    rows += [
        Row(
            name="local token mean (bnpo): over 6 micro-batches",
            settings=DAPO.but(mean="steps_locally"),
            how=How(parts=6),
            differs={"TRL 1.16": "divides by the steps of each micro-batch, so the cut matters"},
        )
    ]
    rows += [
        Row(name=f"{name}: order of groups and rollouts, {seed}", settings=s, how=how)
        for name, s in OLD.items()
        for seed in ((1, 2) if name == "grpo" else (1,))
        for how in [How(order=seed, parts=3)]
    ]
    single = {
        "padding: 16 columns more": How(padding=16),
        "padding: whole texts, on the right": How(side="right"),
        "packing": How(packing="on"),
        "no packing": How(packing="off"),
        "head: all logits at once": How(head="whole"),
        "prompt read once a rollout": How(prefix="apart"),
        "activations computed again": How(saving=True),
        "activations computed again, whole logits, 6 micro-batches": How(
            saving=True, head="whole", parts=6
        ),
        "two processes": How(processes=2),
    }
    rows += [Row(name=name, settings=GRPO, how=how) for name, how in single.items()]
    return [*rows, *rollouts_of_all_kinds(), *precisions()]


def rollouts_of_all_kinds() -> list[Row]:
    """Rollouts that other trainers are known to stumble over."""
    return [
        Row(name="one-token completions only", settings=GRPO, change=one_token),
        Row(name="one-token completions only, token mean", settings=DAPO, change=one_token),
        Row(name="all groups all-equal: no gradient", settings=Settings(), change=all_equal),
        Row(
            name="all groups all-equal: no gradient, in 6 micro-batches",
            settings=Settings(),
            change=all_equal,
            how=How(parts=6),
        ),
        Row(name="every completion truncated", settings=GRPO, change=all_truncated),
        Row(
            name="every completion truncated and masked: no gradient",
            settings=GRPO.but(mask_truncated=True),
            change=all_truncated,
        ),
        Row(name="groups of 2, 3 and 4", settings=GRPO, change=ragged),
        Row(name="an empty completion", settings=GRPO, change=one_empty),
    ]


def precisions() -> list[Row]:
    """float32 is held against the float64 reference in every row; bfloat16 cannot be exact."""
    return [
        Row(name=f"bfloat16 autocast, {name}", settings=s, how=How(dtype="bfloat16"), least=0.98)
        for name, s in (("grpo", Settings()), ("gspo", Settings(ratio="sequence")))
    ]


def one_token(case: Case) -> Case:
    """Every completion cut to its first token."""
    return case.but(
        [replace(r, ids=r.ids[:1], old=r.old[:1], sampled=r.sampled[:1]) for r in case.rollouts]
    )


def all_equal(case: Case) -> Case:
    """Every group all right or all wrong."""
    paid = {name: float(n % 2) for n, name in enumerate({r.question: 0 for r in case.rollouts})}
    return case.but([replace(r, reward=paid[r.question]) for r in case.rollouts])


def all_truncated(case: Case) -> Case:
    """No completion ends by itself."""
    return case.but(
        [
            replace(r, ids=(*r.ids[:-1], 40 + n)) if r.ids[-1] == END else r
            for n, r in enumerate(case.rollouts)
        ]
    )


def ragged(case: Case) -> Case:
    """Groups that lost one or two of their rollouts."""
    return case.but([r for n, r in enumerate(case.rollouts) if n not in (1, 6, 7, 12)])


def one_empty(case: Case) -> Case:
    """One completion without a token."""
    nothing = replace(case.rollouts[2], ids=(), old=(), sampled=())
    return case.but([nothing if n == 2 else r for n, r in enumerate(case.rollouts)])


def every() -> list[Row]:
    """All rows."""
    return [*definitions(), *shipped(), *invariances()]


def truth(row: Row, case: Case) -> Tensor:
    """The plain reference's gradient for a row, in one row of float64."""
    settings = row.truth or row.settings
    if settings.mean == "steps_locally":
        settings = settings.but(mean="steps")
    return flat(Plain().gradient(row.change(case) if row.change else case, settings))


def measured(row: Row, trainer: Trainer, case: Case, right: Tensor) -> Result:
    """What a trainer gives for a row, beside the truth."""
    changed = row.change(case) if row.change else case
    why = trainer.lacks(row.settings, row.how) or unfit(trainer, changed.rollouts)
    if why:
        return Result(row=row.name, trainer=trainer.name, status="not available", why=why)
    ours = trainer.name.startswith("ours")
    try:
        found = flat(trainer.gradient(changed, row.settings, row.how))
    except (IndexError, ValueError, RuntimeError) as error:
        if ours:
            raise
        why = f"it raises {type(error).__name__}: {error}"
        return Result(row=row.name, trainer=trainer.name, status="not available", why=why)
    near, far = cosine(found, right), gap(found, right)
    same = far <= EXACT if ours else near >= NEAR and far <= 1 - NEAR
    if row.least is not None:
        same = near >= row.least
    return Result(
        row=row.name,
        trainer=trainer.name,
        status="same" if same else "differs",
        cosine=near,
        gap=far,
        why=row.differs.get(trainer.name, ""),
    )


def unfit(trainer: Trainer, rollouts: Sequence[Stored]) -> str:
    """Why another trainer cannot be handed these rollouts."""
    if trainer.name.startswith("ours"):
        return ""
    if len({sum(r.question == s.question for s in rollouts) for r in rollouts}) > 1:
        return "groups must all be of num_generations rollouts"
    return ""


def held(result: Result, row: Row) -> bool:
    """Whether a result is as the table promises: the same, or different for the reason given."""
    if result.status == "not available":
        return bool(result.why)
    return result.status == ("differs" if result.trainer in row.differs else "same")
