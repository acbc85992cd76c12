"""C-STORE and C-ECHO: who may associate, what is taken, and what the sender is told."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from drawn_dicom import CALLER, draw, workspace_at
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, ImplicitVRLittleEndian, JPEG2000Lossless, SecondaryCaptureImageStorage
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import encode
from pynetdicom.sop_class import Verification

from medai_core.cases import listener as module
from medai_core.cases.access import LOCAL, SERVICE_USER
from medai_core.cases.listener import Listener, is_peer
from medai_core.cases.workspace import Workspace
from medai_core.errors import InputError, Unavailable
from medai_core.settings import Peer


@pytest.fixture
def workspace(tmp_path: Path, migrated_sqlite: Path) -> Iterator[Workspace]:
    opened = workspace_at(tmp_path, migrated_sqlite)
    yield opened
    opened.close()


@pytest.fixture
def listener(workspace: Workspace) -> Iterator[Listener]:
    running = Listener(workspace)
    running.start()
    yield running
    running.stop()


def associate(workspace: Workspace, *classes: str, caller: str = CALLER, called: str = "MEDAI") -> Association:
    entity = AE(ae_title=caller)
    for sop_class in classes or (draw().SOPClassUID,):
        entity.add_requested_context(sop_class)
    return entity.associate("127.0.0.1", workspace.store.settings.dicom_port, ae_title=called)


def store(workspace: Workspace, *files: Dataset) -> list[Dataset]:
    """Answers to C-STORE requests in one association."""
    association = associate(workspace, *{ds.SOPClassUID for ds in files})
    assert association.is_established
    try:
        return [association.send_c_store(ds) for ds in files]
    finally:
        association.release()


def total(workspace: Workspace) -> int:
    return workspace.worklist(LOCAL).total


def events(workspace: Workspace, action: str) -> list[dict[str, object]]:
    """Details of the events of a kind; the listener writes some of them after it has answered."""
    for _ in range(100):
        if found := workspace.events(LOCAL, action=action).events:
            break
        time.sleep(0.05)
    return [dict(event.details) for event in found]


def test_an_echo_is_answered(workspace, listener):
    association = associate(workspace, Verification)
    assert association.send_c_echo().Status == 0
    association.release()


def test_a_stored_file_is_in_the_worklist_under_its_patient(workspace, listener):
    (answer,) = store(workspace, draw(1))
    (row,) = workspace.worklist(LOCAL).rows
    assert answer.Status == 0
    assert (row.modality, row.kind, row.objects) == ("DX", "scan", 1)
    assert "Person1" in row.patient
    assert events(workspace, "received")[0]["source"] == "c-store"


def test_success_is_said_only_after_the_workspace_has_committed(workspace, listener, monkeypatch):
    """The answer waits for `receive`, however long it takes."""
    order, receive = [], workspace.receive

    def slow(*args, **values):
        time.sleep(0.3)
        receipt = receive(*args, **values)
        order.append("committed")
        return receipt

    monkeypatch.setattr(workspace, "receive", slow)
    (answer,) = store(workspace, draw(1))
    order.append("answered")
    assert (answer.Status, order) == (0, ["committed", "answered"])


def test_a_file_sent_twice_is_acknowledged_twice_and_kept_once(workspace, listener):
    ds = draw(1)
    assert [answer.Status for answer in store(workspace, ds, ds)] == [0, 0]
    assert total(workspace) == 1


def test_the_same_uid_with_other_content_is_refused_and_the_first_stays(workspace, listener):
    first = draw(1)
    other = draw(2, SOPInstanceUID=first.SOPInstanceUID)
    answers = store(workspace, first, other)
    assert [answer.Status for answer in answers] == [0, module.DUPLICATE]
    assert "SOP Instance UID" in answers[1].ErrorComment
    (row,) = workspace.worklist(LOCAL).rows
    assert "Person1" in row.patient
    assert len(events(workspace, "turned away")) == 1


# ------------------------------------------------------------------------------------------- who may associate


@pytest.mark.parametrize(
    ("caller", "called", "reason"),
    [("STRANGER", "MEDAI", 3), (CALLER.lower(), "MEDAI", 3), (CALLER, "OTHER", 7)],
    ids=["unknown peer", "AE titles have a case", "meant for another"],
)
def test_who_is_no_peer_is_rejected_and_noted_once(workspace, listener, caller, called, reason):
    for _ in range(2):
        association = associate(workspace, caller=caller, called=called)
        assert association.is_rejected
        assert association.acceptor.primitive.diagnostic == reason
    assert [event["calling"] for event in events(workspace, "association refused")] == [caller]


def test_a_peer_that_calls_from_another_address_is_rejected(tmp_path, migrated_sqlite):
    workspace = workspace_at(tmp_path, migrated_sqlite, dicom_peers=f"{CALLER}@192.0.2.7:104")
    running = Listener(workspace)
    running.start()
    try:
        assert associate(workspace).is_rejected
        assert events(workspace, "association refused")[0]["address"] == "127.0.0.1"
    finally:
        running.stop()
        workspace.close()


def test_the_address_of_a_peer_is_looked_up(monkeypatch):
    peers = (Peer("A", "localhost", 104), Peer("B", "192.0.2.7", 104), Peer("C", "nowhere.invalid", 104))
    assert is_peer(peers, "A", "127.0.0.1")
    assert is_peer(peers, "B", "::ffff:192.0.2.7")
    assert not is_peer(peers, "A", "192.0.2.7")
    assert not is_peer(peers, "C", "127.0.0.1")
    assert not is_peer((), "A", "127.0.0.1")


def test_strangers_are_turned_away_while_the_database_is_gone(workspace, listener, monkeypatch):
    def gone():
        raise Unavailable("The database cannot be reached.")

    monkeypatch.setattr(workspace.store.database, "writing", gone)
    assert associate(workspace, caller="STRANGER").is_rejected


def test_a_taken_port_is_told(workspace, listener):
    with pytest.raises(InputError, match="cannot be received"):
        Listener(workspace).start()


# --------------------------------------------------------------------------------------------- what is taken


def test_a_class_that_no_model_reads_is_rejected_and_the_others_go_on(workspace, listener):
    association = associate(workspace, CTImageStorage, draw().SOPClassUID)
    assert [context.abstract_syntax for context in association.rejected_contexts] == [CTImageStorage]
    assert association.send_c_store(draw(1)).Status == 0
    with pytest.raises(ValueError):
        association.send_c_store(draw(2, SOPClassUID=CTImageStorage))
    association.release()
    assert total(workspace) == 1


def send_raw(workspace: Workspace, ds: Dataset, data: bytes) -> int:
    """Status of a C-STORE request that announces `ds` and sends other bytes."""
    association = associate(workspace, ds.SOPClassUID)
    (context,) = association.accepted_contexts
    message = C_STORE()
    message.MessageID, message.Priority, message.DataSet = 1, 2, BytesIO(data)
    message.AffectedSOPClassUID, message.AffectedSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    association._reactor_checkpoint.clear()
    while not association._is_paused:
        time.sleep(0.01)
    association.dimse.send_msg(message, context.context_id)
    _, answer = association.dimse.get_msg(block=True)
    association._reactor_checkpoint.set()
    association.release()
    return answer.Status


def bare(ds: Dataset) -> bytes:
    """A data set as it travels, without file meta information."""
    return encode(ds, is_implicit_vr=True, is_little_endian=True)


def test_a_data_set_of_another_class_than_announced_is_refused(workspace, listener):
    announced = draw(1)
    hidden = draw(1, SOPClassUID=SecondaryCaptureImageStorage, SOPInstanceUID=announced.SOPInstanceUID)
    assert send_raw(workspace, announced, bare(hidden)) == module.OTHER_CLASS
    assert send_raw(workspace, announced, bare(draw(2))) == module.OTHER_CLASS
    assert total(workspace) == 0


@pytest.mark.parametrize("data", [b"\xff" * 999, b"\x08\x00\x18\x00\xff\xff\xff\x7f1.2", bytes(4000)])
def test_garbage_is_refused_and_the_listener_goes_on(workspace, listener, data):
    status = send_raw(workspace, draw(1), data)
    assert status in (module.CANNOT_UNDERSTAND, module.OTHER_CLASS)
    assert [answer.Status for answer in store(workspace, draw(2))] == [0]


def test_a_file_cut_off_in_its_pixels_is_refused(workspace, listener):
    ds = draw(1)
    assert send_raw(workspace, ds, bare(ds)[:-5000]) == module.CANNOT_UNDERSTAND
    assert total(workspace) == 0


def test_a_path_as_uid_is_refused(workspace, listener, tmp_path):
    ds = draw(1, SOPInstanceUID="../../../../escaped")
    assert send_raw(workspace, ds, bare(ds)) == module.INVALID_INSTANCE
    assert not list(tmp_path.rglob("*escaped*"))


def test_markup_and_paths_in_tags_are_only_text(workspace, listener, tmp_path):
    nasty = "<script>alert(1)</script>"
    ds = draw(1, PatientName=f"{nasty}^../../escaped", PatientID="../../escaped", StudyDescription=f"=1+1|{nasty}")
    (answer,) = store(workspace, ds)
    assert answer.Status == 0
    assert nasty in workspace.worklist(LOCAL).rows[0].patient
    assert not list(tmp_path.rglob("*escaped*"))
    assert not any("script" in str(event) for event in events(workspace, "received"))


def test_an_object_beyond_the_limit_is_refused_without_being_kept_in_memory(workspace, monkeypatch):
    running = Listener(workspace, replace(workspace.store.settings, max_file_mb=1))
    running.start()
    try:
        big, small = draw(1, side=1200), draw(2)
        assert [answer.Status for answer in store(workspace, big, small)] == [module.CANNOT_UNDERSTAND, 0]
    finally:
        running.stop()
    assert total(workspace) == 1


def test_a_pdu_of_four_gigabytes_closes_the_connection(workspace, listener):
    with socket.create_connection(("127.0.0.1", workspace.store.settings.dicom_port), timeout=10) as connection:
        connection.sendall(struct.pack(">BBL", 1, 0, 0xFFFFFFFF))
        for _ in range(200):
            try:
                connection.sendall(bytes(65_536))
            except OSError:  # closed by the listener
                break
            time.sleep(0.01)
        else:
            pytest.fail("the listener went on reading")
    assert [answer.Status for answer in store(workspace, draw(1))] == [0]


def test_noise_on_the_port_does_no_harm(workspace, listener):
    for noise in (
        b"GET / HTTP/1.1\r\n\r\n",
        bytes(100),
        b"\x01\x00\x00\x00\x00\x04abcd",
        b"\x04\x00\x00\x00\x00\x02\x00\x00",
    ):
        with socket.create_connection(("127.0.0.1", workspace.store.settings.dicom_port), timeout=10) as connection:
            connection.sendall(noise)
    assert [answer.Status for answer in store(workspace, draw(1))] == [0]


# ---------------------------------------------------------------------------------------------- what goes wrong


def test_an_association_aborted_in_mid_transfer_leaves_nothing_and_can_be_repeated(workspace, listener):
    ds = draw(1, side=1024)
    association = associate(workspace)
    sent = []

    def cut(pdata):
        sent.append(pdata)
        if len(sent) == 5:
            association.dul.socket.socket.shutdown(socket.SHUT_RDWR)
        return original(pdata)

    original = association.dul.send_pdu
    association.dul.send_pdu = cut
    answer = association.send_c_store(ds)
    assert "Status" not in answer
    assert total(workspace) == 0
    assert not [path for path in (workspace.store.settings.data_dir / "vault").rglob("*") if path.is_file()]
    assert [answer.Status for answer in store(workspace, ds)] == [0]
    assert total(workspace) == 1


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Unavailable("The database cannot be reached just now."), module.OUT_OF_RESOURCES),
        (OSError(28, "No space left on device"), module.OUT_OF_RESOURCES),
        (RuntimeError("Drawn^Person1 in the words of a library"), module.PROCESSING_FAILURE),
    ],
    ids=["database gone", "disk full", "a mistake of ours"],
)
def test_a_failure_is_told_so_that_the_sender_tries_again(workspace, listener, monkeypatch, caplog, error, status):
    receive, failing = workspace.receive, [True]

    def sometimes(*args, **values):
        if failing:
            raise error
        return receive(*args, **values)

    monkeypatch.setattr(workspace, "receive", sometimes)
    (answer,) = store(workspace, draw(1))
    assert answer.Status == status
    assert "Person1" not in caplog.text + str(answer)
    assert total(workspace) == 0
    failing.clear()
    assert [answer.Status for answer in store(workspace, draw(1))] == [0]


def test_a_full_disk_is_told_as_out_of_resources(workspace, listener, monkeypatch):
    """From the vault up: nothing of the file is filed."""
    put = type(workspace.store.vault).put

    def full(self, content):
        raise Unavailable("There is no space left on the disk; nothing was saved.")

    monkeypatch.setattr(type(workspace.store.vault), "put", full)
    assert [answer.Status for answer in store(workspace, draw(1))] == [module.OUT_OF_RESOURCES]
    monkeypatch.setattr(type(workspace.store.vault), "put", put)
    assert [answer.Status for answer in store(workspace, draw(1))] == [0]


def test_a_user_who_may_not_receive_is_told_so(workspace):
    running = Listener(workspace, user=replace(SERVICE_USER, subject="nobody", roles=frozenset()))
    running.start()
    try:
        assert [answer.Status for answer in store(workspace, draw(1))] == [module.NOT_AUTHORISED]
    finally:
        running.stop()


def test_nothing_of_a_patient_is_logged(workspace, listener, caplog):
    caplog.set_level("DEBUG")
    first = draw(1)
    store(workspace, first, draw(2, SOPInstanceUID=first.SOPInstanceUID))
    associate(workspace, caller="STRANGER")
    assert "Person" not in caplog.text
    assert str(first.SOPInstanceUID) not in caplog.text


# ------------------------------------------------------------------------------------------------------ many


@pytest.mark.parametrize(("associations", "count"), [(1, 60), (4, 24)])
def test_many_files_arrive_without_a_loss(workspace, listener, associations, count):
    files = [draw(seed, side=32) for seed in range(count)]
    answers: list[int] = []

    def send(part: list[Dataset]) -> None:
        answers.extend(answer.Status for answer in store(workspace, *part))

    threads = [threading.Thread(target=send, args=(files[k::associations],)) for k in range(associations)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [0] * len(files)
    assert total(workspace) == len(files)
    assert workspace.verify_audit(LOCAL).ok


def test_every_syntax_offered_can_be_decoded():
    from pydicom.pixels import get_decoder

    assert ImplicitVRLittleEndian in module.TRANSFER_SYNTAXES
    assert JPEG2000Lossless in module.TRANSFER_SYNTAXES
    for syntax in module.TRANSFER_SYNTAXES:
        assert get_decoder(syntax).is_available, syntax.name
