"""Is it anyone's copy? How near the shown images come to training images, and what an attacker could learn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from medai_core.synthesis.privacy import WITHHELD_PERCENT
from pages.ui import synth_batch
from pages.ui.charts import draw, told
from pages.ui.frame import stats, table
from pages.ui.language import _
from pages.ui.synth_figures import Line, dots, figures, shown
from pages.ui.synth_grid import Picture, marked, pictures
from pages.ui.theme import SERIES, VERMILLION, muted
from pages.ui.words import capital, label_name, metric_name

if TYPE_CHECKING:
    from medai_core.synthesis.generator import SyntheticImage
    from pages.ui.synth_batch import Batch

CLOSEST_SHOWN = 4
NEARNESS = {
    "withheld as near-copies, share of all made": ".1%",
    "within the closest 0.1 % of real-to-real distances, pixels": ".1%",
    "within the closest 0.1 % of real-to-real distances, features": ".1%",
    "percentile among real-to-real distances, pixels, median": ".0f",
    "percentile among real-to-real distances, features, median": ".0f",
    "similarity to the nearest training image, median": ".2f",
    "similarity of real images to the nearest other, median": ".2f",
}
"""Figures in the order they are listed, with how each is written."""
SYMBOLS = ("circle", "diamond", "square", "triangle-up")


def privacy_panel(model: str, labels: Sequence[str]) -> None:
    """Show the distances of the images made last, then the membership figures of the bundle."""
    st.subheader(_("The images made here"), anchor=False)
    st.write(
        _(
            "For every image its most similar training image was looked up. The question is whether it is nearer than "
            "real images of different patients are to each other: the 50th percentile means just as near as those, "
            "a low one nearer. Below the {limit}th percentile an image is withheld."
        ).format(limit=f"{WITHHELD_PERCENT:g}")
    )
    batch = synth_batch.current(model, labels)
    if batch is None:
        st.caption(_("Make images first; their distances appear here."))
    else:
        distances(batch)
        closest(batch.images)
    membership(model)


def distances(batch: Batch) -> None:
    """Draw every shown image at its percentile, one line for each label."""
    values = np.array([image.closeness for image in batch.images], float)
    stats(
        [
            (_("The nearest of them"), _("percentile {p}").format(p=f"{values.min():.1f}"),
             _("of real-to-real distances")),
            (_("Their median"), _("percentile {p}").format(p=f"{np.median(values):.0f}"),
             _("50 would be as near as real images are")),
            (_("Most alike in correlation"), f"{max(image.similarity for image in batch.images):.2f}",
             _("after alignment; 1 would be the same picture")),
            (_("Withheld"), str(batch.withheld), _("near-copies that took no place here")),
        ]
    )  # fmt: skip
    rng = np.random.default_rng(0)
    figure = go.Figure()
    figure.add_vrect(x0=-4, x1=WITHHELD_PERCENT, fillcolor=VERMILLION, opacity=0.25, line_width=0)
    figure.add_vline(x=50, line_dash="dot", line_color=muted())
    for at, words in ((-4, _("withheld")), (50, _("as near as real images are"))):
        figure.add_annotation(
            x=at, y=1, yref="paper", yanchor="bottom", xanchor="left" if at < 0 else "center", showarrow=False,
            text=words, font={"color": muted(), "size": 13},
        )  # fmt: skip
    for place, label in enumerate(batch.wish.labels):
        mine = [image for image in batch.images if image.label == label]
        figure.add_scatter(
            x=[image.closeness for image in mine], y=place + rng.uniform(-0.22, 0.22, len(mine)), mode="markers",
            name=label_name(label), customdata=[(image.index, image.similarity) for image in mine],
            marker={"color": SERIES[place % len(SERIES)], "symbol": SYMBOLS[place % len(SYMBOLS)], "size": 9,
                    "opacity": 0.75},
            hovertemplate=label_name(label) + " · %{customdata[0]}: %{x:.1f} (r = %{customdata[1]:.2f})<extra></extra>",
        )  # fmt: skip
    labels = [label_name(label) for label in batch.wish.labels]
    figure.update_layout(margin={"l": 0, "r": 10, "t": 26, "b": 0}, showlegend=False)
    figure.update_xaxes(
        title=_("Percentile of real-to-real distances (left: nearer to a training image)"), range=[-4, 103],
        fixedrange=True, zeroline=False,
    )  # fmt: skip
    figure.update_yaxes(
        tickvals=list(range(len(labels))), ticktext=labels, range=[len(labels) - 0.5, -0.5], fixedrange=True,
        ticksuffix="  ", showgrid=False, zeroline=False,
    )  # fmt: skip
    words = [
        f"{label_name(label)}: " + ", ".join(f"{image.closeness:.0f}" for image in batch.images if image.label == label)
        for label in batch.wish.labels
    ]
    draw(figure, "synth_distances", told(_("Percentile of real-to-real distances"), words), 100 + 40 * len(labels))


def closest(images: Sequence[SyntheticImage]) -> None:
    """Show the images that come nearest to a training image."""
    st.markdown(f"**{_('The nearest of them, to look at')}**")
    first = sorted(images, key=lambda image: image.closeness)[:CLOSEST_SHOWN]
    cards = []
    for image in first:
        words = _("{label} · {n}: percentile {p}, correlation {r}").format(
            label=label_name(image.label), n=image.index, p=f"{image.closeness:.1f}", r=f"{image.similarity:.2f}"
        )
        cards.append(Picture(marked(image), words, words))
    pictures(cards)


def membership(model: str) -> None:
    """Draw the figures measured on many images: nearness, and what an attacker could learn."""
    found = figures(model)
    spaces = {"pixels": _("By pixels"), "features": _("In the scan model's features")}
    lines = [
        Line(name, found[f"membership AUC, {code}"])
        for code, name in spaces.items()
        if f"membership AUC, {code}" in found
    ]
    if lines:
        st.subheader(_("Could it be found out who was trained on?"), anchor=False)
        st.write(
            _(
                "An attacker who holds an image looks how near it is to synthetic ones, and guesses from that whether "
                "the generator learnt from it. 0.5 is guessing, 1 would be certainty."
            )
        )
        dots(lines, "synth_membership", _("Membership attack, AUC"), span=(0.4, 1.02), reference=(0.5, _("guessing")))
    measured = [code for code in NEARNESS if code in found]
    if measured:
        st.subheader(_("Measured on many images"), anchor=False)
        rows = [
            (capital(metric_name(code)), shown(found[code], NEARNESS[code]), f"{found[code].get('n', '')}")
            for code in measured
        ]
        table((_("Figure"), _("Value (95% interval)"), "n"), rows)
    st.caption(
        _("The training images themselves are not here: only descriptors that cannot be turned back into images.")
    )
