"""Retrieval for ragqa: a corpus, BM25, a dense index, their fusion. Knows no question, no model."""
