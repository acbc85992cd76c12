"""Files in: filed under patient and study, recognised when they come again, refused with a reason."""

from __future__ import annotations

import io
import zipfile
from datetime import date

import numpy as np
import pytest
from drawn_dicom import draw, encoded
from PIL import Image
from pydicom.uid import generate_uid

from medai_core.bench import drawn_stay
from medai_core.cases import receive as module
from medai_core.cases.access import LOCAL, SERVICE_USER, Role, User
from medai_core.cases.answers import Filter, ReviewInput
from medai_core.errors import InputError, NotFound, Unavailable
from medai_core.tabular.breast_cancer import FEATURES


def png(seed: int = 0) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (64, 64), np.uint8)).save(file, "PNG")
    return file.getvalue()


def table(rows: int) -> bytes:
    values = np.random.default_rng(0).uniform(0.1, 20, (rows, len(FEATURES)))
    return "\n".join([",".join(FEATURES), *(",".join(f"{v:.3f}" for v in row) for row in values)]).encode()


def test_a_dicom_file_is_filed_under_its_patient_and_study(workspace):
    ds = draw(1, PatientName="Doe^Jane=名字", StudyDate="20240305", StudyDescription="Chest PA")
    got = workspace.receive(LOCAL, encoded(ds), "../../etc/x\n.dcm")
    assert got.status == "new"
    case = workspace.case(LOCAL, got.case_id)
    (study,) = case.studies
    assert (case.identity.name, case.identity.patient_id, case.identity.birth_date) == (
        "Doe, Jane (名字)", "D1", date(2020, 1, 1),
    )  # fmt: skip
    assert (study.kind, study.modality, study.body_part, study.description) == ("scan", "DX", "CHEST", "Chest PA")
    assert (study.acquired, study.status, study.model_state) == (date(2024, 3, 5), "new", "waiting")
    assert [one.name for one in study.objects] == ["x.dcm"]
    assert workspace.content(LOCAL, got.object_id) == encoded(ds)
    assert workspace.events(LOCAL, action="received").events[0].object == got.object_id


def test_files_of_a_study_and_studies_of_a_patient_come_together(workspace):
    study = generate_uid()
    a = workspace.receive(LOCAL, encoded(draw(1, StudyInstanceUID=study)), "a")
    b = workspace.receive(LOCAL, encoded(draw(1, StudyInstanceUID=study)), "b")
    c = workspace.receive(LOCAL, encoded(draw(1)), "c")
    d = workspace.receive(LOCAL, encoded(draw(2)), "d")
    assert a.case_id == b.case_id == c.case_id != d.case_id
    assert a.study_id == b.study_id != c.study_id
    assert [
        len(one.objects) for one in sorted(workspace.case(LOCAL, a.case_id).studies, key=lambda s: -len(s.objects))
    ] == [2, 1]


@pytest.mark.parametrize("other", [{"PatientBirthDate": "19500101"}, {"IssuerOfPatientID": "other hospital"}])
def test_a_number_alone_makes_no_patient(workspace, other):
    a = workspace.receive(LOCAL, encoded(draw(1)), "a")
    b = workspace.receive(LOCAL, encoded(draw(1, **other)), "b")
    assert a.case_id != b.case_id


def test_without_a_patient_number_the_study_holds_files_together(workspace):
    study = generate_uid()
    a, b = (workspace.receive(LOCAL, encoded(draw(k, PatientID="", StudyInstanceUID=study)), "a") for k in (1, 2))
    c = workspace.receive(LOCAL, encoded(draw(3, PatientID="")), "c")
    assert a.case_id == b.case_id != c.case_id


def test_what_comes_twice_is_recognised_by_content(workspace):
    for data in (encoded(draw(1)), png(), drawn_stay(), table(1)):
        first = workspace.receive(LOCAL, data, "a")
        again = workspace.receive(LOCAL, data, "another name", source="folder")
        assert (first.status, again.status, again.object_id) == ("new", "duplicate", first.object_id)
    assert workspace.worklist(LOCAL).total == 4


def test_the_same_uid_with_other_content_is_refused_and_leaves_no_bytes(workspace):
    ds = draw(1)
    first = workspace.receive(LOCAL, encoded(ds), "a")
    ds.PixelData = bytes(len(ds.PixelData))
    size = workspace.store.vault.size_bytes()
    other = workspace.receive(LOCAL, encoded(ds), "b", source="c-store")
    assert (other.status, other.reason) == ("refused", module.OTHER_CONTENT)
    assert workspace.events(LOCAL, action="turned away").events[0].object == first.object_id
    assert workspace.store.vault.size_bytes() == size


def test_stays_and_rows_are_studies_too(workspace):
    stay, row = workspace.receive(LOCAL, drawn_stay(), "a.txt"), workspace.receive(LOCAL, table(1), "a.csv")
    kinds = {one.study_id: (one.kind, one.modality) for one in workspace.worklist(LOCAL).rows}
    assert kinds == {stay.study_id: ("stay", "ICU"), row.study_id: ("row", "TABLE")}


