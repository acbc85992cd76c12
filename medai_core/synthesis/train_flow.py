"""Training of the generator as a flow: it learns to undo any amount of noise on an autoencoder's latents.

The loop calls nothing but Keras 3, so it runs on TensorFlow, JAX or PyTorch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray
from scipy import ndimage

from medai_core.synthesis.network import NetworkConfig, build_flow
from medai_core.synthesis.train_painters import Progress, Tensors
from medai_core.synthesis.train_players import Checkpoint, Player, average


@dataclass(frozen=True)
class FlowRecipe:
    """How the flow is trained.

    Attributes
    ----------
    ema : float
        Decay per step of the moving average of the weights.
    copies : int
        Slightly moved copies of each image whose latents are learned too; they keep the flow from learning by heart.
    plain_share : tuple[float, float]
        Share of a batch that is of unmoved images, in the first 0.7 of the training and after: moving blurs a little.
    every : int
        Steps between two checkpoints.
    """

    steps: int = 5_500
    batch: int = 64
    rate: float = 1.2e-3
    weight_decay: float = 0.01
    ema: float = 0.9993
    copies: int = 4
    plain_share: tuple[float, float] = (0.3, 0.7)
    every: int = 500
    seed: int = 40
    precision: str = "mixed_bfloat16"


def moved(images: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Copies of images (N, H, W) moved by up to 3 pixels, turned by 2°, zoomed by 3 %, a little lighter or darker."""
    made = np.empty_like(images)
    middle = (np.array(images.shape[1:]) - 1) / 2
    for k, image in enumerate(images):
        turn, zoom = np.deg2rad(rng.uniform(-2, 2)), 1 + rng.uniform(-0.03, 0.03)
        way = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) / zoom
        start = middle - way @ (middle + rng.uniform(-3, 3, 2))
        copy = ndimage.affine_transform(image.astype(np.float32), way, start, order=1, mode="nearest")
        made[k] = np.clip(np.round(copy * (1 + rng.uniform(-0.05, 0.05)) + rng.uniform(-6, 6)), 0, 255)
    return made


def balanced(labels: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    """Probability (N,) of showing each image: rare labels are shown more often than they occur, half way to equal."""
    share = np.bincount(labels, minlength=classes) / len(labels)
    weight = ((share + 1 / classes) / 2 / np.maximum(share, 1e-9))[labels]
    return weight / weight.sum()


def _batches(
    latents: NDArray[np.floating], labels: NDArray[np.int64], config: NetworkConfig, recipe: FlowRecipe, done: int
) -> Iterator[Tensors]:
    """Latents, noise, times (B, 1) and one-hot labels of steps `done` to the last; the same whenever asked."""
    weight, n = balanced(labels, config.classes), recipe.batch
    for step in range(done, recipe.steps):
        rng = np.random.default_rng([recipe.seed, 5, step])
        chosen, copy = rng.choice(len(labels), n, p=weight), rng.integers(0, len(latents), n)
        copy[rng.random(n) < recipe.plain_share[step >= 0.7 * recipe.steps]] = 0
        real = latents[copy, chosen].astype(np.float32)
        time = 1 / (1 + np.exp(-rng.standard_normal((n, 1))))  # (Esser et al. 2024): most of it half way
        noise = rng.standard_normal(real.shape, np.float32)
        yield real, noise, time.astype(np.float32), np.eye(config.classes, dtype=np.float32)[labels[chosen]]


def train_flow(
    latents: NDArray[np.floating],
    labels: NDArray[np.int64],
    config: NetworkConfig,
    recipe: FlowRecipe,
    work: Path,
    progress: Progress,
) -> keras.Model:
    """Train on standardised latents (1 + copies, N, 16, 16, C) and return the averaged flow, in float32."""
    keras.utils.set_random_seed(recipe.seed + 1)
    keras.mixed_precision.set_global_policy(recipe.precision)
    flow = build_flow(config)
    keras.mixed_precision.set_global_policy("float32")

    def cost(real, noise, time, label):
        noisy = real + time[:, None, None] * (noise - real)
        return ops.mean(ops.square(flow([noisy, time, label]) - (noise - real)))

    decay = recipe.weight_decay
    optimizer = keras.optimizers.AdamW(recipe.rate, weight_decay=decay, beta_2=0.99, global_clipnorm=1.0)
    player, averaged = Player([flow], cost, optimizer, "flow_player"), build_flow(config)
    averaged.set_weights(flow.get_weights())
    checkpoint = Checkpoint(work / "flow.npz", (player,), (averaged,))
    done, costs = checkpoint.load(), []
    for step, batch in enumerate(_batches(latents, labels, config, recipe, done), done + 1):
        rate = recipe.rate * min(1.0, step / 300) * (0.03 + 0.97 * float(np.cos(np.pi / 2 * step / recipe.steps)))
        costs.append(player.turn(rate, *batch))
        average(averaged, flow, min(recipe.ema, step / (step + 100)))
        if step % recipe.every == 0:
            checkpoint.save(step)
            progress({"part": "flow", "epoch": step, "of": recipe.steps, "loss": round(float(np.mean(costs)), 4)})
            costs = []
    return averaged
