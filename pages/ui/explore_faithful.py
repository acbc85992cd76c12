"""Whether an explanation holds against its model: deletion and insertion beside random orders, drawn and in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from pages.ui import charts, icu_loaders, loaders
from pages.ui.language import _
from pages.ui.loaders import KEEP
from pages.ui.tabx_style import draw, picture_format
from pages.ui.theme import accent, muted
from pages.ui.words import signed

if TYPE_CHECKING:
    from medai_core.faithfulness import Faithfulness
    from medai_core.icu.explain import RiskExplanation
    from medai_core.icu.stay import Stay
    from medai_core.tabular.explain import Explanation
    from medai_core.tabular.risk_model import RiskModel
    from pages.ui.treat_words import Compared

BAND = (5.0, 95.0)
"""Percentiles of the random orders that are drawn."""
Values = tuple[str, ...]


# Keyed on model, version and values: arguments with an underscore are not hashed.
def of_stay(digest: str, at: int, stay: Stay, told: RiskExplanation) -> Faithfulness:
    """Return the check of the explanation of one hour of a stay."""
    return _of_stay(digest, at, loaders.version(icu_loaders.RISK), stay, told)


@st.cache_data(max_entries=32, **KEEP)
def _of_stay(digest: str, at: int, version: str, _stay: Stay, _told: RiskExplanation) -> Faithfulness:
    from medai_core.icu.explain import faithfulness

    return faithfulness(icu_loaders.models().forecaster, _stay, _told)


@st.cache_data(max_entries=32, **KEEP)
def of_row(
    key: tuple[str, str], family: str, label: str | None, values: Values, _model: RiskModel, _told: Explanation
) -> Faithfulness:
    """Return the check of the explanation of one row of a table."""
    from medai_core.tabular.faithful import faithfulness

    return faithfulness(_model, _told)


@st.cache_data(max_entries=32, **KEEP)
def of_treatment(
    key: str, arm: str, versus: str | None, values: Values, _compared: Compared, _told: Explanation
) -> Faithfulness:
    """Return the check of the explanation of a patient under one treatment, or between two."""
    from medai_core.tabular.treatment_explain import faithfulness

    return faithfulness(_compared.model, _told, arm, versus)


def forget() -> None:
    """Drop what is cached of this visitor's cases."""
    for cached in (_of_stay, of_row, of_treatment):
        cached.clear()


# -------------------------------------------------------------------------------------------------- on the page


def faithfulness_panel(found: Faithfulness, scale: str, parts: str, away: str) -> None:
    """Show the verdict, the curves, and the means along them.

    Parameters
    ----------
    scale : str
        What the answers are in, for the axis.
    parts : str
        What is deleted and put in, in the plural: "values", "measurements".
    away : str
        A sentence on what stands for them then.
    """
    st.subheader(_("Does the explanation hold?"), anchor=False)
    _verdict(found, parts)
    left, right = st.columns(2, gap="large")
    deletion = (_("Deletion: lower is better"), found.deletion, found.random_deletion)
    insertion = (_("Insertion: higher is better"), found.insertion, found.random_insertion)
    ends = [float(end(table)) for _t, mine, drawn in (deletion, insertion) for table in (mine, drawn)
            for end in (np.min, np.max)]  # fmt: skip
    for column, (title, mine, drawn), area, random_area, key in (
        (left, deletion, found.deletion_auc, found.random_deletion_auc, "explore_deletion"),
        (right, insertion, found.insertion_auc, found.random_insertion_auc, "explore_insertion"),
    ):
        with column:
            st.markdown(f"**{title}**")
            curves(found.share, mine, drawn, (min(ends), max(ends)), scale, parts, key)
            st.caption(
                _("Mean along the curve {mine}; in random orders {random}").format(
                    mine=signed(area, 3), random=signed(random_area, 3)
                )
            )
    st.caption(
        _(
            "The strongest {parts} are taken away, or put in, first. {away} Grey: 20 random orders, their median and "
            "the range of 90%. Values are turned so that up is towards this answer."
        ).format(parts=parts, away=away)
    )
    picture_format()


def _verdict(found: Faithfulness, parts: str) -> None:
    if found.faithful:
        st.success(
            _(
                "Faithful for this case: taking away the {parts} the explanation names first moves the answer sooner "
                "than every random order, and putting them in brings it back sooner."
            ).format(parts=parts),
            icon=":material/verified:",
        )
    else:
        st.warning(
            _("A random order of the {parts} did as well on this case: do not rely on this explanation.").format(
                parts=parts
            ),
            icon=":material/warning:",
        )


def curves(
    share: np.ndarray, mine: np.ndarray, drawn: np.ndarray, ends: tuple[float, float], scale: str, parts: str, key: str
) -> None:
    """Draw one test: the explanation's order over the random ones."""
    low, middle, high = np.percentile(drawn, [BAND[0], 50, BAND[1]], axis=0)
    figure = go.Figure()
    for edge, fill in ((high, None), (low, "tonexty")):
        figure.add_scatter(
            x=share, y=edge, mode="lines", line_width=0, fill=fill, fillcolor="rgba(128,140,150,0.25)",
            hoverinfo="skip", showlegend=False,
        )  # fmt: skip
    for name, line, colour, dash, symbol in (
        (_("Random order"), middle, muted(), "dot", "diamond-open"),
        (_("This explanation"), mine, accent(), "solid", "circle"),
    ):
        figure.add_scatter(
            x=share, y=line, mode="lines+markers", name=name, line={"color": colour, "dash": dash, "width": 2.2},
            marker={"symbol": symbol, "size": 6}, hovertemplate="%{y:.3f}",
        )  # fmt: skip
    room = 0.06 * (ends[1] - ends[0] or 1.0)
    figure.update_layout(
        margin={"l": 0, "r": 10, "t": 8, "b": 0}, hovermode="x unified", dragmode=False,
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
    )  # fmt: skip
    title = _("Share of the {parts} taken away") if key == "explore_deletion" else _("Share of the {parts} put in")
    figure.update_xaxes(title=title.format(parts=parts), tickformat=".0%", fixedrange=True, showgrid=False)
    figure.update_yaxes(title=scale, range=[ends[0] - room, ends[1] + room], fixedrange=True, nticks=6, zeroline=False)
    words = [
        f"{x:.0%} {signed(a)}, {_('Random order')} {signed(b)}" for x, a, b in zip(share, mine, middle, strict=True)
    ]
    draw(figure, key, charts.told(title.format(parts=parts), words), 300, f"medai-{key.replace('_', '-')}")
