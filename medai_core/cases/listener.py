"""Arrival over the DICOM network: a Storage SCP that says *success* only of what is committed (PS3.4 B, PS3.7 9.1.1).

Only peers of ``MEDAI_DICOM_PEERS`` may associate, known by their AE title and by the address they call from. An AE
title is no secret and an address can be forged: across an untrusted network both belong inside a VPN or a TLS proxy.
"""

from __future__ import annotations

import io
import ipaddress
import logging
import re
import socket
import threading
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.uid import (
    JPEG2000,
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    EnhancedMRImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    MRImageStorage,
    MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    RLELossless,
    SecondaryCaptureImageStorage,
)
from pynetdicom import AE, _config, evt
from pynetdicom.sop_class import Verification

from medai_core.cases.access import SERVICE_USER, User
from medai_core.cases.receive import OTHER_CONTENT
from medai_core.errors import InputError, MedAIError, Message, NotAllowed, Unavailable, say
from medai_core.settings import Peer, Settings

if TYPE_CHECKING:
    from pydicom.uid import UID
    from pynetdicom.events import Event

    from medai_core.cases.answers import Receipt
    from medai_core.cases.workspace import Workspace

# pynetdicom's own lines quote what the peer sent, which may name a patient: nothing of that is logged.
_config.LOG_HANDLER_LEVEL = "none"
logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)

log = logging.getLogger(__name__)

SOP_CLASSES = (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    MRImageStorage,
    EnhancedMRImageStorage,
    SecondaryCaptureImageStorage,
    MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
)
"""What a model here could read; every other class is rejected in the negotiation."""
TRANSFER_SYNTAXES = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    ExplicitVRBigEndian,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    JPEG2000Lossless,
    JPEG2000,
    RLELossless,
)
"""What can be decoded here. Not deflated: a few bytes of it inflate to any size."""

SUCCESS = 0x0000
DUPLICATE = 0x0111
NOT_AUTHORISED = 0x0124
PROCESSING_FAILURE = 0x0110
INVALID_INSTANCE = 0x0117
OUT_OF_RESOURCES = 0xA700
OTHER_CLASS = 0xA900
CANNOT_UNDERSTAND = 0xC000

UNKNOWN_CALLER, UNKNOWN_CALLED = (0x01, 0x01, 0x03), (0x01, 0x01, 0x07)
"""Rejected for good, by the service user: calling, or called, AE title not recognised (PS3.8 table 9-21)."""

MAX_PDU_BYTES = 131_072
_PDU_SLACK_BYTES = 1024  # some senders do not count the headers inside a PDU
MAX_COMMAND_BYTES = 65_536
MAX_ASSOCIATIONS = 16
MAX_CONNECTIONS = 64
MAX_REFUSALS, REFUSAL_EVERY = 100, timedelta(minutes=1)
ANSWER_SECONDS, SILENCE_SECONDS = 30, 60
_COMMENT_CHARACTERS = 64
_INSTANCE_UID = 0x00080018
_UID = re.compile(r"[0-9.]{1,64}")


