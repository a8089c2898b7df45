"""Algebra by sympy, for what numbers cannot decide. Runs only in workers that can be killed."""

from __future__ import annotations

from typing import Any

MEMORY = 1 << 30
"""Bytes of address space of a worker."""


def warm(memory: int = MEMORY) -> None:
    """Import what deciding needs, then limit the memory: before a worker takes its first pair."""
    import latex2sympy2_extended

    latex2sympy2_extended.latex2sympy(r"\frac{x}{2}+1")
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    except (ImportError, ValueError, OSError):
        pass  # no such limit on this system; the time limit holds everywhere


def decide(gold: str, answer: str) -> bool:
    """Whether two cleaned LaTeX answers are the same value, matrix or set."""
    try:
        left, right = _parsed(gold), _parsed(answer)
        return _equal(left, right)
    except RecursionError:
        return False
    except MemoryError:
        raise
    except Exception:  # the parsers and sympy raise anything at all on hostile input
        return False


def _parsed(text: str) -> Any:
    from latex2sympy2_extended import latex2sympy
    from sympy import Basic, Symbol

    value: Any = latex2sympy(text)
    if isinstance(value, list):
        value = value[0]
    if not isinstance(value, Basic) and not hasattr(value, "shape"):
        raise TypeError(text)
    real = {old: Symbol(str(old), real=True) for old in value.free_symbols if str(old) != "i"}
    return value.xreplace(real).doit()


def _equal(left: Any, right: Any) -> bool:
    from sympy import Expr, Set
    from sympy.matrices import MatrixBase

    if isinstance(left, Set) and isinstance(right, Set):
        return bool(left == right or left.symmetric_difference(right).is_empty)
    left, right = _explicit(left), _explicit(right)
    if isinstance(left, MatrixBase) and isinstance(right, MatrixBase):
        return left.shape == right.shape and all(map(_zero, left - right))
    if isinstance(left, Expr) and isinstance(right, Expr):
        return _zero(left - right)
    return False


def _explicit(value: Any) -> Any:
    return value.as_explicit() if hasattr(value, "as_explicit") else value


def _zero(difference: Any) -> bool:
    from sympy import Derivative, Integral, Limit, Product, Sum, nan, oo, simplify, zoo

    if difference.has(Integral, Limit, Derivative, Sum, Product, nan, oo, zoo):
        return False  # no closed form, or no value
    if difference.is_zero:
        return True
    if not difference.free_symbols:
        value = difference.evalf(30)
        return bool(value.is_number and abs(value) < 1e-20) or simplify(difference) == 0
    return simplify(difference) == 0
