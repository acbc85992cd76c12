"""Tables of the figures of merit in a bundle: the model beside its baseline, grouped by what they were measured on."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from pages.ui.frame import stats
from pages.ui.icu_figures import icu_tables
from pages.ui.language import _
from pages.ui.words import GATE_METRIC, capital, interval, kind_name, metric_name, model_name, split_name

Row = Mapping[str, Any]
ONE_OF_SEVERAL = re.compile(r"(held-out (?:session|fold))(?:s| \d+)")
EACH = "each"


def figure_tables(metrics: Mapping[str, Any]) -> None:
    """Show all figures of a bundle: a gate's by kind of wrong input, the others' by part of the data."""
    rows, baseline = metrics.get("figures", []), metrics.get("baseline", [])
    if not rows:
        st.caption(_("The bundle holds no figures."))
    elif any(GATE_METRIC.fullmatch(row["metric"]) for row in rows):
        gate_tables(rows, baseline)
    else:
        part_tables(rows, baseline)


def part_tables(rows: Sequence[Row], baseline: Sequence[Row]) -> None:
    """Show the figures of one part of the data at a time; single sessions stand side by side."""
    parts = list(dict.fromkeys(row.get("split", "") for row in rows))
    single = [part for part in parts if re.search(r"\d$", part)]
    choices = [part for part in parts if part not in single] + ([EACH] if single else [])
    part = choices[0]
    if len(choices) > 1:
        part = st.pills(
            _("Measured on"), choices, default=part, required=True, key="figures_part",
            format_func=lambda name: _("Each held-out part by itself") if name == EACH else capital(split_name(name)),
        )  # fmt: skip
    if part == EACH:
        side_by_side(rows, single)
        return
    mine, theirs = ([row for row in table if row.get("split", "") == part] for table in (rows, baseline))
    if not icu_tables(mine, theirs):
        beside_baseline(mine, baseline, part)


def beside_baseline(rows: Sequence[Row], baseline: Sequence[Row], part: str) -> None:
    """Show figures beside those of the baseline on the same part, or on the one held-out part it has."""
    several = ONE_OF_SEVERAL.fullmatch(part)
    own = [row for row in baseline if row.get("split", "") == part]
    first = [row for row in baseline if several and row.get("split", "").startswith(several[1] + " ")]
    found = {row["metric"]: row for row in own or first}
    table = {
        _("Figure"): [metric_name(row["metric"]) for row in rows],
        _("This model (95% interval)"): [interval(row) for row in rows],
    }
    if found:
        title = _("Baseline (95% interval)")
        title += "" if own else f" · {split_name(first[0]['split'])}"
        table[title] = [interval(found[row["metric"]]) if row["metric"] in found else "–" for row in rows]
    table["n"] = [row.get("n") for row in rows]
    st.dataframe(table, hide_index=True, key="figures", height="content")


def side_by_side(rows: Sequence[Row], parts: Sequence[str]) -> None:
    """Show one column for each held-out session or fold, so that the worst is seen at a glance."""
    found = {(row["metric"], row.get("split", "")): row for row in rows}
    names = list(dict.fromkeys(metric for metric, part in found if part in parts))
    table = {_("Figure"): [metric_name(name) for name in names]}
    for part in parts:
        cells = [found.get((name, part)) for name in names]
        table[capital(split_name(part))] = [interval(cell) if cell else "–" for cell in cells]
    st.dataframe(table, hide_index=True, key="figures_each", height="content")


def gate_tables(rows: Sequence[Row], baseline: Sequence[Row]) -> None:
    """Show, for each model the gate stands before, one row for each kind of wrong input."""
    ours, theirs = _by_kind(rows), _by_kind(baseline)
    for model in dict.fromkeys(model for model, _kind, _what in ours):
        st.markdown(f"**{model_name(model)}**")
        if right := ours.get((model, "", "right")):
            ends = _("95% interval {low} to {high}").format(low=f"{right['low']:.1%}", high=f"{right['high']:.1%}")
            stats([(_("Right images refused"), f"{right['value']:.1%}", f"{ends}, n = {right.get('n')}")])
        kinds = list(dict.fromkeys(kind for its, kind, _what in ours if its == model and kind))
        auroc = [ours.get((model, kind, "auroc")) for kind in kinds]
        share = [ours.get((model, kind, "refused")) for kind in kinds]
        base = [(theirs.get((model, kind, "auroc")), theirs.get((model, kind, "refused"))) for kind in kinds]
        st.dataframe(
            {
                _("Kind of wrong input"): [kind_name(kind) for kind in kinds],
                _("AUROC (95% interval)"): [interval(row) if row else "–" for row in auroc],
                _("Refused (95% interval)"): [interval(row, as_percent=True) if row else "–" for row in share],
                _("Baseline: AUROC"): [interval(row) if row else "–" for row, _share in base],
                _("Baseline: refused"): [interval(row, as_percent=True) if row else "–" for _auroc, row in base],
                "n": [(row or other or {}).get("n") for row, other in zip(auroc, share, strict=True)],
            },
            hide_index=True, key=f"gate_{model}", height="content",
        )  # fmt: skip


def _by_kind(rows: Sequence[Row]) -> dict[tuple[str, str, str], Row]:
    """Return a gate's figures under ``(model, kind, "auroc" | "refused")``, or ``(model, "", "right")``."""
    found = {}
    for row in rows:
        if match := GATE_METRIC.fullmatch(row["metric"]):
            model, against, refused = match.groups()
            what = "auroc" if against else "refused" if refused else "right"
            found[model, against or refused or "", what] = row
    return found
