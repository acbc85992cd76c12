"""The table to train on: opened, looked through for faults, its columns corrected."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from medai_core.errors import InputError, MedAIError
from pages.ui.frame import bullets, problem
from pages.ui.language import _, tell
from pages.ui.tab_words import kind_title
from pages.ui.words import plain

if TYPE_CHECKING:
    from medai_core.tabular.columns import Column
    from medai_core.tabular.leaks import Finding
    from medai_core.tabular.problem import Plan
    from medai_core.tabular.tables import Table

OPENED, ROUND, FAULT = "tabtrain_opened", "tabtrain_round", "tabtrain_fault"
WANTED = "tabtrain_example_wanted"
SHOWN_NOTES, SHOWN_LEVELS, PREVIEW_ROWS = 6, 4, 8
SEPARATORS = {None: "auto", ",": ",", ";": ";", "\t": "tab", "|": "|"}
ENCODINGS = (None, "utf-8", "cp1252", "latin-1", "utf-16", "gb18030", "shift_jis")


@dataclass(eq=False)
class Opened:
    """The table a visitor works on, and what was found in it.

    Attributes
    ----------
    name : str
        Of the file, or of the example.
    data : bytes or None
        The file, to read it again in another way; None of an example.
    table : Table
    target, event : str or None
        What an example is usually asked.
    changed : int
        How often a column was corrected: what was chosen before no longer counts.
    """

    name: str
    data: bytes | None
    table: Table
    target: str | None = None
    event: str | None = None
    changed: int = 0
    _found: list[Finding] | None = None
    _plans: dict[tuple[str, str | None], tuple[Plan, list[Finding]]] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """What widgets about this table are called by."""
        return f"{self.table.digest[:10]}_{self.changed}"

    @property
    def findings(self) -> list[Finding]:
        """What can be said before a target is chosen."""
        from medai_core.tabular.leaks import inspect

        if self._found is None:
            self._found = inspect(self.table)
        return self._found

    def proposed(self, target: str, event: str | None) -> tuple[Plan, list[Finding]]:
        """Return a plan for a target with all findings; looked for once."""
        from medai_core.tabular.problem import propose

        if (target, event) not in self._plans:
            self._plans[target, event] = propose(self.table, target, event)
        return self._plans[target, event]

    def corrected(self, column: str, kind: str) -> Opened:
        """Return the same with one column taken as something else."""
        table = self.table.with_kind(column, kind)
        return replace(self, table=table, changed=self.changed + 1, _found=None, _plans={})


def opened() -> Opened | None:
    """Return the table of this visitor; an example that was asked for is opened here."""
    if (name := st.session_state.get(WANTED)) is not None:
        hold(example(name))
        del st.session_state[WANTED]
    return st.session_state.get(OPENED)


def examples() -> dict[str, str]:
    """Return the names of the built-in tables."""
    return {
        "breast_cancer": _("Breast masses, 569 patients"),
        "admissions": _("Drawn admissions, with faults to find"),
        "follow_up": _("Drawn follow-up, with times to death"),
    }


def example(name: str) -> Opened:
    """Return a built-in table with what it is usually asked."""
    from medai_core.tabular import breast_cancer, demo

    if name == "breast_cancer":
        return Opened(examples()[name], None, breast_cancer.sample_table(), breast_cancer.TARGET)
    if name == "follow_up":
        return Opened(examples()[name], None, demo.follow_up(), "followed (days)", "died")
    return Opened(examples()[name], None, demo.admissions(), "readmitted")


def open_example(name: str) -> None:
    """Ask for a built-in table: only that, because the next click ends whatever takes long in here."""
    st.session_state[WANTED] = name


def hold(found: Opened) -> None:
    """Work on a table from now on."""
    st.session_state[OPENED] = found
    st.session_state[ROUND] = st.session_state.get(ROUND, 0) + 1
    st.session_state.pop(FAULT, None)


def let_go() -> None:
    """Forget the table."""
    st.session_state.pop(OPENED, None)
    st.session_state.pop(FAULT, None)


# --------------------------------------------------------------------------------------------------- panel


def panel() -> None:
    """Show what there is to open, or what is open."""
    found = opened()
    if found is None:
        ask()
        return
    header(found)
    if found.data is not None:
        reread(found.name, found.data, found.changed)
    notes(found)
    columns(found)
    correct(found)
    faults(found.findings)
    with st.expander(_("First rows"), icon=":material/table_rows:"):
        st.dataframe(found.table.frame.head(PREVIEW_ROWS), hide_index=True, key="tabtrain_preview")


def ask() -> None:
    """Ask for a file, or for one of the examples."""
    file = st.file_uploader(
        _("Drop a table of patients here"), type=None, key=f"tabtrain_upload_{st.session_state.get(ROUND, 0)}",
        help=_("One row for each patient or visit, names of columns in the first row."),
    )  # fmt: skip
    st.caption(_("CSV or other separated text, Parquet, or Excel. The table stays in this session and is not stored."))
    if file is not None:
        take(file.name, file.getvalue())
    st.markdown(f"**{_('Or try an example')}**")
    with st.container(horizontal=True):
        for name, title in examples().items():
            st.button(
                title, key=f"tabtrain_example_{name}", icon=":material/dataset:", on_click=open_example, args=(name,)
            )
    st.subheader(_("What you get"), anchor=False)
    bullets(
        [
            _("Faults found before any model is: identifiers, copies, columns that give the answer away."),
            _("Up to six kinds of models, tuned and compared on rows they never saw, with intervals."),
            _("Calibration, decision curves, what a threshold does, and how subgroups fare."),
            _("A model to keep, to explain, and to answer new rows with. The table never leaves this session."),
        ]
    )


def take(name: str, data: bytes) -> None:
    """Read a file and work on it, or say in one sentence why not."""
    from medai_core.tabular.tables import read_table

    try:
        with st.spinner(_("Reading the table")):
            found = Opened(name, data, read_table(data, name))
    except MedAIError as error:
        problem(error, name)
        reread(name, data)
        return
    hold(found)
    st.rerun()


def header(found: Opened) -> None:
    """Say what is open, and offer another."""
    table = found.table
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        words = _("{rows} rows, {columns} columns").format(
            rows=f"{len(table.frame):,}", columns=f"{len(table.columns):,}"
        )
        st.markdown(f":material/table: **{plain(found.name)}** · {words}")
        st.button(_("Another table"), icon=":material/swap_horiz:", on_click=let_go, key="tabtrain_other")


def reread(name: str, data: bytes, changed: int = 0) -> None:
    """Let the visitor say how a file is to be read, where it was read wrongly or not at all."""
    with (
        st.expander(_("Was the file read wrongly?"), icon=":material/build:"),
        st.form("tabtrain_reread", border=False),
    ):
        left, middle, right = st.columns(3)
        names = {"auto": _("found by itself"), "tab": _("tab")}
        separator = left.selectbox(
            _("Separator"), list(SEPARATORS), format_func=lambda s: names.get(SEPARATORS[s], SEPARATORS[s]),
            key="tabtrain_separator",
        )  # fmt: skip
        encoding = middle.selectbox(
            _("Character set"), ENCODINGS, format_func=lambda code: code or names["auto"], key="tabtrain_encoding"
        )
        sheet = right.text_input(_("Sheet of a workbook"), placeholder=_("the first one"), key="tabtrain_sheet")
        if st.form_submit_button(_("Read again"), icon=":material/refresh:", key="tabtrain_again"):
            again(name, data, changed, separator, encoding, sheet.strip() or None)


def again(name: str, data: bytes, changed: int, separator: str | None, encoding: str | None, sheet: str | None) -> None:
    """Read the file as the visitor says; what was open stays where that fails."""
    from medai_core.tabular.tables import read_table

    try:
        table = read_table(data, name, separator=separator, encoding=encoding, sheet=sheet)
    except MedAIError as error:
        problem(error, name)
        return
    hold(Opened(name, data, table, changed=changed + 1))
    st.rerun()


def notes(found: Opened) -> None:
    """Say how the file was read."""
    said = [plain(tell(note)) for note in found.table.notes]
    for line in said[:SHOWN_NOTES]:
        st.caption(f":material/info: {line}")
    if len(said) > SHOWN_NOTES:
        with st.popover(_("{n} more notes").format(n=len(said) - SHOWN_NOTES)):
            st.markdown("\n".join(f"- {line}" for line in said[SHOWN_NOTES:]))


def columns(found: Opened) -> None:
    """Show every column: what it holds, its unit, what is missing, its values."""
    left_out = {finding.column for finding in found.findings if finding.exclude}
    rows = [
        {
            "name": column.name,
            "use": _("left out") if column.name in left_out else "",
            "kind": kind_title(column.kind),
            "unit": column.unit or "",
            "missing": 100 * column.missing / max(column.missing + column.filled, 1),
            "distinct": column.distinct,
            "values": values_of(column),
        }
        for column in found.table.columns
    ]
    shown = {
        "name": st.column_config.TextColumn(_("Column"), width="medium"),
        "use": st.column_config.TextColumn(_("Use"), width=80),
        "kind": st.column_config.TextColumn(_("Holds")),
        "unit": st.column_config.TextColumn(_("Unit"), width="small"),
        "missing": st.column_config.ProgressColumn(
            _("Missing"), min_value=0, max_value=100, format="%.0f%%", width=110
        ),
        "distinct": st.column_config.NumberColumn(_("Different values"), format="localized", width=110),
        "values": st.column_config.TextColumn(_("Values"), width="large"),
    }
    st.dataframe(
        pd.DataFrame(rows), column_config=shown, hide_index=True, key="tabtrain_columns",
        height=min(38 + 35 * len(rows), 420), alt=_("Columns of the table"),
    )  # fmt: skip


def values_of(column: Column) -> str:
    """Return the range of numbers, or the first levels of a category."""
    if column.low is not None and column.median is not None and column.high is not None:
        return _("{low} to {high}, median {median}").format(
            low=f"{column.low:g}", high=f"{column.high:g}", median=f"{column.median:g}"
        )
    shown = " · ".join(column.levels[:SHOWN_LEVELS])
    return shown + (" …" if len(column.levels) > SHOWN_LEVELS else "")


def correct(found: Opened) -> None:
    """Let the visitor say that a column holds numbers, or categories."""
    names = [column.name for column in found.table.columns if column.kind in ("number", "category", "text")]
    if not names:
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.selectbox(
            _("Correct a column"), names, index=None, placeholder=_("Choose a column"),
            key=f"tabtrain_correct_{found.key}", width=320,
        )  # fmt: skip
        if name is not None:
            st.segmented_control(
                _("It holds"), ("number", "category"), format_func=kind_title, default=_choosable(found, name),
                key=f"tabtrain_kind_{found.key}_{name}", on_change=_corrected, args=(name,),
            )  # fmt: skip
    if FAULT in st.session_state:
        problem(st.session_state[FAULT])


def _choosable(found: Opened, name: str) -> str | None:
    kind = found.table[name].kind
    return kind if kind in ("number", "category") else None


def _corrected(name: str) -> None:
    found = st.session_state[OPENED]
    kind = st.session_state[f"tabtrain_kind_{found.key}_{name}"]
    st.session_state.pop(FAULT, None)
    if kind is None or kind == found.table[name].kind:
        return
    try:
        st.session_state[OPENED] = found.corrected(name, kind)
    except InputError as error:
        st.session_state[FAULT] = error


def faults(findings: list[Finding]) -> None:
    """List what would make a model look better than it is, or cannot be used."""
    if not findings:
        st.success(_("Nothing suspicious was found: no identifiers, copies, empty or constant columns."))
        return
    st.markdown(f"**{_('What was found')}**")
    out = [finding for finding in findings if finding.exclude]
    lines = []
    for finding in [*out, *(finding for finding in findings if not finding.exclude)]:
        icon = ":material/block:" if finding.exclude else ":material/visibility:"
        end = f" *{_('Left out.')}*" if finding.exclude else ""
        lines.append(f"{icon} {plain(tell(finding.message))}{end}")
    st.markdown("  \n".join(lines))
