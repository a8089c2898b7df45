"""Scenes of simple objects with known truth: drawn from seeds, asked about, rendered, told."""
