"""How good the models of a table are on rows they never saw."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from medai_core.errors import MedAIError
from pages.ui import charts, tab_models, tabtrain_charts
from pages.ui.frame import bullets, facts, problem, stats
from pages.ui.language import _
from pages.ui.loaders import KEEP
from pages.ui.tab_words import family_name, figure_name, figure_text, task_name
from pages.ui.words import plain

if TYPE_CHECKING:
    from medai_core.tabular.risk_model import RiskModel

TABLE, HELD_OUT = "tabtrain_leaderboard", "held-out folds"
EXPLAIN_PAGE, EXPLAINED = "pages/tabular/explain_table.py", "tabx_model"
Row = Mapping[str, Any]


def choose(key: str) -> tuple[str, RiskModel] | None:
    """Let the visitor choose among all table models; the newest own one stands there at first."""
    names = tab_models.table_models()
    if not names:
        st.info(_("There is no model yet. Train one, or open a bundle you kept."), icon=":material/model_training:")
        return None
    wanted = st.session_state.get(tab_models.CHOSEN)
    widget = f"{key}_model"
    st.session_state[widget] = chosen = wanted if wanted in names else next(iter(names))
    st.selectbox(
        _("Model"), list(names), format_func=names.__getitem__, key=widget, width=520, on_change=_chosen, args=(widget,)
    )
    try:
        return chosen, tab_models.table_model(chosen)
    except MedAIError as error:
        problem(error)
        return None


def _chosen(widget: str) -> None:
    st.session_state[tab_models.CHOSEN] = st.session_state[widget]


def panel() -> None:
    """Show a model's leaderboard and the curves of one of its families."""
    found = choose("tabtrain_result")
    if found is None:
        return
    key, model = found
    explain_button(key)
    identity(model)
    rows = leaderboard(model, key)
    family = st.pills(
        _("Look closer at"), list(dict.fromkeys(row["family"] for row in rows)) or [model.best],
        format_func=lambda name: family_name(name, model.task), default=model.best, required=True,
        key=f"tabtrain_family_{key}", persist_state="session",
    )  # fmt: skip
    closer(model, key, family)
    subgroups(model, key)
    about(model)


def explain_button(key: str) -> None:
    """Offer to take the model apart on the page for that."""
    if st.button(_("Explain this model"), icon=":material/psychology:", key=f"tabtrain_explain_{key}"):
        st.session_state[EXPLAINED] = key
        st.switch_page(EXPLAIN_PAGE)


def identity(model: RiskModel) -> None:
    """Say what the model predicts, from how many rows, and how it was measured."""
    card = model.bundle.card
    data, split = card.get("training_data") or {}, card.get("split") or {}
    counts = data.get("n_by_label") or {}
    shares = " · ".join(f"{label} {count:,}" for label, count in counts.items())
    seen = _("{rows} rows, {columns} columns").format(
        rows=f"{data.get('n_rows', 0):,}", columns=len(model.encoder.names)
    )
    repeats = split.get("repeats", 1)
    words = _("{folds} folds") if repeats == 1 else _("{folds} folds, {repeats} times")
    folds = words.format(folds=split.get("folds", "–"), repeats=repeats)
    with st.container(border=True):
        facts(
            [
                (_("Predicts"), f"{model.target} · {task_name(model.task)}"),
                (_("Trained on"), f"{data.get('name', '')} · {seen}" + (f" · {shares}" if shares else "")),
                (_("Measured by nested cross-validation"), folds),
                (_("Not for"), " ".join(_(text) for text in card.get("not_for", [])[:1])),
            ]
        )


def leaderboard(model: RiskModel, key: str) -> list[Row]:
    """Show every figure of every family with its interval, and the leading one drawn; return the leading rows."""
    figures = [row for row in model.bundle.metrics.get("figures", []) if "family" in row]
    by: dict[str, dict[str, Row]] = {}
    for row in figures:
        if row.get("split", HELD_OUT) == HELD_OUT:
            by.setdefault(row["family"], {})[row["metric"].removesuffix(f", {row['family']}")] = row
    if not by:
        st.caption(_("The bundle holds no figures."))
        return []
    st.subheader(_("Leaderboard"), anchor=False)
    names = {family: family_name(family, model.task) for family in by}
    metrics = list(dict.fromkeys(metric for found in by.values() for metric in found))
    lead = metrics[0]
    led = [found[lead] for found in by.values() if lead in found]
    tabtrain_charts.leaders(led, names, figure_name(lead), f"tabtrain_leaders_{key}")
    table = {_("Model"): [names[family] + (" ★" if family == model.best else "") for family in by]}
    for metric in metrics:
        table[figure_name(metric)] = [figure_text(by[family].get(metric, {})) for family in by]
    table["n"] = [f"{next(iter(found.values()))['n']:,}" for found in by.values()]
    st.dataframe(pd.DataFrame(table), hide_index=True, key=f"{TABLE}_{key}", alt=_("Leaderboard"))
    st.caption(
        _("★ lowest held-out loss: this one answers unless you choose another. In brackets 95% bootstrap intervals.")
    )
    return led


