"""The page of many stays: order, filters, figures, CSV, map, opening a row, stopping."""

from __future__ import annotations

import csv
import io
import math
import zipfile
from collections.abc import Callable

import numpy as np
import pytest
from fake_icu import FakeForecaster
from streamlit.testing.v1 import AppTest

from medai_core.errors import ArtifactError
from pages.ui.cohort_rows import CHUNK, Course, StayRow, courses, in_order, natural, to_csv
from pages.ui.cohort_table import PRESSURE_RANGE, arrow
from pages.ui.queue import Queue, Upload, csv_table

PAGE = "pages/icu/cohort.py"
Said = Callable[[AppTest], str]


def stay(rate: float, *, rise: float = 0.0, hours: int = 48, record: int = 1) -> bytes:
    """A made-up stay whose heart rate is `rate`, and higher by `rise` in the last six hours."""
    lines = ["Time,Parameter,Value", f"00:00,RecordID,{record}", "00:00,Age,60", "00:00,Gender,1"]
    for hour in range(hours):
        now = rate + (rise if hour >= hours - 6 else 0)
        lines += [f"{hour:02d}:30,HR,{now}", f"{hour:02d}:40,Temp,{36 + (record + hour) % 5 / 4}"]
        lines.append(f"{hour:02d}:50,MAP,{20 + 4 * hour}")
    return "\n".join(lines).encode() + b"\n"


def odds(rate: float) -> float:
    """The risk that the fake forecaster gives at a heart rate."""
    return 1 / (1 + math.exp(-(rate - 80) / 10))


FILES = {
    "calm.txt": stay(60, record=1),
    "ill.txt": stay(100, record=2),
    "worse.txt": stay(75, rise=10, record=3),
    "photo.txt": b"\x89PNG\r\n\x1a\n" + bytes(40),
}


def start(app: AppTest, uploads: dict[str, bytes]) -> AppTest:
    app.switch_page(PAGE).run()
    for name, data in uploads.items():
        app.file_uploader[0].upload(name, data)
    app.run()
    app.button(key="cohort_start").click().run()
    for _ in range(50):
        if app.session_state["cohort"].state != "running":
            break
        app.run()
    assert not app.exception
    return app


