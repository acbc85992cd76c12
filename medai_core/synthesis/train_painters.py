"""Training of networks that paint an image: the autoencoder here, and the restorer of damaged images.

Both pay for wrong grey values and edges, and, once they are good, for patches that a critic tells from real ones
(Isola et al. 2017, "Image-to-image translation"; Wang et al. 2018 for the matching of its features).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from medai_core.synthesis.network import NetworkConfig, build_decoder, build_encoder, build_patch_critic
from medai_core.synthesis.train_players import Checkpoint, Player

Progress = Callable[[dict[str, object]], None]
Tensors = tuple[NDArray[np.float32], ...]
GRAIN = 0.03
"""Length of the random step by which the patch critic's slope is estimated, in units of the grey scale."""


@dataclass(frozen=True)
class PainterRecipe:
    """How autoencoder and restorer are trained.

    Attributes
    ----------
    latent_noise : float
        Standard deviation of the noise the decoder learns to bear.
    latent_cost : float
        Weight of the latents' mean square: keeps their scale near that of a unit normal.
    adversarial_after : float
        Share of the training after which the patch critic counts; its weight then rises over a quarter of it.
    """

    epochs: int = 14
    batch: int = 32
    rate: float = 1e-3
    latent_noise: float = 0.15
    latent_cost: float = 1e-3
    matching_weight: float = 0.1
    adversarial_weight: float = 0.02
    adversarial_after: float = 0.25
    critic_penalty: float = 5e-4
    seed: int = 40
    precision: str = "mixed_bfloat16"


def _edges(x):
    return x[:, 1:, :, :] - x[:, :-1, :, :], x[:, :, 1:, :] - x[:, :, :-1, :]


def _distance(made, real):
    """Mean absolute difference of grey values and of edges: one scalar."""
    total = ops.mean(ops.abs(made - real))
    for a, b in zip(_edges(made), _edges(real), strict=True):
        total = total + ops.mean(ops.abs(a - b))
    return total


def _mean32(x):
    return ops.mean(ops.cast(x, "float32"))


def painting_players(
    owned: Sequence[keras.Model],
    paint: Callable[..., tuple[object, object]],
    critic: keras.Model,
    recipe: PainterRecipe,
) -> tuple[Player, Player]:
    """Return the painting networks and their patch critic as players.

    `paint` maps real images and what else a batch holds to painted images and an extra cost.
    """

    def painter_cost(images, adversarial, grain, *rest):
        made, cost = paint(images, *rest)
        *seen, realness = critic(made)
        *wanted, _ = critic(images)
        gaps = 0.0
        for a, b in zip(seen, wanted, strict=True):
            b = ops.cast(ops.stop_gradient(b), "float32")
            gaps = gaps + ops.mean(ops.abs(ops.cast(a, "float32") - b)) / (ops.mean(ops.abs(b)) + 1e-3)
        likeness = recipe.matching_weight * gaps + recipe.adversarial_weight * _mean32(ops.softplus(-realness))
        return _distance(made, images) + cost + adversarial[0] * likeness

    def critic_cost(images, adversarial, grain, *rest):
        made = ops.stop_gradient(paint(images, *rest)[0])
        real, fake = critic(images)[-1], critic(made)[-1]
        slope = _mean32(ops.square(critic(images + GRAIN * grain)[-1] - real)) / GRAIN**2
        return _mean32(ops.softplus(fake)) + _mean32(ops.softplus(-real)) + recipe.critic_penalty * slope

    def optimizer(momentum: float) -> keras.optimizers.Optimizer:
        return keras.optimizers.Adam(recipe.rate, momentum, 0.99, clipnorm=1.0)

    return Player(owned, painter_cost, optimizer(0.9), "painter"), Player(
        [critic], critic_cost, optimizer(0.0), "critic"
    )


def take_turns(
    players: tuple[Player, Player],
    batches: Callable[[int, int], Iterator[Tensors]],
    epoch_steps: int,
    recipe: PainterRecipe,
    kept: Path,
    progress: Progress,
) -> None:
    """Let the players take turns until the epochs are over; `batches(done, total)` starts with real images."""
    painter, critic = players
    total = recipe.epochs * epoch_steps
    checkpoint, costs = Checkpoint(kept, players), []
    done = checkpoint.load()
    for step, (images, *rest) in enumerate(batches(done, total), done + 1):
        share = step / total
        rate = recipe.rate * min(1.0, step / 200) * (0.02 + 0.98 * float(np.cos(np.pi / 2 * share)))
        weight = np.full(len(images), np.clip(4 * (share - recipe.adversarial_after), 0, 1), np.float32)
        grain = np.random.default_rng([recipe.seed, 3, step]).standard_normal(images.shape, np.float32)
        costs.append([painter.turn(rate, images, weight, grain, *rest), np.nan])
        if share > recipe.adversarial_after / 2:
            costs[-1][1] = critic.turn(rate / 4, images, weight, grain, *rest)
        if step % epoch_steps == 0:
            checkpoint.save(step)
            cost, critic_cost = np.nanmean(costs, 0) if share > recipe.adversarial_after else (*np.mean(costs, 0),)
            about = {"part": kept.stem, "epoch": step // epoch_steps, "of": recipe.epochs}
            progress(about | {"loss": round(float(cost), 5), "critic": round(float(critic_cost), 4)})
            costs = []


def shown_in_turn(
    images: NDArray[np.uint8], recipe: PainterRecipe, done: int, total: int
) -> Iterator[tuple[int, Tensors]]:
    """Number and images (B, 128, 128, 1) in [0, 1] of batches `done` to `total` - 1; the same whenever asked."""
    epoch_steps = len(images) // recipe.batch
    for step in range(done, total):
        order = np.random.default_rng([recipe.seed, step // epoch_steps]).permutation(len(images))
        chosen = order[step % epoch_steps * recipe.batch :][: recipe.batch]
        yield step, images[chosen][..., None].astype(np.float32) / 255.0


def train_autoencoder(
    images: NDArray[np.uint8], config: NetworkConfig, recipe: PainterRecipe, work: Path, progress: Progress
) -> tuple[keras.Model, keras.Model]:
    """Train on 8-bit images (N, 128, 128) and return (encoder, decoder), in float32."""
    keras.utils.set_random_seed(recipe.seed)
    keras.mixed_precision.set_global_policy(recipe.precision)
    encoder, decoder, critic = build_encoder(config), build_decoder(config), build_patch_critic(config)
    keras.mixed_precision.set_global_policy("float32")

    def paint(shown, noise):
        latents = encoder(shown)
        return decoder(latents + recipe.latent_noise * noise), recipe.latent_cost * ops.mean(ops.square(latents))

    def batches(done: int, total: int) -> Iterator[Tensors]:
        for step, shown in shown_in_turn(images, recipe, done, total):
            rng = np.random.default_rng([recipe.seed, 1, step])
            yield shown, rng.standard_normal((len(shown), *config.latent_shape), np.float32)

    players = painting_players([encoder, decoder], paint, critic, recipe)
    take_turns(players, batches, len(images) // recipe.batch, recipe, work / "autoencoder.npz", progress)
    return plain_copy(build_encoder(config), encoder), plain_copy(build_decoder(config), decoder)


def plain_copy(network: keras.Model, trained: keras.Model) -> keras.Model:
    """`network`, built in float32, with the weights of one trained in mixed precision."""
    network.set_weights(trained.get_weights())
    return network


def encode(encoder: keras.Model, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the latents (N, 16, 16, C) of 8-bit images (N, 128, 128)."""
    return encoder.predict(images[..., None].astype(np.float32) / 255.0, batch_size=64, verbose=0)
