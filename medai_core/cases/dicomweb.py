"""A PACS over DICOMweb (PS3.18): query (QIDO-RS), retrieve (WADO-RS) and store (STOW-RS).

The address may carry ``user:password@``; both are used and never shown.
"""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from medai_core.cases.access import Action, User
from medai_core.errors import InputError, Unavailable

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from medai_core.cases.answers import Receipt
    from medai_core.cases.workspace import Workspace

# Both write addresses, which hold what was asked for: a patient's name or number.
for _name in ("dicomweb_client", "urllib3"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)

MAX_STUDIES = 100
TIMEOUT_SECONDS = (10, 60)
"""To connect; between two pieces of an answer."""
_UID = re.compile(r"[0-9.]{1,64}")
_FIELDS = ("StudyDescription", "NumberOfStudyRelatedInstances", "ModalitiesInStudy")


@dataclass(frozen=True)
class Query:
    """What to look for; ``*`` and ``?`` stand for any characters, an empty field lets everything through.

    Attributes
    ----------
    study_date : str
        ``YYYYMMDD``, or a range ``YYYYMMDD-YYYYMMDD``.
    """

    patient_id: str = ""
    patient_name: str = ""
    accession: str = ""
    study_date: str = ""
    modality: str = ""
    study_uid: str = ""


@dataclass(frozen=True)
class RemoteStudy:
    """A study in the PACS."""

    study_uid: str
    patient_id: str
    patient_name: str
    accession: str
    study_date: str
    modalities: tuple[str, ...]
    description: str
    instances: int


