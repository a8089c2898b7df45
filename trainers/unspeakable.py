"""What a policy raises for a prompt that it cannot be asked, whoever of its parts finds out."""

from __future__ import annotations


class Unspeakable(Exception):
    """One prompt that this model cannot be asked; becomes a failed completion."""
