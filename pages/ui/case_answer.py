"""What the model said of a study, as it was kept: an answer, a refusal, or why there is none to be seen."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import streamlit as st

from medai_core.errors import MedAIError
from pages.ui import answer, charts, icu_loaders, loaders
from pages.ui.case_kit import moment
from pages.ui.charts import draw, told
from pages.ui.frame import bullets, facts
from pages.ui.language import _, tell
from pages.ui.theme import accent
from pages.ui.words import (
    capital,
    interval,
    label_name,
    listed,
    metric_name,
    model_name,
    percent,
    plain,
    refusal_title,
    split_name,
)

if TYPE_CHECKING:
    from medai_core.cases.answers import ModelReading, Object, Study
    from medai_core.cases.report_answer import Answer

WATCHED = ("AUROC", "AUC", "accuracy")


def reading_of(study: Study, one: Object) -> ModelReading | None:
    """Return the newest reading of a file, None where there is none to be seen."""
    mine = [reading for reading in study.readings if reading.object_id == one.object_id]
    return mine[-1] if mine else None


def answer_of(reading: ModelReading) -> Answer:
    """Return what was kept of an answer."""
    from medai_core.cases.report_answer import Answer

    return Answer.from_dict(reading.answer)


def reading_card(study: Study, one: Object, side: str) -> None:
    """Show the model's reading of one file, or why there is none."""
    reading = reading_of(study, one)
    with st.container(border=True, key=f"case_reading_{side}"):
        if study.withheld:
            withheld()
        elif reading is None:
            missing(one)
        elif reading.status == "read":
            answered(reading, side)
        else:
            turned_away(reading)


def withheld() -> None:
    """Say that there is an answer, and what makes it appear."""
    st.badge(_("Withheld"), icon=":material/visibility_off:", color="gray")
    st.subheader(_("Your reading comes first"), anchor=False)
    st.write(
        _(
            "The model has read this study. Its answer appears once you have committed your own reading, or when you "
            "turn “Read first” off; then your reading does not count as made first."
        )
    )


def missing(one: Object) -> None:
    """Say why there is no reading of a file yet, or at all."""
    if one.model_state == "failed":
        st.badge(_("Not readable"), icon=":material/error:", color="red")
        st.write(plain(tell(one.reason)) if one.reason else _("The model could not read this file."))
        st.write(_("A person has to look."))
        return
    running = one.model_state == "running"
    st.badge(
        _("The model is reading") if running else _("Waits for the model"),
        icon=":material/hourglass_top:",
        color="gray",
    )
    st.write(_("The answer appears here by itself."))


def answered(reading: ModelReading, side: str) -> None:
    """Show an answer with its probabilities, its set and its cautions."""
    found = answer_of(reading)
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.caption(f"{plain(model_name(reading.model))} · {_('version')} {plain(reading.version)}")
        if found.refer:
            st.badge(_("Refer to a reader"), icon=":material/person_search:", color="orange")
        elif found.probabilities:
            st.badge(_("One label fits"), icon=":material/check:", color="green")
    if found.probabilities:
        head = label_name(found.label or "")
        st.html(f'<div class="medai-answer" role="heading" aria-level="3">{escape(head)}</div>')
        share = found.probabilities.get(found.label or "", 0.0)
        st.write(_("Calibrated probability {p}").format(p=f"**{percent(share)}**"))
        charts.probability_bars(found.probabilities, found.prediction_set, key=f"case_probabilities_{side}")
        st.caption("● " + _("in the prediction set; grey: outside it."))
        set_words(found)
    else:
        risk(found, side)
    for caution in found.cautions:
        st.warning(plain(tell(caution)), icon=":material/warning:")
    st.caption(_("Read {at}").format(at=moment(reading.at)))


def set_words(found: Answer) -> None:
    """Say which labels are in the prediction set, and where the finding stands against its threshold."""
    labels = [label_name(label) for label in found.prediction_set]
    if found.refer and len(labels) > 1:
        words = _(
            "The 90% prediction set holds {n} labels: {labels}. The model cannot tell them apart here: refer to a "
            "reader."
        )
        st.warning(words.format(n=len(labels), labels=listed(labels)), icon=":material/person_search:")
    if found.finding and found.threshold is not None and found.finding_probability is not None:
        side = _("above") if found.above_threshold else _("below")
        words = _("{finding}: probability {p}, {side} the threshold of {threshold}.")
        st.caption(
            words.format(
                finding=label_name(found.finding), p=percent(found.finding_probability), side=side,
                threshold=percent(found.threshold),
            )
        )  # fmt: skip


