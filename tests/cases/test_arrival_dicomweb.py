"""A PACS that answers otherwise than it should: told in a sentence, and nothing of the question is repeated.

How it goes with a real one is in test_arrival_orthanc.py.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from drawn_dicom import draw, encoded, free_port, settings_at, workspace_at
from pynetdicom import AE, evt
from quick_reader import QuickReader

from medai_core.cases import dicomweb, send
from medai_core.cases.access import LOCAL, Role, User
from medai_core.cases.answers import ReviewInput
from medai_core.cases.dicomweb import Archive, Query, fetch_study, find_studies, name_pattern
from medai_core.cases.send import DICOMWEB, destinations, send_file, send_report
from medai_core.cases.worker import Worker
from medai_core.cases.workspace import Workspace
from medai_core.errors import InputError, NotAllowed, Unavailable

RESEARCHER = User("r", "R", frozenset({Role.RESEARCHER}))
STUDY = {
    "0020000D": {"vr": "UI", "Value": ["1.2.3"]},
    "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Doe^<b>"}]},
    "00100020": {"vr": "LO", "Value": ["P 1"]},
}


class Pacs:
    """A web server that answers as it is told, and remembers what it was asked."""

    def __init__(self) -> None:
        self.status, self.kind, self.body, self.asked = 200, "application/dicom+json", b"[]", []
        pacs = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                pacs.asked.append((self.path, self.headers.get("Authorization")))
                self.send_response(pacs.status)
                self.send_header("Content-Type", pacs.kind)
                self.send_header("Content-Length", str(len(pacs.body)))
                self.end_headers()
                self.wfile.write(pacs.body)

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.do_GET()

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://reader:se%40cret@127.0.0.1:{self.server.server_port}/dicom-web"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def pacs() -> Iterator[Pacs]:
    running = Pacs()
    yield running
    running.server.shutdown()
    running.server.server_close()


@pytest.fixture
def workspace(tmp_path: Path, migrated_sqlite: Path, pacs: Pacs) -> Iterator[Workspace]:
    opened = workspace_at(tmp_path, migrated_sqlite, dicomweb_url=pacs.url)
    yield opened
    opened.close()


def test_a_query_names_what_is_looked_for_and_signs_in(workspace, pacs):
    pacs.body = json.dumps([STUDY]).encode()
    (study,) = find_studies(workspace, LOCAL, Query(patient_id="P 1", study_date="20240101-20240201"))
    assert (study.study_uid, study.patient_name, study.instances) == ("1.2.3", "Doe^<b>", 0)
    path, authorization = pacs.asked[0]
    assert "PatientID=P?1&" in path and "StudyDate=20240101-20240201" in path and "PatientName" not in path
    assert authorization == "Basic " + base64.b64encode(b"reader:se@cret").decode()


@pytest.mark.parametrize(
    ("typed", "pattern", "sent"),
    [
        ("Doe", "Doe*", "Doe*"),
        (" Doe , Jane ", "Doe^Jane*", "Doe?Jane*"),
        ("D?e^*", "D?e^*", "D?e?*"),
        ("王小东", "王小东*", "**"),
        ("a&b=c/../%2A", "a&b=c/../%2A*", "a?b?c?..??2A*"),
        ("", "", ""),
    ],
)
def test_a_name_is_sent_without_anything_to_decode(workspace, pacs, typed, pattern, sent):
    assert name_pattern(typed) == pattern
    find_studies(workspace, LOCAL, Query(patient_name=pattern, modality="DX"))
    assert pacs.asked[0][0].partition("PatientName=")[2].partition("&")[0] == sent


def test_what_was_asked_in_other_words_is_narrowed_again(workspace, pacs):
    names = ("Doe^Jane", "DOE^JANE M", "Doe Janet", "Wang=王^小东", "Roe^Jane")
    pacs.body = json.dumps([STUDY | {"00100010": {"vr": "PN", "Value": [_group(name)]}} for name in names]).encode()
    found = {asked: find_studies(workspace, LOCAL, Query(patient_name=asked)) for asked in ("doe^jane*", "王*", "X*")}
    shown = {asked: [study.patient_name for study in studies] for asked, studies in found.items()}
    assert shown["doe^jane*"] == ["Doe^Jane", "DOE^JANE M"] and shown["王*"] == ["Wang=王^小东"]
    assert len(shown["X*"]) == len(names), "asked as it is, the PACS decides"


def _group(name: str) -> dict[str, str]:
    return dict(zip(("Alphabetic", "Ideographic"), name.split("="), strict=False))


def test_a_search_for_nothing_is_none(workspace, pacs):
    with pytest.raises(InputError, match="what to look for"):
        find_studies(workspace, LOCAL, Query())
    assert not pacs.asked


def test_the_newest_comes_first_and_what_is_here_is_marked_for_its_department_alone(workspace, pacs):
    here = draw(1)
    workspace.receive(LOCAL, encoded(here), "1.dcm")
    uids = (("1.2.3", "20200101"), (str(here.StudyInstanceUID), "20240101"), ("1.2.4", "20220101"))
    pacs.body = json.dumps(
        [STUDY | {"0020000D": _value("UI", uid), "00080020": _value("DA", day)} for uid, day in uids]
    ).encode()
    found = find_studies(workspace, LOCAL, Query(modality="DX"))
    assert [study.study_date for study in found] == ["20240101", "20220101", "20200101"]
    assert [study.here for study in found] == [True, False, False]
    elsewhere = User("e", "E", frozenset({Role.READER}), frozenset({"elsewhere"}))
    assert not any(study.here for study in find_studies(workspace, elsewhere, Query(modality="DX")))


def _value(vr: str, value: str) -> dict[str, object]:
    return {"vr": vr, "Value": [value]}


def test_a_search_is_an_event_without_what_was_asked(workspace, pacs):
    pacs.body = json.dumps([STUDY]).encode()
    find_studies(workspace, LOCAL, Query(patient_name="Doe"))
    (event,) = workspace.events(LOCAL, action="pacs searched").events
    assert dict(event.details) == {"found": 1}


@pytest.mark.parametrize(
    "ask", [lambda w: find_studies(w, RESEARCHER, Query()), lambda w: list(fetch_study(w, RESEARCHER, "1"))]
)
def test_who_may_not_see_identities_does_not_reach_the_pacs(workspace, pacs, ask):
    with pytest.raises(NotAllowed):
        ask(workspace)
    assert not pacs.asked


@pytest.mark.parametrize(
    ("status", "kind", "body", "words"),
    [
        (500, "text/plain", b"Doe is broken", "HTTP status 500"),
        (401, "text/plain", b"", "HTTP status 401"),
        (200, "text/html", b"<html>Doe</html>", "not DICOMweb"),
        (200, "application/dicom+json", b'[{"0020000D": 7}]', "not DICOMweb"),
        (200, "application/dicom+json", b"[[]]", "not DICOMweb"),
        (200, "application/dicom+json", b'{"00100010', "not DICOMweb"),
    ],
)
def test_an_answer_that_is_none_is_told_without_its_words(workspace, pacs, caplog, status, kind, body, words):
    caplog.set_level("DEBUG")
    pacs.status, pacs.kind, pacs.body = status, kind, body
    with pytest.raises(Unavailable, match=words) as told:
        find_studies(workspace, LOCAL, Query(patient_name="Doe"))
    assert "Doe" not in str(told.value) + caplog.text
    assert "cret" not in str(told.value) + caplog.text


def multipart(*parts: bytes) -> bytes:
    return b"".join(b"--x\r\nContent-Type: application/dicom\r\n\r\n" + part + b"\r\n" for part in parts) + b"--x--"


def test_a_study_is_fetched_object_by_object(workspace, pacs):
    first = draw(1)
    second = draw(2, StudyInstanceUID=first.StudyInstanceUID, PatientID="D1", PatientName="Drawn^Person1")
    pacs.kind, pacs.body = (
        'multipart/related; type="application/dicom"; boundary=x',
        multipart(encoded(first), encoded(second)),
    )
    receipts = list(fetch_study(workspace, LOCAL, first.StudyInstanceUID))
    assert [receipt.status for receipt in receipts] == ["new", "new"]
    (row,) = workspace.worklist(LOCAL).rows
    assert row.objects == 2
    assert [receipt.status for receipt in fetch_study(workspace, LOCAL, first.StudyInstanceUID)] == ["duplicate"] * 2


def test_an_answer_cut_off_in_the_middle_keeps_what_came_before(workspace, pacs):
    pacs.kind = 'multipart/related; type="application/dicom"; boundary=x'
    pacs.body = multipart(encoded(draw(1)), b"no DICOM at all")
    with pytest.raises(Unavailable):
        list(fetch_study(workspace, LOCAL, "1.2.3"))
    assert workspace.worklist(LOCAL).total == 1


@pytest.mark.parametrize("uid", ["", "../../instances", "1.2/series", "1.2?x=1"])
def test_a_uid_that_is_a_path_is_refused(workspace, pacs, uid):
    with pytest.raises(InputError, match="digits and dots"):
        list(fetch_study(workspace, LOCAL, uid))
    assert not pacs.asked


@pytest.mark.parametrize("url", ["", "ftp://pacs/x", "http://", "pacs:8042"])
def test_an_address_that_is_none_is_told(url):
    with pytest.raises(InputError, match="MEDAI_DICOMWEB_URL"):
        Archive(url)


def test_without_a_pacs_it_is_told(tmp_path, migrated_sqlite):
    workspace = workspace_at(tmp_path, migrated_sqlite)
    with pytest.raises(InputError, match="No PACS"):
        find_studies(workspace, LOCAL, Query())
    workspace.close()


def test_a_pacs_that_is_away_is_told_at_once(tmp_path):
    with pytest.raises(Unavailable, match="does not answer"):
        Archive(f"http://127.0.0.1:{free_port()}/dicom-web").find(Query())


# ----------------------------------------------------------------------------------------------------- sending


def test_destinations_are_the_peers_and_the_archive(tmp_path):
    peers = "A@127.0.0.1:1,B@127.0.0.1:2,A@127.0.0.2:1"
    assert destinations(settings_at(tmp_path, dicom_peers=peers, dicomweb_url="http://x")) == ("A", "B", DICOMWEB)
    assert destinations(settings_at(tmp_path, dicom_peers="")) == ()


def test_a_store_that_fails_is_told_with_its_status(tmp_path, pacs):
    failed = {"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [0xA700]}}]}}
    pacs.body = json.dumps(failed).encode()
    with pytest.raises(InputError, match="1 of 1 objects .status 0xA700"):
        send_file(encoded(draw(1)), DICOMWEB, settings_at(tmp_path, dicomweb_url=pacs.url))


def test_a_peer_that_is_away_is_told(tmp_path):
    where = settings_at(tmp_path, dicom_peers=f"PACS@127.0.0.1:{free_port()}")
    with pytest.raises(Unavailable, match="PACS does not answer"):
        send_file(encoded(draw(1)), "PACS", where)


@pytest.mark.parametrize(
    ("status", "error"),
    [(0x0000, None), (0xB000, None), (0xA700, Unavailable), (0xC000, InputError), (0x0124, InputError)],
)
def test_only_success_and_warnings_count_as_sent(tmp_path, status, error):
    port, ds = free_port(), draw(1)
    entity = AE("PACS")
    entity.add_supported_context(ds.SOPClassUID)
    server = entity.start_server(
        ("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, lambda event: status)]
    )
    where = settings_at(tmp_path, dicom_peers=f"PACS@127.0.0.1:{port}")
    try:
        if error is None:
            assert send_file(encoded(ds), "PACS", where) == ds.SOPInstanceUID
        else:
            with pytest.raises(error, match=f"0x{status:04X}"):
                send_file(encoded(ds), "PACS", where)
    finally:
        server.shutdown()


@pytest.mark.parametrize("entity", ["stranger", "other class"])
def test_a_peer_that_does_not_want_it_is_told(tmp_path, entity):
    port, ds = free_port(), draw(1)
    pacs = AE("PACS")
    pacs.add_supported_context(ds.SOPClassUID if entity == "stranger" else "1.2.840.10008.1.1")
    if entity == "stranger":
        pacs.require_calling_aet = ["SOMEBODY"]
    server = pacs.start_server(("127.0.0.1", port), block=False)
    try:
        with pytest.raises(InputError, match="does not"):
            send_file(encoded(ds), "PACS", settings_at(tmp_path, dicom_peers=f"PACS@127.0.0.1:{port}"))
    finally:
        server.shutdown()


def test_only_a_known_kind_goes_to_a_known_destination(workspace):
    with pytest.raises(InputError, match="`kind` must be one of sr, capture"):
        send_report(workspace, LOCAL, "0" * 32, "pdf", "SCANNER")
    with pytest.raises(InputError, match="`destination` must be one of SCANNER, DICOMweb"):
        send_report(workspace, LOCAL, "0" * 32, "sr", "ELSEWHERE")


def test_who_may_not_export_identities_sends_nothing(workspace, monkeypatch):
    sent = []
    monkeypatch.setattr(send, "send_file", lambda *args: sent.append(args))
    with pytest.raises(NotAllowed):
        send_report(workspace, RESEARCHER, "0" * 32, "sr", "SCANNER")
    assert not sent


def read_study(workspace, **tags):
    """A study that a model has read."""
    receipt = workspace.receive(LOCAL, encoded(draw(1, **tags)), "1.dcm")
    worker = Worker(workspace, QuickReader)
    while worker.work():
        pass
    return receipt


def test_a_report_that_was_not_taken_is_an_event_and_can_be_sent_again(workspace, pacs):
    receipt = read_study(workspace)
    pacs.status = 503
    with pytest.raises(Unavailable, match="503"):
        send_report(workspace, LOCAL, receipt.study_id, "sr", DICOMWEB)
    (event,) = workspace.events(LOCAL, action="report not sent").events
    assert event.object == receipt.study_id
    assert dict(event.details) == {"kind": "sr", "destination": DICOMWEB, "why": "Unavailable"}
    pacs.status, pacs.body = 200, b"{}"
    sent = send_report(workspace, LOCAL, receipt.study_id, "sr", DICOMWEB)
    assert sent.destination == DICOMWEB and workspace.events(LOCAL, action="report sent").total == 1
    reports = workspace.case(LOCAL, receipt.case_id).studies[0].reports
    assert [(report.kind, report.identified) for report in reports] == [("sr", True)] * 2
    (study,) = workspace.case(LOCAL, receipt.case_id).studies
    told = [(one.kind, one.destination, one.taken, one.by_name) for one in study.sent]
    assert told == [("sr", DICOMWEB, False, LOCAL.name), ("sr", DICOMWEB, True, LOCAL.name)]
    assert workspace.case(RESEARCHER, receipt.case_id).studies[0].sent == ()


def test_what_is_withheld_is_not_sent(workspace, pacs):
    receipt = read_study(workspace)
    with pytest.raises(NotAllowed, match="commit your own reading"):
        send_report(workspace, LOCAL, receipt.study_id, "sr", DICOMWEB, reveal=False)
    assert not pacs.asked and not workspace.case(LOCAL, receipt.case_id).studies[0].reports
    workspace.review(LOCAL, receipt.study_id, ReviewInput("normal"), 1)
    pacs.body = b"{}"
    assert send_report(workspace, LOCAL, receipt.study_id, "sr", DICOMWEB, reveal=False).kind == "sr"


def test_a_study_without_a_patient_number_is_not_sent(workspace, pacs):
    receipt = read_study(workspace, PatientID="")
    with pytest.raises(InputError, match="no patient number"):
        send_report(workspace, LOCAL, receipt.study_id, "sr", DICOMWEB)
    assert not pacs.asked and not workspace.case(LOCAL, receipt.case_id).studies[0].reports


def test_in_read_first_mode_the_model_s_answer_is_not_sent_either(workspace, pacs):
    receipt = read_study(workspace)
    with pytest.raises(NotAllowed, match="your own reading"):
        send_report(workspace, LOCAL, receipt.study_id, "sr", DICOMWEB, reveal=False)
    assert not pacs.asked


def test_texts_of_the_pacs_are_one_printable_line():
    ds = draw(1, StudyDescription="a\x07b")
    assert dicomweb._text(ds, "StudyDescription") == "ab"
    assert dicomweb._text(ds, "PatientComments") == ""