def packed(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def metrics(app: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in app.metric}


def test_home_has_a_tile_for_every_page(app: AppTest) -> None:
    links = {link.proto.label.strip("*") for link in app.get("page_link")}
    known = {"Open a scan", "Open many scans", "Open a stay", "Score stays", "See the evidence"}
    known |= {"Open a table", "Explain a patient", "Compare", "Explore", "Open the worklist"}
    assert links == known | {"Make some", "Start a test", "Open an image"}


def test_empty_page_has_nothing_to_start_and_says_what_comes(app: AppTest, said: Said) -> None:
    app.switch_page(PAGE).run()
    assert app.button(key="cohort_start").disabled
    assert "What you get" in said(app) and not app.metric


def test_the_demo_stays_are_scored(app: AppTest) -> None:
    from pages.ui.icu_stay import demo_stays

    if not demo_stays():
        pytest.skip("no demo stays in assets/samples")
    app.switch_page(PAGE).run()
    app.button(key="cohort_demo").click().run()
    figures = metrics(app)
    assert (figures["Stays"], figures["Unreadable"]) == (str(len(demo_stays())), "0") and not app.exception


def test_table_is_sorted_by_risk_rise_or_name(app: AppTest) -> None:
    start(app, FILES)
    assert app.dataframe[0].value["file"].tolist() == ["ill.txt", "worse.txt", "calm.txt"]
    app.button_group(key="cohort_order").set_value("rise").run()
    assert app.dataframe[0].value["file"].tolist()[0] == "worse.txt"
    app.button_group(key="cohort_order").set_value("name").run()
    assert app.dataframe[0].value["file"].tolist() == ["calm.txt", "ill.txt", "worse.txt"]


def test_cells_show_the_course(app: AppTest) -> None:
    start(app, FILES)
    row = app.dataframe[0].value.set_index("file").loc["worse.txt"]
    assert row["risk"] == pytest.approx(100 * odds(85), abs=0.05)
    assert row["rise"] == pytest.approx(100 * (odds(85) - odds(75)), abs=0.05)
    assert len(row["course"]) == row["hours"] == row["measured"] == 48
    assert row["course"][0] == pytest.approx(odds(75), abs=1e-3) and row["heart_rate"][-1] == 85
    assert (row["pressure"][0], row["pressure"][-1]) == PRESSURE_RANGE  # 20 and 208, drawn at the ends of the axis


def test_figures_follow_the_threshold(app: AppTest) -> None:
    start(app, FILES)
    app.number_input(key="cohort_threshold").set_value(70).run()
    figures = metrics(app)
    assert figures["Stays"] == "3" and figures["Unreadable"] == "1" and figures["Median risk"] == f"{odds(85):.1%}"
    assert figures["Above 70%"] == "1" and figures["Up 5 points in 6 h"] == "1"
    app.number_input(key="cohort_threshold").set_value(50).run()
    assert metrics(app)["Above 50%"] == "2"


def test_filters(app: AppTest, said: Said) -> None:
    start(app, FILES | {"short.txt": stay(90, hours=5, record=4)})
    app.selectbox(key="cohort_choice").set_value(3).run()
    app.number_input(key="cohort_least_0").set_value(55).run()
    assert app.dataframe[0].value["file"].tolist() == ["ill.txt", "short.txt", "worse.txt"]
    app.number_input(key="cohort_measured_0").set_value(12).run()
    assert app.dataframe[0].value["file"].tolist() == ["ill.txt", "worse.txt"]
    assert app.selectbox(key="cohort_choice").options == ["1 · ill.txt", "2 · worse.txt"] and not app.exception
    app.text_input(key="cohort_name_0").set_value("WORSE").run()
    assert app.dataframe[0].value["file"].tolist() == ["worse.txt"]
    app.text_input(key="cohort_name_0").set_value("nobody").run()
    assert "No stay passes these filters." in app.info[0].value and not app.exception


def test_what_cannot_be_read_is_listed_with_its_sentence(app: AppTest) -> None:
    outcomes = b"RecordID,In-hospital_death\n1,0\n"
    start(app, {"stays.zip": packed(FILES | {"Outcomes-a.txt": outcomes, "nested.zip": packed({})})})
    app.button_group(key="cohort_view").set_value("unread").run()
    listed = app.dataframe[0].value.set_index("file")["why"]
    assert listed["Outcomes-a.txt"] == "This is a table of outcomes, not a stay."
    assert "text" in listed["photo.txt"] and "archive inside an archive" in listed["nested.zip"]
    assert len(listed) == 3


def test_only_unreadable_files_leave_no_table(app: AppTest) -> None:
    start(app, {"photo.txt": FILES["photo.txt"]})
    assert metrics(app)["Median risk"] == "–" and app.dataframe[0].value["file"].tolist() == ["photo.txt"]


def test_a_row_opens_on_the_patient_page(app: AppTest) -> None:
    start(app, {"stays.zip": packed(FILES)})
    row = in_order(app.session_state["cohort"].rows, "risk")[1]
    assert row.name == "worse.txt" and row.data() == FILES["worse.txt"]
    app.selectbox(key="cohort_choice").set_value(1).run()
    app.button(key="cohort_open_chosen").click().run()
    assert not app.exception and app.title[0].value == "Follow a patient"
    assert app.session_state["icu_stay"] == ("worse.txt", FILES["worse.txt"])
    app.switch_page(PAGE).run()
    assert app.title[0].value == "Many patients" and app.dataframe


def test_the_list_survives_other_pages_and_can_be_cleared(app: AppTest) -> None:
    start(app, FILES)
    app.button_group(key="cohort_order").set_value("name").run()
    app.number_input(key="cohort_threshold").set_value(70).run()
    app.switch_page("pages/home/home.py").run()
    app.switch_page(PAGE).run()
    assert app.dataframe[0].value["file"].tolist() == ["calm.txt", "ill.txt", "worse.txt"]
    assert "Above 70%" in metrics(app)
    app.button(key="cohort_start_over").click().run()
    assert not app.dataframe and not app.metric and len(app.file_uploader) == 1


def test_the_map_groups_stays_and_says_what_sets_them_apart(app: AppTest, said: Said) -> None:
    many = {f"{k}.txt": stay(60 + 40 * (k % 2) + k / 20, record=k) for k in range(24)}
    start(app, {"stays.zip": packed(many)})
    app.button_group(key="cohort_view").set_value("map").run()
    assert not app.exception
    text = said(app)
    assert "Group 1** · 12 stays" in text and "Group 2** · 12 stays" in text and "Group 3" not in text
    assert "Higher: Heart rate 101 against 61 /min" in text and "Lower: Heart rate 61 against 101 /min" in text
    app.selectbox(key="cohort_groups").set_value(3).run()
    assert "Group 3" in said(app) and not app.exception
    kept = app.session_state["cohort_maps"]
    app.switch_page("pages/home/home.py").run()
    app.switch_page(PAGE).run()
    assert app.session_state["cohort_maps"] is kept and "Group 3" in said(app)


def test_too_few_stays_have_no_map(app: AppTest) -> None:
    start(app, FILES)
    app.button_group(key="cohort_view").set_value("map").run()
    assert "at least" in app.info[0].value and not app.exception


def test_stop_keeps_what_is_done(app: AppTest, said: Said) -> None:
    uploads = [Upload(f"{k}.txt", FILES["calm.txt"]) for k in range(2 * CHUNK)]
    queue = Queue(uploads, lambda items: courses(FakeForecaster(), items), StayRow)
    queue.work(slice_seconds=0.0)
    queue.stop()
    done = sum(row.read for row in queue.rows)
    assert queue.state == "stopped" and 0 < done < len(uploads) and queue.missed == len(uploads) - done
    queue.work(slice_seconds=9.0)
    assert sum(row.read for row in queue.rows) == done
    app.session_state["cohort"] = queue
    app.switch_page(PAGE).run()
    assert (
        "Stopped." in said(app)
        and metrics(app)["Stays"] == str(done)
        and metrics(app)["Unreadable"] == "0"
        and not app.exception
    )


def test_a_model_that_is_missing_is_one_sentence(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    from pages.ui import icu_loaders

    def missing() -> None:
        raise ArtifactError("The model {model} is not installed", model="icu_mortality")

    monkeypatch.setattr(icu_loaders, "models", missing)
    start(app, FILES)
    assert app.error[0].value == "The model icu\\_mortality is not installed" and not app.exception


def test_chinese(app: AppTest, said: Said) -> None:
    app.switch_page(PAGE).run()
    app.sidebar.button_group(key="language_switch").set_value("zh_CN").run()
    start(app, FILES)
    assert "风险中位数" in metrics(app) and not app.exception


# ------------------------------------------------------------------------------------------------ rows


def read(files: dict[str, bytes]) -> list[StayRow]:
    queue = Queue([Upload(*item) for item in files.items()], lambda i: courses(FakeForecaster(), i), StayRow)
    queue.work(slice_seconds=60)
    assert queue.state == "done"
    return queue.rows


def test_courses_keep_the_order_and_cut_at_the_last_hour() -> None:
    long_csv = b"hours,parameter,value\n0.5,HR,70\n1.5,HR,90\n2.5,MAP,300\n2.6,Temp,37\n"
    rows = read({"a.csv": long_csv, **FILES})
    assert [row.name for row in rows] == ["a.csv", *FILES]
    course = rows[0].outcome
    assert isinstance(course, Course) and course.hours == 3 and course.rise is None
    assert course.risk == pytest.approx([odds(70), odds(90), odds(90)], abs=1e-6) and course.measured_hours == 3
    assert course.heart_rate.tolist() == [70, 90, 90] and course.pressure.size == 0
    assert course.left_out == 1 and "outside" in str(course.first_left_out)


def test_pressure_of_the_cuff_stands_in_for_the_line() -> None:
    data = b"hours,parameter,value\n0.5,NIMAP,80\n1.5,MAP,60\n1.6,NIMAP,90\n"
    assert read({"a.csv": data})[0].outcome.pressure.tolist() == [80, 60]


def test_a_row_holds_on_to_no_table_of_its_chunk() -> None:
    course = read(FILES)[0].outcome
    kept = [value for value in vars(course).values() if isinstance(value, np.ndarray)]
    assert len(kept) == 6 and all(array.base is None for array in kept)
    assert sum(array.nbytes for array in kept) < 2000


def test_short_stays_have_no_rise_and_stand_last() -> None:
    rows = read({"short.csv": b"hours,parameter,value\n0.5,HR,149\n", **FILES})
    assert [row.name for row in in_order(rows, "rise")][-1] == "short.csv"
    assert arrow(in_order(rows, "rise")).column("rise").to_pylist()[-1] is None


def test_numbers_in_names_are_sorted_as_numbers() -> None:
    assert sorted(["stay 10.txt", "Stay 9.txt", "9b", "a"], key=natural) == ["9b", "a", "Stay 9.txt", "stay 10.txt"]


def test_csv_has_the_risk_at_every_hour_and_no_formula() -> None:
    rows = read({"=1+1.csv": b"hours,parameter,value\n0.5,HR,70\n7.5,HR,60\n", **FILES})
    table = list(csv.DictReader(io.StringIO(to_csv(rows, "1.0").decode("utf-8-sig"))))
    assert [row["status"] for row in table] == ["read"] * 4 + ["error"] and table[-1]["file"] == "photo.txt"
    first = table[0]
    assert first["file"] == "'=1+1.csv" and first["hours"] == "8" and first["measured_hours"] == "2"
    assert first["risk_h01"] == f"{odds(70):.4f}" and first["risk_h08"] == first["risk"] == f"{odds(60):.4f}"
    assert first["risk_h09"] == "" and float(first["rise_6h"]) == pytest.approx(odds(60) - odds(70), abs=1e-4)
    assert table[-1]["reason"] and not table[-1]["risk_h01"]


def test_negative_numbers_stay_numbers_in_csv() -> None:
    assert csv_table(["a"], [[-0.5], ["-0.5"]]).decode("utf-8-sig").splitlines()[1:] == ["-0.5", "'-0.5"]


def test_an_archive_counts_its_files_for_the_progress_bar() -> None:
    assert Upload("a.zip", packed(FILES)).files == len(FILES)
    assert Upload("calm.txt", FILES["calm.txt"]).files == 1
