"""New patients answered by a model: a table in, the same table with the answers out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from medai_core.errors import InputError, MedAIError
from pages.ui.frame import problem
from pages.ui.language import _, tell
from pages.ui.queue import csv_table
from pages.ui.tab_words import family_name, figure_name, figure_text
from pages.ui.tabtrain_results import choose
from pages.ui.words import percent, plain

if TYPE_CHECKING:
    from medai_core.tabular.risk_model import Prediction, RiskModel
    from medai_core.tabular.tables import Table

ROWS, ROUND, SCORED = "tabtrain_rows", "tabtrain_rows_round", "tabtrain_scored"
SHOWN_ROWS, SHOWN_COLUMNS = 500, 8
MOST_SCORED = 200_000


@dataclass(frozen=True, eq=False)
class Held:
    """The rows a visitor wants answered: the file as it is, for each model reads it in its own way."""

    name: str
    data: bytes
    digest: str


@dataclass(frozen=True, eq=False)
class Scored:
    """Answers to rows by one model."""

    key: tuple[str, str, str]
    table: Table
    answers: list[Prediction]


def panel() -> None:
    """Ask for a model and rows, and show the answers."""
    found = choose("tabtrain_score")
    if found is None:
        return
    key, model = found
    held = ask(model)
    if held is None:
        return
    family = st.pills(
        _("Answered by"), model.families, format_func=lambda name: family_name(name, model.task), default=model.best,
        required=True, key=f"tabtrain_scored_by_{key}", persist_state="session",
    )  # fmt: skip
    try:
        with st.spinner(_("Answering")):
            scored = score(held, key, model, family)
    except MedAIError as error:
        problem(error, held.name)
        return
    summary(scored, model)
    listing(scored, model)
    take_away(scored, held, model, family)
    measured(scored, model)


def ask(model: RiskModel) -> Held | None:
    """Ask for rows; a file stays while the visitor tries other models on it."""
    held: Held | None = st.session_state.get(ROWS)
    if held is None:
        file = st.file_uploader(
            _("Drop new rows here"), key=f"tabtrain_rows_upload_{st.session_state.get(ROUND, 0)}",
            help=_("The table needs the model's columns under the same names; other columns are carried along."),
        )  # fmt: skip
        names = [feature.name for feature in model.encoder.features]
        shown = ", ".join(names[:SHOWN_COLUMNS]) + (" …" if len(names) > SHOWN_COLUMNS else "")
        st.caption(_("Columns this model needs: {names}").format(names=plain(shown)))
        if file is None:
            return None
        data = file.getvalue()
        st.session_state[ROWS] = held = Held(file.name, data, hashlib.sha256(data).hexdigest())
        st.rerun()
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.markdown(f":material/table: **{plain(held.name)}**")
        st.button(_("Other rows"), icon=":material/swap_horiz:", on_click=_let_go, key="tabtrain_rows_other")
    return held


def _let_go() -> None:
    for name in (ROWS, SCORED):
        st.session_state.pop(name, None)
    st.session_state[ROUND] = st.session_state.get(ROUND, 0) + 1


def score(held: Held, key: str, model: RiskModel, family: str) -> Scored:
    """Return the answers to the rows; the last ones are kept.

    Raises
    ------
    InputError
        If the file cannot be read, lacks a column, or has more rows than a visitor may keep answers of.
    """
    from medai_core.tabular.evaluate import read_for

    last: Scored | None = st.session_state.get(SCORED)
    wanted = (held.digest, key, family)
    if last is not None and last.key == wanted:
        return last
    table = last.table if last is not None and last.key[:2] == wanted[:2] else read_for(model, held.data, held.name)
    if len(table.frame) > MOST_SCORED:
        raise InputError("At most {limit:,} rows are answered here, got {count:,}; the command `table` takes more.",
                         limit=MOST_SCORED, count=len(table.frame))  # fmt: skip
    found = Scored(wanted, table, model.predict(table.frame, family))
    st.session_state[SCORED] = found
    return found


def summary(scored: Scored, model: RiskModel) -> None:
    """Say how many rows got which answer, and how many carry a caution."""
    answers = scored.answers
    figures = [(_("Rows"), f"{len(answers):,}")]
    if model.task == "number":
        figures.append((_("Median answer"), f"{pd.Series([one.value for one in answers]).median():.4g}"))
    else:
        last = model.labels[-1]
        mean = sum(one.probabilities[last] for one in answers) / len(answers)
        figures.append((_("Mean probability of {label}").format(label=plain(_event(model, last))), percent(mean)))
    if model.task in ("binary", "classes"):
        figures.append((_("Undecided"), f"{sum(len(one.prediction_set) > 1 for one in answers):,}"))
    figures.append((_("With a caution"), f"{sum(bool(one.cautions) for one in answers):,}"))
    for column, (name, value) in zip(st.columns(len(figures)), figures, strict=True):
        column.metric(name, value, border=True)


def listing(scored: Scored, model: RiskModel) -> None:
    """Show the first rows with their answers before their values."""
    answers = scored.answers[:SHOWN_ROWS]
    shown: dict[str, list[object]] = {}
    if model.task == "number":
        shown[_("Answer")] = [one.value for one in answers]
        shown[_("90% interval")] = [f"{one.interval[0]:.4g} – {one.interval[1]:.4g}" for one in answers if one.interval]
    else:
        label = model.labels[-1]
        shown[_("Probability of {label}").format(label=_event(model, label))] = [
            one.probabilities[label] for one in answers
        ]
        shown[_("Label")] = [_event(model, one.label or "") for one in answers]
    if model.task in ("binary", "classes"):
        shown[_("Prediction set")] = [" · ".join(one.prediction_set) for one in answers]
    shown[_("Cautions")] = [" ".join(tell(caution) for caution in one.cautions) for one in answers]
    first = next(iter(shown))
    columns = {_("Cautions"): st.column_config.TextColumn(_("Cautions"), width=260)}
    if model.task != "number":
        columns[first] = st.column_config.ProgressColumn(first, min_value=0, max_value=1, format="%.3f", width=150)
    # Columns of the table follow: a name that is taken gives way to the answer.
    rest = scored.table.frame.head(SHOWN_ROWS).drop(columns=[name for name in shown if name in scored.table.frame])
    frame = pd.concat([pd.DataFrame(shown), rest.reset_index(drop=True)], axis=1)
    st.dataframe(
        frame, column_config=columns, hide_index=True, key="tabtrain_scored_rows", alt=_("Rows with answers"),
        height=min(38 + 35 * len(frame), 460),
    )  # fmt: skip
    if len(scored.answers) > SHOWN_ROWS:
        st.caption(_("The first {n} rows; the download has all.").format(n=SHOWN_ROWS))


def _event(model: RiskModel, label: str) -> str:
    from pages.ui.tab_words import outcome_name

    return outcome_name(model, label)


def take_away(scored: Scored, held: Held, model: RiskModel, family: str) -> None:
    """Offer the rows with the answers beside them."""

    def data() -> bytes:
        frame = model.score(scored.table.frame, family)
        text = frame.astype(object).where(frame.notna(), "")
        return csv_table(list(map(str, frame.columns)), text.itertuples(index=False))

    with st.container(horizontal=True, vertical_alignment="center"):
        st.download_button(
            _("Download CSV"), data, file_name=f"{held.name.rsplit('.', 1)[0]}-answers.csv", mime="text/csv",
            icon=":material/download:", on_click="ignore", key="tabtrain_scored_csv",
        )  # fmt: skip
        st.caption(
            _("Answered by: {family}. Each answer holds for patients like those of training, and is no diagnosis.")
            .format(family=family_name(family, model.task))
        )  # fmt: skip


def measured(scored: Scored, model: RiskModel) -> None:
    """Measure the models on these rows where the outcome is among their columns."""
    if model.target not in scored.table.names:
        return
    with st.expander(_("The outcome is among the columns: how well do the models do here?"), icon=":material/rule:"):
        if not st.toggle(_("Measure on these rows"), key=f"tabtrain_measure_{scored.key[0][:10]}_{scored.key[1]}"):
            st.caption(_("Only rows that the models were not trained on say something new."))
            return
        try:
            rows = figures(scored.key[:2], model, scored.table)
        except MedAIError as error:
            problem(error)
            return
        by: dict[str, dict[str, str]] = {}
        for row in rows:
            metric, _comma, family = row["metric"].rpartition(", ")
            by.setdefault(family, {})[figure_name(metric)] = figure_text(row)
        lines = [{_("Model"): family_name(family, model.task), **found} for family, found in by.items()]
        st.dataframe(pd.DataFrame(lines), hide_index=True, key="tabtrain_measured", alt=_("Measured on these rows"))
        st.caption(_("{n} rows; in brackets 95% bootstrap intervals.").format(n=f"{rows[0]['n']:,}"))


@st.cache_data(max_entries=8, ttl="2h", scope="session", show_spinner=True)
def figures(key: tuple[str, str], _model: RiskModel, _table: Table) -> list[dict[str, object]]:
    """Return every family's figures on rows whose outcome is known."""
    from medai_core.tabular.evaluate import measured

    return measured(_model, _table, "new rows")
