"""The page that trains on a table: faults found, choices kept, a training that stops, results, own models, new rows."""

from __future__ import annotations

import csv
import io
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from medai_core.tabular import models, network_fit
from medai_core.tabular.tables import table_of
from pages.ui import tab_models, tabtrain_run

PAGE = "pages/tabular/train_table.py"
TABLE, TRAIN, RESULTS, ROWS, MINE = "1 · Table", "2 · Train", "3 · Results", "4 · New rows", "My models"
Said = Callable[[AppTest], str]


def patients(n: int = 160, seed: int = 0) -> pd.DataFrame:
    """An outcome that depends on age and a laboratory value, a code that gives it away, and patients that return."""
    rng = np.random.default_rng(seed)
    age, crp = rng.integers(20, 90, n).astype(float), rng.lognormal(2, 1, n).round(1)
    sex = rng.choice(["f", "m"], n)
    ill = rng.random(n) < 1 / (1 + np.exp(-(0.08 * (age - 55) + 0.8 * (np.log(crp) - 2))))
    crp[::9] = np.nan
    return pd.DataFrame(
        {
            "patient_id": [f"P{k // 2:03d}" for k in range(n)], "age (years)": age, "sex": sex, "crp_mg_l": crp,
            "ward": "A", "grade": rng.integers(1, 4, n), "code": np.where(ill, "x", rng.choice(["y", "z"], n)),
            "outcome": np.where(ill, "yes", "no"),
        }
    )  # fmt: skip


def file(frame: pd.DataFrame, **how: object) -> bytes:
    return frame.to_csv(index=False, **how).encode()


@pytest.fixture(scope="session", autouse=True)
def light_fits() -> Iterator[None]:
    """One setting of each family, few trees, few epochs."""

    def light(family: models.Family) -> models.Family:
        fewer = {"trees": 8, "rounds": 20}

        def candidates(data: models.Data) -> list[dict]:
            first = family.candidates(data)[0]
            return [first | {name: value for name, value in fewer.items() if name in first}]

        return models.Family(**{**vars(family), "candidates": candidates})

    recipe = network_fit.Recipe(units=4, epochs=3, every=3, batch=64, rate=0.02, decay=0.01, members=1)
    with (
        mock.patch.dict(models.FAMILIES, {name: light(one) for name, one in models.FAMILIES.items()}),
        mock.patch.object(network_fit, "recipe_of", lambda rows: recipe),
    ):
        yield


@pytest.fixture(scope="session")
def trained(light_fits: None) -> tab_models.Trained:
    """A model of the drawn patients, trained as the page trains."""
    from dataclasses import replace

    from medai_core.tabular.compare import compare
    from medai_core.tabular.problem import prepare, propose

    table = table_of(patients(), "drawn.csv")
    plan, _findings = propose(table, "outcome")
    with mock.patch("medai_core.tabular.compare._Work.unlikeness", lambda work: None):
        study = compare(prepare(table, replace(plan, subgroups=("sex", "grade"))), ["logistic", "boosting"], folds=2)
    return tabtrain_run._bundled(study, table, "Ill or not")


