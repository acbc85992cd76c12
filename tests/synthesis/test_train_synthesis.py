"""Training of generator and restorer: who changes what, and that a stopped run goes on as if it never stopped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medai_core import runtime

runtime.configure()

import keras  # noqa: E402 - after the runtime has set it up

from medai_core.synthesis import network, train, train_painters  # noqa: E402
from medai_core.synthesis.network import NetworkConfig  # noqa: E402
from medai_core.synthesis.train import Recipe  # noqa: E402
from medai_core.synthesis.train_painters import PainterRecipe  # noqa: E402

TINY = NetworkConfig(
    2,
    widths=(4, 6, 8),
    latent_channels=3,
    patch_widths=(4, 4, 4),
    seed_size=5,
    style_size=6,
    generator_widths=(8, 8, 8),
    critic_widths=(8, 8, 8),
    size=32,
)
PAINTER = PainterRecipe(epochs=2, batch=8, precision="float32")
RECIPE = Recipe(TINY, PAINTER, steps=4, batch=16, every=2, precision="float32")


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (16, 32, 32)).astype(np.uint8)


@pytest.fixture(scope="module")
def latents() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    return rng.standard_normal((24, *TINY.latent_shape)).astype(np.float32), np.arange(24) % 2


def copies(model: keras.Model) -> list[np.ndarray]:
    return [np.array(weight) for weight in model.get_weights()]


def same(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


# ----------------------------------------------------------------------------------------------- networks


def test_encoder_and_decoder_fit_together() -> None:
    encoder, decoder = network.build_encoder(TINY), network.build_decoder(TINY)
    assert encoder.output_shape[1:] == TINY.latent_shape == decoder.input_shape[1:]
    assert decoder.output_shape == encoder.input_shape == (None, 32, 32, 1)


def test_an_image_depends_on_its_own_seed_and_label_alone() -> None:
    generator = network.build_generator(TINY)
    generator.set_weights([np.random.default_rng(k).normal(size=w.shape) for k, w in enumerate(generator.weights)])
    rng = np.random.default_rng(0)
    seeds, labels = rng.standard_normal((4, 5)).astype(np.float32), np.eye(2, dtype=np.float32)[[0, 1, 0, 1]]
    together = generator.predict([seeds, labels], verbose=0)
    alone = generator.predict([seeds[2:3], labels[2:3]], verbose=0)
    np.testing.assert_allclose(together[2:3], alone, rtol=1e-4, atol=1e-5)
    other = generator.predict([seeds[2:3], 1 - labels[2:3]], verbose=0)
    assert np.abs(other - alone).max() > 1e-3


def test_pixel_shuffle_lays_channels_out_as_pixels() -> None:
    x = np.arange(2 * 3 * 4, dtype=np.float32).reshape(1, 2, 3, 4)
    out = np.array(network.PixelShuffle()(x))
    assert out.shape == (1, 4, 6, 1)
    for row in range(2):
        for column in range(3):
            block = out[0, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2, 0]
            np.testing.assert_array_equal(block.ravel(), x[0, row, column])


def test_group_spread_sees_a_generator_that_repeats_itself() -> None:
    layer = network.GroupSpread(2)
    x = np.random.default_rng(0).normal(size=(4, 2, 2, 3)).astype(np.float32)
    x[1] = x[0]
    spread = np.array(layer(x))[:, 0, 0, -1]
    assert spread[0] == spread[1] < 0.01 and spread[2] == spread[3] > 0.1


# -------------------------------------------------------------------------------------------------- views


def test_views_move_mask_and_rescale_like_the_slow_way() -> None:
    shape = (16, 16, 3)
    rng = np.random.default_rng(3)
    view = train.views(np.random.default_rng(5), 6, shape)
    x = rng.standard_normal((6, *shape)).astype(np.float32)
    rows, columns, mask, scale, shift = view
    seen = np.array(train.seen_through(x, view))
    moved_any = False
    for k in range(6):
        down = int(np.argmax(rows[k].sum(1) > 0) - np.argmax(rows[k].sum(0) > 0))
        right = int(np.argmax(columns[k].sum(1) > 0) - np.argmax(columns[k].sum(0) > 0))
        moved_any |= bool(down or right)
        expected = np.zeros(shape)
        for i in range(16):
            for j in range(16):
                if 0 <= i - down < 16 and 0 <= j - right < 16:
                    expected[i, j] = x[k, i - down, j - right]
        expected = (expected * scale[k] + shift[k]) * mask[k]
        np.testing.assert_allclose(seen[k], expected, atol=1e-5)
    assert moved_any and (mask == 0).any() and (mask.mean((1, 2, 3)) > 0.5).all()


# ------------------------------------------------------------------------------------------------ players


def test_a_player_changes_its_own_networks_alone(latents) -> None:
    maker, critic = train.gan_players(RECIPE)
    one, two = next(train._latent_batches(*latents, RECIPE, 0, 1))
    before = copies(maker.owned[0]), copies(critic.owned[0])
    critic.turn(1e-3, *one)
    assert same(before[0], copies(maker.owned[0])) and not same(before[1], copies(critic.owned[0]))
    between = copies(critic.owned[0])
    maker.turn(1e-3, *two[:-1])
    assert not same(before[0], copies(maker.owned[0])) and same(between, copies(critic.owned[0]))


def test_a_stopped_gan_goes_on_as_if_it_had_not_stopped(latents, tmp_path: Path) -> None:
    def run(name: str, steps: int) -> list[np.ndarray]:
        (tmp_path / name).mkdir(exist_ok=True)
        seen = []
        recipe = replace(RECIPE, steps=steps)
        trained = train.train_gan(*latents, recipe, tmp_path / name, seen.append, lambda generator, step: {"at": step})
        assert [row["at"] for row in seen] == [row["epoch"] for row in seen]
        return copies(trained)

    class Stopped(Exception):
        pass

    def stop(row: dict) -> None:
        raise Stopped

    straight = run("straight", 4)
    (tmp_path / "stopped").mkdir()
    with pytest.raises(Stopped):
        train.train_gan(*latents, RECIPE, tmp_path / "stopped", stop, lambda generator, step: {})
    resumed = run("stopped", 4)
    assert all(np.allclose(a, b, atol=1e-6) for a, b in zip(straight, resumed, strict=True))


def test_a_stopped_autoencoder_goes_on_as_if_it_had_not_stopped(images, tmp_path: Path) -> None:
    class Stopped(Exception):
        pass

    def stop(row: dict) -> None:
        raise Stopped

    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    rows: list[dict] = []
    straight = train_painters.train_autoencoder(images, TINY, PAINTER, tmp_path / "a", rows.append)
    assert [row["epoch"] for row in rows] == [1, 2] and all(np.isfinite(row["loss"]) for row in rows)
    with pytest.raises(Stopped):
        train_painters.train_autoencoder(images, TINY, PAINTER, tmp_path / "b", stop)
    resumed = train_painters.train_autoencoder(images, TINY, PAINTER, tmp_path / "b", rows.append)
    for a, b in zip(straight, resumed, strict=True):
        assert all(np.allclose(x, y, atol=1e-6) for x, y in zip(copies(a), copies(b), strict=True))


def test_rare_labels_are_shown_more_often_than_they_occur() -> None:
    labels = np.array([0] * 90 + [1] * 10)
    real = np.zeros((100, *TINY.latent_shape), np.float32)
    batches = train._latent_batches(real, labels, replace(RECIPE, batch=64), 0, 20)
    share = np.mean([turn[1][:, 1].mean() for both in batches for turn in both])
    assert 0.25 < share < 0.35  # half way from 0.1 to 0.5


# --------------------------------------------------------------------------------------------- restoration


def test_damage_says_where_it_took_pixels_away() -> None:
    clean = np.full((40, 32, 32, 1), 0.2, np.float32)
    given = train_painters.damaged(clean, np.random.default_rng(0))
    missing = given[..., 1] > 0
    assert set(np.unique(given[..., 1])) == {0.0, 1.0}
    assert (given[..., 0][missing] == 0.5).all()
    assert (np.abs(given[..., 0] - 0.2).max((1, 2)) > 0.005).all(), "no image may come through undamaged"
    assert (missing.mean((1, 2)) < 0.25).all()


def test_the_restorer_learns(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    grey = np.repeat(rng.integers(40, 216, 64), 32 * 32).reshape(64, 32, 32).astype(np.uint8)
    rows: list[dict] = []
    recipe = replace(PAINTER, epochs=8, rate=5e-3, adversarial_after=1.0)
    restorer = train_painters.train_restorer(grey, TINY, recipe, tmp_path, rows.append)
    assert restorer.output_shape == (None, 32, 32, 1)
    assert rows[-1]["loss"] < 0.8 * rows[0]["loss"]
