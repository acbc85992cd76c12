"""Training of the gate: a classifier of right and wrong images, an autoencoder, limits, and what they refuse."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medai_core.artifacts import Bundle, save_bundle
from medai_core.imaging.augment import OtherDevice
from medai_core.imaging.cards import CARDS
from medai_core.imaging.counterexamples import DRAWN, SPOILED, colour_photograph
from medai_core.imaging.dataset import PUBLIC_TEST, ScanSet, load_scans
from medai_core.imaging.evaluate import share
from medai_core.imaging.gate import KINDS, MODELS, SIGNALS, Limits, check_before, measure
from medai_core.imaging.network import build_autoencoder, build_gate_classifier, join_gate
from medai_core.imaging.prepare import SIZE
from medai_core.imaging.read import read_scan
from medai_core.imaging.train import RECIPES, Place, Progress, Report, Split, check_work, data_digest, split_scans
from medai_core.imaging.train_bundle import VERSION, card_of
from medai_core.metrics import Interval, bootstrap, roc_auc

Rows = list[dict[str, object]]
Images = Mapping[str, NDArray[np.uint8]]
Measured = Mapping[str, Mapping[str, tuple[NDArray[np.float32], NDArray[np.str_]]]]
"""Model → kind of image → (N, 4) as in `CHECKS` and above 1 where refused, and (N,) whose image it is."""
CHECKS = (*SIGNALS, "before")
"""The network's signals, and what is refused before it: colour and emptiness."""
DRAWN_FOR_TEST = 300


@dataclass(frozen=True)
class GateRecipe:
    """How the gate is trained.

    Attributes
    ----------
    drawn : int
        How many images of each kind are drawn in code.
    refused : float
        Share of right held-out images that reconstruction and distance may each refuse.
    slack : float
        Their limits are this much wider than that share asks for, since other sessions are not like ours.
    doubt : float
        Limit on the probability that the image is something else.
    folds : int
        Parts that the development images are cut into; the first is held out for the limits.
    """

    epochs: int = 14
    autoencoder_epochs: int = 16
    batch: int = 64
    steps: int = 120
    rate: float = 2e-3
    strength: float = 0.6
    drawn: int = 900
    refused: float = 0.003
    slack: float = 1.1
    doubt: float = 0.5
    folds: int = 4
    seed: int = 31


