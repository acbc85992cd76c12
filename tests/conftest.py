"""Tiny shared fixtures; nothing here needs TensorFlow until a fixture asks for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from medai_core.settings import settings


@pytest.fixture
def fresh_settings() -> Iterator[None]:
    """Read the environment anew in this test, and again after it."""
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture(scope="session")
def tiny_model():
    """An 8 x 8 two-class CNN with fixed random weights."""
    from medai_core import runtime

    runtime.configure()
    import keras

    keras.utils.set_random_seed(0)
    x = keras.Input((8, 8, 1))
    h = keras.layers.Conv2D(4, 3, activation="gelu")(x)
    h = keras.layers.GlobalAveragePooling2D()(h)
    return keras.Model(x, keras.layers.Dense(2, name="head")(h))
