"""Training of the scan models: cross-fitted members, then one bundle with everything measured.

The images that are not the test part are cut into as many folds as there are members. Member *k* never
sees fold *k*; what it says there is the honest answer used for calibration, thresholds and the
"other sessions" figures. The shipped model averages all members, so that together they have seen every
fold. Chest folds are *contiguous in the acquisition sequence*: the held-out fold imitates another session,
which is where networks for radiographs fail.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from medai_core.artifacts import round_weights
from medai_core.errors import ArtifactError, InputError
from medai_core.imaging.augment import OtherDevice, borrow_histogram, imitate, without_detail
from medai_core.imaging.dataset import LABELS, ScanSet
from medai_core.imaging.network import NetworkConfig, average, build_baseline, build_member

BASELINE_EPOCHS = 8

Progress = Callable[[dict[str, object]], None]
Logits = NDArray[np.float32]


@dataclass(frozen=True)
class Recipe:
    """How one scan model is trained; every choice was made on held-out folds.

    Attributes
    ----------
    shares : tuple[float, ...]
        Share of each label in a batch, whatever its share in the folder.
    histogram_share : float
        Share of images whose grey scale is moved towards another image's.
    bare_share : float
        Share of images shown without detail and with no label more likely than another, so that the outline
        alone is no reason for an answer.
    margin : int
        Pixels cut off at each side at inference, see :class:`~medai_core.imaging.network.Middle`; chosen on
        the held-out folds after training, which does not depend on it.
    """

    network: NetworkConfig
    shares: tuple[float, ...]
    epochs: int = 24
    members: int = 4
    batch: int = 32
    rate: float = 2e-3
    weight_decay: float = 2e-2
    smoothing: float = 0.05
    strength: float = 1.0
    flip: bool = True
    histogram_share: float = 0.6
    bare_share: float = 0.0
    margin: int = 6
    test_share: float = 0.1
    seed: int = 20
    precision: str = "mixed_bfloat16"


RECIPES = {
    "chest_xray": Recipe(NetworkConfig(3), shares=(0.40, 0.33, 0.27)),
    # Tumours are small: the first layer keeps half the resolution, and other devices matter less.
    "brain_mri": Recipe(
        NetworkConfig(4, stem=(16, 5, 2), blocks=((32, 2), (64, 2), (64, 1), (112, 2), (112, 1))),
        shares=(0.25, 0.25, 0.25, 0.25),
        epochs=36,
        members=5,
        strength=0.35,
        histogram_share=0.2,
        bare_share=0.08,
        margin=2,
    ),
}


@dataclass(frozen=True, eq=False)
class Split:
    """Boolean test mask (N,) and fold number (N,), -1 where the image is in the test part."""

    test: NDArray[np.bool_]
    fold: NDArray[np.int64]


def split_scans(model: str, scans: ScanSet, recipe: Recipe) -> Split:
    """Cut a folder into a test part and folds, never through a patient or a group of duplicates."""
    folds = round(1 / recipe.test_share)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=recipe.seed)
    _, held_out = next(splitter.split(scans.images, scans.labels, scans.groups))
    test = np.zeros(len(scans.labels), bool)
    test[held_out] = True
    fold = np.full(len(scans.labels), -1)
    if model == "chest_xray":
        fold[~test] = np.minimum(scans.order[~test] * recipe.members, recipe.members - 1).astype(int)
        return Split(test, fold)
    rest = np.flatnonzero(~test)
    splitter = StratifiedGroupKFold(recipe.members, shuffle=True, random_state=recipe.seed)
    for number, (_, mine) in enumerate(splitter.split(rest, scans.labels[rest], scans.groups[rest])):
        fold[rest[mine]] = number
    return Split(test, fold)


class Batches(keras.utils.PyDataset):
    """Balanced batches of (images (B, 128, 128, 1) float32, smoothed one-hot labels (B, K)).

    Batch *i* of an epoch depends on seed, epoch and *i* alone, so that a resumed run sees the same ones.
    """

    def __init__(self, images: NDArray[np.uint8], labels: NDArray[np.int64], recipe: Recipe, seed: int):
        super().__init__()
        self.images, self.recipe, self.seed, self.epoch = images, recipe, seed, 0
        self.classes = [np.flatnonzero(labels == k) for k in range(len(recipe.shares))]
        self.steps = len(images) // recipe.batch

    def __len__(self) -> int:
        return self.steps

    def on_epoch_end(self) -> None:
        self.epoch += 1

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        recipe = self.recipe
        rng = np.random.default_rng([self.seed, self.epoch, index])
        labels = rng.choice(len(recipe.shares), recipe.batch, p=recipe.shares)
        chosen = self.images[[rng.choice(self.classes[label]) for label in labels]]
        images = [
            borrow_histogram(image, self.images[rng.integers(len(self.images))], rng.random())
            if rng.random() < recipe.histogram_share
            else image
            for image in chosen
        ]
        targets = np.full((recipe.batch, len(recipe.shares)), recipe.smoothing / len(recipe.shares), np.float32)
        targets[np.arange(recipe.batch), labels] += 1 - recipe.smoothing
        for k in np.flatnonzero(rng.random(recipe.batch) < recipe.bare_share):
            images[k], targets[k] = without_detail(images[k], rng), 1 / len(recipe.shares)
        return np.stack(images)[..., None].astype(np.float32) / 255.0, targets


class Report(keras.callbacks.Callback):
    """Hand each epoch's figures to `progress`."""

    def __init__(self, progress: Progress, part: str, epochs: int):
        super().__init__()
        self.progress, self.part, self.epochs = progress, part, epochs

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        figures = {name: round(float(value), 5) for name, value in (logs or {}).items()}
        self.progress({"part": self.part, "epoch": epoch + 1, "of": self.epochs, **figures})


