"""Which studies the worklist shows, in what order, and which page of them: all of it lives in the address.

The words that are searched for do not: they may be a patient's name, and addresses end up in logs and histories.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

from medai_core.cases.access import Action, allowed
from pages.ui.case_kit import STATUS_SIGNS, read_first, status_name
from pages.ui.language import _
from pages.ui.signin import current_user

if TYPE_CHECKING:
    from medai_core.cases.access import User
    from medai_core.cases.answers import Filter

WRITTEN = "worklist_address"
"""Where the session keeps what stands in the address: what differs from it was asked for by a link or the browser."""
STATUS, MODALITY, WHO, SORT, ORDER, PAGE, TEXT = (
    f"worklist_{name}" for name in ("status", "modality", "who", "sort", "order", "page", "text")
)
TURNED = "worklist_turned"
"""The widget of the pages, which is there only where there are several; :data:`PAGE` is always there."""
USUAL = "worklist_usual_sort"
NAMES = ("status", "modality", "who", "sort", "order", "page")
MODALITIES = ("CR", "DX", "CT", "MR", "US", "MG", "NM", "PT", "XA", "OT", "ICU", "TABLE")
WHOSE = ("all", "mine", "nobody")


@dataclass(frozen=True)
class Wanted:
    """What the visitor asks the worklist for; pages count from 0."""

    status: tuple[str, ...]
    modality: tuple[str, ...]
    who: str
    text: str
    sort: str
    descending: bool
    page: int

    @property
    def narrowed(self) -> bool:
        """Whether anything is left out."""
        return bool(self.status or self.modality or self.text.strip() or self.who != "all")

    def filter(self, user: User) -> Filter:
        """The same for the workspace."""
        from medai_core.cases.answers import NOBODY, Filter

        assignee = {"all": None, "mine": user.subject, "nobody": NOBODY}[self.who]
        return Filter(status=self.status, modality=self.modality, assignee=assignee, text=self.text)


def follow_address() -> None:
    """Take the filters from the address, where it says anything else than was last written there.

    Not where the list alone comes back: by then the address may have changed, and not have reached the browser yet.
    """
    asked = {name: st.query_params[name] for name in NAMES if name in st.query_params}
    if asked == st.session_state.get(WRITTEN) and SORT in st.session_state:  # widgets forget when the page is left
        return
    from medai_core.cases.answers import STATUSES

    state, page = st.session_state, asked.get("page", "")
    state[STATUS] = [one for one in asked.get("status", "").split(",") if one in STATUSES]
    state[MODALITY] = [one for one in asked.get("modality", "").split(",") if one in MODALITIES]
    state[WHO] = asked["who"] if asked.get("who") in WHOSE else "all"
    state[SORT] = asked["sort"] if asked.get("sort") in sorts() else usual_sort()
    state[ORDER] = "up" if asked.get("order") == "up" else "down"
    state[PAGE] = max(1, int(page)) if page.isdecimal() and len(page) < 7 else 1
    state[WRITTEN] = asked


def usual_sort() -> str:
    """Return by what the list is sorted unless asked otherwise: the order by urgency tells what the model says."""
    return "age" if read_first() else "urgency"


def sorts() -> tuple[str, ...]:
    """Return by what the list can be sorted."""
    from medai_core.cases.answers import SORTS

    return tuple(one for one in SORTS if one != "urgency" or not read_first())


def follow_switch() -> None:
    """Sort as is usual once the switch of who reads first was turned, unless the visitor chose another order."""
    state, usual = st.session_state, usual_sort()
    if state.get(USUAL, usual) != usual and state[SORT] == state[USUAL]:
        state[SORT] = usual
    state[USUAL] = usual


def write_address() -> None:
    """Put the filters into the address; what is as usual is left out."""
    state = st.session_state
    told = {
        "status": ",".join(state[STATUS]),
        "modality": ",".join(state[MODALITY]),
        "who": state[WHO] if state[WHO] != "all" else "",
        "sort": state[SORT] if state[SORT] != usual_sort() else "",
        "order": state[ORDER] if state[ORDER] != "down" else "",
        "page": str(state[PAGE]) if state[PAGE] > 1 else "",
    }
    told = {name: value for name, value in told.items() if value}
    if told == state.get(WRITTEN):
        return
    for name in NAMES:
        if name in told:
            st.query_params[name] = told[name]
        else:
            st.query_params.pop(name, None)
    state[WRITTEN] = told


def link_back() -> dict[str, str]:
    """Return the part of the address that leads back to the worklist as it was left."""
    return dict(st.session_state.get(WRITTEN) or {}) | ({"first": "1"} if read_first() else {})


def pages(count: int) -> None:
    """Show which page of so many is shown, and lead to the others."""
    state = st.session_state
    state[PAGE] = min(state[PAGE], count)
    if state.get(TURNED) != state[PAGE]:
        state[TURNED] = state[PAGE]

    def turn() -> None:
        state[PAGE] = state[TURNED]

    st.pagination(count, key=TURNED, on_change=turn)


def to_first_page() -> None:
    st.session_state[PAGE] = 1


def clear() -> None:
    """Let everything through again."""
    st.session_state.update({STATUS: [], MODALITY: [], WHO: "all", TEXT: "", PAGE: 1})


def filter_bar() -> Wanted:
    """Show the filters, and return what is asked for."""
    from medai_core.cases.answers import STATUSES

    follow_switch()
    with st.container(horizontal=True, vertical_alignment="top", key="worklist_first_row"):
        st.pills(
            _("Status"), STATUSES, selection_mode="multi", key=STATUS, on_change=to_first_page,
            format_func=lambda status: f"{STATUS_SIGNS[status]} {status_name(status)}",
        )  # fmt: skip
        whose = {"all": _("Everybody's"), "mine": _("Mine"), "nobody": _("Nobody's")}
        st.segmented_control(
            _("Assigned"), WHOSE, format_func=whose.__getitem__, required=True, key=WHO,
            on_change=to_first_page,
        )  # fmt: skip
    with st.container(horizontal=True, vertical_alignment="top", key="worklist_second_row"):
        search()
        st.multiselect(
            _("Modality"), MODALITIES, key=MODALITY, on_change=to_first_page, width=220, placeholder=_("All")
        )
        sort_choices()
    return wanted()


def search() -> None:
    """Show where words are typed; what identifies the patient is searched only for those who may see it."""
    example, words = _("Pseudonym, modality, body part"), _("Start of the pseudonym; modality; start of the body part.")
    if allowed(current_user(), Action.SEE_IDENTITY):
        example = _("Name, number, modality, body part")
        words = _("Whole words of the patient's name, patient or accession number; modality; start of the body part.")
    st.text_input(
        _("Search"), key=TEXT, on_change=to_first_page, persist_state="session", icon=":material/search:", width=300,
        placeholder=example, max_chars=200, help=words,
    )  # fmt: skip


def sort_choices() -> None:
    """Show by what the list is sorted, and which way."""
    by = {
        "urgency": _("Urgency"), "age": _("Waiting time"), "status": _("Status"), "modality": _("Modality"),
        "assignee": _("Assigned to"),
    }  # fmt: skip
    st.selectbox(
        _("Sorted by"), sorts(), format_func=by.__getitem__, key=SORT, on_change=to_first_page, width=170,
        filter_mode=None,
    )  # fmt: skip
    ways = {"down": _("Highest first"), "up": _("Lowest first")}
    signs = {"down": ":material/arrow_downward:", "up": ":material/arrow_upward:"}
    st.segmented_control(
        _("Order"), ("down", "up"), format_func=signs.__getitem__, required=True, key=ORDER,
        on_change=to_first_page, help=" · ".join(f"{sign} {ways[way]}" for way, sign in signs.items()),
    )  # fmt: skip


def wanted() -> Wanted:
    """Return what the widgets ask for."""
    state = st.session_state
    return Wanted(
        status=tuple(state[STATUS]),
        modality=tuple(state[MODALITY]),
        who=state[WHO] or "all",
        text=state.get(TEXT) or "",
        sort=state[SORT],
        descending=state[ORDER] != "up",
        page=state[PAGE] - 1,
    )