@pytest.fixture
def page(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setattr(tab_models, "shipped", lambda: [])
    app.switch_page(PAGE).run()
    assert not app.exception
    return app


@pytest.fixture
def own(page: AppTest, trained: tab_models.Trained) -> AppTest:
    """The page with one model kept."""
    one = tab_models.Kept("own_a", trained.title, trained.model, trained.data, trained.table)
    page.session_state[tab_models.KEPT] = {"own_a": one}
    return page


def open_tab(page: AppTest, name: str) -> AppTest:
    page.session_state["tabtrain_tabs"] = name
    page.run()
    assert not page.exception
    return page


def upload(page: AppTest, data: bytes, name: str = "patients.csv") -> AppTest:
    page.file_uploader[0].upload(name, data)
    page.run()
    assert not page.exception
    return page


def by_key(page: AppTest, kind: str, start: str):
    """Return the widget whose key begins so: the rest names the table."""
    return next(widget for widget in page.get(kind) if (widget.key or "").startswith(start))


def wait(page: AppTest, seconds: float = 60) -> AppTest:
    """Run the page until the training has ended and was shown."""
    end = time.monotonic() + seconds
    while tabtrain_run.RUN in page.session_state and time.monotonic() < end:
        run = page.session_state[tabtrain_run.RUN]
        if run.alive:
            time.sleep(0.1)
            continue
        page.run()
    assert tabtrain_run.RUN not in page.session_state and not page.exception
    return page


def test_a_first_visitor_is_told_what_to_do(page: AppTest, said: Said) -> None:
    assert "Or try an example" in said(page) and len(page.file_uploader) == 1
    assert "Open a table first" in said(open_tab(page, TRAIN))
    assert "There is no model yet" in said(open_tab(page, RESULTS))
    assert "no model of your own" in said(open_tab(page, MINE))


def test_faults_of_a_table_are_listed_and_left_out(page: AppTest, said: Said) -> None:
    text = said(upload(page, file(patients())))
    for sentence in ("160 rows, 8 columns", "patient_id looks like an identifier", "ward has one value in every row"):
        assert sentence in text, sentence
    frame = page.dataframe[0].value
    assert dict(zip(frame["name"], frame["unit"], strict=True))["age (years)"] == "years"
    assert frame.set_index("name").loc["crp_mg_l", "missing"] == pytest.approx(100 * 18 / 160)
    open_tab(page, TRAIN)
    by_key(page, "selectbox", "tabtrain_target").set_value("outcome").run()
    assert "code alone gives the answer away" in said(page)
    assert "code" in by_key(page, "multiselect", "tabtrain_out").value
    assert by_key(page, "selectbox", "tabtrain_group").value == "patient_id"
    assert not page.button(key="tabtrain_start").disabled
    by_key(page, "selectbox", "tabtrain_target").set_value("age (years)").run()
    assert "Nothing suspicious" not in said(page) and not page.exception
    by_key(page, "selectbox", "tabtrain_target").set_value("outcome").run()
    by_key(page, "multiselect", "tabtrain_out").set_value([]).run()
    assert "Taken in although: code alone gives the answer away" in page.warning[-1].value.replace("\\", "")


BAD = {
    "empty": (b"", "empty"),
    "one column": (b"a\n1\n2\n", "at least two columns"),
    "no rows": (b"a,b\n", "no rows"),
    "all missing": (b"a,b\n" + b",\n" * 40, "Every cell of the table is empty"),
    "formula": (b"a,b\n=SUM(A1:A9),2\n3,4\n", "holds a formula"),
    "photo": (b"\x89PNG\r\n\x1a\n" + bytes(200), "."),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_file_is_one_sentence_and_the_page_goes_on(page: AppTest, what: str) -> None:
    data, sentence = BAD[what]
    upload(page, data, f"{what}.csv")
    assert len(page.error) == 1 and sentence in page.error[0].value.replace("\\", "")
    assert "Traceback" not in page.error[0].value
    page.button(key="tabtrain_example_admissions").click().run()
    assert not page.exception and not page.error


def test_a_file_read_wrongly_is_read_again_as_the_visitor_says(page: AppTest, said: Said) -> None:
    odd = file(patients()).replace(b",", b"|").replace(b"crp_mg_l", "Größe".encode("cp1252"))
    upload(page, odd)
    if "Größe" not in said(page):
        page.selectbox(key="tabtrain_encoding").set_value("cp1252")
        page.selectbox(key="tabtrain_separator").set_value("|")
        page.button(key="tabtrain_again").click().run()
    assert "Größe" in list(page.dataframe[0].value["name"])
    page.selectbox(key="tabtrain_separator").set_value(";")
    page.button(key="tabtrain_again").click().run()
    assert "at least two columns" in page.error[0].value.replace("\\", "")
    assert "Größe" in list(page.dataframe[0].value["name"])


def test_what_cannot_be_predicted_says_why_before_training(page: AppTest) -> None:
    few = patients(20)
    open_tab(upload(page, file(few)), TRAIN)
    by_key(page, "selectbox", "tabtrain_target").set_value("outcome").run()
    assert "at least 30 rows" in page.error[0].value.replace("\\", "")
    assert page.button(key="tabtrain_start").disabled


def test_a_column_can_be_corrected_and_a_wrong_correction_changes_nothing(page: AppTest, said: Said) -> None:
    upload(page, file(patients()))
    by_key(page, "selectbox", "tabtrain_correct").set_value("grade").run()
    by_key(page, "button_group", "tabtrain_kind").set_value("category").run()
    assert page.session_state["tabtrain_opened"].table["grade"].kind == "category"
    by_key(page, "selectbox", "tabtrain_correct").set_value("sex").run()
    by_key(page, "button_group", "tabtrain_kind").set_value("number").run()
    assert "sex holds values that are no numbers" in page.error[0].value.replace("\\", "")
    assert page.session_state["tabtrain_opened"].table["sex"].kind == "category"


def test_choices_survive_other_tabs_and_pages(page: AppTest) -> None:
    open_tab(upload(page, file(patients())), TRAIN)
    by_key(page, "selectbox", "tabtrain_target").set_value("outcome").run()
    by_key(page, "multiselect", "tabtrain_out").set_value(["code", "grade"]).run()
    by_key(page, "text_input", "tabtrain_name").set_value("Mine").run()
    open_tab(page, TABLE)
    page.switch_page("pages/home/home.py").run()
    page.switch_page(PAGE).run()
    open_tab(page, TRAIN)
    assert by_key(page, "selectbox", "tabtrain_target").value == "outcome"
    assert by_key(page, "multiselect", "tabtrain_out").value == ["code", "grade"]
    assert by_key(page, "text_input", "tabtrain_name").value == "Mine"


def test_a_table_with_times_asks_for_the_event(page: AppTest, said: Said) -> None:
    page.button(key="tabtrain_example_follow_up").click().run()
    open_tab(page, TRAIN)
    assert by_key(page, "button_group", "tabtrain_task").value == "time_to_event"
    assert by_key(page, "selectbox", "tabtrain_event").value == "died"
    assert by_key(page, "selectbox", "tabtrain_seen").value == "yes"
    assert by_key(page, "button_group", "tabtrain_families").value == ["logistic", "boosting", "blend"]
    assert "Cox regression" in str(by_key(page, "button_group", "tabtrain_families").options)


def test_training_ends_in_results_and_a_kept_model(page: AppTest, said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medai_core.tabular.compare._Work.unlikeness", lambda work: None)
    open_tab(upload(page, file(patients())), TRAIN)
    by_key(page, "selectbox", "tabtrain_target").set_value("outcome").run()
    by_key(page, "button_group", "tabtrain_families").set_value(["logistic", "boosting"]).run()
    assert "10-fold cross-validation" in said(page)
    by_key(page, "text_input", "tabtrain_name").set_value("Ill or not").run()
    page.button(key="tabtrain_start").click().run()
    assert not page.exception
    wait(page)
    text = said(page)
    assert page.session_state["tabtrain_tabs"] == RESULTS and "Leaderboard" in text and not page.error
    (key, one) = next(iter(page.session_state[tab_models.KEPT].items()))
    assert one.title == "Ill or not" and one.model.families == ("logistic", "boosting")
    assert one.model.predict(patients(3))[0].probabilities.keys() == {"no", "yes"}
    open_tab(page, MINE)
    assert "Ill or not" in said(page) and page.button(key=f"tabtrain_delete_{key}")


def test_a_stop_really_stops_and_keeps_what_is_complete(
    page: AppTest, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    from medai_core.tabular import fitting

    reached, go = threading.Event(), threading.Event()
    fit = fitting.fit_member
    fitted: list[str] = []

    def slow(name: str, *rest: object) -> object:
        fitted.append(name)
        if name == "boosting":
            reached.set()
            go.wait(20)
        return fit(name, *rest)

    monkeypatch.setattr("medai_core.tabular.compare.fit_member", slow)
    open_tab(upload(page, file(patients())), TRAIN)
    by_key(page, "selectbox", "tabtrain_target").set_value("outcome").run()
    page.button(key="tabtrain_start").click().run()
    assert reached.wait(30)
    page.run()
    assert "Logistic regression" in said(page)
    page.button(key="tabtrain_stop").click().run()
    assert "Stopping after the step under way" in said(page)
    go.set()
    wait(page)
    assert "Stopped. Models that were complete by then are kept." in page.warning[0].value
    (one,) = page.session_state[tab_models.KEPT].values()
    assert "boosting" not in one.model.families and one.model.families[0] == "logistic"
    assert fitted.count("boosting") == 1


def test_a_stop_before_anything_is_complete_keeps_nothing(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    from medai_core.tabular.fitting import check

    def until_stopped(*asked: object) -> None:
        stop = asked[-1]
        for _ in range(2_000):
            check(stop)
            time.sleep(0.01)

    monkeypatch.setattr("medai_core.tabular.compare.fit_member", until_stopped)
    page.button(key="tabtrain_example_admissions").click().run()
    open_tab(page, TRAIN)
    page.button(key="tabtrain_start").click().run()
    page.button(key="tabtrain_stop").click().run()
    wait(page)
    assert "No model was complete" in page.error[0].value and tab_models.KEPT not in page.session_state
    assert by_key(page, "selectbox", "tabtrain_target").value == "readmitted"


def test_nobody_waits_for_a_training_whose_visitor_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def until_stopped(problem: object, families: object, *, progress: object, stop: Callable[[], bool]) -> object:
        end = time.monotonic() + 10
        while not stop() and time.monotonic() < end:
            time.sleep(0.01)
        asked.append(stop())
        return SimpleNamespace(families=[], stopped=True)

    monkeypatch.setattr("medai_core.tabular.compare.compare", until_stopped)
    run = tabtrain_run.Run(None, table_of(patients()), ("logistic",), "gone", "binary")
    import weakref

    worker = threading.Thread(target=tabtrain_run._work, args=(weakref.ref(run),))
    worker.start()
    time.sleep(0.1)
    del run
    worker.join(5)
    assert not worker.is_alive() and asked == [True]


def test_results_show_every_family_subgroups_and_the_threshold(own: AppTest, said: Said) -> None:
    text = said(open_tab(own, RESULTS))
    for sentence in ("Leaderboard", "ROC curve", "Precision and recall", "Decision curve", "Calibration plot"):
        assert sentence in text, sentence
    board = own.dataframe[0].value
    assert sorted(name.removesuffix(" ★") for name in board["Model"]) == [
        "Gradient-boosted trees",
        "Logistic regression",
    ]
    assert all(" to " in cell for cell in board["AUC"])
    groups = own.dataframe[1].value
    assert set(groups["Column"]) == {"sex", "grade"}
    slider = by_key(own, "slider", "tabtrain_threshold")
    low = said(own)
    slider.set_value(90).run()
    assert not own.exception and said(own) != low


@pytest.mark.parametrize(
    ("target", "event", "sentence"),
    [
        ("severity", None, "by the most probable class"),
        ("stay (days)", None, "Predicted against observed"),
        ("followed (days)", "died", "Thirds of the held-out risk"),
    ],
)
def test_every_task_has_its_own_results(
    page: AppTest, said: Said, target: str, event: str | None, sentence: str
) -> None:
    from medai_core.tabular import demo
    from medai_core.tabular.compare import compare
    from medai_core.tabular.problem import prepare, propose

    table = demo.follow_up(200) if event else demo.admissions(200)
    problem = prepare(table, propose(table, target, event)[0])
    with mock.patch("medai_core.tabular.compare._Work.unlikeness", lambda work: None):
        study = compare(problem, ["logistic"], folds=2)
    found = tabtrain_run._bundled(study, table, "drawn")
    page.session_state[tab_models.KEPT] = {"own_a": tab_models.Kept("own_a", "drawn", found.model, found.data, table)}
    assert sentence in said(open_tab(page, RESULTS))
    upload(open_tab(page, ROWS), file(table.frame.head(30)), "rows.csv")
    assert not page.error and len(page.dataframe[0].value) == 30


def test_every_figure_of_the_shipped_model_reads_as_words() -> None:
    from medai_core import registry
    from pages.ui.words import metric_name

    if tab_models.SHIPPED_TABLE not in registry.available():
        pytest.skip("the model breast_cancer is not in assets/models")
    rows = registry.bundle(tab_models.SHIPPED_TABLE).metrics["figures"]
    assert metric_name("AUC, svm") == "AUC · Support vector machine"
    assert not [row["metric"] for row in rows if " · " not in metric_name(row["metric"])]


def test_a_small_subgroup_is_not_measured(own: AppTest, trained: tab_models.Trained) -> None:
    rows = trained.model.bundle.metrics["subgroups"]
    assert not any(row["suppressed"] for row in rows if row["column"] == "sex")
    hidden = [row | {"suppressed": True, "value": None, "low": None, "high": None, "n": 7} for row in rows]
    with mock.patch.dict(trained.model.bundle.metrics, {"subgroups": hidden}):
        groups = open_tab(own, RESULTS).dataframe[1].value
    assert set(groups["AUC"]) == {"too few"} and set(groups["n"]) == {7}


def test_rename_delete_and_undo(own: AppTest, said: Said) -> None:
    open_tab(own, MINE)
    own.text_input(key="tabtrain_rename_own_a").set_value("Readmission, first try").run()
    (one,) = own.session_state[tab_models.KEPT].values()
    assert one.title == "Readmission, first try"
    names = zipfile.ZipFile(io.BytesIO(one.data)).namelist()
    assert all(name.startswith("readmission_first_try/") for name in names)
    own.button(key="tabtrain_delete_own_a").click().run()
    assert not own.session_state[tab_models.KEPT] and "Deleted: Readmission, first try" in said(own)
    own.button(key="tabtrain_undo_button").click().run()
    assert list(own.session_state[tab_models.KEPT]) == ["own_a"] and "Deleted" not in said(own)


def test_a_downloaded_bundle_is_opened_again_and_answers_the_same(
    page: AppTest, trained: tab_models.Trained, said: Said
) -> None:
    from medai_core.tabular.cards import renamed

    open_tab(page, MINE)
    upload(page, renamed(trained.data, "Another name"), "bundle.zip")
    (one,) = page.session_state[tab_models.KEPT].values()
    assert one.title == "Another name" and one.table is None and not one.model.bundle.path.exists()
    before, after = (model.predict(patients(5)) for model in (trained.model, one.model))
    assert [a.probabilities for a in before] == [b.probabilities for b in after]
    assert "Another name" in said(page)


def test_a_bundle_that_was_changed_or_is_none_is_refused(page: AppTest, trained: tab_models.Trained) -> None:
    open_tab(page, MINE)
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(trained.data)) as source, zipfile.ZipFile(out, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            target.writestr(
                name, content.replace(b"held-out", b"held-0ut") if name.endswith("metrics.json") else content
            )
    upload(page, out.getvalue(), "changed.zip")
    assert "metrics.json" in page.error[0].value.replace("\\", "") and tab_models.KEPT not in page.session_state
    upload(page, b"no archive", "junk.zip")
    assert "no model bundle" in page.error[0].value and tab_models.KEPT not in page.session_state


def test_new_rows_are_answered_with_cautions_and_downloaded(own: AppTest, said: Said) -> None:
    from pages.ui import tabtrain_score

    rows = patients(12, seed=3).drop(columns=["outcome", "code"]).assign(note="=cmd()")
    rows.loc[0, "age (years)"] = 140
    upload(open_tab(own, ROWS), file(rows.drop(columns="note")), "new.csv")
    shown = own.dataframe[0].value
    assert len(shown) == 12 and shown["Probability of yes"].between(0, 1).all()
    assert shown["Cautions"][0] and "patient_id" in shown
    scored = own.session_state[tabtrain_score.SCORED]
    model = own.session_state[tab_models.KEPT]["own_a"].model
    assert [one.probabilities["yes"] for one in scored.answers] == pytest.approx(list(shown["Probability of yes"]))
    told = model.score(scored.table.frame)
    assert list(told["probability of yes"]) == pytest.approx(list(shown["Probability of yes"]))
    own.button(key="tabtrain_rows_other").click().run()
    upload(own, file(rows[["sex"]].assign(a=1)), "wrong.csv")
    assert "age" in own.error[0].value


def test_rows_with_outcomes_measure_the_models(own: AppTest) -> None:
    upload(open_tab(own, ROWS), file(patients(120, seed=5)), "other.csv")
    own.toggle[0].set_value(True).run()
    assert not own.exception and not own.error
    board = own.dataframe[1].value
    assert len(board) == 2 and all(" to " in cell for cell in board["AUC"])


def test_csv_cells_are_safe(trained: tab_models.Trained) -> None:
    from pages.ui.queue import csv_table

    frame = trained.model.score(patients(3)).assign(note='=HYPERLINK("x")')
    rows = list(csv.reader(io.StringIO(csv_table(list(frame), frame.itertuples(index=False)).decode("utf-8-sig"))))
    assert rows[0][-2:] == ["cautions", "note"] and rows[1][-1].startswith("'=")


def test_no_more_models_than_fit_are_kept(own: AppTest, trained: tab_models.Trained) -> None:
    one = own.session_state[tab_models.KEPT]["own_a"]
    many = {f"own_{k}": one for k in range(tab_models.MOST_KEPT)}
    own.session_state[tab_models.KEPT] = many
    own.button(key="tabtrain_example_admissions").click().run()
    open_tab(own, TRAIN)
    own.button(key="tabtrain_start").click().run()
    assert "delete one first" in own.error[0].value and tabtrain_run.RUN not in own.session_state
