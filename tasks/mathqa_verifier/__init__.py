r"""The verifier of mathematical answers: reads an answer out of text and tells whether it is right.

`extract` finds the answer, `equal` compares it with a gold, `same` compares two answers without a
gold, `judge` does all of it and returns a verdict. Pure and deterministic; nothing here raises or
hangs, whatever it is given.
"""

from tasks.mathqa_verifier.equivalence import equal, forget, same
from tasks.mathqa_verifier.extraction import Extraction, extract
from tasks.mathqa_verifier.judging import VERSION, judge

__all__ = ["VERSION", "Extraction", "equal", "extract", "forget", "judge", "same"]