class Archive:
    """A PACS with DICOMweb.

    Parameters
    ----------
    url : str
        Root of its services, ``http://`` or ``https://``.

    Raises
    ------
    InputError
        If this is no such address.
    """

    def __init__(self, url: str) -> None:
        from dicomweb_client.session_utils import create_session, create_session_from_user_pass
        from dicomweb_client.web import DICOMwebClient

        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError("`{name}` must be an http:// or https:// address.", name="MEDAI_DICOMWEB_URL")
        session = create_session()
        if parts.username:
            session = create_session_from_user_pass(unquote(parts.username), unquote(parts.password or ""))
        bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        self.host = parts.hostname
        self._client = DICOMwebClient(bare.rstrip("/"), session=session, timeout=TIMEOUT_SECONDS)
        self._client.set_http_retry_params(retry=False)  # who asks is told at once, and asks again

    def find(self, query: Query) -> tuple[RemoteStudy, ...]:
        """Studies that fit, at most :data:`MAX_STUDIES`.

        Raises
        ------
        Unavailable
            If the PACS does not answer, or not as DICOMweb.
        """
        asked = {
            "PatientID": query.patient_id,
            "PatientName": query.patient_name,
            "AccessionNumber": query.accession,
            "StudyDate": query.study_date,
            "ModalitiesInStudy": query.modality,
            "StudyInstanceUID": query.study_uid,
        }
        filters = {name: value for name, value in asked.items() if value}
        with self._told():
            found = self._client.search_for_studies(limit=MAX_STUDIES, fields=_FIELDS, search_filters=filters)
            return tuple(_remote_study(item) for item in found[:MAX_STUDIES])

    def files(self, study_uid: str) -> Iterator[bytes]:
        """Every object of a study as a DICOM file, in the encoding it is kept in, one in memory at a time.

        Raises
        ------
        InputError
            If the UID is none.
        Unavailable
            As :meth:`find`, also in the middle.
        """
        if not _UID.fullmatch(study_uid):
            raise InputError("`{name}` must be made of digits and dots.", name="study_uid")
        with self._told():
            for ds in self._client.iter_study(study_uid, media_types=(("application/dicom", "*"),)):
                yield _encoded(ds)

    def store(self, files: Sequence[bytes]) -> None:
        """Store DICOM files.

        Raises
        ------
        InputError
            If the PACS does not take one of them.
        Unavailable
            If the PACS does not answer.
        """
        import pydicom

        with self._told():
            answer = self._client.store_instances([pydicom.dcmread(io.BytesIO(data)) for data in files])
        failed = answer.get("FailedSOPSequence") or []
        if failed:
            reason = failed[0].get("FailureReason")
            raise InputError(
                "The PACS did not take {failed} of {total} objects (status {status}).",
                failed=len(failed),
                total=len(files),
                status="?" if reason is None else f"0x{int(reason):04X}",
            )

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Say in a sentence what the client says in its own words, which quote the address and so the question."""
        try:
            yield
        except Exception as error:
            # A boundary to what others wrote: every error of the HTTP library is an OSError, and what is no JSON, no
            # multipart message or no DICOM breaks in the client or in pydicom with nearly any other.
            answer = getattr(error, "response", None)
            if answer is not None and not isinstance(error, ValueError):
                raise Unavailable(
                    "The PACS {host} answered with HTTP status {status}.", host=self.host, status=answer.status_code
                ) from None
            if isinstance(error, OSError) and not isinstance(error, ValueError):
                raise Unavailable("The PACS {host} does not answer.", host=self.host) from None
            raise Unavailable(
                "The PACS {host} answered something that is not DICOMweb ({what}).",
                host=self.host,
                what=type(error).__name__,
            ) from None


def find_studies(workspace: Workspace, user: User, query: Query) -> tuple[RemoteStudy, ...]:
    """Ask the PACS of the settings; who asked becomes an event, what was asked for does not.

    Raises
    ------
    NotAllowed
        If the user may not receive files or not see identities.
    InputError
        If no PACS is set.
    Unavailable
        If it does not answer.
    """
    with workspace.store.asked(user, Action.RECEIVE), workspace.store.asked(user, Action.SEE_IDENTITY):
        found = _archive(workspace).find(query)
    with workspace.store.writing() as session:
        workspace.store.record(session, user, "pacs searched", "", found=len(found))
    return found


def fetch_study(workspace: Workspace, user: User, study_uid: str) -> tuple[Receipt, ...]:
    """Receive every object of a study of the PACS, one by one; what came before an interruption stays.

    Raises
    ------
    NotAllowed, InputError, Unavailable
        As :func:`find_studies`.
    """
    with workspace.store.asked(user, Action.RECEIVE):
        files = _archive(workspace).files(study_uid)
        return tuple(
            workspace.receive(user, data, f"{study_uid}_{number}.dcm", source="dicomweb")
            for number, data in enumerate(files, 1)
        )


def _archive(workspace: Workspace) -> Archive:
    if not workspace.store.settings.dicomweb_url:
        raise InputError("No PACS with DICOMweb is set; `{name}` names it.", name="MEDAI_DICOMWEB_URL")
    return Archive(workspace.store.settings.dicomweb_url)


def _remote_study(item: dict[str, Any]) -> RemoteStudy:
    """A study of an answer in DICOM JSON (PS3.18 F)."""
    from pydicom.dataset import Dataset

    ds = Dataset.from_json(item)
    modalities = ds.get("ModalitiesInStudy") or []
    return RemoteStudy(
        study_uid=_text(ds, "StudyInstanceUID"),
        patient_id=_text(ds, "PatientID"),
        patient_name=_text(ds, "PatientName"),
        accession=_text(ds, "AccessionNumber"),
        study_date=_text(ds, "StudyDate"),
        modalities=(modalities,) if isinstance(modalities, str) else tuple(map(str, modalities)),
        description=_text(ds, "StudyDescription"),
        instances=int(ds.get("NumberOfStudyRelatedInstances") or 0),
    )


def _text(ds: Dataset, keyword: str) -> str:
    """A value as one printable line: it comes from elsewhere and goes onto a page."""
    return "".join(c for c in str(ds.get(keyword) or "") if c.isprintable())


def _encoded(ds: Dataset) -> bytes:
    """A data set as a file again; what was not touched keeps its bytes."""
    from pydicom import dcmwrite

    file = io.BytesIO()
    dcmwrite(file, ds)
    return file.getvalue()
