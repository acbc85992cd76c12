"""Edits of a stay: what they change, what they refuse, and that the given stay stays as it is."""

from __future__ import annotations

import math

import numpy as np
import pytest
from drawn_stays import entries, physionet
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from medai_core.errors import InputError
from medai_core.icu.edits import NOT_IN_FILE, Edit, apply, describe
from medai_core.icu.grid import HOURS
from medai_core.icu.records import read_stay
from medai_core.icu.stay import Stay
from medai_core.icu.variables import INDEX, NAMES, SERIES

SHORT = b"time,parameter,value\n0:30,HR,80\n1:00,HR,90\n1:00,Temp,37\n2:00,Urine,100\n2:00,HR,100\n"
PARTS = ("minutes", "series", "values", "rows")


def stay_of(seed: int) -> Stay:
    return read_stay(physionet(entries(seed, hours=12)))


def table(stay: Stay) -> list[tuple[float, str, float]]:
    return [(m, NAMES[k], v) for m, k, v in zip(stay.minutes, stay.series, stay.values, strict=True)]


def assert_same_grid(one: Stay, other: Stay) -> None:
    for name in ("mean", "low", "high", "fixed"):
        np.testing.assert_allclose(getattr(one.grid(), name), getattr(other.grid(), name), rtol=1e-5)


def test_each_kind_by_hand():
    stay = read_stay(SHORT)
    changed = apply(
        stay,
        [
            Edit("set", "HR", 60, 120),
            Edit("delete", "Temp", 60),
            Edit("add", "Lactate", 90, 4.0),
            Edit("shift", "Urine", value=-40),
        ],
    )
    assert table(changed) == [
        (30, "HR", 80), (60, "HR", 120), (90, "Lactate", 4.0), (120, "HR", 100), (120, "Urine", 60),
    ]  # fmt: skip
    assert changed.rows[2] == NOT_IN_FILE and set(stay.rows) == {2, 3, 4, 5, 6}
    assert (changed.id, changed.fixed, changed.layout, changed.hours) == (stay.id, stay.fixed, "long", 2)
    assert table(apply(stay, [])) == table(stay)


def test_a_later_edit_sees_the_earlier_ones():
    stay = read_stay(SHORT)
    assert table(apply(stay, [Edit("add", "pH", 5, 7.1), Edit("set", "pH", 5, 7.3)]))[0] == (5, "pH", 7.3)
    with pytest.raises(InputError, match="must be there, but HR was not measured at minute 60"):
        apply(stay, [Edit("delete", "HR", 60), Edit("set", "HR", 60, 70)])


def test_several_of_one_minute_are_edited_together_and_repeats_fall_together():
    stay = read_stay(b"time,parameter,value\n1:00,HR,80\n1:00,HR,90\n2:00,HR,70\n")
    assert table(apply(stay, [Edit("set", "HR", 60, 100)])) == [(60, "HR", 100), (120, "HR", 70)]
    assert table(apply(stay, [Edit("delete", "HR", 60)])) == [(120, "HR", 70)]
    assert table(apply(stay, [Edit("add", "HR", 60, 85)])) == [
        (60, "HR", 80), (60, "HR", 85), (60, "HR", 90), (120, "HR", 70),
    ]  # fmt: skip


def test_hours_followed_grow_with_what_is_added_and_never_shrink():
    stay = read_stay(SHORT)
    assert apply(stay, [Edit("add", "HR", 601, 80)]).hours == 11
    late = [Edit("delete", "HR", 120), Edit("delete", "Urine", 120)]
    assert apply(stay, late).hours == 2
    nothing = apply(stay, [*late, Edit("delete", "HR", 30), Edit("delete", "HR", 60), Edit("delete", "Temp", 60)])
    assert len(nothing.values) == 0 and nothing.hours == 2 and not nothing.grid().measured.any()


