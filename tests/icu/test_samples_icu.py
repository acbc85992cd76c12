"""The demonstration stays: what ships, and the model that draws them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from drawn_stays import entries, physionet

from medai_core import registry
from medai_core.errors import ArtifactError
from medai_core.icu import train_courses, train_samples
from medai_core.icu.cohort import load_cohort
from medai_core.icu.features import features
from medai_core.icu.grid import stack
from medai_core.icu.records import read_stay
from medai_core.icu.stay import Stay
from medai_core.icu.train_course_network import LONGER, MINUTES, WAITS
from medai_core.icu.train_courses import AT, ORDER, STEP, TRIPLES, Moments, Past, Scale
from medai_core.icu.train_samples import FIRST_RECORD, KINDS, Kind, choose, cut_text, physionet_text
from medai_core.icu.variables import INDEX, NAMES

ROOT = Path(__file__).resolve().parents[2]
PUBLIC = ROOT.parent / "shared/data/physionet2012"
LISTING = ROOT / "assets/samples.yaml"

SHIPPED = [row for row in yaml.safe_load(LISTING.read_text("utf-8")) if row["label"] == "icu"]


@pytest.fixture(scope="module")
def shipped() -> dict[str, Stay]:
    """Every shipped stay by its file's name."""
    return {row["file"]: read_stay((ROOT / "assets/samples" / row["file"]).read_bytes()) for row in SHIPPED}


# ------------------------------------------------------------------------------------------ what ships


def test_every_kind_ships_and_is_marked_as_synthetic(shipped):
    assert [(row["file"], row["title"], row["model"]) for row in SHIPPED] == [
        (kind.file, kind.title, "icu_mortality") for kind in KINDS
    ]
    assert all(name.startswith("icu_synthetic_") for name in shipped)
    assert [int(stay.id) for stay in shipped.values()] == list(range(FIRST_RECORD, FIRST_RECORD + len(KINDS)))
    on_disk = {path.name for path in (ROOT / "assets/samples").glob("icu_*")}
    assert on_disk == set(shipped)


def test_they_are_of_many_kinds(shipped):
    assert {stay.fixed["Gender"] for stay in shipped.values()} == {0.0, 1.0}
    ages = [stay.fixed["Age"] for stay in shipped.values()]
    assert min(ages) < 55 and max(ages) >= 75
    amounts = [len(stay.values) for stay in shipped.values() if stay.hours == 48]
    assert min(amounts) < 0.6 * np.median(amounts)
    assert sorted(stay.hours for stay in shipped.values()) == [20, *[48] * (len(KINDS) - 1)]


def test_readers_leave_nothing_out(shipped):
    assert {name: stay.left_out for name, stay in shipped.items() if stay.left_out} == {}
    assert {stay.layout for stay in shipped.values()} == {"physionet", "long"}


@pytest.mark.parametrize("row", SHIPPED, ids=lambda row: row["file"])
def test_values_go_together_and_are_written_as_people_write_them(shipped, row):
    stay = shipped[row["file"]]
    column = np.array([AT[name] for name in NAMES])[stay.series]
    steps = STEP[column]
    derived = stay.series == INDEX["NIMAP"]
    off = np.abs(stay.values / steps - np.round(stay.values / steps))
    assert off[~derived].max() < 1e-6
    assert (stay.minutes == np.round(stay.minutes)).all()
    for diastolic, systolic, mean in TRIPLES:
        of = [dict(zip(stay.minutes[stay.series == INDEX[n]], stay.values[stay.series == INDEX[n]], strict=True))
              for n in (diastolic, mean, systolic)]  # fmt: skip
        for minute in set(of[0]) & set(of[1]) & set(of[2]):
            assert of[0][minute] < of[1][minute] < of[2][minute], (minute, systolic)


@pytest.fixture(scope="module")
def risks(shipped):
    if "icu_mortality" not in registry.available():
        pytest.skip("the model icu_mortality is not trained yet")
    from medai_core.icu.forecaster import load_forecaster

    return {name: load_forecaster().forecast(stay).risk for name, stay in shipped.items()}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_title_says_what_the_risk_does(risks, kind):
    risk = risks[kind.file]
    assert len(risk) == kind.hours
    start, end = risk[min(kind.risk) - 1], risk[-1]
    if "rising" in kind.name:
        assert end > 2 * start and end > 0.25
    elif "falling" in kind.name:
        assert end < start / 2
    elif "low" in kind.name or kind.sparse:
        assert end < 0.15
    elif "high" in kind.name:
        assert end > 0.5
    elif "unsteady" in kind.name:
        middle = risk[23]
        assert middle < 0.8 * min(start, end)
    else:
        assert 0.1 < end < 0.4


