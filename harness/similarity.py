"""similarity: how alike two short texts are, and how far the answers to one set of prompts agree.

All similarities lie in [0, 1] and are symmetric but for ONE_WAY; None (nothing was said) is like no
text. n examples form a set and have g answers each, o_ij. The agreement of an answer is

    r_ij = mean over u != i of the mean over m of s(o_ij, o_um)

so answers to the very same prompt do not count: else a mode that has collapsed would agree with
itself. In a set of one, agreement is 0: there is nobody to agree with.

Sources: SQuAD's evaluation script (normalization, token F1), Papineni et al. 2002 (BLEU), Lin 2004
(ROUGE-L), Chen and Cherry 2014 (exp smoothing, as sacrebleu has it), PS-GRPO (agreement).
"""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import partial
from itertools import permutations
from typing import Literal

Text = str | None
Similarity = Callable[[str, str], float]
Smoothing = Literal["none", "exp"]

LONGEST = 2_000
"""Characters of a text that are compared: ROUGE-L takes time in proportion to their square."""
WHOLE = frozenset({"yes", "no", "noanswer"})
"""Answers of which a part is worth nothing."""


# -- reading


def normalized(text: str) -> str:
    """SQuAD's form: lower case, no punctuation, no articles, single spaces."""
    bare = "".join(letter for letter in text.lower() if letter not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", bare).split())


def form(text: str) -> str:
    """What two texts share that say the same: SQuAD's form, or the bare text in lower case where
    nothing would be left of it, as of A+ or ---."""
    return normalized(text) or " ".join(text.lower().split())


def tokens(text: str) -> list[str]:
    """Words and single punctuation marks, in lower case: what is counted unless said otherwise."""
    return re.findall(r"\w+|[^\w\s]", text[:LONGEST].lower())


def tokens_13a(text: str) -> list[str]:
    """As mteval-v13a and sacrebleu cut, in lower case: `1,000` and `it's` are a token each."""
    line = re.sub(r"-\n", "", text[:LONGEST].lower().rstrip().replace("<skipped>", ""))
    for entity, mark in (("&quot;", '"'), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">")):
        line = line.replace(entity, mark)
    line = re.sub(r"([{-~\[-` -&(-+:-@/])", r" \1 ", f" {line} ".replace("\n", " "))
    line = re.sub(r"([^0-9])([.,])", r"\1 \2 ", line)
    line = re.sub(r"([.,])([^0-9])", r" \1 \2", line)
    return re.sub(r"([0-9])(-)", r"\1 \2 ", line).split()


# -- two texts


def exact(a: str, b: str) -> float:
    """1 where both are the same after normalization."""
    return float(form(a) == form(b))


def token_f1(a: str, b: str) -> float:
    """F1 of the normalized words; yes and no are compared whole."""
    left, right = normalized(a[:LONGEST]), normalized(b[:LONGEST])
    if left in WHOLE or right in WHOLE:
        return float(left == right)
    one, other = left.split(), right.split()
    if not one or not other:
        return float(form(a) == form(b))
    common = sum((Counter(one) & Counter(other)).values())
    return 2 * common / (len(one) + len(other))


def bleu(
    hypothesis: str,
    reference: str,
    order: int = 4,
    smoothing: Smoothing = "none",
    words: Callable[[str], list[str]] = tokens,
) -> float:
    """Sentence BLEU, one way: geometric mean of n-gram precisions times brevity penalty.

    Orders that the hypothesis is too short for are left out. Where an order has no match, none
    gives 0, and exp lets the k-th such order count 1 / 2^k matches, as sacrebleu does.
    """
    said, wanted = words(hypothesis), words(reference)
    logs: list[float] = []
    missed = 0
    for n in range(1, order + 1):
        grams = Counter(_grams(said, n))
        total = grams.total()
        if total == 0:
            break
        matched = (grams & Counter(_grams(wanted, n))).total()
        if matched == 0:
            if smoothing == "none" or n == 1:
                return 0.0
            missed += 1
        logs.append(math.log((matched or 0.5**missed) / total))
    if not logs:
        return 0.0
    brevity = min(0.0, 1 - len(wanted) / len(said))
    return math.exp(brevity + math.fsum(logs) / len(logs))


def rouge_l(a: str, b: str) -> float:
    """F1 of the longest common subsequence of tokens."""
    one, other = tokens(a), tokens(b)
    if not one or not other:
        return float(one == other)
    best = [0] * (len(other) + 1)
    for word in one:
        before = best
        best = [0]
        for number, theirs in enumerate(other):
            longer = before[number] + 1 if word == theirs else max(before[number + 1], best[-1])
            best.append(longer)
    return 2 * best[-1] / (len(one) + len(other))


def both_ways(one_way: Similarity) -> Similarity:
    """The mean over both directions of what is not symmetric, as BLEU is not."""

    def symmetric(a: str, b: str) -> float:
        return (one_way(a, b) + one_way(b, a)) / 2

    return symmetric


SIMILARITIES: Mapping[str, Similarity] = {
    "exact": exact,
    "token_f1": token_f1,
    "bleu1": both_ways(partial(bleu, order=1)),
    "bleu2": both_ways(partial(bleu, order=2)),
    "bleu4": both_ways(partial(bleu, order=4, smoothing="exp", words=tokens_13a)),
    "rouge_l": rouge_l,
}
"""By name. bleu1 and bleu2 are unsmoothed, of `tokens`; bleu4 is sacrebleu's sentence BLEU, its own
tokens (13a) and smoothing (exp), lower-cased."""


ONE_WAY: Mapping[str, Similarity] = {
    "bleu1_one_way": partial(bleu, order=1),
    "bleu2_one_way": partial(bleu, order=2),
}
"""Not symmetric: the first text is the hypothesis, as in the rewards of PS-GRPO."""


def like(a: Text, b: Text, similarity: Similarity) -> float:
    """The similarity of two texts, of which either may be missing."""
    return 0.0 if a is None or b is None else similarity(a, b)


def jaccard(a: Sequence[Hashable], b: Sequence[Hashable]) -> float:
    """Shared over all, of two sets; two empty ones are the same."""
    one, other = set(a), set(b)
    return len(one & other) / len(one | other) if one | other else 1.0


# -- sets of prompts


def agreement(rows: Sequence[Sequence[Text]], similarity: Similarity) -> list[list[float]]:
    """r_ij for a set: rows are its examples, columns their answers; rows may differ in length."""
    sums = [[0.0] * len(row) for row in rows]
    said = [row for row in rows if row]
    known: dict[tuple[Text, Text], float] = {}
    for i, u in permutations(range(len(rows)), 2):
        for j, one in enumerate(rows[i]):
            for other in rows[u]:
                if (one, other) not in known:
                    known[one, other] = like(one, other, similarity)
                    if similarity not in ONE_WAY.values():
                        known[other, one] = known[one, other]
                sums[i][j] += known[one, other] / len(rows[u])
    return [[total / max(len(said) - 1, 1) for total in row] for row in sums]


def entropy(classes: Sequence[Hashable]) -> float:
    """Entropy of the classes' shares, in nats; 0 for one class or none."""
    counts = Counter(classes)
    total = counts.total()
    shares = [count / total for count in counts.values()]
    return max(-math.fsum(share * math.log(share) for share in shares), 0.0)


def _grams(words: Sequence[str], n: int) -> Iterator[tuple[str, ...]]:
    return zip(*(words[start:] for start in range(n)), strict=False)