class Listener:
    """The C-STORE and C-ECHO service of a workspace.

    Parameters
    ----------
    workspace : Workspace
        Receives what arrives.
    configured : Settings, optional
        Port, address, AE title and peers.
    user : User
        In whose name files are received.
    """

    def __init__(self, workspace: Workspace, configured: Settings | None = None, user: User = SERVICE_USER) -> None:
        self._workspace, self._user = workspace, user
        self._settings = configured or workspace.store.settings
        self._refused: dict[tuple[str, str, str], datetime] = {}
        self._lock = threading.Lock()
        self._entity = AE(ae_title=self._settings.dicom_aet)
        self._entity.maximum_pdu_size = MAX_PDU_BYTES
        self._entity.maximum_associations = MAX_ASSOCIATIONS
        self._entity.acse_timeout = self._entity.dimse_timeout = ANSWER_SECONDS
        self._entity.network_timeout = SILENCE_SECONDS
        self._entity.add_supported_context(Verification)
        for sop_class in SOP_CLASSES:
            self._entity.add_supported_context(sop_class, list(TRANSFER_SYNTAXES))

    def start(self) -> None:
        """Listen, in threads of its own.

        Raises
        ------
        InputError
            If the port cannot be had.
        """
        handlers = [
            (evt.EVT_CONN_OPEN, _prepare),
            (evt.EVT_REQUESTED, self._requested),
            (evt.EVT_DATA_RECV, self._measure),
            (evt.EVT_C_ECHO, lambda event: SUCCESS),
            (evt.EVT_C_STORE, self._store),
        ]
        address = (self._settings.dicom_address, self._settings.dicom_port)
        try:
            server = self._entity.start_server(address, block=False, evt_handlers=handlers)
        except OSError as error:
            raise InputError(
                "DICOM cannot be received on {address}, port {port}: {why}.",
                address=address[0],
                port=address[1],
                why=error.strerror or type(error).__name__,
            ) from error
        server.verify_request = lambda request, client: len(server.active_associations) < MAX_CONNECTIONS
        log.info("DICOM is received on port %d as %s", address[1], self._settings.dicom_aet)

    def stop(self) -> None:
        """Stop listening; the sender will send again what was not answered yet."""
        self._entity.shutdown()

    def _requested(self, event: Event) -> None:
        """Reject an association that is no peer's, or not meant for this AE title."""
        wanted, address = event.assoc.requestor.primitive, event.assoc.requestor.address
        calling, called = wanted.calling_ae_title.strip(), wanted.called_ae_title.strip()
        if not is_peer(self._settings.peers, calling, address):
            rejection = UNKNOWN_CALLER
        elif called != self._settings.dicom_aet:
            rejection = UNKNOWN_CALLED
        else:
            return
        event.assoc.acse.send_reject(*rejection)
        event.assoc.kill()
        self._note_refusal(calling, called, address)

    def _note_refusal(self, calling: str, called: str, address: str) -> None:
        """Write an event, one for each caller and minute: a stranger who keeps knocking must not fill the log."""
        now, caller = self._workspace.store.now(), (calling, called, address)
        with self._lock:
            self._refused = {key: at for key, at in self._refused.items() if now - at < REFUSAL_EVERY}
            if caller in self._refused or len(self._refused) >= MAX_REFUSALS:
                return
            self._refused[caller] = now
        about = {"calling": calling, "called": called, "address": address}
        try:
            with self._workspace.store.writing() as session:
                self._workspace.store.record(session, self._user, "association refused", "", **about)
        except MedAIError:
            log.warning("An association was refused, but the database is away: no event tells of it")

    def _measure(self, event: Event) -> None:
        """Hold what is arriving against its limits, after every PDU."""
        message = event.assoc.dimse.message
        if message is None:
            return
        if message.encoded_command_set.tell() > MAX_COMMAND_BYTES:
            event.assoc.abort(block=False)
        elif message.data_set.tell() > self._settings.max_file_mb * 1_000_000:
            message.data_set = _TooLarge()

    def _store(self, event: Event) -> Dataset:
        """Answer a C-STORE request (PS3.4 B.2.3)."""
        try:
            return self._received(event)
        except Unavailable as error:
            return _failure(OUT_OF_RESOURCES, error.message)
        except NotAllowed as error:
            return _failure(NOT_AUTHORISED, error.message)
        except MedAIError as error:
            return _failure(CANNOT_UNDERSTAND, error.message)
        except OSError as error:  # the disk is full, or away
            return _failure(OUT_OF_RESOURCES, say("Stored nothing: {why}.", why=error.strerror or "disk error"))
        except Exception as error:
            # The boundary to the network: whatever went wrong, nothing was acknowledged. Its words may quote the file.
            log.error("A C-STORE request failed: %s", type(error).__name__)
            return _failure(PROCESSING_FAILURE, say("Stored nothing: {why}.", why="internal error"))

    def _received(self, event: Event) -> Dataset:
        request = event.request
        if isinstance(request.DataSet, _TooLarge):
            raise InputError("The file is larger than the {limit} MB read here.", limit=self._settings.max_file_mb)
        uid = str(request.AffectedSOPInstanceUID)
        if not _UID.fullmatch(uid):
            return _failure(INVALID_INSTANCE, say("The SOP Instance UID is not made of digits and dots."))
        if _names_in(request.DataSet, event.context.transfer_syntax) != (str(request.AffectedSOPClassUID), uid):
            return _failure(OTHER_CLASS, say("The data set is of another class or instance than announced."))
        receipt = self._workspace.receive(self._user, event.encoded_dataset(), f"{uid}.dcm", source="c-store")
        return _answer(receipt)


