"""What a model answers for one patient: the headline with its doubts, what is known of the model, every family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from medai_core.errors import MedAIError
from pages.ui import tab_models, tabx_loaders
from pages.ui.charts import draw, told
from pages.ui.frame import bullets, facts, problem
from pages.ui.language import _, tell
from pages.ui.tab_words import family_name, figure_name, figure_text, number
from pages.ui.tabx_state import BACKGROUND, TABLE, View
from pages.ui.tabx_words import label_text, short
from pages.ui.theme import accent, muted
from pages.ui.words import listed, percent, plain

if TYPE_CHECKING:
    from medai_core.tabular.risk_model import Prediction

FIRST_FIGURES = 2
MANY_CAUTIONS = 4


def headline(view: View) -> None:
    """Show the answer, what it leaves open, and what is known of the patient."""
    found = tabx_loaders.prediction(view)
    with st.container(border=True, height="stretch", key="tabx_answer"):
        name = plain(family_name(found.family, view.model.task))
        st.caption(_("Patient {n}, answered by: {family}").format(n=view.row + 1, family=f"**{name}**"))
        st.html(f'<p class="medai-answer">{_answer(view, found)}</p>')
        if found.probabilities:
            bars(view, found)
        for line in doubts(view, found):
            st.markdown(line)
        if view.edits:
            was = tabx_loaders.prediction(view.before)
            before = plain(short_answer(view, was))
            st.caption(
                ":material/edit_note: " + _("Values changed: {n}; as recorded: {answer}.").format(
                    n=len(view.edits), answer=before
                )
            )  # fmt: skip
        recorded(view)
        cautions(found)


def _answer(view: View, found: Prediction) -> str:
    from html import escape

    return escape(short_answer(view, found))


def short_answer(view: View, found: Prediction) -> str:
    """Return an answer in a few words."""
    if found.value is not None:
        return f"{view.model.target}: {number(found.value)}"
    if view.model.horizon is not None:
        label = view.model.labels[1]
        return f"{label_text(view.model, label)}: {percent(found.probabilities[label])}"
    label = found.label or view.model.labels[0]
    return f"{label_text(view.model, label)}: {percent(found.probabilities[label])}"


def bars(view: View, found: Prediction) -> None:
    """Draw the calibrated probabilities; labels of the prediction set carry a dot."""
    labels = sorted(found.probabilities, key=found.probabilities.__getitem__)
    inside = [label in found.prediction_set for label in labels]
    shown = [percent(found.probabilities[label]) for label in labels]
    figure = go.Figure(
        go.Bar(
            y=[short(label_text(view.model, label)) for label in labels],
            x=[found.probabilities[label] for label in labels],
            orientation="h", text=[f"{text}  ●" if yes else text for text, yes in zip(shown, inside, strict=True)],
            textposition="outside", cliponaxis=False, hovertemplate="%{y}: %{text}<extra></extra>",
            marker={"color": [accent() if yes else muted() for yes in inside], "line_width": 0,
                    "opacity": [1.0 if yes else 0.55 for yes in inside]},
        )
    )  # fmt: skip
    figure.update_layout(margin={"l": 0, "r": 76, "t": 4, "b": 4}, bargap=0.42, showlegend=False)
    figure.update_xaxes(range=[0, 1], visible=False, fixedrange=True)
    figure.update_yaxes(fixedrange=True, ticks="", showgrid=False, automargin=True, ticksuffix="  ")
    words = [f"{label_text(view.model, label)} {text}" for label, text in zip(labels, shown, strict=True)]
    draw(figure, "tabx_probabilities", told(_("Calibrated probabilities"), words), height=40 * len(labels) + 14)


def doubts(view: View, found: Prediction) -> list[str]:
    """Return what the prediction set or the interval says, in Markdown."""
    if found.interval is not None:
        ends = _("{low} to {high}").format(low=number(found.interval[0]), high=number(found.interval[1]))
        return [_("In nine of ten patients like those of training, the value lies within: {ends}.").format(
            ends=f"**{ends}**"
        )]  # fmt: skip
    if not found.prediction_set:
        return []
    names = listed([plain(label_text(view.model, label)) for label in found.prediction_set])
    lines = ["● " + _("Prediction set: {names}. It holds the truth in nine of ten patients like those of "
                      "training.").format(names=f"**{names}**")]  # fmt: skip
    if len(found.prediction_set) > 1:
        lines.append(f":material/help: {_('The model does not know: the set holds more than one label.')}")
    return lines


def recorded(view: View) -> None:
    """Say what is recorded of the patient, and what the model answered when it had not seen the patient."""
    if view.outcome:
        st.caption(
            _("Recorded in the table, {target}: {outcome}").format(
                target=plain(view.model.target), outcome=f"**{plain(label_text(view.model, view.outcome))}**"
            )
        )
    unseen = held_out(view, tabx_loaders.prediction(view.before).label or "")
    if unseen is not None:
        st.caption(_("The model was trained on this patient too. When it was held out, the answer was {p}.").format(
            p=f"**{percent(unseen)}**"
        ))  # fmt: skip
    elif view.patients.source in (TABLE, BACKGROUND):
        st.caption(_("The model was trained on this patient too, so the answer looks surer than on a new one."))


def held_out(view: View, label: str) -> float | None:
    """Return a label's probability when a training patient was held out, where table and answers match row by row.

    Of two labels; None of other tasks.
    """
    model = view.model
    if view.patients.source != TABLE or model.task != "binary" or view.patients.outcome is None:
        return None
    try:
        answers, outcomes = model.held(view.family, label)
    except (KeyError, MedAIError):
        return None
    if not np.array_equal(view.patients.outcome == label, outcomes):
        return None
    return float(answers[view.row])


def cautions(found: Prediction) -> None:
    """Show what the training table does not cover."""
    said = [plain(tell(caution)) for caution in found.cautions]
    for line in said[:MANY_CAUTIONS]:
        st.warning(line, icon=":material/warning:")
    if len(said) > MANY_CAUTIONS:
        with st.expander(_("{n} more cautions").format(n=len(said) - MANY_CAUTIONS)):
            bullets([tell(caution) for caution in found.cautions[MANY_CAUTIONS:]])


def unlikeness(view: View) -> None:
    """Say how unlike the training patients this one is; the first time loads the networks."""
    if view.model.bundle.preprocessing.get("unlikeness") is None:
        return
    with st.spinner(_("Comparing with the training patients")):
        try:
            found = tabx_loaders.prediction(view, unlikeness=True)
        except MedAIError as error:
            problem(error)
            return
    if found.unlikeness is None:
        return
    share = _("Less like the training patients than {share} of them are.").format(share=f"{found.unlikeness:.0%}")
    if found.unlikeness >= unlike_from():
        st.warning(f"{share} {_('The answer must not be relied on: refer.')}", icon=":material/person_alert:")
    else:
        st.caption(f":material/groups: {share}")


def unlike_from() -> float:
    """Return from which share on a patient counts as unlike."""
    from medai_core.tabular.risk_model import UNLIKE

    return UNLIKE


# ---------------------------------------------------------------------------------------------------- facts


def model_facts(view: View) -> None:
    """Show whom the model is for, how it did on patients it never saw, and what it is not for."""
    card = view.model.bundle.card
    with st.container(border=True, height="stretch"):
        st.subheader(_("About this model"), anchor=False)
        facts(
            [
                (_("Model"), tab_models.table_models().get(view.key, view.key)),
                (_("Population"), _(str(card.get("population", "")))),
                *figures(view.model.bundle.metrics.get("figures", []), view.family),
                (_("Version"), f"{card.get('version', '')} · sha256 {str(view.model.bundle.digest)[:12]}"),
            ]
        )
        if card.get("not_for"):
            with st.expander(_("Not for"), icon=":material/block:"):
                bullets([_(str(item)) for item in card["not_for"]])


def figures(rows: Sequence[Mapping[str, Any]], family: str) -> list[tuple[str, str]]:
    """Return the leading figures of one family on held-out patients."""
    mine = [row for row in rows if row.get("family") == family][:FIRST_FIGURES]
    names = [str(row["metric"]).removesuffix(f", {family}") for row in mine]
    return [
        (_("{figure}, held-out patients").format(figure=figure_name(name)), figure_text(row))
        for name, row in zip(names, mine, strict=True)
    ]


# ------------------------------------------------------------------------------------------- every family


def every_family(view: View) -> None:
    """Show what each family answers, with its prediction set."""
    import pandas as pd

    waits = any(view.model.needs_networks(family) for family in view.model.families)
    with st.spinner(_("Asking every model") if waits else ""):
        answers = {family: tabx_loaders.prediction(view, family) for family in view.model.families}
    rows = []
    for family, found in answers.items():
        row: dict[str, object] = {"family": family_name(family, view.model.task) + (
            f" ({_('best')})" if family == view.model.best else "")}  # fmt: skip
        if found.value is not None and found.interval is not None:
            row |= {
                "value": number(found.value),
                "set": _("{low} to {high}").format(low=number(found.interval[0]), high=number(found.interval[1])),
            }
        else:
            row |= {f"p_{label}": percent(p) for label, p in found.probabilities.items()}
            row["set"] = " · ".join(label_text(view.model, label) for label in found.prediction_set)
        rows.append(row)
    shares = {f"p_{label}": st.column_config.TextColumn(label_text(view.model, label)) for label in view.model.labels}
    shown = {
        "family": st.column_config.TextColumn(_("Model")),
        "value": st.column_config.TextColumn(view.model.target),
        "set": st.column_config.TextColumn(
            _("Interval, nine of ten") if view.model.task == "number" else _("Prediction set")
        ),
        **shares,
    }
    frame = pd.DataFrame(rows)
    if view.model.horizon is not None:
        frame = frame.drop(columns="set")
    st.dataframe(
        frame, column_config=shown, hide_index=True, key="tabx_families", height="content",
        alt=_("What each model answers"),
    )  # fmt: skip
    labels = {found.label for found in answers.values()}
    if len(labels) > 1:
        st.warning(_("The models do not agree on the label of this patient."), icon=":material/call_split:")
