"""A PACS over DICOMweb (PS3.18): query (QIDO-RS), retrieve (WADO-RS) and store (STOW-RS).

The address may carry ``user:password@``; both are used and never shown.
"""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from sqlalchemy import select

from medai_core.cases.access import Action, User
from medai_core.cases.tables import StudyRow
from medai_core.errors import InputError, Unavailable

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
    from requests import PreparedRequest, Response, Session

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


def name_pattern(text: str) -> str:
    """A name as people type it, for :attr:`Query.patient_name`: ``Doe, Jane`` becomes ``Doe^Jane*``."""
    family, comma, given = text.partition(",")
    pattern = f"{family.strip()}^{given.strip()}" if comma else text.strip()
    return f"{pattern}*" if pattern and not set("*?") & set(pattern) else pattern


@dataclass(frozen=True)
class RemoteStudy:
    """A study in the PACS.

    Attributes
    ----------
    here : bool
        Objects of it are in the workspace already, in a department of who asked.
    """

    study_uid: str
    patient_id: str
    patient_name: str
    accession: str
    study_date: str
    modalities: tuple[str, ...]
    description: str
    instances: int
    here: bool = False


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
        from dicomweb_client.web import DICOMwebClient

        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError("`{name}` must be an http:// or https:// address.", name="MEDAI_DICOMWEB_URL")
        session = _session(unquote(parts.username or ""), unquote(parts.password or ""))
        bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        self.host = parts.hostname
        self._client = DICOMwebClient(bare.rstrip("/"), session=session, timeout=TIMEOUT_SECONDS)
        self._client.set_http_retry_params(retry=False)  # who asks is told at once, and asks again

    def find(self, query: Query) -> tuple[RemoteStudy, ...]:
        """Studies that fit, the newest first, at most :data:`MAX_STUDIES`.

        Raises
        ------
        Unavailable
            If the PACS does not answer, or not as DICOMweb.
        """
        asked = {
            "PatientID": _askable(query.patient_id),
            "PatientName": _askable(query.patient_name),
            "AccessionNumber": _askable(query.accession),
            "StudyDate": query.study_date,
            "ModalitiesInStudy": query.modality,
            "StudyInstanceUID": query.study_uid,
        }
        filters = {name: value for name, value in asked.items() if value}
        with self._told():
            found = self._client.search_for_studies(limit=MAX_STUDIES, fields=_FIELDS, search_filters=filters)
            studies = [_remote_study(item) for item in found[:MAX_STUDIES]]
        fit = (study for study in studies if _fits(query, study))
        return tuple(sorted(fit, key=lambda study: study.study_date, reverse=True))

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


def _session(user: str, password: str) -> Session:
    """Sends ``*`` and ``?`` as they are, which RFC 3986 allows: there are PACS that do not decode an address."""
    from dicomweb_client.session_utils import create_session, create_session_from_user_pass
    from requests.adapters import HTTPAdapter

    class Plain(HTTPAdapter):
        def send(self, request: PreparedRequest, *given: Any, **named: Any) -> Response:
            request.url = request.url.replace("%2A", "*").replace("%3F", "?")
            return super().send(request, *given, **named)

    session = create_session_from_user_pass(user, password) if user else create_session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, Plain())
    return session


def _askable(text: str) -> str:
    """A text without what an address holds only encoded: wildcards take its place, and :func:`_fits` narrows again."""
    return re.sub("[^a-zA-Z0-9._*?-]", "?", re.sub(r"[^\0-\x7f]+", "*", text))


def _fits(query: Query, study: RemoteStudy) -> bool:
    """Whether a study has the texts that were asked for in other words."""
    pairs = (
        (query.patient_id, study.patient_id), (query.patient_name, study.patient_name),
        (query.accession, study.accession),
    )  # fmt: skip
    return all(_matches(asked, found) for asked, found in pairs if asked != _askable(asked))


def _matches(pattern: str, text: str) -> bool:
    """Whether a text, or a component group of a name, fits (PS3.4 C.2.2.2.4); case counts for nothing in names."""
    form = re.escape(pattern.casefold()).replace(r"\*", ".*").replace(r"\?", ".")
    return any(re.fullmatch(form, part.casefold()) for part in (text, *text.split("=")))


def find_studies(workspace: Workspace, user: User, query: Query) -> tuple[RemoteStudy, ...]:
    """Ask the PACS of the settings; who asked becomes an event, what was asked for does not.

    Raises
    ------
    NotAllowed
        If the user may not receive files or not see identities.
    InputError
        If no PACS is set, or nothing is asked for.
    Unavailable
        If it does not answer.
    """
    with workspace.store.asked(user, Action.RECEIVE), workspace.store.asked(user, Action.SEE_IDENTITY):
        archive = _archive(workspace)
        if query == Query():
            raise InputError("Say what to look for in at least one field: the whole PACS is too much to list.")
        found = archive.find(query)
    with workspace.store.writing() as session:
        workspace.store.record(session, user, "pacs searched", "", found=len(found))
    return _marked(workspace, user, found)


def fetch_study(workspace: Workspace, user: User, study_uid: str, group: str | None = None) -> Iterator[Receipt]:
    """Receive every object of a study of the PACS, one by one; what came before an interruption stays.

    Parameters
    ----------
    group : str, optional
        As of :meth:`Workspace.receive`.

    Raises
    ------
    NotAllowed, InputError, Unavailable
        As :func:`find_studies`.
    """
    with workspace.store.asked(user, Action.RECEIVE):
        for number, data in enumerate(_archive(workspace).files(study_uid), 1):
            yield workspace.receive(user, data, f"{study_uid}_{number}.dcm", source="dicomweb", group=group)


def _marked(workspace: Workspace, user: User, found: Sequence[RemoteStudy]) -> tuple[RemoteStudy, ...]:
    """The same, saying which are here."""
    keys = {study.study_uid: workspace.store.keys.blind("study", study.study_uid) for study in found}
    known = select(StudyRow.uid).where(StudyRow.uid.in_(keys.values()))
    if not user.sees_all:
        known = known.where(StudyRow.department.in_(sorted(user.groups)))
    with workspace.store.reading() as session:
        here = set(session.scalars(known))
    return tuple(replace(study, here=keys[study.study_uid] in here) for study in found)


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