class _TooLarge(io.BytesIO):
    """Takes the rest of an object that is beyond its limit and keeps nothing of it."""

    def write(self, data: bytes, /) -> int:
        return len(data)


def is_peer(peers: Iterable[Peer], aet: str, address: str) -> bool:
    """Whether one of the peers has this AE title and calls from this address."""
    return any(peer.aet == aet and _plain(address) in _addresses(peer.host) for peer in peers)


def _addresses(host: str) -> set[str]:
    """Every address of a host, asked for anew each time: it may move."""
    try:
        return {_plain(found[4][0]) for found in socket.getaddrinfo(host, None)}
    except OSError:
        return set()


def _plain(address: str) -> str:
    """An address without zone, an IPv4 one in IPv6 clothes (RFC 4291 2.5.5.2) as IPv4."""
    found = ipaddress.ip_address(address.partition("%")[0])
    return str(getattr(found, "ipv4_mapped", None) or found)


def _prepare(event: Event) -> None:
    """Close the connection on a PDU longer than was agreed: pynetdicom reads as much as is announced, up to 4 GB.

    Asked before the association is negotiated, so that a stranger cannot fill the memory either. What is agreed is read
    in as few calls as it comes in, not 4 kB at a time: each call lets go of Python's lock and waits for it again.
    """
    event.assoc.dul.daemon = True  # an idle association does not keep the program from ending
    connection = event.assoc.dul.socket

    def bounded(count: int) -> bytearray:
        if count > MAX_PDU_BYTES + _PDU_SLACK_BYTES:
            raise OSError("a PDU beyond the agreed length")
        data, read = bytearray(count), 0
        while read < count and (more := connection.socket.recv_into(memoryview(data)[read:])):
            read += more
        return data[:read]

    connection.recv = bounded


def _names_in(encoded: io.BytesIO, syntax: UID) -> tuple[str, str]:
    """SOP Class and SOP Instance UID in a data set, without reading further."""
    encoded.seek(0)
    try:
        found = read_dataset(
            encoded,
            syntax.is_implicit_VR,
            syntax.is_little_endian,
            stop_when=lambda tag, vr, length: tag > _INSTANCE_UID,
        )
        return str(found.get("SOPClassUID", "")), str(found.get("SOPInstanceUID", ""))
    except Exception as error:
        # Bytes from the network through a parser that raises nearly anything on damage.
        raise InputError("The {kind} file is damaged: it cannot be decoded.", kind="DICOM") from error


def _answer(receipt: Receipt) -> Dataset:
    if receipt.status != "refused":
        return _status(SUCCESS)
    return _failure(DUPLICATE if receipt.reason == OTHER_CONTENT else CANNOT_UNDERSTAND, receipt.reason)


def _status(code: int) -> Dataset:
    answer = Dataset()
    answer.Status = code
    return answer


def _failure(code: int, why: Message) -> Dataset:
    """A failure with the start of its reason: an Error Comment holds 64 characters (PS3.7 C.4)."""
    answer = _status(code)
    answer.ErrorComment = str(why).encode("ascii", "replace").decode()[:_COMMENT_CHARACTERS].replace("\\", "/")
    log.warning("A C-STORE request was answered with status 0x%04X", code)
    return answer
