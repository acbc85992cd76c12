"""Training of a class-conditional GAN on an autoencoder's latents, from a generator that was trained as a flow.

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

from medai_core.synthesis.network import NetworkConfig, build_critic, build_flow
from medai_core.synthesis.train_flow import FlowRecipe, balanced
from medai_core.synthesis.train_painters import PainterRecipe, Progress, Tensors
from medai_core.synthesis.train_players import Checkpoint, Player, average
from medai_core.synthesis.train_selector import SelectorRecipe


@dataclass(frozen=True)
class Recipe:
    """How one generator is trained.

    Attributes
    ----------
    painter, flow, selector : PainterRecipe, FlowRecipe, SelectorRecipe
        Of the autoencoder, of what the generator learns before it meets the critic, and of what picks its images.
    head_start : int
        Steps the critic learns alone.
    views_share : float
        Share of latents the critic sees moved; half as many miss a patch. Where all are altered, the generator learns
        to alter (Karras et al. 2020, "Training GANs with limited data").
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
    flow: FlowRecipe = field(default_factory=FlowRecipe)
    selector: SelectorRecipe = field(default_factory=SelectorRecipe)
    steps: int = 1_800
    batch: int = 32
    rate: float = 5e-5
    critic_rate: float = 3e-4
    head_start: int = 80
    views_share: float = 0.3
    penalty: float = 0.03
    penalty_step: float = 0.1
    ema: float = 0.997
    every: int = 150
    seed: int = 40
    precision: str = "mixed_bfloat16"


RECIPES = {
    "chest_xray_gan": Recipe(NetworkConfig(3, emphasis=0.25)),
    "brain_mri_gan": Recipe(NetworkConfig(4, selector_widths=(32, 48, 64), emphasis=0.6), steps=1_350),
}


