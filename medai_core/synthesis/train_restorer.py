"""Training of the restorer: from images damaged in code back to what they were; and its bundle."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from medai_core.artifacts import Bundle, round_weights, save_bundle
from medai_core.synthesis.cards import VERSION, card_of
from medai_core.synthesis.network import NetworkConfig, build_patch_critic, build_restorer
from medai_core.synthesis.restore import RESTORER, Restorer
from medai_core.synthesis.restore_evaluate import figures_of, hole_in
from medai_core.synthesis.split import split
from medai_core.synthesis.train_bundle import check_work
from medai_core.synthesis.train_painters import (
    PainterRecipe,
    Progress,
    Tensors,
    painting_players,
    plain_copy,
    shown_in_turn,
    take_turns,
)

NETWORK = NetworkConfig(3)
RECIPE = PainterRecipe(epochs=16, adversarial_after=0.4)


def damaged(images: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Damage images (B, H, W, 1) in [0, 1]: noise, a missing region, or both.

    Returns
    -------
    NDArray[np.float32]
        (B, H, W, 2): the image, mid-grey where it is missing; and 1 where it is missing.
    """
    n = len(images)
    sigma = rng.uniform(0.01, 0.2, (n, 1, 1, 1)) * (rng.random((n, 1, 1, 1)) < 0.7)
    noisy = np.clip(images + sigma * rng.standard_normal(images.shape), 0, 1)
    hole = np.zeros_like(images)
    for k in np.flatnonzero((rng.random(n) < 0.6) | (sigma[:, 0, 0, 0] == 0)):
        hole[k, ..., 0] = hole_in(images.shape[1:3], rng)
    return np.concatenate([np.where(hole > 0, 0.5, noisy), hole], -1).astype(np.float32)


def train_network(
    images: NDArray[np.uint8], config: NetworkConfig, recipe: PainterRecipe, work: Path, progress: Progress
) -> keras.Model:
    """Train on 8-bit images (N, 128, 128) and return the network, damaged (B, 128, 128, 2) → image, in float32."""
    keras.utils.set_random_seed(recipe.seed)
    keras.mixed_precision.set_global_policy(recipe.precision)
    restorer, critic = build_restorer(config), build_patch_critic(config)
    keras.mixed_precision.set_global_policy("float32")

    def batches(done: int, total: int) -> Iterator[Tensors]:
        for step, shown in shown_in_turn(images, recipe, done, total):
            yield shown, damaged(shown, np.random.default_rng([recipe.seed, 4, step]))

    players = painting_players([restorer], lambda shown, given: (restorer(given), 0.0), critic, recipe)
    take_turns(players, batches, len(images) // recipe.batch, recipe, work / "restorer.npz", progress)
    return plain_copy(build_restorer(config), restorer)


def train_restorer(
    images: NDArray[np.uint8], labels: NDArray[np.int64], groups: NDArray[np.str_], out: Path, progress: Progress
) -> Bundle:
    """Train the restorer and write its bundle; an interrupted run is taken up where it stopped.

    Parameters
    ----------
    images, labels, groups
        (N, 128, 128) prepared, (N,), (N,) patient. A tenth of the patients is kept out of training, to measure on.
    out : Path
        Becomes the bundle; checkpoints are kept beside it in ``<out>.work``.
    """
    work = out.with_name(f"{out.name}.work")
    check_work(work, images, labels, (NETWORK, RECIPE))
    train, held = split(groups, labels)
    network = train_network(images[train], NETWORK, RECIPE, work, progress)
    round_weights(network)
    card = card_of(RESTORER, images, labels, groups, held, {"network": asdict(NETWORK), **asdict(RECIPE)})
    preprocessing = {"size": NETWORK.size, "version": VERSION}
    unmeasured = save_bundle(work / "unmeasured", network, card, preprocessing, {})
    figures, baseline = figures_of(Restorer(unmeasured), images[held], groups[held], progress)
    return save_bundle(out, network, card, preprocessing, {"figures": figures, "baseline": baseline})
