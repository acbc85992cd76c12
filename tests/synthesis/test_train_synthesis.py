"""Training of generator and restorer: who changes what, and that a stopped run goes on as if it never stopped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from untraced import untraced

from medai_core import runtime

runtime.configure()

import keras  # noqa: E402 - after the runtime has set it up

from medai_core.synthesis import directions, network, train, train_flow, train_painters  # noqa: E402
from medai_core.synthesis.network import NetworkConfig  # noqa: E402
from medai_core.synthesis.train import Recipe  # noqa: E402
from medai_core.synthesis.train_flow import FlowRecipe  # noqa: E402
from medai_core.synthesis.train_painters import PainterRecipe  # noqa: E402
from medai_core.synthesis.train_selector import Seen, SelectorRecipe, train_selector  # noqa: E402

TINY = NetworkConfig(
    2,
    widths=(4, 6, 8),
    latent_channels=3,
    patch_widths=(4, 4, 4),
    flow_widths=(4, 8),
    style_size=6,
    heads=2,
    size=32,
)
PAINTER = PainterRecipe(epochs=2, batch=8, precision="float32")
FLOW = FlowRecipe(steps=4, batch=8, every=2, precision="float32")
SELECTOR = SelectorRecipe(made=24, epochs=2, batch=8)
RECIPE = Recipe(TINY, PAINTER, FLOW, SELECTOR, steps=4, batch=16, head_start=1, every=2, precision="float32")


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


def some_flow(seed: int = 0) -> keras.Model:
    flow, rng = network.build_flow(TINY), np.random.default_rng(seed)
    flow.set_weights([rng.normal(0, 0.3, weight.shape) for weight in flow.weights])
    return flow


def test_an_image_depends_on_its_own_seed_and_label_alone() -> None:
    decoder, selector = network.build_decoder(TINY), network.build_selector(TINY)
    whole = network.compose(some_flow(), decoder, selector, np.zeros(3), np.ones(3), TINY)
    rng = np.random.default_rng(0)
    seeds, labels = rng.standard_normal((4, TINY.seed_size), np.float32), np.eye(2, dtype=np.float32)[[0, 1, 0, 1]]
    together, _ = whole.predict(np.hstack([seeds, labels]), verbose=0)
    alone, _ = whole.predict(np.hstack([seeds, labels])[2:3], verbose=0)
    np.testing.assert_allclose(together[2:3], alone, rtol=1e-4, atol=1e-5)
    other, _ = whole.predict(np.hstack([seeds, 1 - labels])[2:3], verbose=0)
    assert np.abs(other - alone).max() > 1e-3


def test_the_whole_network_takes_the_passes_of_its_times() -> None:
    flow, decoder = some_flow(), network.build_decoder(TINY)
    mean, std = np.array([0.1, -0.2, 0.3]), np.array([1.0, 2.0, 0.5])
    config = replace(TINY, emphasis=0.5)
    whole = network.compose(flow, decoder, network.build_selector(config), mean, std, config)
    rng = np.random.default_rng(1)
    seed, asked = rng.standard_normal((2, *TINY.latent_shape), np.float32), np.eye(2, dtype=np.float32)
    label = 1.5 * asked - 0.25  # away from the mean of both
    latents = train.advanced(flow, seed, label, (*TINY.times, 0.0))
    slow = seed
    for now, then in ((1.0, 0.5), (0.5, 0.0)):
        slow = slow + (then - now) * np.array(flow([slow, np.full((2, 1), now, np.float32), label]))
    np.testing.assert_allclose(latents, slow, atol=1e-5)
    batch = np.hstack([seed.reshape(2, -1), asked])
    made, odds = whole.predict(batch, verbose=0)
    np.testing.assert_allclose(made, decoder.predict(slow * std + mean, verbose=0), atol=1e-5)
    imagine, paint = network.parts_of(whole)
    imagined, same_odds = imagine.predict(batch, verbose=0)
    np.testing.assert_allclose(imagined, slow, atol=1e-5)
    np.testing.assert_allclose(paint.predict(imagined, verbose=0), made, atol=1e-5)
    np.testing.assert_allclose(same_odds, odds, atol=1e-5)


def test_directions_are_broad_and_found_where_they_are() -> None:
    shape = (8, 8, 2)
    basis = directions.coarse_basis(shape)
    np.testing.assert_allclose(basis.T @ basis, np.eye(32), atol=1e-6)
    assert {np.unique(row.reshape(shape).nonzero()[2]).size for row in basis.T} == {1}

    def render(seeds: np.ndarray, labels: np.ndarray) -> np.ndarray:
        bright = 128 + 20 * np.clip(seeds @ basis[:, 5], -4, 4)
        return np.broadcast_to(bright[:, None, None], (len(seeds), 128, 128)).astype(np.uint8)

    found = {one.name: one for one in directions.find("brain_mri", render, basis, 2, n=400)}
    assert found["brightness"].vector @ basis[:, 5] > 0.95 and found["brightness"].effect == pytest.approx(1, abs=0.15)


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


# ----------------------------------------------------------------------------------------------- selector


def test_the_selector_makes_up_for_a_kind_that_is_made_too_often() -> None:
    """Real: half of each kind under either label; made: nine of ten of one kind, and a fifth under the wrong label.

    Latents show the kind in their first channel and the label in their second; so does the scan model's answer.
    """
    rng = np.random.default_rng(4)

    def seen(kind: np.ndarray, shown: np.ndarray, label: np.ndarray) -> Seen:
        latents = rng.normal(0, 0.1, (len(kind), *TINY.latent_shape))
        latents[..., 0] += kind[:, None, None]
        latents[..., 1] += 2.0 * shown[:, None, None] - 1
        features = np.stack([2.0 * kind - 1, 2.0 * shown - 1, rng.normal(size=len(kind))], 1)
        return Seen(latents, label, features, np.where(np.eye(2)[shown] == 1, 0.95, 0.05))

    half, label = np.arange(600) % 4, rng.integers(0, 2, 1200)
    kind, shown = (rng.random(1200) < 0.9) * 1, np.where(rng.random(1200) < 0.8, label, 1 - label)
    config = replace(TINY, selector_widths=(8, 8, 16), glance_size=3)
    recipe = SelectorRecipe(strictness=0.0, epochs=12, batch=32)
    made, rows = seen(kind, shown, label), []
    selector = train_selector(seen(half // 2, half % 2, half % 2), made, config, recipe, rows.append)
    assert rows[-1]["val_loss"] < rows[0]["val_loss"]
    kinds = np.eye(2, dtype=np.float32)[label]
    chance = selector.predict([made.latents.astype(np.float32), kinds], verbose=0)[:, 0]
    clear = shown == label
    common, rare = chance[clear & (kind == 1)].mean(), chance[clear & (kind == 0)].mean()
    # Five to one and five to nine, as shares of what real and made images have together.
    assert (rare, common) == (pytest.approx(5 / 6, abs=0.12), pytest.approx(5 / 14, abs=0.12))
    assert chance[~clear].max() < 0.3 * common


# -------------------------------------------------------------------------------------------------- views


def test_views_move_and_mask_like_the_slow_way() -> None:
    shape = (16, 16, 3)
    rng = np.random.default_rng(3)
    view = train.views(np.random.default_rng(5), 40, shape, 0.5)
    x = rng.standard_normal((40, *shape)).astype(np.float32)
    rows, columns, mask = view
    seen, moved = np.array(train.seen_through(x, view)), 0
    for k in range(40):
        down = int(np.argmax(rows[k].sum(1) > 0) - np.argmax(rows[k].sum(0) > 0))
        right = int(np.argmax(columns[k].sum(1) > 0) - np.argmax(columns[k].sum(0) > 0))
        moved += bool(down or right)
        expected = np.zeros(shape)
        for i in range(16):
            for j in range(16):
                if 0 <= i - down < 16 and 0 <= j - right < 16:
                    expected[i, j] = x[k, i - down, j - right]
        np.testing.assert_allclose(seen[k], expected * mask[k], atol=1e-5)
    patched = (mask == 0).any((1, 2, 3))
    assert 10 < moved < 35 and 3 < patched.sum() < 18 and (mask.mean((1, 2, 3)) > 0.5).all()
    untouched = train.views(np.random.default_rng(5), 4, shape, 0.0)
    np.testing.assert_array_equal(train.seen_through(x[:4], untouched), x[:4])


# ------------------------------------------------------------------------------------------------ players


def test_a_player_changes_its_own_networks_alone(latents) -> None:
    maker, critic = train.gan_players(RECIPE, some_flow())
    turns = next(train._latent_batches(*latents, RECIPE, 0))
    one, two = ((*turn[:3], np.ones((16, 1), np.float32), *turn[4:]) for turn in turns)
    before = copies(maker.owned[0]), copies(critic.owned[0])
    critic.turn(1e-3, *one)
    assert same(before[0], copies(maker.owned[0])) and not same(before[1], copies(critic.owned[0]))
    between = copies(critic.owned[0])
    maker.turn(1e-3, *two[:-1])
    assert not same(before[0], copies(maker.owned[0])) and same(between, copies(critic.owned[0]))


class Stopped(Exception):
    pass


def stop(row: dict) -> None:
    raise Stopped


def test_a_stopped_gan_goes_on_as_if_it_had_not_stopped(latents, tmp_path: Path) -> None:
    def run(name: str, progress) -> list[np.ndarray]:
        (tmp_path / name).mkdir(exist_ok=True)
        look = lambda generator, step: {"at": step}  # noqa: E731 - what every step is measured by
        return copies(train.train_gan(*latents, some_flow(), RECIPE, tmp_path / name, progress, look))

    rows: list[dict] = []
    with untraced():
        straight = run("straight", rows.append)
        assert [row["at"] for row in rows] == [row["epoch"] for row in rows] == [2, 4]
        with pytest.raises(Stopped):
            run("stopped", stop)
        resumed = run("stopped", rows.append)
    assert all(np.allclose(a, b, atol=1e-6) for a, b in zip(straight, resumed, strict=True))


def test_a_stopped_flow_goes_on_as_if_it_had_not_stopped(latents, tmp_path: Path) -> None:
    real, labels = latents

    def run(name: str, progress) -> list[np.ndarray]:
        (tmp_path / name).mkdir(exist_ok=True)
        return copies(train_flow.train_flow(np.stack([real, real]), labels, TINY, FLOW, tmp_path / name, progress))

    rows: list[dict] = []
    with untraced():
        straight = run("straight", rows.append)
        assert [row["epoch"] for row in rows] == [2, 4]
        with pytest.raises(Stopped):
            run("stopped", stop)
        resumed = run("stopped", rows.append)
    assert all(np.allclose(a, b, atol=1e-6) for a, b in zip(straight, resumed, strict=True))


def test_a_flow_learns_where_the_latents_are(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(64) % 2
    real = (np.where(labels, 2.0, -2.0)[:, None, None, None] + 0.1 * rng.standard_normal((64, *TINY.latent_shape)))[
        None
    ]
    recipe = replace(FLOW, steps=120, rate=1e-2, ema=0.9, every=120, batch=16)
    flow = train_flow.train_flow(real, labels, TINY, recipe, tmp_path, [].append)
    seeds, label = rng.standard_normal((32, *TINY.latent_shape), np.float32), np.eye(2, dtype=np.float32)
    times = tuple(np.linspace(1, 0, 9))
    low, high = (train.advanced(flow, seeds, np.tile(label[k], (32, 1)), times).mean() for k in (0, 1))
    assert low < -0.4 and high > 0.4


def test_moved_copies_stay_near_and_are_not_the_same() -> None:
    image = np.zeros((1, 64, 64), np.uint8)
    image[0, 24:40, 20:44] = 200
    copy = train_flow.moved(np.repeat(image, 20, 0), np.random.default_rng(0)).astype(float)
    rows, columns = np.mgrid[:64, :64]
    down, right = (((copy > 90) * axis).sum((1, 2)) / (copy > 90).sum((1, 2)) for axis in (rows, columns))
    assert np.abs(down - 31.5).max() < 4.5 and np.abs(right - 31.5).max() < 4.5 and down.std() > 0.5 < right.std()
    assert copy.std(0).max() > 5


def test_a_stopped_autoencoder_goes_on_as_if_it_had_not_stopped(images, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    rows: list[dict] = []
    with untraced():
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
    batches = train._latent_batches(real, labels, replace(RECIPE, batch=64, steps=20), 0)
    share = np.mean([turn[1][:, 1].mean() for both in batches for turn in both])
    assert 0.25 < share < 0.35  # half way from 0.1 to 0.5
