"""The generator's public face, on a tiny untrained network: seeds, labels, near-copies and wrong arguments."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from medai_core import runtime
from medai_core.errors import InputError

runtime.configure()

import keras  # noqa: E402 - after the runtime has set it up

from medai_core import artifacts  # noqa: E402
from medai_core.artifacts import load_model  # noqa: E402
from medai_core.synthesis import network  # noqa: E402
from medai_core.synthesis.generator import Generator, load_generator  # noqa: E402
from medai_core.synthesis.network import NetworkConfig  # noqa: E402
from medai_core.synthesis.privacy import Descriptors  # noqa: E402

TINY = NetworkConfig(2, (4, 4, 4), 3, (4, 4, 4), (4, 8), (3, 4, 4), style_size=6, heads=2)
LABELS = ["ill", "well"]
FIRST = np.eye(1, TINY.seed_size, dtype=np.float32)[0]


def generator_of(folder: Path, training: np.ndarray | None = None) -> Generator:
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    made = network.build_flow(TINY)
    # Weights so large that the label is seen in 8 bits.
    made.set_weights([rng.normal(0, 0.4, weight.shape) for weight in made.weights])
    picky = network.build_selector(TINY)
    line = picky.get_layer("ratio")
    line.set_weights([rng.normal(0, 1, weight.shape) for weight in line.weights])
    whole = network.compose(made, network.build_decoder(TINY), picky, np.zeros(3), np.ones(3), TINY)
    stranger = rng.integers(0, 256, (40, 128, 128)).astype(np.uint8)
    known = stranger if training is None else np.concatenate([stranger, training])
    descriptors = Descriptors.build(known, np.arange(len(known)).astype(str))
    directions = [{"name": "contrast", "effect": 0.9, "range": 2.5}]
    stored = {"scan_model": "chest_xray", "labels": LABELS, "seed_size": TINY.seed_size, "directions": directions}
    arrays = {"descriptors": descriptors.to_arrays(), "directions": {"contrast": FIRST}}
    card = {"id": "chest_xray_gan", "version": "0"}
    return Generator(artifacts.save_bundle(folder, whole, card, stored, {}, arrays))


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Generator:
    return generator_of(tmp_path_factory.mktemp("generator") / "bundle")


def test_a_seed_always_gives_the_same_images(generator: Generator) -> None:
    few, many = generator.generate("ill", 3, seed=1), generator.generate("ill", 20, seed=1)
    kept = [image.index for image in many.images]
    assert kept == sorted(set(kept)) and many.passed_over + many.withheld == kept[-1] + 1 - 20
    assert many.passed_over > 0
    for one, other in zip(few.images, many.images, strict=False):
        assert (one.index, one.seed, one.label) == (other.index, 1, "ill")
        assert np.abs(one.pixels.astype(int) - other.pixels).max() <= 1
    again = generator.generate("ill", 3, seed=2)
    assert not np.array_equal(again.images[0].pixels, few.images[0].pixels)


def test_the_label_changes_the_image_and_the_latent_stays(generator: Generator) -> None:
    made = generator.generate("well", 3, 7).images
    ill, well = np.stack([generator.across(7, image.index).images for image in made], 1)  # (2, 3, 128, 128)
    assert not np.array_equal(ill, well)
    np.testing.assert_allclose(well, [image.pixels for image in made], atol=1)


def test_the_selector_keeps_as_often_as_its_chances_say(generator: Generator) -> None:
    whole = load_model(generator.bundle)
    seeds = np.stack([np.random.default_rng([11, k]).standard_normal(TINY.seed_size) for k in range(400)])
    batch = np.hstack([seeds, np.tile([1.0, 0.0], (400, 1))]).astype(np.float32)
    chance = whole.predict(batch, verbose=0)[1][:, 0]
    numbers = (number for number, _ in generator.kept("ill", 11))
    kept = np.isin(np.arange(400), list(itertools.takewhile(lambda number: number < 400, numbers)))
    spread = float(np.sqrt((chance * (1 - chance)).sum()))
    assert chance.std() > 0.05 and kept.sum() == pytest.approx(chance.sum(), abs=4 * spread)
    assert chance[kept].mean() > chance[~kept].mean() + 0.01


def test_sliders_move_the_same_images(generator: Generator) -> None:
    plain = [image.index for image in generator.generate("ill", 6, 3).images]
    for change in ({"truncation": 0.5}, {"shifts": {"contrast": 2.0}}):
        assert [image.index for image in generator.generate("ill", 6, 3, **change).images] == plain


def test_truncation_and_shifts_act_on_the_seed(generator: Generator) -> None:
    latents = generator.latents(4, 3)
    shrunk = generator.render(latents, "ill", truncation=0.5).images
    np.testing.assert_allclose(shrunk, generator.render(0.5 * latents, "ill").images, atol=1)
    moved = generator.render(latents, "ill", shifts={"contrast": 2.0}).images
    np.testing.assert_allclose(moved, generator.render(latents + 2.0 * FIRST, "ill").images, atol=1)


def test_interpolation_goes_from_one_image_to_the_other(generator: Generator) -> None:
    way = generator.interpolate("well", 1, 2, 5).images
    ends = [generator.generate("well", 1, seed).images[0].pixels for seed in (1, 2)]
    np.testing.assert_allclose(way[0], ends[0], atol=1)
    np.testing.assert_allclose(way[-1], ends[1], atol=1)


TRAINED = np.random.default_rng(9).integers(0, 256, (3, 128, 128)).astype(np.uint8)


@pytest.fixture(scope="module")
def careful(tmp_path_factory: pytest.TempPathFactory) -> Generator:
    """A generator that was trained on three images known here."""
    return generator_of(tmp_path_factory.mktemp("careful") / "bundle", TRAINED)


def test_a_training_image_is_withheld_and_the_next_takes_its_place(careful: Generator, monkeypatch) -> None:
    def copying(latents, *rest):
        """A generator that has learnt three images by heart and makes them in its first call."""
        made = np.random.default_rng(len(latents)).integers(0, 256, (len(latents), 128, 128)).astype(np.uint8)
        if not calls:
            made[1:4] = TRAINED
        calls.append(len(latents))
        return made

    calls: list[int] = []
    monkeypatch.setattr(careful, "_painted", copying)
    out = careful.generate("ill", 5, seed=0)
    assert (len(out.images), out.withheld, calls) == (5, 3, [5, 3])
    kept = [number for number, _ in itertools.islice(careful.kept("ill", 0), 8)]
    assert [image.index for image in out.images] == [kept[0], *kept[4:]]
    assert out.passed_over == kept[-1] + 1 - 8


WAYS = {
    "render": lambda generator: generator.render(generator.latents(2, 1), "ill"),
    "interpolate": lambda generator: generator.interpolate("ill", 1, 2, 2),
    "across": lambda generator: generator.across(1),
}


@pytest.mark.parametrize("way", WAYS)
def test_no_way_lets_a_training_image_out(careful: Generator, monkeypatch, way: str) -> None:
    other = np.random.default_rng(10).integers(0, 256, (128, 128)).astype(np.uint8)
    monkeypatch.setattr(careful, "_drawn", lambda *asked: np.stack([TRAINED[0], other]))
    made = WAYS[way](careful)
    assert made.withheld.tolist() == [True, False]
    assert not made.images[0].any() and np.array_equal(made.images[1], other)


@pytest.mark.parametrize("seeds", [np.zeros((2, 5)), np.zeros(TINY.seed_size), np.zeros((0, TINY.seed_size))])
def test_seed_vectors_of_another_shape_are_named(generator: Generator, seeds: np.ndarray) -> None:
    with pytest.raises(InputError, match="Seed vectors must have shape"):
        generator.render(seeds, "ill")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"label": "cat"}, "`label` must be one of ill, well, got 'cat'"),
        ({"count": 0}, "`count` must be a whole number from 1 to 1000, got 0"),
        ({"count": 10_000}, "got 10000"),
        ({"seed": "x"}, "`seed` must be a whole number"),
        ({"seed": -1}, "`seed` must be"),
        ({"truncation": 3.0}, "`truncation` must be from 0.1 to 1.5, got 3.0"),
        ({"shifts": {"age": 1.0}}, "`shifts` must name one of contrast, got 'age'"),
        ({"shifts": {"contrast": float("nan")}}, "`shifts` must hold a number for contrast, got nan"),
        ({"shifts": {"contrast": "far"}}, "`shifts` must hold a number for contrast, got 'far'"),
    ],
)
def test_wrong_arguments_are_named(generator: Generator, change: dict, words: str) -> None:
    with pytest.raises(InputError) as error:
        generator.generate(**({"label": "ill", "count": 1, "seed": 0} | change))
    assert words in str(error.value)


def test_an_unknown_generator_is_named() -> None:
    with pytest.raises(InputError, match="`model` must be one of chest_xray, brain_mri, got 'cat'"):
        load_generator("cat")
