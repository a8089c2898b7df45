r"""Expressions: a recursive parser from tokens to plain trees, for the forms that answers have.

A tree is a tuple whose first entry is its kind:
`("q", Fraction, decimal)`, `("c", "pi" | "e" | "i")`, `("inf",)`, `("s", name)`, `("+", a, ...)`,
`("*", a, ...)`, `("/", a, b)`, `("^", a, b)`, `("neg", a)`, `("f", name, a)`, `("root", n, a)`,
`("log", base or None, a)`, `("!", a)`, `("binom", n, k)`, `("deg", a)`, `("abs" | "floor" | "ceil",
a)`, `("pm" | "mp", a or None, b)`, `("sum" | "prod", name, low, high, body)`.
Nothing is evaluated here, so nothing can take long.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

Node = tuple[Any, ...]

FUNCTIONS = frozenset((
    "sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan", "arccot",
    "sinh", "cosh", "tanh", "ln", "exp",
))  # fmt: skip
_LETTERS = frozenset((
    "alpha", "beta", "gamma", "delta", "epsilon", "varepsilon", "zeta", "eta", "theta",
    "vartheta", "iota", "kappa", "lambda", "mu", "nu", "xi", "rho", "sigma", "tau",
    "upsilon", "phi", "varphi", "chi", "psi", "omega", "Gamma", "Delta", "Theta",
    "Lambda", "Xi", "Pi", "Sigma", "Phi", "Psi", "Omega", "ell", "hbar",
))  # fmt: skip
_TIMES = ("*", "\\cdot", "\\times")
_OVER = ("/", "\\div")
_CLOSERS = {"(": ")", "[": "]", "{": "}", "\\lfloor": "\\rfloor", "\\lceil": "\\rceil"}
_DEEPEST = 60


class Unparsed(Exception):
    """Not an expression of the kind that this parser knows."""


def expression(tokens: Sequence[str]) -> Node:
    """The tree of the tokens, all of them; raises Unparsed."""
    parser = _Parser(tokens)
    try:
        tree = parser.sum()
    except RecursionError as error:
        raise Unparsed from error
    if parser.at < len(tokens):
        raise Unparsed
    return tree


def symbols(tree: Node) -> frozenset[str]:
    """Names of the free variables."""
    if tree[0] == "s":
        return frozenset((tree[1],))
    inside = frozenset[str]().union(*(symbols(part) for part in tree[1:] if type(part) is tuple))
    return inside - {tree[1]} if tree[0] in ("sum", "prod") else inside


def holds(tree: Node, kind: str, name: str | None = None) -> bool:
    """Whether a node of that kind (and name) occurs in the tree."""
    if tree[0] == kind and (name is None or tree[1] == name):
        return True
    return any(holds(part, kind, name) for part in tree[1:] if type(part) is tuple)


def decimal(tree: Node) -> bool:
    """Whether a number was written with a decimal point."""
    if tree[0] == "q":
        return tree[2]
    return any(decimal(part) for part in tree[1:] if type(part) is tuple)


def number(written: str) -> Node:
    """A leaf for digits with or without a point."""
    return ("q", Fraction(written), "." in written)


def integer(tree: Node) -> int | None:
    """The whole number that a leaf is."""
    return int(tree[1]) if tree[0] == "q" and tree[1].denominator == 1 and not tree[2] else None


class _Parser:
    """One pass over the tokens, one method a level of precedence."""

    def __init__(self, tokens: Sequence[str]) -> None:
        self.tokens = tokens
        self.at = 0
        self.depth = 0
        self.bars = 0

    def peek(self, ahead: int = 0) -> str:
        place = self.at + ahead
        return self.tokens[place] if place < len(self.tokens) else ""

    def take(self, wanted: str = "") -> str:
        token = self.peek()
        if not token or (wanted and token != wanted):
            raise Unparsed
        self.at += 1
        return token

    def sum(self) -> Node:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise Unparsed
        tree = self.product()
        while self.peek() in ("+", "-", "\\pm", "\\mp"):
            sign = self.take()
            right = self.product()
            if sign == "+":
                tree = ("+", tree, right)
            elif sign == "-":
                tree = ("+", tree, ("neg", right))
            else:
                tree = (sign[1:], tree, right)
        self.depth -= 1
        return tree

    def product(self) -> Node:
        tree = self.signed()
        while True:
            token = self.peek()
            if token in _TIMES:
                self.take()
                tree = ("*", tree, self.signed())
            elif token in _OVER:
                self.take()
                tree = ("/", tree, self.signed())
            elif self.starts_factor(token):
                if token[0] in "0123456789.":
                    raise Unparsed  # a number after something else: `x2`, `5 7`
                tree = ("*", tree, self.power())
            else:
                return tree

    def starts_factor(self, token: str) -> bool:
        if not token or token[0] == '"' or token in ("\\pm", "\\mp"):
            return False
        if token == "|":
            return self.bars == 0
        if token[0] == "\\":
            name = token[1:]
            return (
                name in FUNCTIONS
                or name in _LETTERS
                or token in _CLOSERS
                or name in ("frac", "sqrt", "pi", "log", "lg", "binom", "infty", "sum", "prod")
            )
        return token[0].isalnum() or token[0] == "." or token in ("(", "[", "{")

    def signed(self) -> Node:
        token = self.peek()
        if token == "+":
            self.take()
            return self.signed()
        if token == "-":
            self.take()
            return ("neg", self.signed())
        if token in ("\\pm", "\\mp"):
            self.take()
            return (token[1:], None, self.signed())
        return self.power()

    def power(self) -> Node:
        tree = self.postfixed(self.atom())
        if self.peek() == "^":
            self.take()
            tree = ("^", tree, self.script())
            tree = self.postfixed(tree)
            if self.peek() == "^":
                raise Unparsed  # a double superscript is an error in LaTeX
        return tree

    def postfixed(self, tree: Node) -> Node:
        while True:
            if self.peek() == "!":
                self.take()
                tree = ("!", tree)
            elif self.degree():
                tree = ("deg", tree)
            else:
                return tree

    def degree(self) -> bool:
        if self.peek() == "^" and self.peek(1) == "\\circ":
            self.at += 2
            return True
        if [self.peek(ahead) for ahead in range(4)] == ["^", "{", "\\circ", "}"]:
            self.at += 4
            return True
        return False

    def script(self) -> Node:
        """An exponent or argument: braces, or a single digit, letter or command."""
        token = self.peek()
        if token == "{":
            return self.group()
        if token == "-" or token[:1] == "(":
            return self.signed() if token == "-" else self.group()
        if token.isdigit() and len(token) > 1 and self.peek(-1) == "^":
            return number(self.take())  # `2^10` without braces means the tenth power
        return self.atom()

    def group(self) -> Node:
        closer = _CLOSERS[self.take()]
        bars, self.bars = self.bars, 0
        tree = self.sum()
        self.bars = bars
        self.take(closer)
        return tree

    def atom(self) -> Node:
        token = self.peek()
        if not token:
            raise Unparsed
        if token[0].isdigit() or token[0] == ".":
            return self.numeral()
        if token in ("(", "[", "{"):
            return self.group()
        if token in ("\\lfloor", "\\lceil"):
            return (token[2:].replace("lfl", "fl") if token[2] == "c" else "floor", self.group())
        if token == "|":
            self.take()
            self.bars += 1
            tree = self.sum()
            self.bars -= 1
            self.take("|")
            return ("abs", tree)
        if token.isalpha() and len(token) == 1:
            self.take()
            return ("c", token) if token in "ei" else self.subscripted(token)
        return self.command()

    def subscripted(self, name: str) -> Node:
        if self.peek() != "_":
            return ("s", name)
        self.take()
        if self.peek() != "{":
            return ("s", f"{name}_{self.take()}")
        depth, parts = 0, list[str]()
        while depth or not parts:
            token = self.take()
            depth += (token == "{") - (token == "}")
            parts.append(token)
        return ("s", f"{name}_{''.join(parts[1:-1])}")

    def numeral(self) -> Node:
        first = self.take()
        if first == ".":
            raise Unparsed
        whole = number(first)
        if self.peek() == ".":
            if self.peek(1) not in ("\\overline", "\\bar", "\\dot", "\\overset"):
                raise Unparsed
            self.take()
            return self.repeating(first + ".")
        if self.peek() in ("\\overline", "\\bar", "\\dot") and "." in first:
            return self.repeating(first)
        if self.peek() == " ":
            return self.mixed_plain(whole)
        if self.peek() == "\\frac" and first.isdigit():
            return self.mixed(whole)
        return whole

    def repeating(self, head: str) -> Node:
        r"""`0.1\overline{6}` as the rational that it is."""
        self.take()
        if self.peek() == "{":
            self.take()
            period = self.take()
            self.take("}")
        else:
            period = self.take()
        if not period.isdigit() or head.count(".") != 1:
            raise Unparsed
        fixed = len(head) - head.index(".") - 1
        start = Fraction(head + "0") if head.endswith(".") else Fraction(head)
        value = start + Fraction(int(period), (10 ** len(period) - 1) * 10**fixed)
        return ("q", value, False)

    def mixed(self, whole: Node) -> Node:
        start = self.at
        fraction = self.command()
        if fraction[0] == "/":
            over, under = integer(fraction[1]), integer(fraction[2])
            if over is not None and under is not None and 0 < over < under:
                return ("q", whole[1] + Fraction(over, under), False)
        self.at = start
        return whole

    def mixed_plain(self, whole: Node) -> Node:
        """`3 1/2`."""
        self.take()
        over, slash, under = self.peek(), self.peek(1), self.peek(2)
        if not (slash == "/" and over.isdigit() and under.isdigit() and int(over) < int(under)):
            raise Unparsed
        self.at += 3
        return ("q", whole[1] + Fraction(int(over), int(under)), False)

    def command(self) -> Node:
        token = self.take()
        name = token[1:]
        if token == "\\frac":
            return ("/", self.script(), self.script())
        if token == "\\binom":
            return ("binom", self.script(), self.script())
        if token == "\\sqrt":
            return self.root()
        if token == "\\pi":
            return ("c", "pi")
        if token == "\\infty":
            return ("inf",)
        if name in _LETTERS and token[0] == "\\":
            return self.subscripted(token)
        if token[0] == "\\" and (name in FUNCTIONS or name in ("log", "lg")):
            return self.function(name)
        if token in ("\\sum", "\\prod"):
            return self.series(name)
        raise Unparsed

    def root(self) -> Node:
        degree: Node = ("q", Fraction(2), False)
        if self.peek() == "[":
            degree = self.group()
        return ("root", degree, self.script())

    def function(self, name: str) -> Node:
        base: Node | None = ("q", Fraction(10), False) if name == "lg" else None
        if name == "log" and self.peek() == "_":
            self.take()
            base = self.script()
        exponent: Node | None = None
        if self.peek() == "^":
            self.take()
            exponent = self.script()
        if exponent == ("neg", number("1")) and name in ("sin", "cos", "tan", "cot"):
            name, exponent = f"arc{name}", None
        argument = self.argument()
        if name in ("log", "lg"):
            tree: Node = ("log", base, argument)
        elif name == "exp":
            tree = ("^", ("c", "e"), argument)
        else:
            tree = ("f", name, argument)
        return tree if exponent is None else ("^", tree, exponent)

    def argument(self) -> Node:
        r"""What a function without brackets applies to: `2x` in `\sin 2x\cos x`."""
        token = self.peek()
        if token in ("(", "[", "{"):
            return self.power()
        tree = self.power()
        while self.starts_factor(self.peek()) and self.peek()[1:] not in FUNCTIONS | {"log", "lg"}:
            if self.peek() in ("(", "[") or self.peek()[0] in "0123456789.":
                break
            tree = ("*", tree, self.power())
        if self.peek() in _OVER and self.peek(1).isdigit():
            self.take()
            tree = ("/", tree, self.power())  # `\cos \pi/7`
        return tree

    def series(self, name: str) -> Node:
        self.take("_")
        self.take("{")
        variable = self.take()
        self.take("=")
        low = self.sum()
        self.take("}")
        self.take("^")
        high = self.script()
        if not (variable.isalpha() and len(variable) == 1):
            raise Unparsed
        if holds(low, "inf") or holds(high, "inf"):
            raise Unparsed
        body = _bound(self.product(), variable)
        return (name, variable, low, high, body)


def _bound(tree: Node, name: str) -> Node:
    """The body of a series: its index is a variable, even where it is called `i` or `e`."""
    if tree == ("c", name):
        return ("s", name)
    return tuple(_bound(part, name) if type(part) is tuple else part for part in tree)
