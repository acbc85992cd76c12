"""The answer to one scan in words: reading or refusal, what it rests on, and what the model is for."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np
import streamlit as st

from medai_core.calibration import at_prevalence
from medai_core.errors import MedAIError
from medai_core.imaging.reading import OperatingPoint, Reading
from medai_core.metrics import Interval, ppv_npv
from pages.ui import charts, loaders
from pages.ui.frame import bullets, facts, stats
from pages.ui.language import _, tell
from pages.ui.words import (
    interval,
    kind_name,
    label_name,
    listed,
    metric_name,
    model_name,
    percent,
    plain,
    point_name,
    refusal_title,
    signal_name,
    split_name,
)

DEFAULT_PREVALENCE = 0.10
# What a reader wants to know first of a model's performance, if the bundle has it.
HEADLINES = ("AUC", "accuracy, all")
COVERAGE = "coverage of the prediction set"


def answer_card(reading: Reading) -> None:
    """Show the reading: label, probabilities, prediction set, referral."""
    with st.container(border=True, key="answer"):
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            st.caption(f"{plain(model_name(reading.model))} · {_('version')} {plain(reading.version or '')}")
            if reading.refer:
                st.badge(_("Refer to a reader"), icon=":material/person_search:", color="orange")
            else:
                st.badge(_("One label fits"), icon=":material/check:", color="green")
        st.html(
            f'<div class="medai-answer" role="heading" aria-level="2">{escape(label_name(reading.label or ""))}</div>'
        )
        st.write(_("Calibrated probability {p}").format(p=f"**{percent(reading.probabilities[reading.label])}**"))
        charts.probability_bars(reading.probabilities, reading.prediction_set, key="probabilities")
        if reading.probabilities[reading.label] < max(reading.probabilities.values()):
            st.caption(
                _(
                    "The name follows the threshold for {finding}, to which all its labels count together; among those "
                    "on its side of the threshold, “{label}” is the likeliest."
                )
                .format(finding=label_name(reading.operating_point.finding).lower(), label=label_name(reading.label))
            )  # fmt: skip
        for caution in reading.cautions:
            st.warning(plain(tell(caution)), icon=":material/warning:")
        _prediction_set(reading)


def _prediction_set(reading: Reading) -> None:
    labels = [label_name(label) for label in reading.prediction_set]
    if reading.refer:
        st.warning(
            _(
                "The 90% prediction set holds {n} labels: {labels}. The model cannot tell them apart "
                "here: refer to a reader."
            )
            .format(n=len(labels), labels=listed(labels)),
            icon=":material/person_search:",
        )  # fmt: skip
    else:
        words = _("The 90% prediction set holds one label: {label}.").format(label=labels[0] if labels else "")
        st.info(" ".join([words, *coverage(reading.model or "")]), icon=":material/check_circle:")
    st.caption("● " + _("in the prediction set; grey: outside it."))


def coverage(model: str) -> list[str]:
    """Return the sentence that says how often prediction sets held the truth; none where it was not measured."""
    found = loaders.bundle(model)
    figures = [] if isinstance(found, MedAIError) else found.metrics.get("figures", [])
    measured = [
        _("{coverage} on {part}").format(coverage=interval(row, as_percent=True), part=split_name(row["split"]))
        for row in figures
        if row["metric"] == COVERAGE and row.get("split") and not row["split"][-1].isdigit()
    ]
    if not measured:
        return []
    words = _("Made to hold the truth in 9 of 10 cases, over sets of every size; measured: {measured}.")
    return [words.format(measured=", ".join(measured))]


def refusal_card(reading: Reading) -> None:
    """Show calmly that no reading was made, and what the gate measured."""
    with st.container(border=True, key="refusal"):
        st.badge(_("Not read"), icon=":material/block:", color="gray")
        st.subheader(refusal_title(reading.code), anchor=False)
        if reading.reason:
            st.write(plain(tell(reading.reason)))
        for caution in reading.cautions:
            st.warning(plain(tell(caution)), icon=":material/warning:")
        if reading.code != "synthetic":
            words = _(
                "No probabilities are shown, because they would mean nothing for this input. A person has to look."
            )
            st.write(words)


def gate_panel(reading: Reading) -> None:
    """Show what the gate measured, and what its autoencoder made of the image."""
    gate = reading.gate
    if gate is None:
        st.caption(_("This input was turned away before the gate measured anything."))
        return
    left, right = st.columns([3, 2], gap="large")
    with left:
        if gate.signals:
            st.dataframe(
                {
                    _("Signal"): [signal_name(signal.name) for signal in gate.signals],
                    _("Measured"): ["<0.001" if 0 <= s.value < 0.001 else f"{s.value:.3g}" for s in gate.signals],
                    _("Limit"): [f"{signal.limit:.3g}" for signal in gate.signals],
                    _("Verdict"): [_("above the limit") if s.exceeded else _("within") for s in gate.signals],
                },
                hide_index=True,
                key="gate_signals",
            )
        if gate.kind_probabilities:
            top = sorted(gate.kind_probabilities.items(), key=lambda item: -item[1])[:3]
            words = " · ".join(f"{kind_name(kind)} {percent(p, 0)}" for kind, p in top)
            st.caption(_("What the gate takes the image for: {kinds}").format(kinds=plain(words)))
    with right:
        if gate.original is not None and gate.reconstruction is not None:
            one, two = st.columns(2)
            one.image(np.clip(gate.original, 0, 1), caption=_("What the gate saw"), width="stretch")
            two.image(np.clip(gate.reconstruction, 0, 1), caption=_("Its reconstruction"), width="stretch")
            st.caption(_("An autoencoder redraws scans of the kind it knows well, and others badly."))


def operating_point(reading: Reading) -> None:
    """Show the operating point with what it costs, and predictive values at a prevalence the visitor sets."""
    point = reading.operating_point
    if point is None or reading.finding_probability is None:
        return
    finding = label_name(point.finding)
    st.subheader(_("Operating point: {name}").format(name=plain(point_name(point.name))), anchor=False)
    side = _("above") if reading.above_threshold else _("below")
    st.write(
        _("{finding}: probability {p}, {side} the threshold of {threshold}.").format(
            finding=finding, p=f"**{percent(reading.finding_probability)}**", side=f"**{side}**",
            threshold=percent(point.threshold),
        )
    )  # fmt: skip
    stats([_rate(_("Sensitivity"), point.sensitivity), _rate(_("Specificity"), point.specificity)])
    part, calibrated_for = _basis(reading.model or "")
    if part:
        st.caption(_("Both measured on {part}, which the network had not learned from.").format(part=split_name(part)))
    predictive_values(point, reading.model or "", reading.finding_probability, calibrated_for)


def _rate(name: str, figure: Interval) -> tuple[str, str, str]:
    ends = _("95% interval {low} to {high}").format(low=f"{figure.low:.1%}", high=f"{figure.high:.1%}")
    return name, f"{figure.value:.1%}", ends


def _basis(model: str) -> tuple[str, float | None]:
    """Return the part of the data thresholds were chosen on, and the prevalence of the finding calibrated for."""
    found = loaders.bundle(model)
    if isinstance(found, MedAIError):
        return "", None
    stored = found.preprocessing
    shares, positive = stored.get("prevalence") or {}, (stored.get("positive") or {}).get("labels", [])
    calibrated_for = sum(shares[label] for label in positive) if shares else None
    return stored.get("conformal", {}).get("chosen_on", ""), calibrated_for


@st.fragment
def predictive_values(
    point: OperatingPoint, model: str, probability: float, calibrated_for: float | None = None
) -> None:
    """Show, live, PPV, NPV and this scan's probability at the visitor's prevalence."""
    finding = label_name(point.finding)
    if calibrated_for:
        st.write(
            _("The probabilities above are calibrated for {share} prevalence of {finding}.").format(
                finding=finding.lower(), share=f"**{calibrated_for:.0%}**"
            )
        )
    chosen = st.slider(
        _("Prevalence of {finding} among your patients").format(finding=finding.lower()),
        min_value=0.5,
        max_value=90.0,
        value=100 * DEFAULT_PREVALENCE,
        step=0.5,
        format="%.1f%%",
        key=f"prevalence_{model}",
        persist_state="session",
        help=_("The default of 10% is an assumption, not a figure of your clinic. Set what you see."),
    )
    sensitivity, specificity = point.sensitivity.value, point.specificity.value
    ppv, npv = ppv_npv(sensitivity, specificity, chosen / 100)
    above, below = _("of those above the threshold have it"), _("of those below the threshold do not")
    stats([("PPV", percent(ppv), above), ("NPV", percent(npv), below)])
    if calibrated_for:
        st.write(
            _("At {share} prevalence, this scan's probability of {finding} is {p}.").format(
                share=f"{chosen:.1f}%", finding=finding.lower(),
                p=f"**{percent(at_prevalence(probability, calibrated_for, chosen / 100))}**",
            )
        )  # fmt: skip
    grid = np.linspace(0.005, 0.9, 60)
    pairs = [ppv_npv(sensitivity, specificity, float(share)) for share in grid]
    curve = {"prevalence": grid.tolist(), "ppv": [a for a, _b in pairs], "npv": [b for _a, b in pairs]}
    charts.predictive_values(curve, chosen / 100, key="predictive_values")


def model_panel(model: str) -> None:
    """Show, beside the result, whom the model is for, what it is not for, and how it did on unseen patients."""
    found = loaders.bundle(model)
    if isinstance(found, MedAIError):
        st.caption(plain(tell(found)))
        return
    card = found.card
    st.subheader(_("About this model"), anchor=False)
    rows = [
        (_("Population"), _(_text(card.get("population")))),
        (_("Labels"), " · ".join(label_name(label) for label in found.preprocessing.get("labels", []))),
        *[(f"{name} ({split})", value) for name, split, value in headline_figures(found.metrics)],
        (_("Version"), f"{found.version} · sha256 {found.digest[:12]}"),
    ]
    facts(rows)
    if card.get("not_for"):
        st.markdown(f"**{_('Not for')}**")
        bullets([_(item) for item in card["not_for"]])


def headline_figures(metrics: Mapping[str, Any], most: int = 4) -> list[tuple[str, str, str]]:
    """Return ``(name, part of the data, value with interval)`` of the figures a reader asks for first."""
    rows = [row for row in metrics.get("figures", []) if row["metric"].startswith(HEADLINES)]
    parts = list(dict.fromkeys(row.get("split", "") for row in rows))[:2]
    shown = [row for part in parts for row in rows if row.get("split", "") == part]
    return [(metric_name(row["metric"]), split_name(row.get("split", "")), interval(row)) for row in shown[:most]]


def _text(value: object) -> str:
    return " ".join(str(item) for item in value) if isinstance(value, list) else str(value or "")