def closer(model: RiskModel, key: str, family: str) -> None:
    """Show the curves of one family, as the task asks."""
    if model.task == "number":
        found, truth = model.held(family)
        st.subheader(_("Predicted against observed"), anchor=False)
        tabtrain_charts.agreement(found, truth, model.target, f"tabtrain_agree_{key}_{family}")
    elif model.task == "time_to_event":
        risk_thirds(model, key, family)
    else:
        classes(model, key, family)


def classes(model: RiskModel, key: str, family: str) -> None:
    """Show ROC, precision-recall, calibration, decision curve, and what a threshold does, for one outcome."""
    label = model.labels[-1]
    if len(model.labels) > 2:
        label = st.segmented_control(
            _("Outcome"), model.labels, default=model.labels[0], required=True, key=f"tabtrain_label_{key}",
            persist_state="session",
        )  # fmt: skip
    every = {name: (family_name(name, model.task), curves(key, name, label, model)) for name in model.families}
    mine = every[family][1]
    left, right = st.columns(2, gap="medium")
    with left, st.container(border=True):
        st.markdown(f"**{_('ROC curve')}** · {plain(label)}")
        rocs = {name: (title, one["roc"]) for name, (title, one) in every.items()}
        tabtrain_charts.rocs(rocs, family, f"tabtrain_roc_{key}_{family}_{label}")
    with right, st.container(border=True):
        st.markdown(f"**{_('Precision and recall')}** · {plain(label)}")
        both = {name: (title, one["precision_recall"]) for name, (title, one) in every.items()}
        tabtrain_charts.precision_recalls(both, family, mine["share"], f"tabtrain_pr_{key}_{family}_{label}")
    if len(model.labels) > 2 and "confusion" in model.bundle.metrics and family == model.best:
        stored = model.bundle.metrics["confusion"]
        with st.container(border=True):
            st.markdown(f"**{_('Confusion matrix')}** · {_('by the most probable class')}")
            charts.confusion(stored["labels"], stored["counts"], f"tabtrain_classes_{key}", stored["labels"])
    at_threshold(model, key, family, label)


@st.fragment
def at_threshold(model: RiskModel, key: str, family: str, label: str) -> None:
    """Show what a threshold does; a fragment, so that moving it draws only this."""
    from medai_core.tabular.results import at_threshold

    found, truth = model.held(family, label)
    threshold = st.slider(
        _("Threshold: call it “{label}” from this probability on").format(label=plain(label)), 1, 99, 50, format="%d%%",
        key=f"tabtrain_threshold_{key}_{label}", persist_state="session",
    ) / 100  # fmt: skip
    told = at_threshold(found, truth, threshold)
    left, right = st.columns(2, gap="medium")
    with left, st.container(border=True, height="stretch"):
        st.markdown(f"**{_('At the threshold')}**")
        names = [_("not {label}").format(label=label) if len(model.labels) > 2 else model.labels[0], label]
        charts.confusion(names, told.counts, f"tabtrain_confusion_{key}_{family}_{label}", names)
        shares = (
            (_("Sensitivity"), told.sensitivity, _("of those who had it")),
            (_("Specificity"), told.specificity, _("of those who had it not")),
            (_("Positive predictive value"), told.ppv, _("of those called so")),
            (_("Negative predictive value"), told.npv, _("of the others")),
        )
        stats([(name, f"{one.value:.1%}" if one else "–", _ends(one, of)) for name, one, of in shares])
    with right, st.container(border=True, height="stretch"):
        mine = curves(key, family, label, model)
        st.markdown(f"**{_('Decision curve')}**")
        tabtrain_charts.decision(mine["decision"], threshold, f"tabtrain_decision_{key}_{family}_{label}")
        st.caption(_("Net benefit: true positives per patient, less false ones weighed by the odds of the threshold."))
    left, right = st.columns(2, gap="medium")
    with left, st.container(border=True, height="stretch"):
        st.markdown(f"**{_('Calibration plot')}**")
        tabtrain_charts.calibration(mine["reliability"], f"tabtrain_calibration_{key}_{family}_{label}")
    with right, st.container(border=True, height="stretch"):
        st.markdown(f"**{_('How to read these')}**")
        how_to_read()


