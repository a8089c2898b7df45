"""ragqa: does the answer stay the same when a question over retrieved passages is put otherwise?

Data     A set is a question in its phrasings, which mean the same by construction (templates; an
         example says which). `paraphrase` asks for facts of an invented world, `miniature` for
         counts in one line each; both with a corpus of their own, made here. `wiki` and `retrieval`
         have 357 sets over 12,086 passages of Wikipedia, `rag/` below HARNESS_DATA (CC BY-SA 4.0),
         test only; so are the public questions of `open`, HotpotQA, 2Wiki, MuSiQue, TriviaQA,
         PopQA and NQ-open. Without HARNESS_DATA these come from their hubs; the first three with
         their own passages, which are then the corpus. In the families made here no
         template of the test split is in train or dev, and no question of theirs is about a subject
         of the test split. But passages may be: of the 2,550 training prompts of `paraphrase` an
         article of a test subject stands in 364 with k=3, in 2 with k=2, in none with k=1 (in none
         of `miniature`). The templates of `wiki` are of another hand: 14 of them are in train,
         too, and 488 of its 2,142 questions, in 168 sets, are worded so (tag `wording`: trained,
         or new).
Scores   correct: the answer is an alias, after SQuAD's normalization. f1: token F1 with the best
         alias. agreement: mean token F1 with the answers to the other phrasings of the set
         (agreement_bleu1, agreement_rouge_l: by other similarities). same_class: share of those
         answers that are the same, or right as it is. all_correct: chance that one answer to every
         phrasing is right. retrieved_alike: mean Jaccard of the passages with those of the other
         phrasings. found: all passages that are needed are shown. found_share: share of them, where
         they are several. refused: the reply declines; all refusals are one answer. tagged: the
         answer stands in <answer> tags. trained_wording, new_wording: of wiki, by its tag. Without
         passages there is no found and no retrieved_alike. All in [0, 1].
         With a judge: judged_alike, share of the answers to other phrasings that it takes for the
         same; unreadable, unjudged: those of which it said neither yes nor no, or nothing, and
         which count as unlike.
         Rankings: recall@k (share of the right passages among the first k), jaccard@k, all_found@k
         (all phrasings find the passage), ndcg@10, reciprocal_rank.
Metric   all_correct comes first, since a constant answer agrees with itself; then accuracy, and
         consistency beside it. The unit of resampling is the set. At the level `attribution`
         lost_* is the generator's agreement less that from end to end: what retrieval costs.
         correct|trained_wording and its like: over the questions of wiki in such words.
Paper    arXiv:2510.04392.
Limits   Agreement of a set of one is 0. Equal scores of BM25 are decided by the passage's id; the
         model `bm25` of ragqa/retrieval leaves them to bm25s, since the published baselines did
         (its selection may differ between processors), and `bm25-fixed` does not.
         A judge is as good as its model (a small one says yes to nearly all), sees what answers say
         to it, and has 16 tokens: one that thinks first is to be opened with --no-thinking.
Settings level      end_to_end; generator: all phrasings get the passages of the first one;
                    attribution: both, in two turns that do not know of each other, and
                    without a train split, as the reward is the first answer's
         retriever  bm25, bm25-library, minilm, hybrid (reciprocal rank fusion)
         k          passages in a prompt
         chunk      of wiki, open, retrieval: words of a window into which passages are cut, p#n of
                    p; k counts windows, scores count a passage once, in the place of its best one
         overlap    words that neighboring windows share
         shots      0 to 2 worked answers before the question, as turns
         cosine     minilm also compares answers by the cosine of their vectors
         judge      pairs: the model of the role `judge` is asked whether two answers say the same
                    (`--role judge=MODEL`; see Scores). Greedy, once a pair, and kept in the cache
         questions  of retrieval: paraphrases, hotpotqa, 2wiki, musique; of open: the last three,
                    and without passages triviaqa, popqa, nq_open
         phrasings  of open: noise (casing, slips, politeness), or model: `rag/phrasings_SET.jsonl`
                    below HARNESS_DATA, as `make phrasings` writes it; a record holds who made
                    them and the digest of the file
Members  paraphrase  short facts of an invented world, six phrasings each; for training too
         miniature   numbers in a line each, six phrasings each; for models that know nothing
         wiki        short facts over passages of Wikipedia, six phrasings each
         open        public questions, by noise or as a model put them; several hops
         retrieval   rank the passages of Wikipedia for the phrasings of wiki
         lookup      rank the passages of the invented world
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from harness import Task
from harness.errors import UnknownName
from tasks import _ragqa_members as members
from tasks import _ragqa_search as search
from tasks._ragqa_judge import with_judge
from tasks._settings import named, parted, settled

Maker = Callable[[str, Mapping[str, str]], Task]
MEMBERS: Mapping[str, tuple[Maker, Mapping[str, str]]] = {
    "paraphrase": (members.answered, members.ALMANAC),
    "miniature": (members.answered, members.SMALL),
    "wiki": (members.answered, members.WIKI),
    "open": (members.answered, members.OPEN),
    "retrieval": (search.retrieval, search.RETRIEVAL),
    "lookup": (search.lookup, search.LOOKUP),
}
"""How each member is made, and its settings with their defaults."""


def open_member(name: str) -> Task:
    """The member of that name, with the settings behind it; UnknownName where there is none."""
    member, given = parted(name)
    if member not in MEMBERS:
        raise UnknownName(f"ragqa/{member}", "tasks", [f"ragqa/{each}" for each in MEMBERS])
    make, defaults = MEMBERS[member]
    settings = settled(f"ragqa/{member}", given, defaults)
    return with_judge(make(f"ragqa/{named(member, settings, defaults)}", settings), settings)


TASKS: list[Any] = [open_member(name) for name in MEMBERS]
MODELS: Mapping[str, Any] = {name: partial(search.searcher, name) for name in search.SEARCHERS}
