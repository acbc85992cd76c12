"""What was measured when: a strip of variables by hours, because what is missing carries part of the answer."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import streamlit as st
from numpy.typing import NDArray

from medai_core.icu.grid import HOURS, hour_of
from medai_core.icu.stay import Stay
from medai_core.icu.variables import INDEX, NAMES
from pages.ui.charts import draw
from pages.ui.icu_course import View
from pages.ui.icu_panels import CUFF, LABS, LINE
from pages.ui.icu_words import variable_name
from pages.ui.language import _
from pages.ui.theme import VERMILLION, dark

ORDER = (
    "HR", *LINE, *CUFF, "RespRate", "SaO2", "FiO2", "MechVent", "Temp", "GCS", "Urine", *LABS,
)  # fmt: skip
MANY = 4
"""From this many measurements in an hour on, the shade is the darkest."""


def counts(stay: Stay) -> NDArray[np.intp]:
    """Number of measurements of each variable in each hour, shape (V, 48)."""
    found = np.zeros((len(NAMES), HOURS), np.intp)
    np.add.at(found, (stay.series, hour_of(stay.minutes)), 1)
    return found


def measured_panel(view: View) -> None:
    """Show the strip, and say how much of the time the usual signs were measured."""
    found = counts(view.stay)
    last = view.recorded.hours if view.ahead else view.at
    names = [code for code in ORDER if found[INDEX[code], :last].any()]
    st.write(
        _(
            "Each cell is one hour of one variable. What is measured, and how often, reflects how concerned the staff "
            "was: the model sees it, and so part of its answer may come from there."
        )
    )
    if names:
        strip(view, found[[INDEX[code] for code in names], :last], names)
    share = found[[INDEX[code] for code in names], : view.at] > 0
    st.caption(
        _("Up to hour {at}: {k} of {all} variables measured, {share} of all hours and variables filled.").format(
            at=view.at, k=int((found[:, : view.at] > 0).any(axis=1).sum()), all=len(NAMES),
            share=f"{share.sum() / (len(NAMES) * view.at):.0%}",
        )
    )  # fmt: skip
    never = [variable_name(code) for code in ORDER if code not in names]
    if never:
        st.caption(_("Not measured: {names}.").format(names=", ".join(never)))


def strip(view: View, found: NDArray[np.intp], names: list[str]) -> None:
    """Draw counts (K, hours); hours after now are paler."""
    hours = np.arange(1, found.shape[1] + 1)
    shade = np.where(found > 0, np.minimum(found, MANY), np.nan)
    low, high = ("#2B4A60", "#7CC4EE") if dark() else ("#A9CDE6", "#00517F")
    figure = go.Figure()
    for part, strength in ((hours <= view.at, 1.0), (hours > view.at, 0.45)):
        if part.any():
            figure.add_heatmap(
                x=hours[part] - 0.5, y=[variable_name(code) for code in names], z=shade[:, part], zmin=1, zmax=MANY,
                colorscale=[[0, low], [1, high]], showscale=False, xgap=1, ygap=2, opacity=strength,
                customdata=np.stack([np.broadcast_to(hours[part], found[:, part].shape), found[:, part]], axis=-1),
                hovertemplate="%{y}<br>" + _("hour") + " %{customdata[0]}: %{customdata[1]}<extra></extra>",
                hoverongaps=False,
            )  # fmt: skip
    figure.add_vline(x=view.at, line_color=VERMILLION, line_width=1.6)
    figure.add_annotation(
        x=view.at, y=1, yref="paper", yanchor="bottom", showarrow=False, font={"color": VERMILLION, "size": 12},
        text=f"<b>{_('now, hour {at}').format(at=view.at)}</b>",
    )  # fmt: skip
    for name, colour in ((_("once in the hour"), low), (_("{n} times or more").format(n=MANY), high)):
        figure.add_scatter(
            x=[None], y=[None], mode="markers", name=name, marker={"symbol": "square", "size": 12, "color": colour}
        )
    figure.update_layout(
        margin={"l": 0, "r": 8, "t": 46, "b": 40}, dragmode=False,
        legend={"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "itemclick": False, "itemdoubleclick": False},
    )  # fmt: skip
    figure.update_xaxes(
        range=[0, len(hours)], dtick=6, fixedrange=True, showgrid=False, zeroline=False,
        title={"text": _("Hours since admission"), "standoff": 6},
    )  # fmt: skip
    figure.update_yaxes(autorange="reversed", fixedrange=True, showgrid=False, automargin=True, ticksuffix="  ")
    words = _("Which variable was measured in which hour")
    draw(figure, "icu_strip", words, height=90 + 21 * len(names))


assert set(ORDER) == set(NAMES)
