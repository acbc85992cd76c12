"""Directions in seed space that change one measured attribute of the images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ATTRIBUTES = {
    "chest_xray": ("opacity", "contrast", "vertical_position", "horizontal_position", "size"),
    "brain_mri": ("brightness", "contrast", "vertical_position", "horizontal_position", "size"),
}
"""What is measured in images of each kind."""

WORTHWHILE = 0.5
"""A direction is kept when a step along it moves its attribute by at least so many standard deviations."""
REACH = 2.5


def measure(images: NDArray[np.uint8]) -> dict[str, NDArray[np.float64]]:
    """Measure each attribute of images (N, H, W); every value is (N,).

    ``brightness`` and ``contrast`` are mean and standard deviation of the grey values. ``opacity`` is the mean of the
    two fields where the lungs lie, relative to the image's mean. ``vertical_position`` and ``horizontal_position`` are
    the centre of brightness, as a share of the side, downwards and to the right of the viewer. ``size`` is the root
    mean square distance from that centre.
    """
    x = images.astype(np.float64) / 255.0
    n, height, width = x.shape
    rows, columns = (np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width
    mass = x / np.maximum(x.sum((1, 2), keepdims=True), 1e-9)
    down, right = (mass.sum(2) * rows).sum(1), (mass.sum(1) * columns).sum(1)
    spread = (mass.sum(2) * (rows - down[:, None]) ** 2).sum(1) + (mass.sum(1) * (columns - right[:, None]) ** 2).sum(1)
    lungs = x[:, height // 4 : 3 * height // 4]
    fields = np.concatenate([lungs[..., width // 6 : 5 * width // 12], lungs[..., 7 * width // 12 : 5 * width // 6]], 2)
    brightness = x.mean((1, 2))
    return {
        "brightness": brightness,
        "contrast": x.std((1, 2)),
        "opacity": fields.mean((1, 2)) - brightness,
        "vertical_position": down,
        "horizontal_position": right,
        "size": np.sqrt(spread),
    }


@dataclass(frozen=True, eq=False)
class Found:
    """A direction, with what a step along it was measured to do.

    Attributes
    ----------
    vector : NDArray[np.float32]
        (Z,).
    effect : float
        Mean change of the attribute per step of 1, in standard deviations of it among images of one label.
    """

    name: str
    vector: NDArray[np.float32]
    effect: float
    reach: float = REACH


def coarse_basis(shape: tuple[int, int, int], side: int = 4) -> NDArray[np.float32]:
    """Orthonormal seeds (Z, side · side · C), each one channel of one of side × side equal patches of (H, W, C).

    What is measured here depends on broad structure. Among some hundred broad directions it is found with thousands
    of images; among all Z of them it would take many more.
    """
    height, width, channels = shape
    patches = np.kron(np.eye(side * side).reshape(side, side, -1), np.ones((height // side, width // side, 1)))
    basis = np.einsum("hwp,cd->hwcpd", patches, np.eye(channels)).reshape(height * width * channels, -1)
    return (basis / np.linalg.norm(basis, axis=0)).astype(np.float32)


def find(
    scan_model: str,
    render: Callable[[NDArray[np.float32], NDArray[np.int64]], NDArray[np.uint8]],
    basis: NDArray[np.float32],
    classes: int,
    n: int = 3000,
    seed: int = 7,
) -> list[Found]:
    """Find one direction per attribute by ridge regression of the attribute on the seed, and measure what it does.

    Parameters
    ----------
    render : callable
        Seeds (N, Z), labels (N,) → images (N, 128, 128).
    basis : NDArray[np.float32]
        (Z, M) orthonormal: directions are sums of these.

    Returns
    -------
    list of Found
        Those whose step of 1, on other seeds, moves the attribute by at least `WORTHWHILE` standard deviations.
    """
    from sklearn.linear_model import Ridge

    rng = np.random.default_rng(seed)
    seeds = rng.standard_normal((n, len(basis)), np.float32)
    labels = rng.integers(0, classes, n)
    values = measure(render(seeds, labels))
    kinds = np.eye(classes)[labels]
    checked, of = rng.standard_normal((300, len(basis)), np.float32), rng.integers(0, classes, 300)
    found = []
    for name in ATTRIBUTES[scan_model]:
        residual = values[name] - kinds @ np.linalg.lstsq(kinds, values[name], rcond=None)[0]
        slope = basis @ Ridge(alpha=n / 10).fit(seeds @ basis, residual / residual.std()).coef_
        # A shift of 1 moves the seed by one standard deviation of its projection, hence by one unit of length.
        vector = (slope / np.linalg.norm(slope)).astype(np.float32)
        up, down = (measure(render(checked + sign * vector, of))[name] for sign in (1, -1))
        effect = float((up - down).mean() / 2 / residual.std())
        if effect >= WORTHWHILE:
            found.append(Found(name, vector, effect))
    return found
