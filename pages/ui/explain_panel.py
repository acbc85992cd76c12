"""Heat maps over a scan, each with the check of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from medai_core.errors import MedAIError
from medai_core.imaging.heatmap import overlay
from medai_core.imaging.reading import Reading
from pages.ui import charts, loaders
from pages.ui.frame import problem
from pages.ui.language import _
from pages.ui.viewer import in_proportion
from pages.ui.words import label_name, signed

if TYPE_CHECKING:
    from medai_core.imaging.explain import Explanation
    from medai_core.imaging.read import Scan

SHOWN_PX = 640
METHODS = {"grad_cam": "Grad-CAM", "shap": "SHAP"}


@st.fragment
def explanation_panel(reading: Reading, scan: Scan, key: tuple[object, ...]) -> None:
    """Show one heat map with its controls; a fragment, so that moving a slider redraws only this.

    Parameters
    ----------
    reading : Reading
        A reading that was made, not a refusal.
    scan : Scan
        The networks see all of its picture, stretched, so maps fit it.
    key : tuple
        Names file, frame, plane, model and version.
    """
    st.info(
        _("A heat map is no localisation: it shows what moved the model's answer, not where disease is."),
        icon=":material/info:",
    )
    method, label, opacity = _controls(reading, key)
    try:
        with st.spinner(_("Computing the explanation")):
            found = loaders.explanation(key, method, label, reading)
    except MedAIError as error:
        problem(error)
        return
    _pictures(scan, found, opacity)
    words, chart = st.columns(2, gap="large")
    with words:
        _quality(found)
    with chart:
        _faithfulness(found)


def _controls(reading: Reading, key: tuple[object, ...]) -> tuple[str, str, float]:
    # The answer first: the likeliest label can be another one.
    labels = sorted(reading.probabilities, key=lambda name: (name != reading.label, -reading.probabilities[name]))
    labels += [reading.operating_point.finding] if reading.operating_point else []
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        method = st.segmented_control(
            _("Method"), list(METHODS), format_func=METHODS.__getitem__, default="grad_cam", required=True,
            key="map_method", persist_state="session",
        )  # fmt: skip
        label = st.selectbox(
            _("Explain the answer"), labels, format_func=label_name, key=f"map_label_{'_'.join(map(str, key))}",
            width=230, persist_state="session",
        )  # fmt: skip
        opacity = st.slider(
            _("Opacity"), 0, 100, 55, format="%d%%", key="map_opacity", persist_state="session", width=230
        )
        shown = st.toggle(_("Show the map"), value=True, key="map_shown", persist_state="session", width="content")
    return method, label, opacity / 100 if shown else 0.0


def _pictures(scan: Scan, found: Explanation, opacity: float) -> None:
    small = in_proportion(scan.display, scan.spacing_mm, SHOWN_PX)
    signed = found.method == "shap"
    with st.container(key="lightbox_map"):
        one, two = st.columns(2, gap="small")
        one.image(small, width="stretch", alt=_("The scan"))
        two.image(overlay(small, found.heat, opacity, signed), width="stretch", alt=_("The scan with the map over it"))
    if signed:
        words = _("Orange raised the log-odds of “{label}”, blue lowered them; without colour, no influence.")
    else:
        words = _("Yellow: regions that spoke most for “{label}”; dark violet: least; without colour, none.")
    st.caption(words.format(label=label_name(found.label)))
    st.caption(
        _("The model looks at the middle of the image: a narrow rim is not shown to it and stays without colour.")
    )


def _quality(found: Explanation) -> None:
    if found.additivity_gap is not None:
        st.caption(
            _(
                "Additivity gap {gap} ± {error} log-odds: the SHAP values with their base value {base} should add "
                "up to the model's log-odds {score}. A gap within two such errors is noise of sampling."
            )
            .format(
                gap=f"{found.additivity_gap:.2f}", error=f"{found.additivity_error or 0:.2f}",
                base=signed(found.base_value), score=signed(found.score),
            )
        )  # fmt: skip
    if found.faithful is None:
        return
    if found.faithful:
        st.success(
            _(
                "Faithful for this scan: hiding the marked regions first lowers the model's log-odds sooner "
                "than hiding regions at random, and showing them first raises them sooner."
            ),
            icon=":material/verified:",
        )  # fmt: skip
    else:
        st.warning(
            _("A random order of regions did as well on this scan: do not rely on this map."),
            icon=":material/warning:",
        )


def _faithfulness(found: Explanation) -> None:
    if found.faithful is None:
        return
    charts.faithfulness_dots(
        {
            _("Deletion (lower is better)"): (found.deletion_auc, found.random_deletion_auc),
            _("Insertion (higher is better)"): (found.insertion_auc, found.random_insertion_auc),
        },
        key="faithfulness",
    )
