"""Algebra in processes that can be killed (placeholder for the pool)."""


def admissible(text: str) -> bool:
    return False


def decide(gold: str, answer: str) -> bool | str:
    return False
