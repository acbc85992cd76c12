"""The models' cards: what each is for, how it was made, and how it did on cases it never saw."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import streamlit as st

from medai_core.errors import MedAIError
from pages.ui import charts, loaders
from pages.ui.figures import figure_tables
from pages.ui.frame import bullets, facts, page, problem
from pages.ui.language import _
from pages.ui.words import label_name, model_name, plain


def main() -> None:
    page(_("Models"), _("What each model is for and not for, how it was made, and how it did on cases it never saw."))
    ids = loaders.model_ids()
    if "models_choice" not in st.session_state and st.query_params.get("model") in ids:
        st.session_state["models_choice"] = st.query_params["model"]
    model = st.segmented_control(
        _("Model"), ids, format_func=model_name, default=None if "models_choice" in st.session_state else ids[0],
        required=True, key="models_choice", persist_state="session", label_visibility="collapsed",
    )  # fmt: skip
    st.query_params["model"] = model
    found = loaders.bundle(model)
    if isinstance(found, MedAIError):
        problem(found)
        return
    card(found)


def card(found: Any) -> None:
    """Show one bundle."""
    st.subheader(plain(_(str(found.card.get("name", found.id)))), anchor=False)
    st.write(plain(_(text(found.card.get("summary")))))
    identity(found)
    purpose(found.card)
    st.subheader(_("Performance on unseen cases"), anchor=False)
    performance(found.metrics, str(found.card.get("metrics_note", "")))
    plots(found.metrics, found.id)
    data(found.card)
    for title, field in (
        (_("Known failure modes"), "failure_modes"),
        (_("Notes on explanations"), "explanation_notes"),
    ):
        if found.card.get(field):
            st.subheader(title, anchor=False)
            bullets([_(item) for item in found.card[field]])


def identity(found: Any) -> None:
    """Show version, digest and device."""
    state = loaders.reader_state()
    device = loaders.device() if state == "ready" else _("loading") if state == "loading" else _("not available")
    with st.container(border=True):
        facts(
            [
                (_("Version"), found.version),
                (_("Size"), f"{found.size_mb:.1f} MB"),
                (_("Digest"), f"{_('verified')} · sha256 {found.digest}"),
                (_("Runs on"), device),
                (_("Labels"), " · ".join(label_name(label) for label in found.preprocessing.get("labels", []))),
            ]
        )


def purpose(card: Mapping[str, Any]) -> None:
    """Show what the model is for, and not for."""
    left, right = st.columns(2, gap="medium")
    for column, icon, title, field in (
        (left, ":material/check_circle:", _("Intended use"), "intended_use"),
        (right, ":material/block:", _("Not for"), "not_for"),
    ):
        with column, st.container(border=True, height="stretch"):
            st.markdown(f"#### {icon} {title}")
            bullets([_(item) for item in as_list(card.get(field))])
    if card.get("population"):
        facts([(_("Population"), _(text(card["population"])))])


def performance(metrics: Mapping[str, Any], note: str) -> None:
    """Show the figures with their intervals, beside the baseline's."""
    figure_tables(metrics)
    if note:
        st.info(plain(_(note)), icon=":material/info:")
    for line in metrics.get("notes", []):
        st.caption(plain(_(line)))


def plots(metrics: Mapping[str, Any], model: str) -> None:
    """Show calibration, ROC and confusion matrix where the bundle has them."""
    drawn: list[tuple[str, Callable[[], None]]] = []
    if metrics.get("reliability"):
        drawn.append((_("Calibration"), lambda: charts.reliability(metrics["reliability"], f"reliability_{model}")))
    if metrics.get("roc"):
        name = metrics["roc"].get("name", "")
        title = f"ROC · {label_name(name)}" if name else "ROC"
        drawn.append((title, lambda: charts.roc(metrics["roc"], f"roc_{model}")))
    if metrics.get("confusion"):
        found = metrics["confusion"]
        drawn.append(
            (_("Confusion matrix"), lambda: charts.confusion(found["labels"], found["counts"], f"confusion_{model}"))
        )
    if drawn:
        drawn.append((_("How to read these"), how_to_read))
    for start in range(0, len(drawn), 2):
        for column, (title, draw) in zip(st.columns(2, gap="medium"), drawn[start : start + 2], strict=False):
            with column, st.container(border=True, height="stretch"):
                st.markdown(f"**{plain(title)}**")
                draw()


def how_to_read() -> None:
    """Say what the plots mean, for readers who do not see them every day."""
    bullets(
        [
            _(
                "Calibration: on the dotted line, of all cases given 30% the finding is there in 30 of 100."
                " Large points stand for many cases."
            ),
            _(
                "ROC: how many of those with the finding are caught (up) against how many without it are "
                "called in error (right)."
            ),
            _("Confusion matrix: each row is what the case was; the shares in a row add up to 100%."),
            _("Intervals: 95% bootstrap intervals; with other patients or devices, figures can fall outside them."),
        ]
    )


def data(card: Mapping[str, Any]) -> None:
    """Show where the training data came from and how it was split."""
    source, split = card.get("training_data") or {}, card.get("split") or {}
    left, right = st.columns(2, gap="medium")
    with left:
        st.subheader(_("Training data"), anchor=False)
        names = {
            "name": _("Name"), "source": _("Source"), "licence": _("Licence"), "citation": _("Citation"),
            "n_images": _("Images"), "n_patients": _("Patients"), "n_groups": _("Groups of near-duplicates"),
            "n_stays": _("Stays"), "n_deaths": _("Deaths"), "n_events": _("Events"),
        }  # fmt: skip
        facts([(names.get(field, field), _(text(value))) for field, value in source.items()])
    with right:
        st.subheader(_("Split and training"), anchor=False)
        names = split_words()
        rows = [(names.get(field, field), _(text(value, names))) for field, value in split.items()]
        libraries = card.get("libraries") or {}
        rows.append((_("Libraries"), ", ".join(f"{name} {number}" for name, number in libraries.items())))
        facts(rows)


def split_words() -> dict[str, str]:
    """Return what the fields of a card's split are called."""
    return {
        "method": _("Method"),
        "seed": _("Seed"),
        "train": _("Training"),
        "development": _("Development"),
        "folds": _("Folds"),
        "validation": _("Validation"),
        "test": _("Test"),
        "known": _("Learned from"),
        "held_out": _("Limits set on"),
        **{model: model_name(model) for model in loaders.READING_MODELS},
    }


def as_list(value: object) -> Sequence[str]:
    return value if isinstance(value, list) else [str(value)] if value else []


def text(value: object, names: Mapping[str, str] | None = None) -> str:
    """Return a value of the card as one line, with the names of its fields where they have any."""
    if isinstance(value, Mapping):
        return ", ".join(f"{(names or {}).get(name, name)}: {text(item, names)}" for name, item in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)


main()
