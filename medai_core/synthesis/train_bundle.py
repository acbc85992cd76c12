"""From labelled images to a generator's bundle: both trainings, directions, descriptors, figures, card."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medai_core.artifacts import Bundle, round_weights, save_bundle
from medai_core.errors import ArtifactError
from medai_core.likeness import joined_groups
from medai_core.synthesis import directions, quality
from medai_core.synthesis.cards import CARDS, VERSION, card_of
from medai_core.synthesis.evaluate import evaluate
from medai_core.synthesis.generator import GENERATORS, Generator
from medai_core.synthesis.network import build_selector, compose, parts_of
from medai_core.synthesis.privacy import Descriptors
from medai_core.synthesis.split import split
from medai_core.synthesis.train import RECIPES, Recipe, train_gan
from medai_core.synthesis.train_flow import moved, train_flow
from medai_core.synthesis.train_painters import Progress, encode, train_autoencoder
from medai_core.synthesis.train_selector import Seen, train_selector

SCAN_MODELS = {generator: scan_model for scan_model, generator in GENERATORS.items()}
BITS = 5
"""Significant bits of a stored weight, which 10 MB have room for: the generator is measured after rounding."""
PER_CALL = 500
LOOK = 1500
"""Images made to measure a generator in training."""

Images = NDArray[np.uint8]
ScanModel = Callable[[Images], tuple[NDArray[np.float32], NDArray[np.float64]]]
"""Images (N, 128, 128) → features (N, D) and probabilities (N, K)."""


def renderer(network: keras.Model, classes: int) -> Callable[[NDArray[np.float32], NDArray[np.int64]], Images]:
    """Return seeds (N, Z), labels (N,) → 8-bit images (N, 128, 128), whether the selector would keep them or not."""

    def render(seeds: NDArray[np.float32], labels: NDArray[np.int64]) -> Images:
        batch = np.concatenate([seeds, np.eye(classes, dtype=np.float32)[labels]], 1)
        images, _ = network.predict(batch, batch_size=32, verbose=0)
        return np.round(images[..., 0] * 255).astype(np.uint8)

    return render


def contact_sheet(images: Images, path: Path, columns: int = 12) -> None:
    """Save images (N, H, W) side by side, to look at while training goes on."""
    rows = [
        np.concatenate(list(images[k : k + columns]), 1) for k in range(0, len(images) // columns * columns, columns)
    ]
    Image.fromarray(np.concatenate(rows)).save(path)


def check_work(work: Path, images: Images, labels: NDArray[np.int64], recipe: object) -> None:
    """Make the work folder, or refuse to go on with what another recipe or other images left in it."""
    made_with = hashlib.sha256(repr(recipe).encode() + images.tobytes() + labels.tobytes()).hexdigest()
    work.mkdir(parents=True, exist_ok=True)
    kept = work / "made_with.txt"
    if kept.exists() and kept.read_text() != made_with:
        raise ArtifactError("{folder} holds checkpoints of another recipe or of other images", folder=work.name)
    kept.write_text(made_with)


def train_generator(
    model: str,
    images: Images,
    labels: NDArray[np.int64],
    groups: NDArray[np.str_],
    label_names: tuple[str, ...],
    scan_model: ScanModel,
    out: Path,
    progress: Progress,
) -> Bundle:
    """Train one generator; an interrupted run is taken up where it stopped.

    Parameters
    ----------
    model : str
        ``chest_xray_gan`` or ``brain_mri_gan``.
    images, labels, groups
        (N, 128, 128) prepared, (N,) index into `label_names`, (N,) patient or group of near-duplicates. A tenth of
        the groups is kept out of training, to judge by.
    out : Path
        Becomes the bundle; checkpoints, sample grids and figures on the way are kept beside it in ``<out>.work``.
    """
    recipe, work = RECIPES[model], out.with_name(f"{out.name}.work")
    check_work(work, images, labels, recipe)
    train, held = split(groups, labels)
    encoder, decoder = train_autoencoder(images[train], recipe.network, recipe.painter, work, progress)
    latents = encode(encoder, images[train])  # (N, 16, 16, C)
    mean, std = latents.mean((0, 1, 2)), latents.std((0, 1, 2))
    share = np.bincount(labels[train]) / train.sum()
    real, _ = scan_model(images[held])

    def look(generator: keras.Model, step: int) -> dict[str, float]:
        rng = np.random.default_rng(recipe.seed)
        seeds = rng.standard_normal((LOOK, recipe.network.seed_size), np.float32)
        asked = rng.choice(len(share), LOOK, p=share)
        network = compose(generator, decoder, build_selector(recipe.network), mean, std, recipe.network)
        made = renderer(network, len(share))(seeds, asked)
        contact_sheet(np.concatenate([made[asked == k][:12] for k in range(len(share))]), work / f"grid_{step:06d}.png")
        features, probabilities = scan_model(made)
        agreement = float((probabilities.argmax(1) == asked).mean())
        return {"frechet": round(quality.frechet(real, features), 4), "agreement": round(agreement, 3)}

    rng = np.random.default_rng([recipe.flow.seed, 6])
    copies = (encode(encoder, moved(images[train], rng)) for _ in range(recipe.flow.copies))
    standard = np.stack([((part - mean) / std).astype(np.float16) for part in (latents, *copies)])
    flow = train_flow(standard, labels[train], recipe.network, recipe.flow, work, progress)
    generator = train_gan(standard[0], labels[train], flow, recipe, work, progress, look)
    selector = fit_selector(generator, decoder, latents, images[train], labels[train], scan_model, recipe, progress)
    network = compose(generator, decoder, selector, mean, std, recipe.network)
    return bundle_of(model, network, images, labels, groups, label_names, scan_model, out, progress)


def fit_selector(
    generator: keras.Model,
    decoder: keras.Model,
    latents: NDArray[np.floating],
    images: Images,
    labels: NDArray[np.int64],
    scan_model: ScanModel,
    recipe: Recipe,
    progress: Progress,
) -> keras.Model:
    """Make images of each label as often as it occurs, show them and the real ones to the scan model, and train.

    Parameters
    ----------
    latents, images, labels
        Real ones: (N, 16, 16, C) not yet standardised, (N, 128, 128) and (N,).
    """
    config, classes = recipe.network, recipe.network.classes
    mean, std = latents.mean((0, 1, 2)), latents.std((0, 1, 2))
    imagine, paint = parts_of(compose(generator, decoder, build_selector(config), mean, std, config))
    rng = np.random.default_rng([recipe.selector.seed, 7])
    asked = rng.choice(classes, recipe.selector.made, p=np.bincount(labels, minlength=classes) / len(labels))
    made, answers = [], []
    for start in range(0, len(asked), PER_CALL):
        kinds = np.eye(classes, dtype=np.float32)[asked[start : start + PER_CALL]]
        seeds = rng.standard_normal((len(kinds), config.seed_size), np.float32)
        made.append(imagine.predict(np.concatenate([seeds, kinds], 1), batch_size=32, verbose=0)[0])
        pixels = np.round(paint.predict(made[-1], batch_size=32, verbose=0)[..., 0] * 255).astype(np.uint8)
        answers += quality.in_chunks(scan_model, pixels)
        progress({"part": "selector's images", "epoch": start + len(kinds), "of": len(asked)})
    real = Seen((latents - mean) / std, labels, *_answers(quality.in_chunks(scan_model, images)))
    return train_selector(
        real, Seen(np.concatenate(made), asked, *_answers(answers)), config, recipe.selector, progress
    )


def _answers(parts: Iterable[tuple[NDArray, NDArray]]) -> list[NDArray]:
    return [np.concatenate(column) for column in zip(*parts, strict=True)]


def bundle_of(
    model: str,
    network: keras.Model,
    images: Images,
    labels: NDArray[np.int64],
    groups: NDArray[np.str_],
    label_names: tuple[str, ...],
    scan_model: ScanModel,
    out: Path,
    progress: Progress,
) -> Bundle:
    """Write the bundle of a trained network (of :func:`compose`), measured after its weights were rounded.

    The other parameters are those of :func:`train_generator`.
    """
    recipe, work = RECIPES[model], out.with_name(f"{out.name}.work")
    round_weights(network, BITS)
    train, held = split(groups, labels)
    names = joined_groups(images[train], groups[train])
    features, _ = _answers(quality.in_chunks(scan_model, images[train]))  # (N, D)
    arrays = {"descriptors": Descriptors.build(images[train], names, features).to_arrays()}
    basis, classes = directions.coarse_basis(recipe.network.latent_shape), recipe.network.classes
    found = directions.find(SCAN_MODELS[model], renderer(network, classes), basis, classes, seed=recipe.seed)
    arrays["directions"] = {direction.name: direction.vector for direction in found}
    preprocessing = _preprocessing(model, label_names, recipe, found)
    card = card_of(model, images, labels, groups, held, asdict(recipe))
    unmeasured = save_bundle(work / "unmeasured", network, card, preprocessing, {}, arrays, bits=BITS)
    figures = evaluate(Generator(unmeasured), images, labels, groups, scan_model, progress)
    metrics = {"figures": figures, "notes": CARDS[model]["notes"]}
    return save_bundle(out, network, card, preprocessing, metrics, arrays, bits=BITS)


def _preprocessing(
    model: str, label_names: Sequence[str], recipe: Recipe, found: Sequence[directions.Found]
) -> dict[str, object]:
    return {
        "scan_model": SCAN_MODELS[model],
        "labels": list(label_names),
        "size": recipe.network.size,
        "seed_size": recipe.network.seed_size,
        "directions": [{"name": row.name, "effect": row.effect, "range": row.reach} for row in found],
        "version": VERSION,
    }
