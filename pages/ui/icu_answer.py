"""The headline of a stay: the risk now with its band and its change, beside what is known about the model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape
from typing import Any

import streamlit as st

from medai_core.errors import MedAIError
from pages.ui import icu_loaders, loaders
from pages.ui.frame import bullets, facts
from pages.ui.icu_course import View, latest, quantiles
from pages.ui.icu_words import amount, figure, variable, variable_name
from pages.ui.language import _, tell
from pages.ui.words import interval, percent, plain, signed

AT_HOUR = re.compile(r"AUROC, blend, at hour (\d+)")
WATCHED = (
    "MAP", "NIMAP", "HR", "RespRate", "SaO2", "Temp", "GCS", "Lactate", "Creatinine", "K", "Na", "pH", "PaO2", "PaCO2",
    "HCO3", "Platelets", "WBC", "HCT", "Glucose", "BUN", "Mg",
)  # fmt: skip
"""What the headline looks through for values expected outside their normal range, the most pressing first."""
MOST = 5
FLAT = 0.005
"""Changes of the risk smaller than this are called none."""


def headline(view: View) -> None:
    """Show the risk now, its band, and how it moved."""
    with st.container(border=True, key="icu_answer", height="stretch"):
        st.caption(_("Risk of death in hospital, from what was recorded up to hour {at}").format(at=f"**{view.at}**"))
        st.html(_answer(view))
        st.caption(
            _("The range is over the members of the model's network: how far they disagree, not what may happen.")
        )
        outlook_words(view)
        if view.edited:
            late = sum(1 for edit in view.edits if edit.kind != "shift" and edit.minute > 60 * view.at)
            st.caption(f":material/edit_note: {_association()}")
            if late:
                st.caption(_("Changes later than hour {at}, which do not count yet: {n}.").format(n=late, at=view.at))


def outlook_words(view: View) -> None:
    """List what is expected outside its normal range at the end of the horizon."""
    found = [line for code in WATCHED if (line := _outside(view, code))]
    if isinstance(view.outlook, MedAIError):
        return
    st.markdown(f"**{_('Expected outside the normal range in {h} h').format(h=view.horizon)}**")
    bullets(found[:MOST] or [_("Nothing of what is forecast, by its median.")])
    if len(found) > MOST:
        st.caption(_("and {n} more, in the panels below").format(n=len(found) - MOST))


def _outside(view: View, code: str) -> str:
    """One variable whose median is forecast outside its normal range, in words; empty where it is not."""
    fan, limits = quantiles(view.outlook, code, view.horizon), variable(code).normal
    if fan is None or limits is None or latest(view.stay, code, view.at) is None:
        return ""
    low, middle, high = (fan[-1, place] for place in (0, 2, 4))
    if limits[0] <= middle <= limits[1]:
        return ""
    side = _("above") if middle > limits[1] else _("below")
    words = _("{name} {side}: {value} ({low}–{high})")
    if high < limits[0] or low > limits[1]:
        words = _("{name} {side}: {value} ({low}–{high}), at least 95% likely")
    shown = {"low": figure(code, low), "high": figure(code, high), "value": amount(code, middle)}
    return words.format(name=variable_name(code), side=side, **shown)


def _association() -> str:
    return _(
        "Association, not effect: the risk changes because such values went with other outcomes in the training "
        "data. It does not say what would happen if somebody changed the value."
    )


def association() -> None:
    """Say what an answer to a changed value is worth."""
    st.info(_association(), icon=":material/info:")


def _answer(view: View) -> str:
    low, high = (percent(end) for end in view.band())
    cells = [(_("Now"), percent(view.risk()), _("range {low} to {high}").format(low=low, high=high), "main")]
    if view.edited:
        cells.append((_("As recorded"), percent(view.recorded_risk()), delta(view.recorded_risk(), view.risk()), ""))
    moved = view.change()
    if moved is not None:
        cells.append((_("In the last {n} h").format(n=moved[1]), points(moved[0]), _trend(moved[0]), ""))
    if average := average_risk():
        times = _("now {x} times this").format(
            x=f"{view.risk() / average:.1f}" if view.risk() > 0.95 * average else f"{view.risk() / average:.1g}"
        )
        cells.append((_("Training stays, average"), percent(average), times, ""))
    return '<div class="medai-risk">' + "".join(
        f'<div class="{kind}"><span class="name">{escape(name)}</span><span class="value">{escape(value)}</span>'
        f'<span class="small">{escape(small)}</span></div>'
        for name, value, small, kind in cells
    ) + "</div>"  # fmt: skip


def points(change: float) -> str:
    """Return a change of the risk in percentage points, with an arrow."""
    arrow = "→" if abs(change) < FLAT else "▲" if change > 0 else "▼"
    return f"{arrow} {'+' if change >= 0.0005 else ''}{signed(100 * change, 1)}"


def delta(before: float, after: float) -> str:
    """Return how an edit moved the risk, as ``0.23 → 0.18``."""
    return f"{before:.2f} → {after:.2f} ({'+' if after - before >= 0.0005 else ''}{signed(100 * (after - before), 1)})"


def _trend(change: float) -> str:
    if abs(change) < FLAT:
        return _("percentage points: steady")
    return _("percentage points: rising") if change > 0 else _("percentage points: falling")


def average_risk() -> float | None:
    """Share of the training stays that ended in death, if the card says."""
    found = loaders.bundle(icu_loaders.RISK)
    data = {} if isinstance(found, MedAIError) else found.card.get("training_data") or {}
    stays, deaths = data.get("n_stays"), data.get("n_deaths")
    return deaths / stays if stays and deaths else None


def model_facts(view: View) -> None:
    """Show whom the model is for, how it did on stays it never saw, and what it is not for."""
    with st.container(border=True, height="stretch"):
        st.subheader(_("About this model"), anchor=False)
        found = loaders.bundle(icu_loaders.RISK)
        if isinstance(found, MedAIError):
            st.caption(plain(tell(found)))
            return
        facts(
            [
                (_("Population"), _(str(found.card.get("population", "")))),
                *_discrimination(found.metrics, view.at),
                (_("Version"), f"{found.version} · sha256 {found.digest[:12]}"),
                (_("Forecasts"), _forecast_version()),
            ]
        )
        if found.card.get("not_for"):
            with st.expander(_("Not for"), icon=":material/block:"):
                bullets([_(item) for item in found.card["not_for"]])


def _forecast_version() -> str:
    found = loaders.bundle(icu_loaders.OUTLOOK)
    return _("not available") if isinstance(found, MedAIError) else f"{found.version} · sha256 {found.digest[:12]}"


def _discrimination(metrics: Mapping[str, Any], at: int) -> list[tuple[str, str]]:
    """AUROC on unseen stays: at the end, and at the measured hour nearest to now."""
    rows = {row["metric"]: row for row in metrics.get("figures", []) if row.get("split") == "test"}
    found = []
    if "AUROC, blend" in rows:
        found.append((_("AUROC, unseen stays, hour 48"), interval(rows["AUROC, blend"])))
    hours = {int(match[1]): row for name, row in rows.items() if (match := AT_HOUR.fullmatch(name))}
    if hours and at < 48:
        near = min(hours, key=lambda hour: abs(hour - at))
        found.append((_("AUROC, unseen stays, hour {hour}").format(hour=near), interval(hours[near])))
    return found


def no_forecasts(view: View) -> None:
    """Say in one sentence when forecasts are not there."""
    if isinstance(view.outlook, MedAIError):
        st.caption(f":material/info: {_('Forecasts are not available:')} {plain(tell(view.outlook))}")
