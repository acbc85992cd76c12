"""What a scan network sees in an image: its pooled features, beside its calibrated answer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from medai_core import registry
from medai_core.artifacts import load_model
from medai_core.calibration import VectorScaling
from medai_core.imaging.prepare import SIZE
from medai_core.runtime import Compiled

ScanAnswers = Callable[[NDArray[np.uint8]], tuple[NDArray[np.float32], NDArray[np.float64]]]


def scan_answers(model: str) -> ScanAnswers:
    """Return a function from prepared images to features and calibrated probabilities.

    Parameters
    ----------
    model : {"chest_xray", "brain_mri"}

    Returns
    -------
    callable
        Images (N, 128, 128) uint8, prepared as at inference, to features (N, D), averaged over the image and of all
        members side by side, and probabilities (N, K) in the order of the model's labels.

    Raises
    ------
    ArtifactError
        The model's bundle is not usable.
    """
    import keras

    import medai_core.imaging.network  # noqa: F401  registers the layers the bundles name

    bundle = registry.bundle(model)
    network, scaling = load_model(bundle), VectorScaling.from_dict(bundle.preprocessing["calibration"])
    image = keras.Input((SIZE, SIZE, 1))
    shown = image
    for layer in network.layers:
        if layer.name == "view":
            shown = layer(shown)
    seen = [layer(shown) for layer in network.layers if layer.name.startswith("member_")]
    pooled = [keras.ops.mean(features, (1, 2)) for features, _ in seen]  # (N, C) each
    logits = keras.ops.mean(keras.ops.stack([logits for _, logits in seen]), 0)  # (N, K), as the network averages them
    run = Compiled(keras.Model(image, [keras.ops.concatenate(pooled, -1), logits]), (SIZE, SIZE, 1))

    def see(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        features, answers = run(pixels[..., None].astype(np.float32) / 255.0)
        return features, scaling(answers)

    return see
