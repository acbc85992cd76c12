"""Training of the selector: which of the generator's images are passed over.

A generator makes some kinds of image too often and others too seldom, and some under a label they do not show.
Drawing again makes up for both: a made image is kept with a chance that rises with the odds of its being one of the
real images of its label (Azadi et al. 2019, "Discriminator rejection sampling"), and seldom where the scan model would
give it another label. What the scan model sees is learned by a small network on the latents, so that neither the scan
model nor a painted image is needed to decide.
"""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np
from keras import callbacks
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression

from medai_core.synthesis.network import NetworkConfig, build_selector
from medai_core.synthesis.train_painters import Progress


@dataclass(frozen=True)
class SelectorRecipe:
    """How the selector is trained.

    Attributes
    ----------
    made : int
        Images it learns from, beside the real ones.
    strictness : float
        Log odds taken off every image: the higher, the fewer are kept, and the more they are like real ones.
    """

    made: int = 12_000
    strictness: float = -0.5
    epochs: int = 18
    batch: int = 128
    rate: float = 2e-3
    weight_decay: float = 0.05
    seed: int = 40


@dataclass(frozen=True, eq=False)
class Seen:
    """Images as latents (N, 16, 16, C) under labels (N,), and what the scan model sees in them.

    Its features are (N, D), its probabilities (N, K).
    """

    latents: NDArray[np.floating]
    labels: NDArray[np.int64]
    features: NDArray[np.floating]
    probabilities: NDArray[np.floating]


def train_selector(
    real: Seen, made: Seen, config: NetworkConfig, recipe: SelectorRecipe, progress: Progress
) -> keras.Model:
    """Train on real and made images; a twelfth of them decides when to stop."""
    keras.utils.set_random_seed(recipe.seed + 3)
    selector = build_selector(config)
    _learn_to_see(selector.get_layer("glance"), real, made, recipe, progress)
    _learn_to_choose(selector, real, made, config, recipe)
    plain = build_selector(config)  # without the optimizer's variables, which would be stored with it
    plain.set_weights(selector.get_weights())
    return plain


def _learn_to_see(glance: keras.Model, real: Seen, made: Seen, recipe: SelectorRecipe, progress: Progress) -> None:
    """Teach principal components of the scan model's features, and its answers."""
    components = PCA(glance.output_shape[0][-1], whiten=True, random_state=recipe.seed).fit(real.features)
    shuffled = np.random.default_rng([recipe.seed, 8]).permutation(len(real.latents) + len(made.latents))

    def both(of_real: NDArray, of_made: NDArray) -> NDArray[np.float32]:
        return np.concatenate([of_real, of_made]).astype(np.float32)[shuffled]

    wanted = [
        both(components.transform(real.features), components.transform(made.features)),
        both(real.probabilities, made.probabilities),
    ]

    def tell(epoch: int, logs: dict[str, float]) -> None:
        found = {name: round(float(logs[name]), 4) for name in ("loss", "val_loss")}
        progress({"part": "selector", "epoch": epoch + 1, "of": recipe.epochs, **found})

    glance.compile(
        keras.optimizers.AdamW(recipe.rate, weight_decay=recipe.weight_decay),
        ["mse", keras.losses.CategoricalCrossentropy(from_logits=True)],
        loss_weights=[1.0, 2.0],
    )
    glance.fit(
        both(real.latents, made.latents), wanted,
        batch_size=recipe.batch, epochs=recipe.epochs, validation_split=1 / 12, verbose=0,
        callbacks=[
            callbacks.LearningRateScheduler(lambda e: recipe.rate * float(np.cos(np.pi / 2 * e / recipe.epochs))),
            callbacks.EarlyStopping(patience=6, restore_best_weights=True),
            callbacks.LambdaCallback(on_epoch_end=tell),
        ],
    )  # fmt: skip


def _learn_to_choose(
    selector: keras.Model, real: Seen, made: Seen, config: NetworkConfig, recipe: SelectorRecipe
) -> None:
    """Set the line between real and made images of each label, these counted as often as their label is clear."""
    kinds = np.eye(config.classes, dtype=np.float32)[made.labels]
    # Untaught, the line gives every image an even chance: what is left is how clear the label is.
    clear = 2 * selector.predict([made.latents.astype(np.float32), kinds], verbose=0)[:, 0]
    seen = (
        selector.get_layer("glance").predict(part.latents.astype(np.float32), verbose=0)[0] for part in (real, made)
    )
    of_real, of_made = seen
    lines = np.zeros((config.glance_size, config.classes), np.float32), np.zeros(config.classes, np.float32)
    for label in range(config.classes):
        one, other = of_real[real.labels == label], of_made[made.labels == label]
        weight = clear[made.labels == label]
        line = LogisticRegression(C=0.1, max_iter=2000).fit(
            np.concatenate([one, other]),
            np.repeat([1, 0], [len(one), len(other)]),
            np.concatenate([np.full(len(one), len(other) / len(one)), weight / weight.mean()]),
        )
        lines[0][:, label], lines[1][label] = line.coef_[0], line.intercept_[0] - recipe.strictness
    selector.get_layer("ratio").set_weights(list(lines))
