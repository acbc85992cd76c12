"""Training of a class-conditional GAN on an autoencoder's latents.

The loop calls nothing but Keras 3, so it runs on TensorFlow, JAX or PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from medai_core.synthesis.network import NetworkConfig, build_critic, build_generator
from medai_core.synthesis.train_painters import PainterRecipe, Progress, Tensors
from medai_core.synthesis.train_players import Checkpoint, Player


@dataclass(frozen=True)
class Recipe:
    """How one generator is trained.

    Attributes
    ----------
    painter : PainterRecipe
        Of the autoencoder.
    penalty, penalty_step : float
        Weight of the zero-centred gradient penalty on real and made latents (Mescheder et al. 2018; both as in
        Huang et al. 2024, "The GAN is dead; long live the GAN!"), and length of the random step by which it is
        estimated without second derivatives (Lin et al. 2025, "Diffusion adversarial post-training").
    ema : float
        Decay per step of the moving average of the generator's weights.
    every : int
        Steps between two checkpoints, each with figures and a grid of samples.
    """

    network: NetworkConfig
    painter: PainterRecipe = field(default_factory=PainterRecipe)
    steps: int = 4_500
    batch: int = 32
    rate: float = 4e-4
    penalty: float = 0.1
    penalty_step: float = 0.1
    ema: float = 0.999
    every: int = 500
    seed: int = 40
    precision: str = "mixed_bfloat16"


RECIPES = {
    "chest_xray_gan": Recipe(NetworkConfig(3)),
    "brain_mri_gan": Recipe(NetworkConfig(4)),
}


def views(rng: np.random.Generator, n: int, shape: tuple[int, int, int]) -> Tensors:
    """Random views for n latents: moved by up to an eighth, a quarter-sized patch missing, channels rescaled.

    Differentiable augmentation (Zhao et al. 2020) as operators, so that any backend applies them alike.

    Returns
    -------
    tuple
        Row and column operators (n, H, H) and (n, W, W), mask (n, H, W, 1), scale and shift (n, 1, 1, C).
    """
    height, width, channels = shape
    moved = [np.stack([np.eye(side, k=k) for k in rng.integers(-side // 8, side // 8 + 1, n)]) for side in shape[:2]]
    mask = np.ones((n, height, width, 1), np.float32)
    tops, lefts = rng.integers(0, height, n), rng.integers(0, width, n)
    for k in np.flatnonzero(rng.random(n) < 0.5):
        mask[
            k,
            max(tops[k] - height // 5, 0) : tops[k] + height // 5,
            max(lefts[k] - width // 5, 0) : lefts[k] + width // 5,
        ] = 0
    scale = 1 + 0.15 * rng.standard_normal((n, 1, 1, channels))
    shift = 0.15 * rng.standard_normal((n, 1, 1, channels))
    return tuple(part.astype(np.float32) for part in (*moved, mask, scale, shift))


def seen_through(x, view):
    """Apply :func:`views` to latents (B, H, W, C)."""
    rows, columns, mask, scale, shift = view
    x = ops.einsum("bij,bjkc->bikc", rows, x)
    x = ops.einsum("bkl,bilc->bikc", columns, x)
    return (x * scale + shift) * mask


def gan_players(recipe: Recipe) -> tuple[Player, Player]:
    """Return generator and critic as players of the relativistic game (Jolicoeur-Martineau 2018)."""
    generator, critic = build_generator(recipe.network), build_critic(recipe.network)
    half = recipe.batch // 2

    def parted(real, label, seed, view_real, view_made):
        made = generator([seed, label])
        return seen_through(real, view_real), seen_through(made, view_made)

    def generator_cost(real, label, seed, *view):
        real, made = parted(real, label, seed, view[:5], view[5:10])
        realness = critic([ops.concatenate([real, made]), ops.concatenate([label, label])])
        return ops.mean(ops.softplus(realness[: recipe.batch] - realness[recipe.batch :]))

    def critic_cost(real, label, seed, *view):
        real, made = parted(real, label, seed, view[:5], view[5:10])
        both = ops.stop_gradient(ops.concatenate([real, made]))
        near = ops.concatenate([both[:half], both[recipe.batch : recipe.batch + half]]) + recipe.penalty_step * view[10]
        labels = ops.concatenate([label, label, label[:half], label[:half]])
        realness = critic([ops.concatenate([both, near]), labels])
        of_real, of_made = realness[: recipe.batch], realness[recipe.batch : 2 * recipe.batch]
        before = ops.concatenate([of_real[:half], of_made[:half]])
        slope = ops.mean(ops.square(realness[2 * recipe.batch :] - before)) / recipe.penalty_step**2
        return ops.mean(ops.softplus(of_made - of_real)) + recipe.penalty * slope

    optimizers = [keras.optimizers.Adam(recipe.rate, 0.0, 0.99, global_clipnorm=5.0) for _ in range(2)]
    return (
        Player([generator], generator_cost, optimizers[0], "generator_player"),
        Player([critic], critic_cost, optimizers[1], "critic_player"),
    )


def _latent_batches(latents, labels, recipe: Recipe, done: int, total: int) -> Iterator[tuple[Tensors, Tensors]]:
    """Real latents, one-hot labels, seeds and views for both turns of steps `done` to `total` - 1."""
    n, network = recipe.batch, recipe.network
    share = np.bincount(labels, minlength=network.classes) / len(labels)
    weight = ((share + 1 / network.classes) / 2 / share)[labels]  # rare labels are shown more often
    for step in range(done, total):
        rng = np.random.default_rng([recipe.seed, 2, step])
        turns = []
        for _ in range(2):
            chosen = rng.choice(len(latents), n, p=weight / weight.sum())
            seed = rng.standard_normal((n, network.seed_size), np.float32)
            view = (*views(rng, n, network.latent_shape), *views(rng, n, network.latent_shape))
            near = rng.standard_normal((n, *network.latent_shape), np.float32)
            label = np.eye(network.classes, dtype=np.float32)[labels[chosen]]
            turns.append((latents[chosen], label, seed, *view, near))
        yield turns[0], turns[1]


def train_gan(
    latents: NDArray[np.float32],
    labels: NDArray[np.int64],
    recipe: Recipe,
    work: Path,
    progress: Progress,
    look: Callable[[keras.Model, int], dict[str, float]],
) -> keras.Model:
    """Train on standardised latents (N, 16, 16, C) and return the averaged generator, in float32.

    Parameters
    ----------
    look : callable
        Measures the averaged generator every ``recipe.every`` steps: (generator, step) → figures.
    """
    keras.utils.set_random_seed(recipe.seed + 1)
    keras.mixed_precision.set_global_policy(recipe.precision)
    maker, critic = gan_players(recipe)
    keras.mixed_precision.set_global_policy("float32")
    averaged = build_generator(recipe.network)
    averaged.set_weights(maker.owned[0].get_weights())
    checkpoint = Checkpoint(work / "gan.npz", (maker, critic), (averaged,))
    done, costs = checkpoint.load(), []
    for step, (one, two) in enumerate(_latent_batches(latents, labels, recipe, done, recipe.steps), done + 1):
        rate = recipe.rate * min(1.0, step / 200) * min(1.0, 2.1 - 2 * step / recipe.steps)
        costs.append((critic.turn(rate, *one), maker.turn(rate, *two[:-1])))
        decay = min(recipe.ema, step / (step + 50))
        for mean, now in zip(averaged.weights, maker.owned[0].weights, strict=True):
            mean.assign(decay * mean + (1 - decay) * now)
        if step % recipe.every == 0:
            checkpoint.save(step)
            a, b = np.mean(costs, 0)
            progress({"part": "gan", "epoch": step, "of": recipe.steps, "critic": round(float(a), 4),
                      "generator": round(float(b), 4), **look(averaged, step)})  # fmt: skip
            costs = []
    return averaged
