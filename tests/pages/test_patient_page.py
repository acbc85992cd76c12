"""The page of one patient: reading, scrubbing, forecasts, reasons, what-if, downloads, what it keeps and forgets."""

from __future__ import annotations

import csv
import io
import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fake_icu import FakeForecaster, FakeOutlooks
from streamlit.testing.v1 import AppTest

from medai_core.errors import ArtifactError, MedAIError, say
from medai_core.icu.edits import Edit, apply
from medai_core.icu.grid import stack
from medai_core.icu.records import read_stay, to_long_csv
from medai_core.icu.stay import Stay
from medai_core.icu.variables import FIXED, INDEX, NAMES, SERIES
from pages.ui import (
    icu_course,
    icu_export,
    icu_loaders,
    icu_measured,
    icu_panels,
    icu_stay,
    icu_whatif,
    icu_words,
    loaders,
)
from pages.ui.icu_course import View
from pages.ui.icu_examples import EXAMPLES, MEASURED
from pages.ui.icu_stay import Held
from pages.ui.samples import Sample

ROOT = Path(__file__).parents[2]
PAGE = "pages/icu/patient.py"
Said = Callable[[AppTest], str]


def course() -> bytes:
    """Twelve drawn hours: the heart beats 70 at first and 3 more each hour; some blood pressure and two lactates."""
    rows = ["minutes,parameter,value,unit", "0,Age,71,years", "0,Gender,male,"]
    for hour in range(12):
        rows.append(f"{60 * hour + 30},HR,{70 + 3 * hour},/min")
        rows.append(f"{60 * hour + 30},NIMAP,{90 - hour},mmHg")
        if hour in (2, 8):
            rows.append(f"{60 * hour + 31},Lactate,{1 + hour / 4},mmol/L")
    return "\n".join(rows).encode()


def risk_at(hour: int) -> float:
    """What the fake forecaster gives for :func:`course`."""
    return 1 / (1 + math.exp(-((70 + 3 * (hour - 1) - 80) / 10)))


def opened(app: AppTest, data: bytes | None = None, name: str = "stay.csv") -> AppTest:
    app.switch_page(PAGE).run()
    app.file_uploader[0].upload(name, data or course()).run()
    assert not app.exception
    return app


def tab(app: AppTest, name: str) -> AppTest:
    app.session_state["icu_tabs"] = name
    app.run()
    assert not app.exception
    return app


def keyed(elements: object, start: str) -> object:
    """The element whose key begins so."""
    return next(element for element in elements if (element.key or "").startswith(start))


def made(at: int = 6, ahead: bool = True, edits: tuple[Edit, ...] = (), outlooks: bool = True) -> View:
    """What the page looks at, without a page."""
    recorded, data = read_stay(course()), course()
    stay = apply(recorded, edits)
    risks = [FakeForecaster().risks(stack([each.grid()])) for each in (stay, recorded)]
    missing = ArtifactError("The model {model} is not installed", model="icu_forecast")
    heading = [FakeOutlooks().outlook(each, at) if outlooks else missing for each in (stay, recorded)]
    return View(Held("stay.csv", data, "ab" * 32, None), recorded, stay, edits, at, 6, ahead, *risks, *heading)


def test_empty_page_offers_examples_that_can_be_read(app: AppTest) -> None:
    app.switch_page(PAGE).run()
    assert not app.exception
    assert len(app.file_uploader) == 1 and len(app.get("download_button")) == len(EXAMPLES)


@pytest.mark.parametrize("layout", EXAMPLES)
def test_examples_hold_the_same_course(layout: str) -> None:
    stay = read_stay(EXAMPLES[layout][2]())
    assert stay.layout == layout and stay.left_out == ()
    wanted = sorted((float(m), INDEX[name], float(v)) for m, name, v in MEASURED)
    np.testing.assert_allclose(sorted(zip(stay.minutes, stay.series, stay.values, strict=True)), wanted, atol=0.01)
    assert stay.fixed["Gender"] == 1 and round(stay.fixed["Age"]) == 67


def test_a_stay_is_read_and_seen_from_its_last_hour(app: AppTest, said: Said) -> None:
    text = said(opened(app))
    for sentence in (
        "71 years", "male", "followed for 12 hours", "26 measurements of 3 variables", "Long CSV",
        "Every entry of the file", "recorded up to hour **12**", f"{risk_at(12):.1%}", "In the last 6 h",
        f"▲ +{100 * (risk_at(12) - risk_at(6)):.1f}", "rising", "Not a medical device",
    ):  # fmt: skip
        assert sentence in text, sentence
    assert keyed(app.slider, "icu_now_").value == 12