class Place(keras.callbacks.Callback):
    """Lets a resumed run go on with the batches and random views it would have had.

    Keras' own backup holds weights and optimizer, but neither the epoch of the batches nor the state of the
    layers' random generators.
    """

    def __init__(self, batches: Batches, kept: Path):
        super().__init__()
        self.batches, self.kept, self.fresh = batches, kept, True

    def _states(self) -> list[keras.Variable]:
        return [variable for variable in self.model.variables if variable.name == "seed_generator_state"]

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        # Counted from 1: Keras looks at the data once, which it counts as an epoch, before the first.
        self.batches.epoch = epoch + 1
        stored = json.loads(self.kept.read_text()) if self.fresh and epoch and self.kept.exists() else None
        self.fresh = False
        if stored and stored["epoch"] == epoch:
            for state, value in zip(self._states(), stored["states"], strict=True):
                state.assign(value)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        states = [np.asarray(keras.ops.convert_to_numpy(state)).tolist() for state in self._states()]
        self.kept.write_text(json.dumps({"epoch": epoch + 1, "states": states}))


def _fit(network: keras.Model, batches: Batches, recipe: Recipe, epochs: int, work: Path, progress: Progress) -> None:
    steps = epochs * len(batches)
    rate = keras.optimizers.schedules.CosineDecay(
        recipe.rate / 20, steps, warmup_target=recipe.rate, warmup_steps=int(0.1 * steps)
    )
    optimizer = keras.optimizers.AdamW(
        rate, weight_decay=recipe.weight_decay, use_ema=True, ema_momentum=0.99, clipnorm=1.0
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    network.compile(optimizer, keras.losses.CategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    backup = keras.callbacks.BackupAndRestore(work / f"{network.name}.backup", delete_checkpoint=False)
    callbacks = [backup, Place(batches, work / f"{network.name}.seeds.json"), Report(progress, network.name, epochs)]
    network.fit(batches, epochs=epochs, verbose=0, shuffle=False, callbacks=callbacks)
    optimizer.finalize_variable_values(network.trainable_variables)


def train_member(scans: ScanSet, use: NDArray[np.bool_], recipe: Recipe, number: int, work: Path, progress: Progress):
    """Train member `number` on the images `use` marks and return it; a finished one is loaded instead.

    The weights are kept in float32 as `work/member_<number>.weights.h5`; the member is returned as a bundle would
    store it, so that what is measured is what ships.
    """
    name = f"member_{number}"
    kept = work / f"{name}.weights.h5"
    if not kept.exists():
        _train_member(scans, use, recipe, number, kept, progress)
    member = build_member(recipe.network, name)
    member.load_weights(kept)
    round_weights(member)
    return member


def _train_member(
    scans: ScanSet, use: NDArray[np.bool_], recipe: Recipe, number: int, kept: Path, progress: Progress
) -> None:
    name, work = f"member_{number}", kept.parent
    seed = recipe.seed + 1000 * number
    keras.utils.set_random_seed(seed)
    keras.mixed_precision.set_global_policy(recipe.precision)
    trained = build_member(recipe.network, name)
    keras.mixed_precision.set_global_policy("float32")
    image = keras.Input(trained.input_shape[1:])
    view = OtherDevice(recipe.strength, recipe.flip, seed, dtype="float32")(image)
    network = keras.Model(image, trained(view)[1], name=f"training_{number}")
    _fit(network, Batches(scans.images[use], scans.labels[use], recipe, seed), recipe, recipe.epochs, work, progress)
    trained.save_weights(kept)


def train_baseline(scans: ScanSet, use: NDArray[np.bool_], recipe: Recipe, work: Path, progress: Progress):
    """Train the textbook CNN, without augmentation, and return it."""
    keras.utils.set_random_seed(recipe.seed)
    network = build_baseline(recipe.network.classes)
    kept = work / "baseline.weights.h5"
    if kept.exists():
        network.load_weights(kept)
        return network
    plain = replace(recipe, rate=1e-3, smoothing=0.0, histogram_share=0.0, bare_share=0.0)
    batches = Batches(scans.images[use], scans.labels[use], plain, recipe.seed)
    _fit(network, batches, plain, min(recipe.epochs, BASELINE_EPOCHS), work, progress)
    network.save_weights(kept)
    return network


def logits_of(network: keras.Model, images: NDArray[np.uint8]) -> Logits:
    """Return the logits (N, K) of 8-bit prepared images (N, 128, 128)."""
    answer = network.predict(images[..., None].astype(np.float32) / 255.0, batch_size=64, verbose=0)
    return answer[1] if isinstance(answer, (list, tuple)) else answer


def data_digest(scans: ScanSet) -> str:
    """SHA-256 of images and labels, in hexadecimal: which data a bundle was made from."""
    return hashlib.sha256(scans.images.tobytes() + scans.labels.tobytes()).hexdigest()


def check_work(work: Path, made_of: str) -> None:
    """Refuse to go on with what another recipe or other images, named by `made_of`, left in the work folder."""
    made_with = hashlib.sha256(made_of.encode()).hexdigest()
    kept = work / "made_with.txt"
    if kept.exists() and kept.read_text() != made_with:
        raise ArtifactError("{folder} holds checkpoints of another recipe or of other images", folder=work.name)
    kept.write_text(made_with)


def train_members(model: str, scans: ScanSet, work: Path, progress: Progress, recipe: Recipe | None = None):
    """Train (or resume) all members; return members, split and two tables of held-out logits (N, K).

    Held-out logits of a development image come from the member that never saw its fold; those of a test
    image from the average of all members. The second table is of the same images through imitated devices.

    Raises
    ------
    InputError
        A label has no image.
    """
    recipe = recipe or RECIPES[model]
    if missing := sorted(set(LABELS[model]) - {LABELS[model][k] for k in np.unique(scans.labels)}):
        raise InputError("Training needs images of every label, got none of {missing}", missing=", ".join(missing))
    work.mkdir(parents=True, exist_ok=True)
    check_work(work, repr(replace(recipe, margin=0)) + data_digest(scans))
    split = split_scans(model, scans, recipe)
    held_out, imitated = np.zeros((2, len(scans.labels), len(LABELS[model])), np.float32)
    seen = imitate(scans.images, OtherDevice(recipe.strength, recipe.flip, recipe.seed))
    members = []
    for number in range(recipe.members):
        use = ~split.test & (split.fold != number)
        member = train_member(scans, use, recipe, number, work, progress)
        mine, shown = split.fold == number, average([member], recipe.margin)
        for table, images in ((held_out, scans.images), (imitated, seen)):
            table[mine] = logits_of(shown, images[mine])
            table[split.test] += logits_of(shown, images[split.test]) / recipe.members
        members.append(member)
    return members, split, held_out, imitated
