r"""coding: programs that are run and judged by their tests, in a sandbox.

Data     Public sets from the hub, or from the folder that HARNESS_DATA names (`code/...`):
         humaneval    openai/openai_humaneval, MIT. 164 problems, test only.
         mbpp         google-research-datasets/mbpp, CC BY 4.0. Test 11-510, dev 511-600, train
                      601-974, by task id; in dev and train without 533, 601 and 927, whose tests
                      hand over classes and so have to share the program's process.
         livecodebench  livecodebench/code_generation_lite; in a folder `livecodebench/test.jsonl`
                      to `test6.jsonl`. Test only. The statements belong to the contest sites.
                      Private tests are read without loading a pickle.
         livecodebench_output, _execution  livecodebench/test_generation and execution-v2.
         livecodebench_sample  11 problems in LiveCodeBench's layout, from a folder only.
         Generated: generated, generated_repair. 46 templates of five levels with about 400
         problems, a reference each, and ten tests, three of which are shown; every expected output
         was found in two ways. A hash of the problem decides its split.
Scores   correct: 1 if every test passes. tests: share of the tests that pass; what was not run
         after a time-out has not passed. compiles: 1 unless the source does not compile.
         weak: 1 where assertions share the program's process, which could make them pass.
         seen, held_out: shares of the tests that the prompt shows, and of the others.
         lenient: share of tests that only a late stage of that comparator accepted, where it is
         the comparator. level, unfair, recent: of the question, for metrics of a part. In
         dialogues also first (the first program was right) and turns. Seconds are measured by
         `play`.
         Reasons: ok (AC), WA, RE, TLE, MLE, OLE, CE, besides no_answer and truncated. A fault of
         the sandbox is no verdict.
Metric   pass@1 (the mean of correct); over fair questions in livecodebench, with pass@1|all beside
         it; beside weak_share, the mean of weak, where assertions judge; per difficulty or level;
         seen_gap, the alarm for programs fitted to the tests they were shown; shares of reasons;
         with more rollouts pass@k and avg@k.
Paper    HumanEval arXiv:2107.03374; MBPP arXiv:2108.07732; LiveCodeBench arXiv:2403.07974.
Settings
         Written behind the name, as in `coding/livecodebench+start=2024-08-01+difficulty=hard`, and
         part of it, so that other settings are other rows.
         extraction   last_closed_fence, fence_or_all, livecodebench, open_r1, verl, evalplus
         judge        faithful, or livecodebench-28fef95 with the quirks of that evaluator
         comparator   strict, livecodebench, tokens, lenient, ... (`sandbox.comparators`)
         release      release_v1 to release_v6, v1 to v6 (what that one added), v4_v5
         start, end   dates of the contest, both included
         difficulty   easy, medium, hard
         exclude      errata (questions known as unfair do not count in pass@1) or none
         cutoff       a date: pass@1 of questions from then on is told apart
         level        1 to 5, of generated problems; 1-3 for several
         form         of humaneval: chat, or completion of the bare prompt (use --no-chat)
Members  humaneval                 functions from their docstrings
         mbpp                      functions from a sentence and three asserts
         livecodebench             contest problems: write the program
         livecodebench_repair      the same; a wrong program is told its first failing test, once
         livecodebench_output      contest problems: say what a test's output is
         livecodebench_execution   say what a call of a given program returns
         livecodebench_sample      eleven problems in LiveCodeBench's layout
         generated                 algorithmic problems of five levels, made here; for training too
         generated_repair          the same; a wrong program is told a shown test that it fails
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from harness import Task
from harness.errors import UnknownName
from tasks import _coding_contests as contests
from tasks import _coding_generated as generated
from tasks import _coding_members as members
from tasks._settings import named, parted, settled

Maker = Callable[[str, Mapping[str, str]], Task]
MEMBERS: Mapping[str, tuple[Maker, Mapping[str, str]]] = {
    "humaneval": (members.humaneval, members.CHAT),
    "mbpp": (members.mbpp, members.PLAIN),
    "livecodebench": (contests.livecodebench, contests.CONTESTS),
    "livecodebench_repair": (contests.livecodebench_repair, contests.CONTESTS),
    "livecodebench_output": (contests.livecodebench_output, contests.WINDOW),
    "livecodebench_execution": (contests.livecodebench_execution, contests.WINDOW),
    "livecodebench_sample": (contests.livecodebench_sample, contests.SAMPLED),
    "generated": (generated.generated, generated.LEVELS),
    "generated_repair": (generated.generated_repair, generated.LEVELS),
}
"""How each member is made, and its settings with their defaults."""


@lru_cache(maxsize=64)
def open_member(name: str) -> Task:
    """The member of that name, with the settings behind it; UnknownName where there is none."""
    member, given = parted(name)
    if member not in MEMBERS:
        raise UnknownName(f"coding/{member}", "tasks", [f"coding/{each}" for each in MEMBERS])
    make, defaults = MEMBERS[member]
    settings = settled(f"coding/{member}", given, defaults)
    return make(f"coding/{named(member, settings, defaults)}", settings)


TASKS: list[Any] = [open_member(name) for name in MEMBERS]
