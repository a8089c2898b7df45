"""Encoders, one file each: texts to vectors. `harness.registry.encoder` finds them by name."""