def test_an_upload_joins_the_case_it_is_given_for(workspace):
    case = workspace.receive(LOCAL, encoded(draw(1)), "a").case_id
    assert workspace.receive(LOCAL, png(), "b", case_id=case).case_id == case
    assert workspace.receive(LOCAL, drawn_stay(), "c", case_id=case).case_id == case
    other = workspace.receive(LOCAL, encoded(draw(2)), "d", case_id=case)
    assert (other.status, other.reason) == ("refused", module.OTHER_PATIENT)
    assert len(workspace.case(LOCAL, case).studies) == 3
    with pytest.raises(NotFound):
        workspace.receive(LOCAL, png(1), "e", case_id="0" * 32)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "The file is empty."),
        (b"%PDF-1.4", "This is a PDF document"),
        (b"hello, world", "Row 1: the header must be"),
        (table(2), "A table must have one row"),
        (encoded(draw(1))[:600], "The DICOM file"),
    ],
    ids=["empty", "PDF", "text", "table", "cut off"],
)
def test_what_cannot_be_read_is_refused_with_its_reason_and_not_kept(workspace, data, said):
    got = workspace.receive(LOCAL, data, "a")
    assert got.status == "refused" and said in str(got.reason)
    assert workspace.worklist(LOCAL).total == 0 and workspace.store.vault.size_bytes() == 0
    assert workspace.events(LOCAL, action="turned away").total == 1


def test_an_object_without_an_image_is_refused(sqlite_workspace):
    ds = draw(1, SOPClassUID="1.2.840.10008.5.1.4.1.1.88.33")
    del ds.PixelData, ds.Rows, ds.Columns
    got = sqlite_workspace.receive(LOCAL, encoded(ds), "a")
    assert got.status == "refused" and "no image but: Comprehensive SR" in str(got.reason)


def test_free_text_in_a_coded_attribute_does_not_get_through(sqlite_workspace):
    got = sqlite_workspace.receive(LOCAL, encoded(draw(1, BodyPartExamined="of Jane Doe, 1 Street")), "a")
    assert sqlite_workspace.case(LOCAL, got.case_id).studies[0].body_part == ""


def test_archives_and_tables_are_taken_apart(workspace):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("d/a.png", png(1))
        archive.writestr("b.txt", "hello")
        archive.writestr("t.csv", table(3))
    got = list(workspace.receive_all(LOCAL, file.getvalue(), "all.zip"))
    assert [(one.name, one.status) for one in got] == [
        ("a.png", "new"),
        ("b.txt", "refused"),
        ("t.csv, row 1", "new"),
        ("t.csv, row 2", "new"),
        ("t.csv, row 3", "new"),
    ]
    assert len({one.case_id for one in got if one.case_id}) == 4


def test_what_arrives_in_a_done_study_makes_it_new_again(workspace):
    study = generate_uid()
    got = workspace.receive(LOCAL, encoded(draw(1, StudyInstanceUID=study)), "a")
    version = workspace.review(LOCAL, got.study_id, ReviewInput("normal"), 1).version
    assert workspace.worklist(LOCAL).rows[0].status == "done"
    workspace.receive(SERVICE_USER, encoded(draw(1, StudyInstanceUID=study)), "b", source="c-store")
    (row,) = workspace.worklist(LOCAL).rows
    assert (row.status, row.objects) == ("new", 2) and row.version > version


def test_a_group_is_one_of_the_users_own(sqlite_workspace):
    user = User("u", "U", frozenset({Role.READER}), frozenset({"b", "c"}))
    got = sqlite_workspace.receive(user, png(), "a")
    assert sqlite_workspace.case(user, got.case_id).group == "b"
    assert sqlite_workspace.receive(user, png(), "a", group="c").status == "new"
    with pytest.raises(InputError, match="`group` must be one of your groups"):
        sqlite_workspace.receive(user, png(), "a", group="default")
    with pytest.raises(InputError, match="`source` must be one of"):
        sqlite_workspace.receive(user, png(), "a", source="fax")


def test_found_again_by_words_of_name_and_numbers(workspace):
    workspace.receive(
        LOCAL, encoded(draw(1, PatientName="van der Berg^Ada", PatientID="N-12", AccessionNumber="ACC9")), "a"
    )
    workspace.receive(LOCAL, encoded(draw(2, PatientName="Berg^Bo")), "b")
    found = {text: workspace.worklist(LOCAL, Filter(text=text)).total for text in (
        "berg", "BERG ada", "n-12", "acc9", "chest", "dx berg", "ber", "carl",
    )}  # fmt: skip
    assert found == {"berg": 2, "BERG ada": 1, "n-12": 1, "acc9": 1, "chest": 2, "dx berg": 2, "ber": 0, "carl": 0}


def test_a_full_disk_is_told_nothing_is_kept_and_work_resumes(workspace, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    data = encoded(draw(1))
    monkeypatch.setattr("medai_core.cases.vault.os.fsync", full)
    with pytest.raises(Unavailable, match="could not be stored"):
        workspace.receive(LOCAL, data, "a")
    monkeypatch.undo()
    assert workspace.worklist(LOCAL).total == 0 and not list(workspace.store.vault.folder.glob("*/.half-*"))
    assert workspace.receive(LOCAL, data, "a").status == "new"


def test_a_full_database_is_told_nothing_is_kept_and_work_resumes(sqlite_workspace):
    data, free = encoded(draw(1)), sqlite_workspace.store.database
    with free.engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
    free.engine.dispose()
    limit = lambda connection, _: connection.execute(f"PRAGMA max_page_count={pages}")  # noqa: E731
    from sqlalchemy import event

    event.listen(free.engine, "connect", limit)
    with pytest.raises(Unavailable, match="no space left on the disk"):
        for k in range(200):
            sqlite_workspace.receive(LOCAL, encoded(draw(k)), "a")
    event.remove(free.engine, "connect", limit)
    free.engine.dispose()
    assert sqlite_workspace.verify_audit(LOCAL).ok
    assert sqlite_workspace.receive(LOCAL, data, "a").status in ("new", "duplicate")