def views(rng: np.random.Generator, n: int, shape: tuple[int, int, int], share: float) -> Tensors:
    """Random views for n latents: a share of them moved by up to an eighth, half as many with a patch missing.

    Differentiable augmentation (Zhao et al. 2020) as operators, so that any backend applies them alike.

    Returns
    -------
    tuple
        Row and column operators (n, H, H) and (n, W, W), mask (n, H, W, 1).
    """
    height, width, _ = shape
    steps = (rng.integers(-side // 8, side // 8 + 1, n) * (rng.random(n) < share) for side in (height, width))
    rows, columns = (np.stack([np.eye(side, k=k) for k in by]) for side, by in zip((height, width), steps, strict=True))
    mask = np.ones((n, height, width, 1))
    tops, lefts = rng.integers(0, height, n), rng.integers(0, width, n)
    for k in np.flatnonzero(rng.random(n) < share / 2):
        down = slice(max(tops[k] - height // 5, 0), tops[k] + height // 5)
        mask[k, down, max(lefts[k] - width // 5, 0) : lefts[k] + width // 5] = 0
    return tuple(part.astype(np.float32) for part in (rows, columns, mask))


def seen_through(x, view):
    """Apply :func:`views` to latents (B, H, W, C)."""
    rows, columns, mask = view
    x = ops.einsum("bij,bjkc->bikc", rows, x)
    return ops.einsum("bkl,bilc->bikc", columns, x) * mask


def gan_players(recipe: Recipe, flow: keras.Model) -> tuple[Player, Player]:
    """Return generator and critic, both with what the flow knows, as players of the relativistic game.

    The critic compares what the generator makes of noisy latents in one pass with real latents
    (Jolicoeur-Martineau 2018).
    """
    generator, half_critic = build_flow(recipe.network), build_flow(recipe.network)
    for network in (generator, half_critic):
        network.set_weights(flow.get_weights())
    critic = build_critic(half_critic)
    half, n = recipe.batch // 2, recipe.batch

    def realness_of(latents, label):
        return critic([latents, ops.zeros_like(latents[:, 0, 0, :1]), label])

    def parted(real, label, noisy, time, view_real, view_made):
        made = noisy - time[:, None, None] * generator([noisy, time, label])
        return seen_through(real, view_real), seen_through(made, view_made)

    def generator_cost(real, label, noisy, time, *view):
        both = ops.concatenate(parted(real, label, noisy, time, view[:3], view[3:6]))
        realness = realness_of(both, ops.concatenate([label, label]))
        return ops.mean(ops.softplus(realness[:n] - realness[n:]))

    def critic_cost(real, label, noisy, time, *view):
        both = ops.stop_gradient(ops.concatenate(parted(real, label, noisy, time, view[:3], view[3:6])))
        near = ops.concatenate([both[:half], both[n : n + half]]) + recipe.penalty_step * view[6]
        labels = ops.concatenate([label, label, label[:half], label[:half]])
        realness = realness_of(ops.concatenate([both, near]), labels)
        of_real, of_made = realness[:n], realness[n : 2 * n]
        before = ops.concatenate([of_real[:half], of_made[:half]])
        slope = ops.mean(ops.square(realness[2 * n :] - before)) / recipe.penalty_step**2
        return ops.mean(ops.softplus(of_made - of_real)) + recipe.penalty * slope

    def optimizer(rate: float) -> keras.optimizers.Optimizer:
        return keras.optimizers.Adam(rate, 0.0, 0.99, global_clipnorm=5.0)

    return (
        Player([generator], generator_cost, optimizer(recipe.rate), "generator_player"),
        Player([critic], critic_cost, optimizer(recipe.critic_rate), "critic_player"),
    )


def advanced(generator: keras.Model, noisy: NDArray, label: NDArray, times: tuple[float, ...]) -> NDArray[np.float32]:
    """Take noisy latents (B, 16, 16, C) from the first of the times to the last, one pass each."""
    for now, then in zip(times[:-1], times[1:], strict=True):
        velocity = generator.predict_on_batch([noisy, np.full((len(noisy), 1), now, np.float32), label])
        noisy = noisy + (then - now) * velocity
    return noisy


def _latent_batches(
    latents: NDArray[np.floating], labels: NDArray[np.int64], recipe: Recipe, done: int
) -> Iterator[tuple[Tensors, Tensors]]:
    """Real latents, one-hot labels, seeds, the pass to learn, and views, for both turns of each step from `done` on."""
    n, network = recipe.batch, recipe.network
    weight = balanced(labels, network.classes)
    for step in range(done, recipe.steps):
        rng = np.random.default_rng([recipe.seed, 2, step])
        turns = []
        for _ in range(2):
            chosen = rng.choice(len(latents), n, p=weight)
            real, label = latents[chosen].astype(np.float32), np.eye(network.classes, dtype=np.float32)[labels[chosen]]
            seed, near = rng.standard_normal((2, n, *network.latent_shape), np.float32)
            view = [part for _ in range(2) for part in views(rng, n, network.latent_shape, recipe.views_share)]
            turns.append((real, label, seed, int(rng.integers(len(network.times))), *view, near))
        yield turns[0], turns[1]


def train_gan(
    latents: NDArray[np.floating],
    labels: NDArray[np.int64],
    flow: keras.Model,
    recipe: Recipe,
    work: Path,
    progress: Progress,
    look: Callable[[keras.Model, int], dict[str, float]],
) -> keras.Model:
    """Train on standardised latents (N, 16, 16, C) and return the averaged generator, in float32.

    Parameters
    ----------
    flow : keras.Model
        What generator and critic start from.
    look : callable
        Measures the averaged generator every ``recipe.every`` steps: (generator, step) → figures.
    """
    keras.utils.set_random_seed(recipe.seed + 2)
    keras.mixed_precision.set_global_policy(recipe.precision)
    maker, critic = gan_players(recipe, flow)
    keras.mixed_precision.set_global_policy("float32")
    averaged, generator, times = build_flow(recipe.network), maker.owned[0], recipe.network.times
    averaged.set_weights(flow.get_weights())
    checkpoint = Checkpoint(work / "gan.npz", (maker, critic), (averaged,))
    done, costs = checkpoint.load(), []
    for step, both in enumerate(_latent_batches(latents, labels, recipe, done), done + 1):
        turns = []
        for real, label, seed, at, *view in both:
            noisy = advanced(generator, seed, label, times[: at + 1])
            turns.append((real, label, noisy, np.full((len(real), 1), times[at], np.float32), *view))
        share = min(1.0, step / 50) * min(1.0, 2.1 - 2 * step / recipe.steps)
        costs.append([critic.turn(share * recipe.critic_rate, *turns[0]), np.nan])
        if step > recipe.head_start:
            costs[-1][1] = maker.turn(share * recipe.rate, *turns[1][:-1])
            since = step - recipe.head_start
            average(averaged, generator, min(recipe.ema, since / (since + 20)))
        if step % recipe.every == 0:
            checkpoint.save(step)
            a, b = np.nanmean(costs, 0)
            progress({"part": "gan", "epoch": step, "of": recipe.steps, "critic": round(float(a), 4),
                      "generator": round(float(b), 4), **look(averaged, step)})  # fmt: skip
            costs = []
    return averaged
