"""Adding studies: files and archives are taken in one by one, with a receipt for each, and can be stopped."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import streamlit as st

from medai_core.errors import MedAIError, Unavailable
from pages.ui.case_kit import refused, workspace
from pages.ui.frame import bullets
from pages.ui.language import _, tell
from pages.ui.queue import Upload
from pages.ui.samples import samples
from pages.ui.signin import current_user
from pages.ui.uploads import take

if TYPE_CHECKING:
    from medai_core.cases.access import User
    from medai_core.cases.answers import Receipt

INTAKE, ROUND = "case_intake", "case_upload_round"
SLICE_SECONDS = 0.4
MAX_REASONS = 10
"""So many refused files have their reason above the table, in which all have it."""


@dataclass(eq=False)
class Intake:
    """Files on their way into the workspace; what has a receipt is kept, also when this is stopped.

    Attributes
    ----------
    group : str or None
        The department they are for.
    case_id : str or None
        The case they belong to, where the visitor says so.
    away : MedAIError or None
        Why the workspace takes nothing now; the same files can be sent again.
    """

    uploads: Sequence[Upload]
    group: str | None = None
    case_id: str | None = None
    receipts: list[Receipt] = field(default_factory=list)
    state: str = "running"
    away: MedAIError | None = None
    _coming: Iterator[Receipt] | None = None

    @property
    def expected(self) -> int:
        """How many files there are, as far as can be told before archives are opened."""
        return max(sum(upload.files for upload in self.uploads), len(self.receipts), 1)

    def work(self, user: User, seconds: float) -> None:
        """Take in files for about so long."""
        until = time.monotonic() + seconds
        self._coming = self._coming or self._receive(user)
        try:
            for receipt in self._coming:
                self.receipts.append(receipt)
                if time.monotonic() >= until:
                    return
            self.finish("done")
        except Unavailable as error:
            self.away = error
            self.state, self._coming = "away", None
        except MedAIError as error:
            self.away = error
            self.finish("stopped")

    def finish(self, state: str) -> None:
        """Let go of the files."""
        self.state, self.uploads, self._coming = state, (), None

    def again(self) -> None:
        """Send everything once more: what is here already is recognised."""
        self.state, self.away, self.receipts = "running", None, []

    def _receive(self, user: User) -> Iterator[Receipt]:
        space = workspace()
        for upload in self.uploads:
            try:
                yield from space.receive_all(user, upload.data, upload.name, group=self.group, case_id=self.case_id)
            except Unavailable:
                raise
            except MedAIError as error:  # an archive that cannot be opened: the next file comes all the same
                from medai_core.cases.answers import Receipt

                yield Receipt("refused", reason=error.message, name=upload.name)


def upload_box(user: User, *, case_id: str | None = None) -> None:
    """Show where files are dropped, or how far those dropped are."""
    intake: Intake | None = st.session_state.get(INTAKE)
    if intake is None:
        _ask(user, case_id)
    elif intake.state == "running":
        _taking(intake)
    elif intake.state == "away":
        refused(intake.away)
        with st.container(horizontal=True):
            st.button(_("Try again"), icon=":material/refresh:", on_click=intake.again, key="case_upload_again")
            st.button(_("Give up"), icon=":material/close:", on_click=done, key="case_upload_give_up")
    else:
        _receipts(intake)


def start(uploads: Sequence[Upload], group: str | None = None, case_id: str | None = None) -> None:
    """Begin to take files in."""
    st.session_state[INTAKE] = Intake(uploads, group, case_id)


def start_samples() -> None:
    """Begin to take in the built-in synthetic samples."""
    start([Upload(sample.path.name, sample.path.read_bytes()) for sample in samples()])


def done() -> None:
    """Put the receipts away, and empty the uploader."""
    st.session_state.pop(INTAKE, None)
    st.session_state[ROUND] = st.session_state.get(ROUND, 0) + 1


def _ask(user: User, case_id: str | None) -> None:
    files = st.file_uploader(
        _("Drop studies here"), accept_multiple_files=True, key=f"case_upload_{st.session_state.get(ROUND, 0)}",
        help=_("What a file is, its bytes decide, not its name."),
    )  # fmt: skip
    st.caption(
        _(
            "DICOM, PNG, JPEG, TIFF, WebP, NIfTI, intensive-care stays, rows of a clinical table, or ZIPs of these. "
            "They are stored in the workspace, encrypted."
        )
    )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        group = department(user, "case_upload_group") if case_id is None else None
        st.button(
            _("Add the files: {n}").format(n=len(files)) if files else _("Add the files"), type="primary",
            icon=":material/add:", disabled=not files, key="case_upload_start",
            on_click=lambda: start(take(files), group, case_id),
        )  # fmt: skip


def department(user: User, key: str) -> str | None:
    """Ask for which department files are, where the visitor has several."""
    if len(user.groups) < 2:
        return None
    return st.selectbox(_("Department"), sorted(user.groups), key=key, width=220)


def _taking(intake: Intake) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        count = len(intake.receipts)
        st.progress(min(count / intake.expected, 0.99), _("{n} of {all} files").format(n=count, all=intake.expected))
        st.button(_("Stop"), icon=":material/stop:", on_click=intake.finish, args=("stopped",), key="case_upload_stop")
    intake.work(current_user(), SLICE_SECONDS)
    st.rerun()


def _receipts(intake: Intake) -> None:
    """Show what became of each file."""
    tally = Counter(receipt.status for receipt in intake.receipts)
    words = [
        text.format(n=tally[status])
        for status, text in (
            ("new", _("{n} received")), ("duplicate", _("{n} already here")), ("refused", _("{n} refused")),
        )
        if tally[status]
    ]  # fmt: skip
    line = " · ".join(words) or _("No files were received.")
    if intake.away is not None:
        refused(intake.away)
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        if intake.state == "stopped":
            st.warning(f"{_('Stopped.')} {line}", icon=":material/stop_circle:")
        else:
            sign = ":material/check_circle:" if not tally["refused"] else ":material/rule:"
            st.markdown(f"{sign} **{line}**")
        st.button(_("Add more"), icon=":material/add:", on_click=done, key="case_upload_done")
    if intake.receipts:
        _told(intake.receipts)


def _told(receipts: Sequence[Receipt]) -> None:
    """Show each file's receipt, and above them in whole sentences why files were refused."""
    names = {"new": _("Received"), "duplicate": _("Already here"), "refused": _("Refused")}
    turned_away = [receipt for receipt in receipts if receipt.status == "refused"]
    bullets([f"{one.name}: {tell(one.reason)}" for one in turned_away[:MAX_REASONS] if one.reason])
    rows = [*turned_away, *(receipt for receipt in receipts if receipt.status != "refused")]
    with st.container(key="case_receipts_box"):
        st.dataframe(
            {
                _("File"): [receipt.name for receipt in rows],
                _("Receipt"): [names[receipt.status] for receipt in rows],
                _("Why"): [tell(receipt.reason) if receipt.reason else "" for receipt in rows],
            },
            hide_index=True, key="case_receipts", height=min(38 + 35 * len(rows), 260),
            alt=_("What became of each file"),
            column_config={_("File"): st.column_config.TextColumn(width=260),
                           _("Receipt"): st.column_config.TextColumn(width=100)},
        )  # fmt: skip
