"""Why the risk at one hour is what it is: SHAP values over time and variable, in a picture and in words."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from medai_core.errors import MedAIError
from pages.ui import icu_loaders
from pages.ui.charts import draw
from pages.ui.frame import problem
from pages.ui.icu_course import View
from pages.ui.icu_whatif import worded
from pages.ui.icu_words import variable_name
from pages.ui.language import _
from pages.ui.theme import BLUE, ORANGE, SKY, VERMILLION, dark, muted
from pages.ui.words import percent, plain, signed

if TYPE_CHECKING:
    from medai_core.icu.explain import RiskExplanation

TOP, BARS = 6, 12


def why_panel(view: View) -> None:
    """Explain the risk at the hour looked from."""
    st.info(
        _("Contributions show what moved this model's answer, from a stay with nothing measured. They are no causes."),
        icon=":material/info:",
    )
    try:
        with st.spinner(_("Computing the explanation")):
            found = icu_loaders.explanation(view.held.digest, view.edits, view.stay, view.at)
    except MedAIError as error:
        problem(error)
        return
    left, right = st.columns([1, 1], gap="large")
    with left:
        st.subheader(_("Main reasons"), anchor=False)
        reasons(found)
        quality(found)
    with right:
        st.subheader(_("Total of each variable"), anchor=False)
        totals(found)
    st.subheader(_("When each variable counted"), anchor=False)
    heat_map(found)
    one_variable(view, found)
    st.download_button(
        _("Download CSV"), contributions_csv(found), file_name=f"{view.held.key}-hour-{view.at}-contributions.csv",
        mime="text/csv", icon=":material/download:", on_click="ignore", key="icu_why_csv",
    )  # fmt: skip


def reasons(found: RiskExplanation) -> None:
    """Say in words what moved the risk most."""
    lines = []
    for _code, total, message in found.top(TOP):
        arrow = "▲" if total > 0 else "▼"
        lines.append(f"{arrow} {plain(worded(message))} ({signed_plus(total)})")
    st.markdown("\n".join(f"- {line}" for line in lines) or _("Nothing was measured up to this hour."))


def signed_plus(value: float) -> str:
    """Return a number of log-odds with its sign."""
    return ("+" if value >= 0.005 else "") + signed(value)


def quality(found: RiskExplanation) -> None:
    """Say how good the explanation is."""
    st.caption(
        _(
            "From {base} log-odds (risk {base_risk}) with nothing measured to {value} ({risk}) at hour {at}. "
            "Additivity gap {gap}, sampling error of a contribution at most {error}; {n} evaluations of the model "
            "in {s} s."
        ).format(
            base=signed(found.base_value), base_risk=percent(_risk(found.base_value)), value=signed(found.value),
            risk=percent(_risk(found.value)), at=found.at, gap=f"{found.additivity_gap:.3f}",
            error=f"{found.sampling_error:.3f}", n=f"{found.evaluations:,}", s=f"{found.seconds:.1f}",
        )
    )  # fmt: skip


def _risk(log_odds: float) -> float:
    return float(1 / (1 + np.exp(-log_odds)))


def ranked(found: RiskExplanation) -> list[tuple[str, float]]:
    """Variables and descriptors with their total, the largest first."""
    totals = dict(zip(found.variables, found.contributions.sum(axis=1).tolist(), strict=True)) | found.fixed
    return sorted(totals.items(), key=lambda pair: -abs(pair[1]))


def totals(found: RiskExplanation) -> None:
    """Draw the totals as bars to the right (raises the risk) and left (lowers it)."""
    shown = ranked(found)[:BARS][::-1]
    values = [total for _code, total in shown]
    reach = 1.75 * max([abs(value) for value in values] or [1.0])
    raises, lowers = colours()
    bar = go.Bar(
        x=values, y=[variable_name(code) for code, _total in shown], orientation="h", cliponaxis=False,
        text=[("▲ " if v > 0 else "▼ ") + signed_plus(v) for v in values], textposition="outside",
        marker={"color": [raises if v > 0 else lowers for v in values], "line_width": 0},
        hovertemplate="%{y}: %{text}<extra></extra>",
    )  # fmt: skip
    chart = go.Figure(bar)
    chart.update_layout(margin={"l": 0, "r": 8, "t": 4, "b": 36}, bargap=0.3, dragmode=False)
    chart.update_xaxes(title=_("Log-odds"), range=[-reach, reach], fixedrange=True, zeroline=True, nticks=6)
    chart.update_yaxes(fixedrange=True, automargin=True, ticksuffix="  ", showgrid=False)
    draw(chart, "icu_totals", _("Total contribution of each variable"), height=70 + 27 * len(shown))


def heat_map(found: RiskExplanation) -> None:
    """Draw contributions (variable by block of hours), diverging from none; empty where nothing was measured."""
    order = [code for code, _total in ranked(found) if code in found.variables]
    rows = [found.variables.index(code) for code in order]
    if not rows:
        return
    values, count = found.contributions[rows], found.measured[rows]
    limit = float(np.abs(values).max()) or 1.0
    raises, lowers = colours()
    middle = "#1B242D" if dark() else "#F4F6F8"
    chart = go.Figure(
        go.Heatmap(
            z=np.where(count > 0, values, np.nan), x=[_hours(block) for block in found.blocks],
            y=[variable_name(code) for code in order], zmin=-limit, zmax=limit, xgap=2, ygap=2, hoverongaps=False,
            colorscale=[[0, lowers], [0.5, middle], [1, raises]], customdata=count,
            hovertemplate="%{y}<br>" + _("hours") + " %{x}: %{z:+.3f} (n = %{customdata})<extra></extra>",
            colorbar={
                "orientation": "h", "x": 0, "xanchor": "left", "y": 1, "yanchor": "bottom", "len": 1, "thickness": 10,
                "title": {
                    "text": _("Log-odds: lowers the risk (−), raises it (+)"), "side": "top", "font": {"size": 13},
                },
                "tickformat": "+.2f", "nticks": 5, "tickfont": {"size": 12},
            },
        )
    )  # fmt: skip
    for y, x in _strongest(values, count):
        strong = abs(values[y, x]) > 0.55 * limit and not dark()
        chart.add_annotation(
            x=x, y=y, text="<b>+</b>" if values[y, x] > 0 else "<b>−</b>", showarrow=False,
            font={"size": 13, "color": "#FFFFFF" if strong else _ink()},
        )  # fmt: skip
    chart.update_layout(margin={"l": 0, "r": 8, "t": 56, "b": 40}, dragmode=False)
    chart.update_xaxes(title=_("Hours since admission"), fixedrange=True, showgrid=False, type="category")
    chart.update_yaxes(autorange="reversed", fixedrange=True, showgrid=False, automargin=True, ticksuffix="  ")
    words = _("Contribution of each variable in each block of hours")
    draw(chart, "icu_heat", words, height=128 + 24 * len(rows))
    st.caption(_("Orange raised the risk, blue lowered it, empty: not measured; the strongest cells carry their sign."))


def _strongest(values: np.ndarray, count: np.ndarray, most: int = 16) -> list[tuple[int, int]]:
    size = np.where(count > 0, np.abs(values), 0).ravel()
    places = np.argsort(-size)[:most]
    return [tuple(map(int, np.unravel_index(k, values.shape))) for k in places if size[k] > 0.02]


def one_variable(view: View, found: RiskExplanation) -> None:
    """Draw the contributions of one variable over the blocks of hours."""
    names = [code for code, _total in ranked(found) if code in found.variables]
    if not names:
        return
    code = st.selectbox(
        _("One variable over time"), names, format_func=variable_name, key=f"icu_why_variable_{view.held.key}",
        persist_state="session", width=340,
    )  # fmt: skip
    values, count = (table[found.variables.index(code)] for table in (found.contributions, found.measured))
    raises, lowers = colours()
    chart = go.Figure(
        go.Bar(
            x=[_hours(block) for block in found.blocks], y=np.where(count > 0, values, np.nan), customdata=count,
            marker={"color": [raises if v > 0 else lowers for v in values], "line_width": 0},
            text=[signed_plus(float(v)) if n else _("not measured") for v, n in zip(values, count, strict=True)],
            textposition="outside", cliponaxis=False,
            hovertemplate=_("hours") + " %{x}: %{y:+.3f} (n = %{customdata})<extra></extra>",
        )
    )  # fmt: skip
    reach = 1.3 * max(float(np.abs(values).max()), 0.05)
    chart.add_hline(y=0, line_color=muted(), line_width=1)
    chart.update_layout(margin={"l": 0, "r": 8, "t": 8, "b": 40}, bargap=0.35, dragmode=False)
    chart.update_xaxes(title=_("Hours since admission"), fixedrange=True, type="category", tickangle=0)
    chart.update_yaxes(title=_("Log-odds"), range=[-reach, reach], fixedrange=True, nticks=5)
    words = _("Contribution of {name} over time").format(name=variable_name(code))
    draw(chart, "icu_one", words, height=230)


def _hours(block: tuple[int, int]) -> str:
    return f"{block[0]}–{block[1]}" if block[0] < block[1] else f"{block[0]}"


def colours() -> tuple[str, str]:
    """What raises and what lowers the risk: the two ends of the scale."""
    return (ORANGE, SKY) if dark() else (VERMILLION, BLUE)


def _ink() -> str:
    return "#E8EDF2" if dark() else "#16202A"


def contributions_csv(found: RiskExplanation) -> bytes:
    """Return the contributions in English, a row for each variable and block; UTF-8 that Excel recognises."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(["variable", "first_hour", "last_hour", "measurements", "shap_log_odds"])
    for row, code in enumerate(found.variables):
        for column, (first, last) in enumerate(found.blocks):
            value, count = found.contributions[row, column], int(found.measured[row, column])
            writer.writerow([code, first, last, count, f"{value:.6f}"])
    writer.writerows([[code, "", "", "", f"{value:.6f}"] for code, value in found.fixed.items()])
    writer.writerow(["(base value)", "", "", "", f"{found.base_value:.6f}"])
    writer.writerow(["(value)", "", "", "", f"{found.value:.6f}"])
    return out.getvalue().encode("utf-8-sig")
