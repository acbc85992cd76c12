"""The map of patients: planted groups are found and named, and what cannot be laid out is refused."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_stays import entries, grid_of
from numpy.typing import NDArray

from medai_core.errors import InputError
from medai_core.icu.grid import Grid, stack
from medai_core.icu.landscape import Landscape, landscape, states
from medai_core.icu.variables import INDEX

SIZES = (30, 20, 12)


def planted(sizes: tuple[int, ...] = SIZES) -> tuple[NDArray[np.float64], Grid, NDArray[np.float64], NDArray[np.intp]]:
    """Groups of states far apart; the second has slow hearts, the third, of the highest risk, high lactate."""
    rng, group = np.random.default_rng(0), np.repeat(np.arange(len(sizes)), sizes)
    centres = rng.normal(size=(len(sizes), 40)) * 3
    grids = []
    for k, g in enumerate(group):
        rows = [(m, n, v - 30 * (g == 1) if n == "HR" else v) for m, n, v in entries(k, hours=6)]
        rows += [(200, "Lactate", 9 + k % 3 if g == 2 else 1 + k % 2 / 2), (2500, "Temp", 30.0)]
        grids.append(grid_of(sorted(rows), {"Age": 50.0 + k % 20}))
    return centres[group] + rng.normal(size=(len(group), 40)), stack(grids), 0.1 + 0.3 * group, group


def nearest(xy: NDArray[np.float64]) -> NDArray[np.intp]:
    """The other point closest to each, (N,)."""
    apart = np.linalg.norm(xy[:, None] - xy[None], axis=-1)
    np.fill_diagonal(apart, np.inf)
    return apart.argmin(axis=1)


@pytest.fixture(scope="module")
def found() -> Landscape:
    x, grid, risk, _ = planted()
    return landscape(x, grid, 6, risk)


def test_planted_groups_are_found_and_numbered_by_risk(found):
    np.testing.assert_array_equal(found.cluster, planted()[3])
    assert [(note.cluster, note.n) for note in found.about] == list(enumerate(SIZES))
    np.testing.assert_allclose([note.mean_risk for note in found.about], [0.1, 0.4, 0.7])
    assert found.method == "pca" and 0.5 < found.silhouette <= 1


def test_what_sets_them_apart_by_hand(found):
    x, grid, _, group = planted()
    slow, high = found.about[1].distinguishing[0], found.about[2].distinguishing[0]
    assert (slow.variable, high.variable) == ("HR", "Lactate") and slow.standardised < -2 < 2 < high.standardised
    heart = grid.carried[:, 5, INDEX["HR"]].astype(float)
    a, b = heart[group == 1], heart[group != 1]
    assert (slow.mean, slow.elsewhere) == (pytest.approx(a.mean()), pytest.approx(b.mean()))
    pooled = np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2)
    assert slow.standardised == pytest.approx((a.mean() - b.mean()) / pooled)
    assert all(len(note.distinguishing) == 5 for note in found.about)
    sizes = [abs(each.standardised) for each in found.about[1].distinguishing]
    assert sizes == sorted(sizes, reverse=True) and np.isfinite(sizes).all()


def test_nothing_after_a_stays_hour_is_looked_at(found):
    """The temperature of hour 42 is not among what sets groups apart at hour 6, nor does it change a figure."""
    x, grid, risk, _ = planted()
    cut = Grid(*(np.where(np.arange(48)[:, None] < 6, t, np.nan) for t in (grid.mean, grid.low, grid.high)), grid.fixed)
    assert landscape(x, cut, np.full(len(x), 6), risk).about == found.about


def test_neighbours_stay_neighbours_and_risk_rises_to_the_right(found):
    x, grid, risk, group = planted()
    assert found.xy.shape == (len(x), 2) and np.corrcoef(found.xy[:, 0], risk)[0, 1] > 0
    np.testing.assert_array_equal(group[nearest(found.xy)], group)
    mirrored = landscape(x, grid, 6, -risk)
    np.testing.assert_allclose(mirrored.xy[:, 0], -found.xy[:, 0])


def test_umap_keeps_the_groups_and_gives_the_same_again():
    x, grid, risk, group = planted()
    one, again = (landscape(x, grid, 6, risk, "umap", seed=4) for _ in range(2))
    np.testing.assert_array_equal(one.xy, again.xy)
    np.testing.assert_array_equal(group[nearest(one.xy)], group)
    assert one.method == "umap"
    np.testing.assert_array_equal(one.cluster, group)


def test_the_number_of_clusters_may_be_given():
    x, grid, risk, _ = planted()
    assert len(landscape(x, grid, 6, risk, clusters=2).about) == 2
    for wrong in (1, 9):
        with pytest.raises(InputError, match=f"`clusters` must be between 2 and 8 for these stays, got {wrong}"):
            landscape(x, grid, 6, risk, clusters=wrong)


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_stays_get_a_place_and_no_cluster(count):
    x, grid, risk, _ = planted((count,))
    found = landscape(x, grid, 48, risk)
    assert found.xy.shape == (count, 2) and np.isfinite(found.xy).all()
    assert (found.cluster == -1).all() and found.about == () and np.isnan(found.silhouette)


def test_equal_stays_get_no_cluster():
    x, grid, risk, _ = planted((6,))
    found = landscape(np.ones_like(x), grid, 48, risk)
    assert (found.cluster == -1).all() and np.isfinite(found.xy).all()


def test_what_cannot_be_laid_out_is_refused():
    x, grid, risk, _ = planted((6,))
    with pytest.raises(InputError, match="`method` must be one of pca, umap, got tsne"):
        landscape(x, grid, 6, risk, "tsne")
    with pytest.raises(InputError, match="UMAP needs at least 10 stays, got 6"):
        landscape(x, grid, 6, risk, "umap")
    with pytest.raises(InputError, match="of the same stays, got 6, 6 and 5"):
        landscape(x, grid, 6, risk[:5])
    for hours in (0, 49, [6] * 5 + [60]):
        with pytest.raises(InputError, match="`hours` must hold one hour from 1 to 48"):
            landscape(x, grid, hours, risk)


def test_states_are_those_of_the_network_and_blind_to_the_future(forecaster, monkeypatch):
    monkeypatch.setattr("medai_core.icu.landscape.CHUNK", 2)
    rows = [entries(k) for k in range(3)]
    whole = stack([grid_of(each) for each in rows])
    hours = np.array([5, 20, 48])
    found = states(forecaster, whole, hours)
    layer = forecaster._model.get_layer("ensemble")
    assert found.shape == (3, layer.members * layer.units)
    for k, hour in enumerate(hours):
        cut = stack([grid_of([row for row in rows[k] if row[0] <= 60 * hour])])
        np.testing.assert_allclose(states(forecaster, cut, int(hour))[0], found[k], atol=1e-5)
    # A linear head on each member's state gives its logit.
    each = found.reshape(3, layer.members, layer.units)
    logits = np.einsum("nmu,mu->nm", each, np.asarray(layer.head)[..., 0]) + np.asarray(layer.head_bias)[:, 0]
    np.testing.assert_allclose(logits.mean(axis=1), forecaster.risks(whole).network[range(3), hours - 1], atol=1e-4)
    assert states(forecaster, whole).shape == found.shape