def how_to_read() -> None:
    """Say what the curves mean, for readers who do not see them every day."""
    bullets(
        [
            _(
                "ROC: how many of those with the outcome are caught (up) against how many without it are called in "
                "error (right)."
            ),
            _(
                "Precision: of those called so, how many had it. The dotted line is what calling everybody gives, so "
                "look here when the outcome is rare."
            ),
            _("Calibration: on the dotted line, of all rows given 30% the outcome came in 30 of 100."),
            _(
                "Decision curve: a model is of use where its line is above both others, at thresholds at which "
                "somebody would act."
            ),
            _("Every point comes from rows that the model answering them had not seen."),
        ]
    )


def _ends(one: Any, of: str) -> str:
    return f"{one.low:.1%}–{one.high:.1%} {of}" if one else of


@st.cache_data(max_entries=48, **KEEP)
def curves(key: str, family: str, label: str, _model: RiskModel) -> dict[str, Any]:
    """Return the curves of one outcome from held-out rows."""
    from medai_core.tabular import results

    p, y = _model.held(family, label)
    return {
        "roc": results.roc(p, y), "precision_recall": results.precision_recall(p, y), "share": float(y.mean()),
        "reliability": results.reliability(p, y), "decision": results.decision_curve(p, y),
    }  # fmt: skip


def risk_thirds(model: RiskModel, key: str, family: str) -> None:
    """Show the course of thirds of the rows by their held-out risk: apart when the model tells them apart."""
    link, y = model.held(family)
    st.subheader(_("Thirds of the held-out risk"), anchor=False)
    place = np.searchsorted(np.quantile(link, [1 / 3, 2 / 3]), link)
    names = (_("lowest third"), _("middle third"), _("highest third"))
    drawn = [
        (f"{names[k]} (n = {(place == k).sum():,})", *observed(y[place == k])) for k in range(3) if (place == k).any()
    ]
    tabtrain_charts.thirds(drawn, model.target, f"tabtrain_thirds_{key}_{family}")
    st.caption(_("Kaplan–Meier curves of rows answered by models that never saw them."))


def observed(y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the Kaplan-Meier curve of signed times, from time 0 on."""
    from sksurv.nonparametric import kaplan_meier_estimator

    time, free = kaplan_meier_estimator(y > 0, np.abs(y))
    return np.r_[0.0, time], np.r_[1.0, free]


def subgroups(model: RiskModel, key: str) -> None:
    """Show the figures within subgroups, those of few patients by their size alone."""
    rows: Sequence[Row] = model.bundle.metrics.get("subgroups", [])
    if not rows:
        return
    st.subheader(_("Within subgroups"), anchor=False)
    family = family_name(model.best, model.task)
    table: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        line = table.setdefault((row["column"], row["group"]), {"n": row["n"], "small": row["suppressed"]})
        line[figure_name(row["metric"])] = _("too few") if row["suppressed"] else figure_text(row)
    order = list(dict.fromkeys(column for column, _name in table))
    frame = [
        {
            _("Column"): column,
            _("Group"): _group(group),
            **{name: value for name, value in line.items() if name != "small"},
        }
        for (column, group), line in sorted(table.items(), key=lambda one: (order.index(one[0][0]), *_place(one[0][1])))
    ]
    st.dataframe(pd.DataFrame(frame), hide_index=True, key=f"tabtrain_subgroups_table_{key}", alt=_("Within subgroups"))
    st.caption(
        _(
            "{family}, 95% bootstrap intervals. Groups of fewer than 20 patients, or fewer than 5 of an outcome, are "
            "not measured: their figure would be chance."
        ).format(family=family)
    )


def _place(group: str) -> tuple[int, str]:
    """Thirds of a number ascend, and what is missing comes last."""
    parts = ("below ", " to ", " and above", "missing")
    return next((k for k, part in enumerate(parts) if part in group), 0), group


def _group(name: str) -> str:
    """Return the name of a subgroup: a level as it stands in the table, a third of a number in words."""
    if name == "missing":
        return _("missing")
    if found := re.fullmatch(r"below (\S+)", name):
        return _("below {x}").format(x=found[1])
    if found := re.fullmatch(r"(\S+) to (\S+)", name):
        return _("{x} to {y}").format(x=found[1], y=found[2])
    if found := re.fullmatch(r"(\S+) and above", name):
        return _("{x} and above").format(x=found[1])
    return name


def about(model: RiskModel) -> None:
    """Show what the model is for, where it fails, and what its figures do not say."""
    card = model.bundle.card
    with st.expander(_("What this model is for, and where it fails"), icon=":material/description:"):
        if card.get("metrics_note"):
            st.info(plain(_(card["metrics_note"])), icon=":material/info:")
        bullets(
            [_(text) for field in ("intended_use", "not_for", "failure_modes", "notes") for text in card.get(field, [])]
        )
        facts(
            [
                (_("Version"), model.bundle.version),
                (_("Digest"), model.bundle.digest),
                (_("Libraries"), ", ".join(f"{name} {version}" for name, version in card.get("libraries", {}).items())),
            ]
        )