def risk(found: Answer, side: str) -> None:
    """Show the risk of a stay: now, and over its hours as the model kept it."""
    course = [one for one in found.estimates if one.hour is not None]
    now = found.finding_probability or 0.0
    st.caption(_("Risk of death in hospital, after the last hour recorded"))
    st.html(f'<div class="medai-answer" role="heading" aria-level="3">{escape(percent(now))}</div>')
    if not course:
        return
    hours = [one.hour for one in course]
    low, high = [one.low or 0.0 for one in course], [one.high or 0.0 for one in course]
    import plotly.graph_objects as go

    figure = go.Figure()
    figure.add_scatter(
        x=[*hours, *reversed(hours)], y=[*high, *reversed(low)], fill="toself", line_width=0, fillcolor=accent(),
        opacity=0.25, hoverinfo="skip", showlegend=False, mode="lines",
    )  # fmt: skip
    figure.add_scatter(
        x=hours, y=[one.value for one in course], mode="lines", line={"color": accent(), "width": 2.5},
        hovertemplate=_("hour") + " %{x}: %{y:.1%}<extra></extra>", showlegend=False,
    )  # fmt: skip
    figure.update_layout(margin={"l": 0, "r": 6, "t": 6, "b": 0}, dragmode=False)
    figure.update_xaxes(title=_("Hours since admission"), dtick=12, fixedrange=True, zeroline=False)
    figure.update_yaxes(tickformat=".0%", fixedrange=True, rangemode="tozero", nticks=5)
    words = [f"{one.hour} h {percent(one.value)}" for one in course[:: max(1, len(course) // 6)]]
    draw(figure, f"case_risk_{side}", told(_("Risk of death in hospital"), words), 190)
    st.caption(_("The range is over the members of the model's network: how far they disagree, not what may happen."))


def turned_away(reading: ModelReading) -> None:
    """Show calmly that the model refused, and why."""
    found = answer_of(reading)
    st.badge(_("Not read"), icon=":material/block:", color="gray")
    st.subheader(refusal_title(found.code), anchor=False)
    if found.reason:
        st.write(plain(tell(found.reason)))
    st.write(_("No probabilities are shown, because they would mean nothing for this input. A person has to look."))


def model_facts(study: Study, one: Object) -> None:
    """Show whom the model is for, what it is not for, and how it did on patients it never saw."""
    reading = reading_of(study, one)
    if reading is None or not reading.model:
        return
    found = loaders.bundle(reading.model)
    if isinstance(found, MedAIError):
        st.caption(plain(tell(found)))
        return
    version_words(reading, found.version)
    if study.kind == "scan":
        answer.model_panel(reading.model)
        return
    card = found.card
    rows = [(_("Population"), _(answer._text(card.get("population"))))]
    rows += _figures(found.metrics, reading.model)
    facts([*rows, (_("Version"), f"{found.version} · sha256 {found.digest[:12]}")])
    if card.get("not_for"):
        st.markdown(f"**{_('Not for')}**")
        bullets([_(item) for item in card["not_for"]])


def version_words(reading: ModelReading, installed: str) -> None:
    """Say so where an answer is of another version of its model than what stands below."""
    if installed != reading.version:
        words = _("The answer is of version {old}; the facts below are of version {new}, which is installed now.")
        st.info(words.format(old=reading.version, new=installed), icon=":material/history:")


def _figures(metrics: dict[str, object], model: str) -> list[tuple[str, str]]:
    names = ("AUROC, blend", "AUROC, blend, at hour 24") if model == icu_loaders.RISK else ()
    rows = [row for row in metrics.get("figures", []) if row["metric"] in names]
    rows = rows or [row for row in metrics.get("figures", []) if row["metric"].startswith(WATCHED)][:3]
    return [(" · ".join(filter(None, _named(row))), interval(row)) for row in rows]


def _named(row: dict[str, Any]) -> tuple[str, str]:
    return metric_name(row["metric"]), split_name(row.get("split", ""))


def short(reading: ModelReading) -> str:
    """Return a reading in two or three words."""
    found = answer_of(reading)
    if reading.status != "read":
        return refusal_title(found.code)
    if found.probabilities:
        return f"{label_name(found.label or '')} {percent(found.probabilities.get(found.label or '', 0.0))}"
    return f"{capital(_('Risk of death in hospital'))} {percent(found.finding_probability or 0.0)}"
