"""Phrasings of questions: by noise, and by a model whose proposals are filtered."""
