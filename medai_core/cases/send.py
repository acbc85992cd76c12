"""Reports back to the PACS: by C-STORE to a peer (PS3.4 B), or by STOW-RS to a DICOMweb archive.

A report for the PACS belongs to the patient's record, so it is the one export that names the patient.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from medai_core.cases import audit
from medai_core.cases.access import Action, User
from medai_core.cases.dicomweb import Archive
from medai_core.cases.receive import identity_of
from medai_core.cases.tables import CaseRow
from medai_core.errors import InputError, MedAIError, Unavailable
from medai_core.settings import Peer, Settings

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
    from pynetdicom.association import Association

    from medai_core.cases.workspace import Workspace

KINDS = ("sr", "capture")
DICOMWEB = "DICOMweb"
"""Name of the archive of ``MEDAI_DICOMWEB_URL`` among the destinations; a peer is named by its AE title."""
CONNECT_SECONDS, ANSWER_SECONDS = 10, 60


@dataclass(frozen=True)
class Sent:
    """A report that the PACS has acknowledged."""

    destination: str
    kind: str
    sop_uid: str


def destinations(settings: Settings) -> tuple[str, ...]:
    """Where reports can be sent."""
    peers = tuple(dict.fromkeys(peer.aet for peer in settings.peers))
    return (*peers, DICOMWEB) if settings.dicomweb_url else peers


def send_report(
    workspace: Workspace, user: User, study_id: str, kind: str, destination: str, *, reveal: bool = True
) -> Sent:
    """Make a report of a study and send it; sent or not, it is an event.

    Parameters
    ----------
    kind : {"sr", "capture"}
    destination : str
        One of :func:`destinations`.
    reveal : bool
        As of :meth:`Workspace.export`.

    Returns
    -------
    Sent
        Only once the PACS said that it has the report.

    Raises
    ------
    NotAllowed
        If the user may not export what names the patient.
    InputError
        If kind or destination is not among those above, the study names no patient under whom a PACS could file a
        report, or the PACS refuses it.
    Unavailable
        If the PACS does not answer; the same can be asked again.
    """
    allowed = destinations(workspace.store.settings)
    for name, value, among in (("kind", kind, KINDS), ("destination", destination, allowed)):
        if value not in among:
            raise InputError(
                "`{name}` must be one of {allowed}, got {value}",
                name=name,
                allowed=", ".join(among) or "none",
                value=repr(value),
            )
    with workspace.store.asked(user, Action.EXPORT_IDENTIFIED, study_id):
        _require_patient(workspace, user, study_id)
    made = workspace.export(user, study_id, kind, identified=True, reveal=reveal)
    try:
        uid = send_file(made.data, destination, workspace.store.settings)
    except MedAIError as error:
        about = {"kind": kind, "destination": destination, "why": type(error).__name__}
        with workspace.store.writing() as session:
            workspace.store.record(session, user, audit.NOT_SENT, study_id, **about)
        raise
    with workspace.store.writing() as session:
        workspace.store.record(session, user, audit.SENT, study_id, kind=kind, destination=destination)
    return Sent(destination, kind, uid)


def _require_patient(workspace: Workspace, user: User, study_id: str) -> None:
    with workspace.store.reading() as session:
        study = workspace.store.study(session, user, study_id)
        case = session.get_one(CaseRow, study.case_id)
    if not identity_of(workspace.store, case).patient_id:
        raise InputError("This study has no patient number, so a PACS could not file a report of it.")


def send_file(data: bytes, destination: str, settings: Settings) -> str:
    """Send one DICOM file and return its SOP Instance UID; raises as :func:`send_report`."""
    import pydicom

    ds = pydicom.dcmread(io.BytesIO(data))
    if destination == DICOMWEB:
        Archive(settings.dicomweb_url).store([data])
    else:
        peer = next(peer for peer in settings.peers if peer.aet == destination)
        _store(ds, peer, settings.dicom_aet)
    return str(ds.SOPInstanceUID)


def _store(ds: Dataset, peer: Peer, aet: str) -> None:
    from pydicom.uid import ImplicitVRLittleEndian
    from pynetdicom import AE

    entity = AE(ae_title=aet)
    entity.connection_timeout = CONNECT_SECONDS
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = ANSWER_SECONDS
    syntax = ds.file_meta.TransferSyntaxUID
    syntaxes = [syntax] if syntax.is_encapsulated else [syntax, ImplicitVRLittleEndian]
    entity.add_requested_context(ds.SOPClassUID, syntaxes)
    association = entity.associate(peer.host, peer.port, ae_title=peer.aet)
    if not association.is_established:
        raise _no_association(association, peer)
    try:
        answer = association.send_c_store(ds)
    finally:
        association.release()
    _require_success(answer, peer)


def _no_association(association: Association, peer: Peer) -> InputError | Unavailable:
    if association.is_rejected:
        return InputError("The PACS {aet} does not accept this workspace as a sender.", aet=peer.aet)
    if association.rejected_contexts:
        return InputError("The PACS {aet} does not take reports of this kind.", aet=peer.aet)
    return Unavailable("The PACS {aet} does not answer.", aet=peer.aet)


def _require_success(answer: Dataset, peer: Peer) -> None:
    """Success and warnings mean stored (PS3.4 B.2.3); out of resources may pass, everything else will not."""
    status = answer.get("Status")
    if status is None:
        raise Unavailable("The PACS {aet} does not answer.", aet=peer.aet)
    if status == 0 or status >> 12 == 0xB:
        return
    code = f"0x{status:04X}"
    if status >> 8 == 0xA7:
        raise Unavailable(
            "The PACS {aet} has no room for the report just now (status {status}).", aet=peer.aet, status=code
        )
    raise InputError("The PACS {aet} did not take the report (status {status}).", aet=peer.aet, status=code)
