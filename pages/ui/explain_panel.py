"""Heat maps over a scan, each with the check of itself."""

from __future__ import annotations

import numpy as np
import streamlit as st
from PIL import Image

from medai_core.errors import MedAIError
from medai_core.imaging.explain import Explanation, overlay
from medai_core.imaging.reading import Reading
from pages.ui import charts, loaders
from pages.ui.frame import problem
from pages.ui.language import _
from pages.ui.words import label_name

SHOWN_PX = 640
METHODS = {"grad_cam": "Grad-CAM", "shap": "SHAP"}


@st.fragment
def explanation_panel(reading: Reading, display: np.ndarray, key: tuple[object, ...]) -> None:
    """Show one heat map with its controls; a fragment, so that moving a slider redraws only this.

    Parameters
    ----------
    reading : Reading
        A reading that was made, not a refusal.
    display : NDArray[np.uint8]
        (H, W) the scan as a viewer shows it; the networks see all of it, stretched, so maps fit it.
    key : tuple
        Names file, frame, plane, model and version.
    """
    st.info(
        _("A heat map is no localisation: it shows what moved the model's answer, not where disease is."),
        icon=":material/info:",
    )
    controls, picture = st.columns([2, 3], gap="large")
    with controls:
        method, label, opacity, shown = _controls(reading)
    try:
        with controls, st.spinner(_("Computing the explanation")):
            found = loaders.explanation(key, method, label, reading)
    except MedAIError as error:
        with picture:
            problem(error)
        return
    with picture:
        _pictures(display, found, opacity if shown else 0.0)
    with controls:
        _quality(found)


def _controls(reading: Reading) -> tuple[str, str, float, bool]:
    method = st.segmented_control(
        _("Method"), list(METHODS), format_func=METHODS.__getitem__, default="grad_cam", required=True, key="map_method",
        persist_state="session",
    )  # fmt: skip
    labels = sorted(reading.probabilities, key=lambda name: -reading.probabilities[name])
    label = st.selectbox(_("Explain the answer"), labels, format_func=label_name, key=f"map_label_{reading.digest[:12]}")
    opacity = st.slider(_("Opacity"), 0, 100, 55, format="%d%%", key="map_opacity", persist_state="session")
    shown = st.toggle(_("Show the map"), value=True, key="map_shown", persist_state="session")
    return method, label, opacity / 100, shown


def _pictures(display: np.ndarray, found: Explanation, opacity: float) -> None:
    small = Image.fromarray(display)
    small.thumbnail((SHOWN_PX, SHOWN_PX), Image.Resampling.BILINEAR)
    plain_image = np.asarray(small)
    signed = found.method == "shap"
    with st.container(key="lightbox_map"):
        one, two = st.columns(2, gap="small")
        one.image(plain_image, width="stretch", alt=_("The scan"))
        two.image(overlay(plain_image, found.heat, opacity, signed), width="stretch", alt=_("The scan with the map over it"))
    if signed:
        words = _("Orange raised the log-odds of “{label}”, blue lowered them; without colour, no influence.")
    else:
        words = _("Yellow: regions that spoke most for “{label}”; dark violet: least; without colour, none.")
    st.caption(words.format(label=label_name(found.label)))


def _quality(found: Explanation) -> None:
    if found.additivity_gap is not None:
        st.caption(
            _("Additivity gap {gap}: the SHAP values with their base value {base} should add up to the model's log-odds {score}.")
            .format(gap=f"{found.additivity_gap:.3f}", base=f"{found.base_value:.2f}", score=f"{found.score:.2f}")
        )  # fmt: skip
    if found.faithful is None:
        return
    if found.faithful:
        st.success(
            _("Faithful for this scan: hiding the marked regions first lowers the probability sooner than hiding regions at random, and showing them first raises it sooner."),
            icon=":material/verified:",
        )  # fmt: skip
    else:
        st.warning(
            _("Not better than chance for this scan: do not rely on this map."),
            icon=":material/warning:",
        )
    charts.faithfulness_bars(
        {
            _("Deletion (lower is better)"): (found.deletion_auc, found.random_deletion_auc),
            _("Insertion (higher is better)"): (found.insertion_auc, found.random_insertion_auc),
        },
        key="faithfulness",
    )
