"""This session's own models: named, taken away as a file, deleted and brought back."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import streamlit as st

from medai_core.errors import MedAIError
from pages.ui import tab_models
from pages.ui.frame import problem
from pages.ui.language import _
from pages.ui.tab_models import Kept
from pages.ui.tab_words import figure_name, figure_text, task_name
from pages.ui.tabtrain_results import explain_button
from pages.ui.words import megabytes, plain

if TYPE_CHECKING:
    from medai_core.tabular.risk_model import RiskModel

DELETED, ROUND = "tabtrain_deleted", "tabtrain_bundle_round"
LONGEST_NAME = 80


def panel() -> None:
    """Show the list, and take in a bundle that was downloaded before."""
    rows = tab_models.kept()
    undo()
    if not rows:
        st.info(_("You have no model of your own in this session yet."), icon=":material/inventory_2:")
    for key in rows:
        line(rows[key])
    if rows:
        st.caption(
            _(
                "These models live in this session alone and are gone when it ends: download what you want to keep. A "
                "bundle holds some rows of the table, so share it as carefully as the table."
            )
        )
    take_in()


def line(one: Kept) -> None:
    """Show one model with what can be done with it."""
    with st.container(border=True):
        st.markdown(f"**{plain(one.title)}**")
        st.caption(" · ".join(summary(one.model)))
        with st.container(horizontal=True, vertical_alignment="center"):
            st.download_button(
                _("Download ({size})").format(size=megabytes(len(one.data))), one.data, on_click="ignore",
                file_name=f"medai-{file_name(one.title)}.zip", mime="application/zip", icon=":material/download:",
                key=f"tabtrain_download_{one.key}",
            )  # fmt: skip
            with st.popover(_("Rename"), icon=":material/edit:"):
                st.text_input(
                    _("Name of the model"), one.title, max_chars=LONGEST_NAME, key=f"tabtrain_rename_{one.key}",
                    on_change=_renamed, args=(one.key,),
                )  # fmt: skip
            explain_button(one.key)
            st.button(
                _("Delete"), icon=":material/delete:", key=f"tabtrain_delete_{one.key}", on_click=_deleted,
                args=(one.key,),
            )  # fmt: skip


def summary(model: RiskModel) -> list[str]:
    """Return what a model predicts, from how many rows, and how well its best family did."""
    data = model.bundle.card.get("training_data") or {}
    found = [
        _("predicts {target}").format(target=plain(model.target)), task_name(model.task),
        _("{n} rows").format(n=f"{data.get('n_rows', 0):,}"), _("{n} models").format(n=len(model.families)),
    ]  # fmt: skip
    best = next((row for row in model.bundle.metrics.get("figures", []) if row.get("family") == model.best), None)
    if best is not None:
        found.append(f"{figure_name(best['metric'].rpartition(', ')[0])} {figure_text(best)}")
    return found


def file_name(title: str) -> str:
    """Return a name as that of a file."""
    from medai_core.tabular.cards import slug

    return slug(title)


def _renamed(key: str) -> None:
    title = st.session_state[f"tabtrain_rename_{key}"].strip()
    if title and key in tab_models.kept() and title != tab_models.kept()[key].title:
        tab_models.rename(key, title)


def _deleted(key: str) -> None:
    st.session_state[DELETED] = tab_models.delete(key)


def undo() -> None:
    """Offer to bring the last deleted model back."""
    if DELETED not in st.session_state:
        return
    one, _place = st.session_state[DELETED]
    with st.container(horizontal=True, vertical_alignment="center", key="tabtrain_undo"):
        st.markdown(f":material/delete: {_('Deleted: {name}').format(name=plain(one.title))}")
        st.button(_("Undo"), icon=":material/undo:", on_click=_undone, key="tabtrain_undo_button")


def _undone() -> None:
    one, place = st.session_state.pop(DELETED)
    tab_models.put_back(one, place)


def take_in() -> None:
    """Take in a bundle."""
    file = st.file_uploader(
        _("Open a model you downloaded before"), key=f"tabtrain_bundle_{st.session_state.get(ROUND, 0)}",
        help=_("A ZIP from this page, or from the command `train table`."),
    )  # fmt: skip
    if file is None:
        return
    data = file.getvalue()
    try:
        tab_models.check_room()
        with st.spinner(_("Opening the model")):
            model = tab_models.unpacked(data)
    except MedAIError as error:
        problem(error, file.name)
        return
    title = str(model.bundle.card.get("name") or hashlib.sha256(data).hexdigest()[:8])[:LONGEST_NAME]
    tab_models.keep(tab_models.Trained(title, model, data, None))
    st.session_state[ROUND] = st.session_state.get(ROUND, 0) + 1
    st.rerun()