class Kinds(keras.utils.PyDataset):
    """Batches of (images (B, 128, 128, 1), kind (B,)): half right images, half wrong ones."""

    def __init__(self, right: Images, drawn: Images, recipe: GateRecipe):
        super().__init__()
        self.right, self.drawn, self.recipe, self.epoch = right, drawn, recipe, 0

    def __len__(self) -> int:
        return self.recipe.steps

    def on_epoch_end(self) -> None:
        self.epoch += 1

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        rng = np.random.default_rng([self.recipe.seed, self.epoch, index])
        kinds = [*rng.choice(MODELS, self.recipe.batch // 2), *rng.choice(KINDS[2:], self.recipe.batch // 2)]
        images = np.stack([self._image(kind, rng) for kind in kinds])
        return images[..., None].astype(np.float32) / 255.0, np.array([KINDS.index(kind) for kind in kinds])

    def _image(self, kind: str, rng: np.random.Generator) -> NDArray[np.uint8]:
        if kind in self.drawn:
            return self.drawn[kind][rng.integers(len(self.drawn[kind]))]
        right = self.right[kind if kind in MODELS else rng.choice(MODELS)]
        image = right[rng.integers(len(right))]
        return SPOILED[kind](image, rng) if kind in SPOILED else image


def draw(count: int, seed: int) -> dict[str, NDArray[np.uint8]]:
    """Return `count` drawn images (count, 128, 128) of each kind that is drawn in code."""
    rng = np.random.default_rng(seed)
    return {kind: np.stack([make(rng) for _ in range(count)]) for kind, make in DRAWN.items()}


def spoil(images: NDArray[np.uint8], seed: int) -> dict[str, NDArray[np.uint8]]:
    """Return each way of spoiling right images, applied to all of them."""
    rng = np.random.default_rng(seed)
    return {kind: np.stack([make(image, rng) for image in images]) for kind, make in SPOILED.items()}


def _train(
    network: keras.Model, batches: Kinds, loss: Callable[..., object], epochs: int, work: Path, progress: Progress
) -> None:
    recipe = batches.recipe
    rate = keras.optimizers.schedules.CosineDecay(recipe.rate, epochs * len(batches))
    network.compile(keras.optimizers.AdamW(rate, weight_decay=1e-3), loss)
    backup = keras.callbacks.BackupAndRestore(work / f"{network.name}.backup", delete_checkpoint=False)
    callbacks = [backup, Place(batches, work / f"{network.name}.seeds.json"), Report(progress, network.name, epochs)]
    network.fit(batches, epochs=epochs, verbose=0, shuffle=False, callbacks=callbacks)


class Pairs(Kinds):
    """Right images alone, as input and as target of the autoencoder."""

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        images, _ = super().__getitem__(index)
        right = images[: self.recipe.batch // 2]
        return right, right


def train_networks(right: Images, recipe: GateRecipe, work: Path, progress: Progress) -> keras.Model:
    """Train classifier and autoencoder on right images (N, 128, 128) of each model; return the joined gate.

    Interrupted, it goes on after the last finished epoch; finished, it is loaded from `work/gate.weights.h5`.
    """
    keras.utils.set_random_seed(recipe.seed)
    work.mkdir(parents=True, exist_ok=True)
    classifier, autoencoder = build_gate_classifier(len(KINDS)), build_autoencoder()
    gate = join_gate(classifier, autoencoder)
    kept = work / "gate.weights.h5"
    if kept.exists():
        gate.load_weights(kept)
        return gate
    drawn = draw(recipe.drawn, recipe.seed)
    image = keras.Input(classifier.input_shape[1:])
    logits = classifier(OtherDevice(recipe.strength, True, recipe.seed)(image))[1]
    training = keras.Model(image, logits, name="gate_classifier_training")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    _train(training, Kinds(right, drawn, recipe), loss, recipe.epochs, work, progress)
    original, redrawn = autoencoder(image)
    # The loss is taken at the autoencoder's own size, on the input it made itself.
    redrawing = keras.Model(image, keras.ops.abs(original - redrawn), name="autoencoder_training")
    pairs = Pairs(right, drawn, recipe)
    _train(redrawing, pairs, _mean_redrawing_error, recipe.autoencoder_epochs, work, progress)
    gate.save_weights(kept)
    return gate


def _mean_redrawing_error(_, error):
    """Mean of squared and absolute error: the first for the whole, the second for edges."""
    return keras.ops.mean(keras.ops.square(error) + 0.1 * error)


def outputs_of(gate: keras.Model, images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    """Return the gate's outputs for 8-bit images (N, 128, 128)."""
    return gate.predict(images[..., None].astype(np.float32) / 255.0, batch_size=64, verbose=0)


def set_limits(gate: keras.Model, known: Images, held_out: Images, recipe: GateRecipe) -> Limits:
    """Estimate feature statistics on the images the gate was trained on, and limits on held-out ones."""
    limits, means, precisions = {}, {}, {}
    for model in MODELS:
        features = outputs_of(gate, known[model])["features"]
        means[model] = features.mean(0).astype(np.float32)
        spread = np.cov(features.T) + 1e-2 * np.eye(features.shape[1]) * features.var()
        precisions[model] = np.linalg.inv(spread).astype(np.float32)
        signals = measure(outputs_of(gate, held_out[model]), model, means[model], precisions[model])
        highest = np.quantile(signals, 1 - recipe.refused, axis=0, method="higher") * recipe.slack
        limits[model] = dict(zip(SIGNALS, highest.tolist(), strict=True))
        limits[model]["kind"] = recipe.doubt
    return Limits(limits, means, precisions)


def excess(gate: keras.Model, limits: Limits, model: str, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return each signal of each image over its limit, (N, 3) in the order of `SIGNALS`; above 1 is refused."""
    measured = measure(outputs_of(gate, images), model, limits.means[model], limits.precisions[model])
    return measured / np.array([limits.limits[model][name] for name in SIGNALS], np.float32)


def checked(gate: keras.Model, limits: Limits, model: str, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return (N, 4) in the order of `CHECKS` of images (N, 128, 128), or (N, 128, 128, 3), on the road of a reading."""
    scans = [read_scan(_png(image)) for image in images]
    refused = [check_before(scan, model) is not None for scan in scans]
    signals = excess(gate, limits, model, np.stack([scan.display for scan in scans]))
    return np.column_stack([signals, np.where(refused, np.inf, 0.0)])


def _png(image: NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG", compress_level=0)
    return stream.getvalue()


def excesses(
    gate: keras.Model, limits: Limits, test: Images, groups: Mapping[str, NDArray[np.str_]], seed: int
) -> Measured:
    """Measure right images of each model and wrong ones; the right images are the kind named like the model.

    Parameters
    ----------
    test, groups : mapping
        Model → right images (N, 128, 128), and the patient or group of duplicates (N,) of each.
    """
    rng = np.random.default_rng(seed + 2)
    drawn = draw(DRAWN_FOR_TEST, seed)
    drawn["colour_photograph"] = np.stack([colour_photograph(rng) for _ in range(DRAWN_FOR_TEST)])
    whose = {model: np.char.add(f"{model} ", groups[model]) for model in MODELS}
    whose |= {kind: np.char.add(f"{kind} ", np.arange(DRAWN_FOR_TEST).astype(str)) for kind in drawn}
    found: dict[str, dict[str, tuple[NDArray[np.float32], NDArray[np.str_]]]] = {}
    for model, other in zip(MODELS, reversed(MODELS), strict=True):
        kinds = {model: test[model], **spoil(test[model], seed + 1), **drawn, "other_modality": test[other]}
        owner = {**whose, **dict.fromkeys(SPOILED, whose[model]), "other_modality": whose[other]}
        found[model] = {kind: (checked(gate, limits, model, images), owner[kind]) for kind, images in kinds.items()}
    return found


def rows_of(measured: Measured, checks: Sequence[str] = CHECKS) -> Rows:
    """Return, per model, the share of right ones that `checks` refuse and, per kind of wrong one, AUROC and share."""
    columns, rows = [CHECKS.index(name) for name in checks], []

    def add(metric: str, interval: Interval, count: int) -> None:
        rows.append({"metric": metric, **interval.to_dict(), "n": count, "split": "test"})

    for model, kinds in measured.items():
        scores = {kind: (beyond[:, columns].max(1), groups) for kind, (beyond, groups) in kinds.items()}
        right, mine = scores.pop(model)
        add(f"{model}: right images refused", share(right > 1, mine), len(right))
        for kind, (score, theirs) in scores.items():
            outcome = np.repeat([False, True], [len(right), len(score)])
            auc = bootstrap(roc_auc, np.r_[right, score], outcome, groups=np.r_[mine, theirs], n=200)
            add(f"{model}: AUROC against {kind}", auc, len(score))
            add(f"{model}: {kind} refused", share(score > 1, theirs), len(score))
    return rows


def _made_of(recipe: GateRecipe, parts: Mapping[str, tuple[ScanSet, Split]]) -> str:
    folds = [hashlib.sha256(split.fold.tobytes()).hexdigest() for _, split in parts.values()]
    return repr(recipe) + "".join([*(data_digest(scans) for scans, _ in parts.values()), *folds])


def train_gate(data: Path, out: Path, progress: Progress) -> Bundle:
    """Rebuild the gate from a folder that holds both public image sets below it.

    The test parts are those of the scan models; the rest is cut into the gate's own folds.

    Raises
    ------
    ArtifactError
        The work folder holds what another recipe, other images or another split made.
    """
    recipe, parts = GateRecipe(), {}
    for model in MODELS:
        scans = load_scans(model, data, leave_out=PUBLIC_TEST)
        parts[model] = scans, split_scans(model, scans, replace(RECIPES[model], members=recipe.folds))
    known = {model: scans.images[split.fold > 0] for model, (scans, split) in parts.items()}
    held_out = {model: scans.images[split.fold == 0] for model, (scans, split) in parts.items()}
    test = {model: scans.images[split.test] for model, (scans, split) in parts.items()}
    work = out.with_name(f"{out.name}.work")
    work.mkdir(parents=True, exist_ok=True)
    check_work(work, _made_of(recipe, parts))
    gate = train_networks(known, recipe, work, progress)
    limits = set_limits(gate, known, held_out, recipe)
    preprocessing = {"size": SIZE, "kinds": list(KINDS), "limits": limits.limits, "version": VERSION}
    arrays = {f"{model}_mean": limits.means[model] for model in MODELS}
    arrays |= {f"{model}_precision": limits.precisions[model] for model in MODELS}
    groups = {model: scans.groups[split.test] for model, (scans, split) in parts.items()}
    measured = excesses(gate, limits, test, groups, recipe.seed + 1)
    # The autoencoder alone is what the gate would be without its other signals.
    baseline = rows_of(measured, ("reconstruction",))
    named = {"known": known, "held_out": held_out, "test": test}
    counts = {model: {name: len(part[model]) for name, part in named.items()} for model in MODELS}
    document = {"figures": rows_of(measured), "baseline": baseline, "notes": CARDS["scan_gate"]["notes"]}
    card = card_of("scan_gate", counts, recipe.seed)
    return save_bundle(out, gate, card, preprocessing, document, {"features": arrays})