def test_a_value_measured_only_later_has_a_panel_over_its_normal_range() -> None:
    seen = made(at=2, ahead=False, outlooks=False)
    rows = icu_panels.panels(seen, icu_panels.CUFF, ["Lactate"])
    shown, _height = icu_panels.course_figure(seen, [icu_panels.Panel("risk", (), 100), *rows])
    low, high = shown.layout[f"yaxis{len(rows) + 1}"].range
    assert rows[-1].codes == ("Lactate",) and low < SERIES["Lactate"].normal[0] < SERIES["Lactate"].normal[1] < high


def test_numbers_in_sentences_carry_their_unit() -> None:
    def refusal(edit: Edit) -> str:
        with pytest.raises(MedAIError) as refused:
            apply(read_stay(course()), [edit])
        return icu_whatif.worded(refused.value.message)

    assert icu_whatif.worded(say("{variable} of {value:g} raises the risk", variable="Age", value=71.0)) == (
        "Age of 71 years raises the risk"
    )
    assert icu_whatif.worded(say("{variable} of {value:g} raises the risk", variable="GCS", value=3.0)) == (
        "Glasgow Coma Scale of 3 raises the risk"
    )
    assert refusal(Edit("add", "NIMAP", 60.0, 999.0)) == (
        "A value of Mean pressure (cuff) must be between 10 and 250 mmHg, got 999.0"
    )


def test_scrubbing_looks_from_another_hour(app: AppTest, said: Said) -> None:
    keyed(opened(app).slider, "icu_now_").set_value(4).run()
    assert f"{risk_at(4):.1%}" in said(app) and "recorded up to hour **4**" in said(app)
    app.button(key="icu_step_1").click().run()
    assert keyed(app.slider, "icu_now_").value == 5 and f"{risk_at(5):.1%}" in said(app)
    app.button(key="icu_step_6").click().run()
    app.button(key="icu_step_6").click().run()
    assert keyed(app.slider, "icu_now_").value == 12
    assert app.button(key="icu_step_1").disabled and not app.button(key="icu_step_-1").disabled