@pytest.mark.parametrize("minute", range(1, 60, 2))
def test_a_time_that_went_through_hours_and_back_is_the_same(minute):
    stay = read_stay(f"minute,parameter,value\n{minute},HR,80\n".encode())
    through = minute / 60 / 24 * 24 * 60 + 1e-9
    assert through != minute and table(apply(stay, [Edit("set", "HR", through, 81)])) == [(minute, "HR", 81)]


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (Edit("drop", "HR", 60, 1), "`kind` must be one of set, delete, add, shift, got drop"),
        (Edit("set", "Mood", 60, 1), "`variable` must be a measured variable, got Mood"),
        (Edit("set", "Age", 0, 50), "got Age"),
        (Edit("set", "HR", None, 80), "`minute` must be between 0 and 2880, got None for HR"),
        (Edit("add", "HR", 2880.5, 80), "got 2880.5 for HR"),
        (Edit("add", "HR", -1, 80), "between 0 and 2880, got -1"),
        (Edit("add", "HR", math.nan, 80), "between 0 and 2880, got nan"),
        (Edit("add", "HR", 60, 301), "A value of HR must be between 10 and 300 /min, got 301"),
        (Edit("set", "HR", 60, None), "between 10 and 300 /min, got None"),
        (Edit("set", "HR", 60, math.nan), "got nan"),
        (Edit("set", "HR", 61, 80), "A value to change must be there, but HR was not measured at minute 61"),
        (Edit("delete", "Temp", 30), "A value to change must be there, but Temp was not measured at minute 30"),
        (Edit("add", "HR", 60, 90), "must not be there already, got HR of 90 at minute 60"),
        (Edit("shift", "HR", value=201), "A value of HR must be between 10 and 300 /min, got 301"),
        (Edit("shift", "HR"), "`value` must be a finite number to shift HR by, got None"),
        (Edit("shift", "HR", value=math.inf), "got inf"),
        (Edit("shift", "pH", value=0.1), "must have measurements, but pH has none"),
    ],
)
def test_refusals_name_the_rule_the_variable_and_the_value(edit, sentence):
    stay = read_stay(SHORT)
    before = table(stay)
    with pytest.raises(InputError) as error:
        apply(stay, [edit])
    assert sentence in str(error.value) and table(stay) == before


def test_edits_in_words():
    assert str(describe(Edit("set", "GCS", 750, 6))) == "GCS at 12:30 is set to 6"
    assert str(describe(Edit("delete", "pH", 5))) == "pH at 00:05 is deleted"
    assert str(describe(Edit("add", "Lactate", 2880, 4.25))) == "Lactate of 4.25 is added at 48:00"
    assert str(describe(Edit("shift", "MAP", value=-10))) == "MAP is shifted by -10 throughout"


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 5), st.data())
def test_deleting_and_adding_again_changes_nothing(seed, data):
    stay = stay_of(seed)
    k = data.draw(st.integers(0, len(stay.values) - 1))
    minute, name, value = table(stay)[k]
    assume(sum(m == minute and n == name for m, n, _ in table(stay)) == 1)
    again = apply(stay, [Edit("delete", name, minute), Edit("add", name, minute, value)])
    assert table(again) == table(stay) and again.hours == stay.hours
    assert_same_grid(again, stay)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 5), st.sampled_from(["HR", "Temp", "Urine", "K"]), st.floats(-1, 1))
def test_shifting_there_and_back_changes_nothing(seed, name, share):
    stay = stay_of(seed)
    mine = stay.values[stay.series == INDEX[name]]
    assume(mine.size > 0)
    room = SERIES[name].high - mine.max() if share > 0 else mine.min() - SERIES[name].low
    by = share * 0.99 * room
    there = apply(stay, [Edit("shift", name, value=by)])
    np.testing.assert_allclose(there.values[there.series == INDEX[name]].sum(), mine.sum() + by * mine.size)
    back = [Edit("shift", name, value=by), Edit("shift", name, value=-by)]
    try:
        assert_same_grid(apply(stay, back), stay)
    except InputError:  # rounding may carry a value at the very end of its range across it
        assert min(mine.min() - SERIES[name].low, SERIES[name].high - mine.max()) < 1e-9


minutes = st.one_of(st.integers(0, HOURS * 60).map(float), st.floats(allow_nan=True))
edits = st.builds(
    Edit,
    st.sampled_from(["set", "delete", "add", "shift", "?"]),
    st.sampled_from([*NAMES, "Age", "x"]),
    st.one_of(st.none(), minutes),
    st.one_of(st.none(), st.floats(), st.floats(-5, 200)),
)


@settings(max_examples=120, deadline=None)
@given(st.integers(0, 3), st.lists(edits, max_size=4), st.data())
def test_the_given_stay_never_changes_and_the_new_one_is_sound(seed, changes, data):
    stay = stay_of(seed)
    present = table(stay)[data.draw(st.integers(0, len(stay.values) - 1))]
    changes = [*changes, Edit("set", present[1], present[0], present[2])]
    before = {name: getattr(stay, name).copy() for name in PARTS}
    try:
        changed = apply(stay, changes)
    except InputError as error:
        assert len(str(error)) < 300
    else:
        assert (np.diff(changed.minutes) >= 0).all() and stay.hours <= changed.hours <= HOURS
        assert all(SERIES[n].plausible(v) and 0 <= m <= 2880 for m, n, v in table(changed))
        assert [getattr(changed, name).dtype for name in PARTS] == [before[name].dtype for name in PARTS]
    for name in PARTS:
        np.testing.assert_array_equal(getattr(stay, name), before[name])
