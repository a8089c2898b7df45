"""Invented facts for ragqa: worlds with passages about them, and the ways to ask for a fact."""