def test_a_demo_stay_opens_in_the_middle(app: AppTest, said: Said, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "icu_demo.csv"
    rows = [f"{60 * hour + 10},HR,{80 + hour % 3},/min" for hour in range(48)]
    path.write_text("minutes,parameter,value,unit\n" + "\n".join(rows))
    found = (Sample(path, "icu", icu_loaders.RISK, "A drawn course"),)
    monkeypatch.setattr(icu_stay, "icu_samples", lambda: found)
    app.switch_page(PAGE).run()
    app.button(key="icu_open_icu_demo.csv").click().run()
    assert not app.exception
    assert "A drawn course" in said(app) and "synthetic stay, no patient" in said(app)
    assert keyed(app.slider, "icu_now_").value == icu_stay.DEMO_HOUR


def test_a_stay_handed_on_by_another_page_is_open(app: AppTest, said: Said) -> None:
    app.session_state["icu_stay"] = ("bed-4.csv", course())
    app.switch_page(PAGE).run()
    assert not app.exception and "bed-4.csv" in said(app) and f"{risk_at(12):.1%}" in said(app)


def test_a_stay_of_one_hour_needs_no_slider(app: AppTest, said: Said) -> None:
    opened(app, b"minutes,parameter,value\n10,HR,90\n")
    assert not [slider for slider in app.slider if (slider.key or "").startswith("icu_now_")]
    assert "73.1%" in said(app)


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (b"minutes,parameter,value\n10,HR,ninety\n", "Row 2, column value"),
        (b"minutes,parameter,value\n90,HR,90\n10,HR,80\n", "Row 3, column minutes"),
        (b"\x89PNG\r\n\x1a\n\xff\xfe\x00", "must be text"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(app: AppTest, data: bytes, wanted: str) -> None:
    opened(app, data)
    (error,) = app.error
    assert wanted in error.value.replace("\\", "") and not app.tabs


def test_what_was_left_out_or_converted_is_shown(app: AppTest) -> None:
    data = b"minutes,parameter,value,unit\n5,HR,80,\n6,HR,999,\n7,Temp,101.3,degF\n8,Wings,2,\n"
    opened(app, data)
    label = next(box.label for box in app.expander if "left out" in box.label)
    assert "Entries left out: 2" in label and "converted or read in a particular way: 1" in label
    table = next(frame.value for frame in app.dataframe if "Left out" in frame.value)
    assert table["Row"].tolist() == [3, 4, 5] and table["Left out"].tolist() == [True, False, True]
    assert "outside 10 to 300" in table["What was noticed"][0]


def test_without_forecasts_the_rest_works(app: AppTest, said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    error = ArtifactError("The model {model} is not installed: its folder is missing from the assets", model="x")
    monkeypatch.setattr(icu_loaders.models(), "outlooks", error, raising=True)
    # Other bytes than elsewhere: all tests are one session, whose forecasts are kept.
    opened(app, course() + b"\n")
    text = said(app)
    assert "Forecasts are not available: The model x is not installed" in text and f"{risk_at(12):.1%}" in text
    assert len(app.get("plotly_chart")) == 1


def test_expected_values_are_judged_against_the_normal_range(app: AppTest, said: Said) -> None:
    text = said(opened(app))
    assert "Expected outside the normal range in 12 h" in text
    assert "Heart rate above: 103 /min" in text and "Lactate above: 3.0 mmol/L" in text
    assert "Mean pressure" not in text.split("Expected outside")[1].split("About this model")[0]


def test_changing_a_value_answers_at_once_and_can_be_undone(app: AppTest, said: Said) -> None:
    tab(opened(app), "What if")
    assert "Association, not effect" in said(app) and "Nothing is changed yet" in said(app)
    keyed(app.number_input, "icu_value_").set_value(80.0).run()
    app.button(key="icu_apply").click().run()
    assert not app.exception
    text = said(app)
    assert "Heart rate at 11:30 is set to 80 /min" in text
    assert f"{risk_at(12):.2f} → 0.50" in text and "50.0%" in text
    table = app.dataframe[-1].value
    assert table["Variable"].tolist() == ["Heart rate, /min"]
    app.button(key="icu_undo_0").click().run()
    assert "Nothing is changed yet" in said(app) and "50.0%" not in said(app)


@pytest.mark.parametrize(
    ("kind", "value", "wanted"),
    [("delete", None, risk_at(11)), ("add", 80.0, None), ("shift", 10.0, 1 / (1 + math.exp(-3.3)))],
)
def test_other_changes(app: AppTest, said: Said, kind: str, value: float | None, wanted: float | None) -> None:
    tab(opened(app), "What if")
    keyed(app.button_group, "icu_kind_").set_value(kind).run()
    if value is not None:
        keyed(app.number_input, "icu_value_").set_value(value).run()
    app.button(key="icu_apply").click().run()
    assert not app.exception and not app.error
    # An added beat of 80 at the end of the last hour is averaged with that hour's 103.
    wanted = 1 / (1 + math.exp(-(91.5 - 80) / 10)) if wanted is None else wanted
    assert f"{wanted:.1%}" in said(app)


def test_a_shift_out_of_the_plausible_range_is_refused_in_words(app: AppTest) -> None:
    tab(opened(app), "What if")
    keyed(app.button_group, "icu_kind_").set_value("shift").run()
    keyed(app.number_input, "icu_value_").set_value(250.0).run()
    app.button(key="icu_apply").click().run()
    (error,) = app.error
    assert "must be between 10 and 300" in error.value and "Heart rate" in error.value
    assert not [button for button in app.button if button.key == "icu_undo_0"]


def test_a_change_that_changes_nothing_is_refused(app: AppTest) -> None:
    tab(opened(app), "What if")
    app.button(key="icu_apply").click().run()
    assert "leaves every value of Heart rate as it is" in app.error[0].value
    assert not [button for button in app.button if button.key == "icu_undo_0"]
    app.run()
    assert not app.error


def test_a_value_typed_just_before_the_click_counts(app: AppTest, said: Said) -> None:
    tab(opened(app), "What if")
    keyed(app.number_input, "icu_value_").set_value(80.0)
    app.button(key="icu_apply").click().run()
    assert "Heart rate at 11:30 is set to 80 /min" in said(app)


def test_a_change_later_than_now_does_not_count_yet(app: AppTest, said: Said) -> None:
    tab(opened(app), "What if")
    keyed(app.number_input, "icu_value_").set_value(200.0).run()
    app.button(key="icu_apply").click().run()
    keyed(app.slider, "icu_now_").set_value(5).run()
    assert "Changes later than hour 5, which do not count yet: 1" in said(app) and f"{risk_at(5):.1%}" in said(app)


def test_undoing_takes_back_what_needed_it() -> None:
    recorded = read_stay(course())
    added, then, other = Edit("add", "K", 100.0, 4.0), Edit("set", "K", 100.0, 5.0), Edit("delete", "HR", 30.0)
    assert icu_whatif.remaining(recorded, (added, then, other), 0) == (other,)
    assert icu_whatif.remaining(recorded, (added, then, other), 1) == (added, other)


def test_changes_outlive_another_page_and_end_with_the_stay(app: AppTest, said: Said) -> None:
    tab(opened(app), "What if")
    keyed(app.number_input, "icu_value_").set_value(80.0).run()
    app.button(key="icu_apply").click().run()
    app.switch_page("pages/models/models.py").run()
    app.switch_page(PAGE).run()
    assert "stay.csv" in said(app) and "50.0%" in said(app)
    app.button(key="icu_let_go").click().run()
    assert "stay.csv" not in said(app) and len(app.file_uploader) == 1
    assert "50.0%" not in said(opened(app)), "closing a stay undoes its changes"


def test_another_visitor_sees_nothing(app: AppTest, said: Said) -> None:
    opened(app, name="mine.csv")
    other = AppTest.from_file(str(app._script_path), default_timeout=30).run()
    other.switch_page(PAGE).run()
    assert "mine.csv" not in said(other) and not other.tabs


def test_reasons_in_words_and_numbers(app: AppTest, said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medai_core.icu.explain.EVALUATIONS", 200)
    app.default_timeout = 120
    text = said(tab(opened(app), "Why"))
    assert "Heart rate of 103 /min (last, hour 12) raises the risk" in text
    assert "Additivity gap 0.000" in text and "evaluations of the model" in text
    assert len(app.get("plotly_chart")) == 3


def test_contributions_add_up_in_the_csv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medai_core.icu.explain.EVALUATIONS", 200)
    from medai_core.icu.explain import explain_risk
    from pages.ui.icu_why import contributions_csv

    found = explain_risk(FakeForecaster(), read_stay(course()), 12)
    rows = list(csv.reader(io.StringIO(contributions_csv(found).decode("utf-8-sig"))))[1:]
    numbers = {row[0]: float(row[4]) for row in rows if row[0].startswith("(")}
    total = sum(float(row[4]) for row in rows if not row[0].startswith("("))
    assert numbers["(base value)"] + total == pytest.approx(numbers["(value)"], abs=1e-3)
    assert {row[0] for row in rows} >= {"HR", "NIMAP", "Lactate", "Age", "Gender"}


def test_measured_strip_counts_every_measurement(app: AppTest, said: Said) -> None:
    text = said(tab(opened(app), "What was measured"))
    assert f"Up to hour 12: 3 of {len(NAMES)} variables measured" in text and "Not measured: " in text
    stay = read_stay(course())
    found = icu_measured.counts(stay)
    assert found.sum() == len(stay.values)
    assert found[INDEX["Lactate"]].nonzero()[0].tolist() == [2, 8]


def times(figure: object, modes: tuple[str, ...] = ("markers", "lines+markers")) -> list[float]:
    """Hours of all points drawn as marks."""
    found = [list(trace.x) for trace in figure.data if trace.mode in modes]
    return [x for xs in found for x in xs if x is not None]


@pytest.mark.parametrize("ahead", [True, False])
def test_what_came_after_is_shown_only_when_asked_for(ahead: bool) -> None:
    view = made(at=6, ahead=ahead)
    rows = icu_panels.panels(view, icu_panels.CUFF, ["Lactate"])
    figure, height = icu_panels.course_figure(view, [icu_panels.Panel("risk", (), 100), *rows])
    assert [row.codes for row in rows] == [("HR",), icu_panels.CUFF, ("Lactate",)]
    assert bool(max(times(figure)) > 6) is ahead and height > 300
    risk = [trace for trace in figure.data if trace.mode == "lines" and trace.yaxis == "y" and trace.fill is None]
    assert bool(max(max(trace.x) for trace in risk if trace.x[0] is not None) > 6) is ahead


def test_a_fan_holds_the_quantiles_of_the_forecast() -> None:
    view = made(at=6)
    rows = icu_panels.panels(view, icu_panels.CUFF, [])
    figure, _height = icu_panels.course_figure(view, [icu_panels.Panel("risk", (), 100), *rows])
    medians = [t for t in figure.data if t.mode == "lines" and t.line.dash == "dash" and t.yaxis == "y2"]
    (median,) = [t for t in medians if t.x[0] is not None]
    wanted = FakeOutlooks().outlook(view.stay, 6).of("HR")[:6]
    np.testing.assert_allclose(median.y, wanted[:, 2])
    np.testing.assert_allclose(np.asarray(median.customdata, float), wanted[:, [0, 4]])
    assert list(median.x) == [6.5, 7.5, 8.5, 9.5, 10.5, 11.5]


def test_changed_points_are_marked_and_the_old_ones_crossed_out() -> None:
    view = made(at=6, edits=(Edit("set", "HR", 330.0, 140.0),))
    rows = icu_panels.panels(view, icu_panels.CUFF, [])
    figure, _height = icu_panels.course_figure(view, [icu_panels.Panel("risk", (), 100), *rows])
    marks = {t.marker.symbol: (t.x, t.y) for t in figure.data if t.mode == "markers" and t.x[0] is not None}
    assert marks["diamond"] == ((5.5,), (140.0,)) and marks["x-thin"] == ((5.5,), (85.0,))


def test_urine_is_shown_as_hourly_sums() -> None:
    data = b"minutes,parameter,value\n30,Urine,40\n60,Urine,20\n61,Urine,5\n"
    hours, values = icu_course.series(read_stay(data), "Urine")
    assert hours.tolist() == [0.5, 1.5] and values.tolist() == [60.0, 5.0]


def test_downloads_hold_what_is_shown(app: AppTest) -> None:
    tab(opened(app), "Downloads")
    assert len(app.get("download_button")) == 3
    view = made(at=6, edits=(Edit("shift", "HR", None, 10.0),))
    rows = list(csv.DictReader(io.StringIO(icu_export.risk_csv(view).decode("utf-8-sig"))))
    assert [int(row["hour"]) for row in rows] == list(range(1, 7))
    assert float(rows[5]["risk_as_recorded"]) == pytest.approx(risk_at(6), abs=1e-5)
    assert float(rows[5]["risk"]) == pytest.approx(view.risk(), abs=1e-5) and view.risk() > risk_at(6)
    fans = list(csv.DictReader(io.StringIO(icu_export.forecast_csv(view).decode("utf-8-sig"))))
    assert {row["variable"] for row in fans} == {"HR", "NIMAP", "Lactate"} and len(fans) == 3 * view.horizon
    assert [float(fans[0][q]) for q in icu_export.quantile_names()] == sorted(
        float(fans[0][q]) for q in icu_export.quantile_names()
    )
    whole = json.loads(icu_export.everything(view))
    assert whole["changes"] == [{"kind": "shift", "variable": "HR", "minute": None, "value": 10.0}]
    assert whole["hours"] == list(range(1, 7)) and whole["variables"]["HR"]["hours"] == list(range(7, 13))


def test_downloads_without_forecasts(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = ArtifactError("The model {model} is not installed", model="x")
    monkeypatch.setattr(loaders, "bundle", lambda model: missing)
    whole = json.loads(icu_export.everything(made(outlooks=False)))
    assert whole["variables"] == {} and whole["models"] == {} and len(whole["risk"]) == 6


def test_every_variable_has_a_name_and_a_place() -> None:
    same = {name for name in (*SERIES, *FIXED) if icu_words.variable_name(name) == name}
    plain = {"Albumin", "Bilirubin", "Cholesterol", "Creatinine", "Glucose", "Lactate", "Platelets", "Weight"}
    assert same == plain | {"Age", "Height"}
    assert set(icu_measured.ORDER) == set(NAMES)


@pytest.mark.parametrize(
    ("code", "value", "words"),
    [("HR", 88.4, "88 /min"), ("Temp", 37.25, "37.2 °C"), ("pH", 7.314, "7.31"), ("FiO2", 0.4, "0.40"),
     ("Creatinine", 1.26, "1.3 mg/dL"), ("GCS", 6.0, "6"), ("Platelets", 212.4, "212 10³/µL"),
     ("TroponinT", 0.03, "0.03 µg/L")],
)  # fmt: skip
def test_values_are_written_as_usual(code: str, value: float, words: str) -> None:
    assert icu_words.amount(code, value) == words


def test_a_stay_written_as_csv_is_the_same_on_the_page(app: AppTest, said: Said) -> None:
    stay: Stay = read_stay(course())
    assert f"{risk_at(12):.1%}" in said(opened(app, to_long_csv(stay).encode()))


def test_the_page_appears_without_the_networks_libraries() -> None:
    names = sorted(f"pages.ui.{path.stem}" for path in (ROOT / "pages/ui").glob("icu_*.py"))
    heavy = {"tensorflow", "keras", "shap", "lightgbm", "sklearn"}
    code = f"import importlib, sys; [importlib.import_module(n) for n in {names}]; print(*{heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stdout + done.stderr[-2000:]
    assert len(names) > 8