def test_they_are_no_copies(shipped):
    """No shipped stay is nearer to a real one than the nearest hundredth of real ones are to each other."""
    if not PUBLIC.exists():
        pytest.skip("the public stays are not in ../shared/data/physionet2012")
    cohort = load_cohort(PUBLIC)
    for hours in (20, 48):
        mine = stack([stay.grid() for stay in shipped.values() if stay.hours == hours])
        real, drawn = (_rows(grid, hours) for grid in (cohort.grid, mine))
        centre, spread = np.nanmean(real, axis=0), np.nanstd(real, axis=0)
        real, drawn = (
            np.clip(np.nan_to_num((table - centre) / np.where(spread > 0, spread, 1)), -4, 4) for table in (real, drawn)
        )
        between = np.partition(_apart(real[::8], real), 1, axis=1)[:, 1]
        assert _apart(drawn, real).min() >= np.percentile(between, 1), hours


def _apart(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Euclidean distances of each row to each of others."""
    squared = (rows**2).sum(1)[:, None] + (others**2).sum(1) - 2 * rows @ others.T
    return np.sqrt(np.maximum(squared, 0))


def _rows(grid, hours: int) -> np.ndarray:
    parts = (slice(k, k + 500) for k in range(0, len(grid.fixed), 500))
    rows = np.concatenate([features(train_samples.part_of(grid, part))[:, hours - 1] for part in parts])
    return np.where(np.isinf(rows), np.nan, rows)


# ----------------------------------------------------------------------------------------- the drawing


def test_the_summary_of_the_past_matches_a_slow_one_and_sees_no_later_moment():
    stays = [read_stay(physionet(entries(seed, hours=12))) for seed in range(2)]
    moments = Moments.of(stays)
    scale = Scale.fit(moments.values)
    z, both = scale.z(moments.values), np.arange(2)
    past = Past(train_courses.descriptors([stay.fixed for stay in stays], np.array([0, 1])))
    for step in range(30):
        past.add(both, moments.minutes[:, step], z[:, step])
        for n in both:
            for k in range(len(ORDER)):
                seen = [j for j in range(step + 1) if not np.isnan(z[n, j, k])]
                now = moments.minutes[n, step]
                since = (now - moments.minutes[n, seen[-1]]) / 60 if seen else 48.0
                assert past.since(both)[n, k] == pytest.approx(since, abs=1e-5)
                assert past.last[n, k] == (z[n, seen[-1], k] if seen else 0)
                change = z[n, seen[-1], k] - z[n, seen[-2], k] if len(seen) > 1 else 0
                assert past.change[n, k] == pytest.approx(change, abs=1e-6)


def test_moments_hold_what_the_stay_holds():
    stay = read_stay(physionet(entries(5)))
    moments = Moments.of([stay])
    assert moments.count[0] == len(np.unique(stay.minutes))
    assert np.isfinite(moments.values).sum() == len({*zip(stay.minutes, stay.series, strict=True)})
    first = stay.series[0]
    step = STEP[AT[NAMES[first]]]
    assert abs(moments.values[0, 0, AT[NAMES[first]]] - stay.values[0]) <= step / 2 + 1e-6


@pytest.mark.parametrize(
    ("minutes", "kind"), [(0, 0), (60, 60), (120, 120), (121, 121), (180, 121), (181, 122), (1200, 125), (2000, 125)]
)
def test_waits_fall_into_classes(minutes, kind):
    assert train_courses.wait_class(np.array([minutes]))[0] == kind
    assert kind < WAITS - 1 == MINUTES + 1 + len(LONGER)


def test_steps_tile_the_line():
    """Neighbouring values share an edge; where values pile up the last step is open."""
    values = np.full((1, 13, len(ORDER)), 50.0, np.float32)
    values[0, :, AT["GCS"]] = np.arange(3, 16)
    scale = Scale.fit(values)
    low, high = scale.edges(values)
    gcs = AT["GCS"]
    assert low[0, 1:, gcs] == pytest.approx(high[0, :-1, gcs])
    assert (low[0, 0, gcs], high[0, -1, gcs]) == (-train_courses.FAR, train_courses.FAR)
    again = [scale.values(scale.z(values)[0, :, k], k) for k in range(len(ORDER))]
    assert again[gcs] == pytest.approx(np.arange(3, 16))


def test_a_text_reads_back():
    fixed, rows = {"Age": 70.0, "Gender": 0.0}, [(0, "Weight", 71.5), (37, "HR", 88.0), (1300, "pH", 7.31)]
    whole = read_stay(physionet_text(900001, fixed, rows).encode())
    assert (whole.id, whole.hours, whole.layout, whole.fixed) == ("900001", 48, "physionet", fixed)
    assert [*zip(whole.minutes, [NAMES[k] for k in whole.series], whole.values, strict=True)] == rows
    part = read_stay(cut_text(900002, fixed, rows, 20).encode())
    assert (part.id, part.hours, part.values.tolist(), part.fixed) == ("900002", 1, [71.5, 88.0], fixed)


def test_choosing_takes_the_nearest_course_of_the_right_person(monkeypatch):
    kinds = (Kind("low", "Low", {6: 0.1, 48: 0.1}, 1, (40, 60)), Kind("next", "Next", {48: 0.1}, 1, (40, 60)))
    monkeypatch.setattr(train_samples, "KINDS", kinds)
    risk = np.repeat([[0.1], [0.12], [0.1], [0.1], [0.2], [0.9]], 48, axis=1)
    persons = [{"Age": age, "Gender": sex} for age, sex in ((50, 0), (50, 1), (70, 1), (50, 1), (50, 1), (50, 1))]
    amount = np.array([9, 9, 9, 9, 9, 1])
    fit = np.ones((6, 2), bool)
    fit[3] = False
    assert choose(risk, persons, amount, fit) == [1, 4]
    fit[[1, 4]] = False
    with pytest.raises(ArtifactError, match="None of 6 drawn stays has the course of low"):
        choose(risk, persons, amount, fit)


@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:Degrees of freedom")  # most is never measured here
def test_a_stay_that_is_a_copy_is_told():
    grids = [read_stay(physionet(entries(seed))).grid() for seed in range(12)]
    real, drawn = stack(grids[:10]), stack([grids[3], *grids[10:]])
    assert train_samples.no_copy(drawn, real, 48)[0] == np.False_
    rows = train_samples.standard_rows(real, 48, real)
    slow = [min(np.linalg.norm(a - b) for j, b in enumerate(rows) if j != i) for i, a in enumerate(rows)]
    assert train_samples.nearest(rows) == pytest.approx(slow, rel=1e-4)


@pytest.fixture
def hourly(tmp_path) -> Path:
    """Twenty drawn stays measured on the hour: fifty moments each, where others have hundreds."""
    folder = tmp_path / "public"
    folder.mkdir()
    lines = ["RecordID,SAPS-I,SOFA,Length_of_stay,Survival,In-hospital_death"]
    for k in range(20):
        rows = {(minute // 60 * 60, name): value for minute, name, value in entries(k)}
        text = physionet([(minute, name, value) for (minute, name), value in sorted(rows.items())], 700000 + k, 40 + k)
        (folder / f"{700000 + k}.txt").write_bytes(text)
        lines.append(f"{700000 + k},10,5,9,-1,{k % 4 // 3}")
    (folder / "Outcomes-a.txt").write_text("\n".join(lines) + "\n")
    return folder


def test_making_samples_keeps_the_list_and_repeats_itself(hourly, forecaster, tmp_path, monkeypatch):
    kinds = (Kind("any", "Any", {48: 0.5}, 1, (0, 120)), Kind("part", "Part", {20: 0.5}, 1, (0, 120), short=True))
    for name, value in {"KINDS": kinds, "FAREST": 99.0, "DRAWS": 8}.items():
        monkeypatch.setattr(train_samples, name, value)
    monkeypatch.setattr(train_samples, "no_copy", lambda drawn, real, hour: np.ones(len(drawn.fixed), bool))
    (tmp_path / "samples.yaml").write_text("- {file: a.png, label: viral, model: chest_xray, title: A}\n")
    told: list[dict[str, object]] = []
    recipe = train_courses.Recipe(epochs=2, batch=16)
    rows = train_samples.make_samples(hourly, tmp_path / "samples", told.append, recipe, forecaster)
    assert [row["file"] for row in rows] == ["icu_synthetic_any.txt", "icu_synthetic_part.txt"]
    assert [(row["part"], row["epoch"]) for row in told] == [("courses", 1), ("courses", 2)]
    assert all(np.isfinite(row["val_loss"]) for row in told)
    listed = yaml.safe_load((tmp_path / "samples.yaml").read_text())
    assert [row["file"] for row in listed] == ["a.png", *(row["file"] for row in rows)]
    before = {path.name: path.read_bytes() for path in (tmp_path / "samples").iterdir()}
    assert read_stay(before["icu_synthetic_any.txt"]).id == str(FIRST_RECORD)
    train_samples.make_samples(hourly, tmp_path / "samples", told.append, recipe, forecaster)
    assert {path.name: path.read_bytes() for path in (tmp_path / "samples").iterdir()} == before
    assert len(told) == 2 and len(yaml.safe_load((tmp_path / "samples.yaml").read_text())) == 3
