"""The hundreds of figures of an intensive-care model as a few tables: what was compared stands side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from pages.ui.frame import stats
from pages.ui.icu_metrics import icu_part_name
from pages.ui.icu_words import with_unit
from pages.ui.language import _
from pages.ui.words import capital, interval

Row = Mapping[str, Any]
Table = dict[str, list[object]]

METHODS = ("SAPS-I", "SOFA", "trees", "network", "blend")
BLEND = "blend"
BASELINES = ("last value", "training mean", "linear trend", "boosted trees")
AVERAGES = ("vital signs, 1, 6 and 12 h", "vital signs, 1 h", "vital signs, 6 h", "vital signs, 12 h",
            "all variables, 1, 6 and 12 h")  # fmt: skip
HOURS_AHEAD = (1, 6, 12, 24)
COVERAGES = ("coverage of 50 %", "coverage of 90 %")


def icu_tables(rows: Sequence[Row], baseline: Sequence[Row]) -> bool:
    """Show the figures of one part of the data if they are an intensive-care model's; return whether they are."""
    found = {row["metric"]: row for row in rows}
    if f"AUROC, {BLEND}" in found:
        methods(found)
        groups(found)
    elif COVERAGES[1] in found:
        coverage(found)
        averages(found)
        each_variable(found, {row["metric"]: row for row in baseline})
    else:
        return False
    return True


def methods(found: Mapping[str, Row]) -> None:
    """Show the risk at hour 48: a row for each figure, a column for each method."""
    st.markdown(f"**{_('At hour 48, with 95% intervals')}**")
    names = list(dict.fromkeys(code.split(", ")[0] for code in found))
    shown = [name for name in METHODS if f"AUROC, {name}" in found]
    table: Table = {_("Figure"): [capital(icu_part_name(name)) for name in names]}
    for method in shown:
        row = found[f"AUROC, {method}"]
        title = f"{icu_part_name(method)} (n = {row.get('n')})"
        table[capital(title)] = [_cell(found.get(f"{name}, {method}")) for name in names]
    _show(table, "figures")


def groups(found: Mapping[str, Row]) -> None:
    """Show the blend from fewer hours, and in groups of patients at hour 48."""
    parts = dict.fromkeys(code.split(", ", 2)[2] for code in found if code.startswith(f"AUROC, {BLEND}, "))
    if not parts:
        return
    st.markdown(f"**{_('The blend, from fewer hours and in groups of patients')}**")
    table: Table = {
        _("Hour or group"): [capital(icu_part_name(part)) for part in parts],
        "n": [found[f"AUROC, {BLEND}, {part}"].get("n") for part in parts],
        _("AUROC"): [_cell(found[f"AUROC, {BLEND}, {part}"]) for part in parts],
        capital(_("calibration intercept")): [
            _cell(found.get(f"calibration intercept, {BLEND}, {part}")) for part in parts
        ],
    }
    _show(table, "figures_groups")


def coverage(found: Mapping[str, Row]) -> None:
    """Say how much of what was measured lay in the intervals."""
    ends = _("95% interval {low} to {high}")
    stats(
        [
            (
                capital(icu_part_name(code)),
                f"{found[code]['value']:.1%}",
                ends.format(low=f"{found[code]['low']:.1%}", high=f"{found[code]['high']:.1%}"),
            )
            for code in COVERAGES
            if code in found
        ]
    )


def averages(found: Mapping[str, Row]) -> None:
    """Show the skill over each baseline, averaged over variables and hours ahead."""
    st.markdown(f"**{_('Skill on average: how much smaller the error is than the baseline’s, with 95% intervals')}**")
    shown = [part for part in AVERAGES if f"skill over the {BASELINES[0]}, {part}" in found]
    table: Table = {_("Averaged over"): [_joined(part) for part in shown]}
    for name in BASELINES:
        cells = [found.get(f"skill over the {name}, {part}") for part in shown]
        table[_over(name)] = [_cell(cell, as_percent=True) for cell in cells]
    _show(table, "figures")


def each_variable(found: Mapping[str, Row], baseline: Mapping[str, Row]) -> None:
    """Show every variable at one distance: errors, skill over each baseline, coverage."""
    st.markdown(f"**{_('Each variable')}**")
    ahead = st.segmented_control(
        _("Hours ahead"), HOURS_AHEAD, default=6, required=True, format_func=lambda h: f"{h} h",
        key="figures_ahead", persist_state="session",
    )  # fmt: skip
    names = [code.removeprefix(f"{COVERAGES[1]}, ") for code in found if code.startswith(f"{COVERAGES[1]}, ")]
    errors = [f"MAE, {name}, {ahead} h" for name in names]
    table: Table = {
        _("Variable"): [with_unit(name) for name in names],
        capital(_("mean absolute error")): [_cell(found.get(code)) for code in errors],
        _("The same of the last value"): [_cell(baseline.get(code)) for code in errors],
        _("Coverage of 90%, 1 to 24 h"): [_cell(found[f"{COVERAGES[1]}, {name}"], as_percent=True) for name in names],
    }
    for method in BASELINES:
        cells = [found.get(f"skill over the {method}, {name}, {ahead} h") for name in names]
        if any(cells):
            table[_over(method)] = [_cell(cell, as_percent=True) for cell in cells]
    _show(table, "figures_variables")


def _over(method: str) -> str:
    return capital(icu_part_name(f"skill over the {method}"))


def _joined(part: str) -> str:
    return capital(" · ".join(icu_part_name(word) for word in part.split(", ", 1)))


def _cell(row: Row | None, as_percent: bool = False) -> str:
    return interval(row, as_percent=as_percent) if row else "–"


def _show(table: Table, key: str) -> None:
    st.dataframe(table, hide_index=True, key=key, height="content")
