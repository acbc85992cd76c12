"""The page that explains table models: answers, why, what if, and all patients, piece by piece."""

from __future__ import annotations

import csv
import io
from base64 import b64decode
from collections.abc import Callable
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pandas as pd
import plotly.io as pio
import pytest
from streamlit.testing.v1 import AppTest

from medai_core.tabular import models
from medai_core.tabular.models import Family
from medai_core.tabular.tables import Table, table_of
from pages.ui import tab_models, tabx_answer, tabx_columns, tabx_state, tabx_why, tabx_work
from pages.ui.tabx_state import View, keep_edits

UNLIKENESS = tabx_answer.unlikeness
PAGE, WHY, MODELS, WHAT_IF, ALL = "pages/tabular/explain_table.py", "Why", "Every model", "What if", "All patients"
Said = Callable[[AppTest], str]


def patients(n: int = 160, seed: int = 3) -> pd.DataFrame:
    """Drawn: an outcome that depends on age and CRP, CRP with gaps, and a column that does not matter."""
    rng = np.random.default_rng(seed)
    age, crp = rng.integers(20, 90, n).astype(float), rng.lognormal(2, 1, n).round(1)
    ill = rng.random(n) < 1 / (1 + np.exp(-(0.1 * (age - 55) + 1.2 * (np.log(crp) - 2))))
    crp[::9] = np.nan
    columns = {"age (years)": age, "crp_mg_l": crp, "ward": rng.choice(["A", "B"], n), "noise": rng.normal(size=n)}
    return pd.DataFrame(columns | {"outcome": np.where(ill, "yes", "no")})


def three_kinds(n: int = 160) -> pd.DataFrame:
    frame = patients(n)
    score = frame["age (years)"] / 20 + np.random.default_rng(0).normal(0, 0.4, n)
    return frame.drop(columns="outcome").assign(grade=np.array(["low", "mid", "top"])[np.digitize(score, [2.2, 3.4])])


def a_number(n: int = 160) -> pd.DataFrame:
    frame = patients(n)
    score = frame["age (years)"] / 10 + np.random.default_rng(0).normal(0, 1, n)
    return frame.drop(columns="outcome").assign(score=score)


def lighter(family: Family, data: models.Data) -> list[dict]:
    """One setting, with few trees."""
    first = family.candidates(data)[0]
    return [first | {name: 12 for name in ("trees", "rounds") if name in first}]


def kept(folder, frame: pd.DataFrame, target: str, families: tuple[str, ...]) -> tab_models.Kept:
    """An own model of a drawn table, as the page of training keeps it."""
    from medai_core.tabular.bundles import save_study
    from medai_core.tabular.cards import card_of
    from medai_core.tabular.compare import compare
    from medai_core.tabular.problem import prepare, propose

    table = table_of(frame, "drawn.csv")
    plan, _findings = propose(table, target)
    light = {name: Family(**{**vars(one), "candidates": lambda data, f=one: lighter(f, data)})
             for name, one in models.FAMILIES.items()}  # fmt: skip
    with (
        mock.patch.dict(models.FAMILIES, light),
        mock.patch("medai_core.tabular.compare._Work.unlikeness", lambda work: None),
    ):
        study = compare(prepare(table, plan), families, folds=2)
    bundle = save_study(study, folder / "model", card_of(study, table, "Drawn model"))
    return tab_models.Kept("own_x", "Drawn model", tab_models.in_memory(bundle), b"", table)


@pytest.fixture(scope="module")
def binary(tmp_path_factory: pytest.TempPathFactory) -> tab_models.Kept:
    import shap  # noqa: F401  seconds, before the page's own time runs

    return kept(tmp_path_factory.mktemp("binary"), patients(), "outcome", ("logistic", "boosting"))


@pytest.fixture
def page(app: AppTest, binary: tab_models.Kept, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    return opened(app, binary, monkeypatch)


def opened(app: AppTest, model: tab_models.Kept, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setattr(tab_models, "shipped", lambda: [])
    app.session_state[tab_models.KEPT] = {model.key: model}
    app.switch_page(PAGE).run()
    assert not app.exception
    return app


def tab(page: AppTest, name: str) -> AppTest:
    page.session_state[tabx_state.TABS] = name
    page.run()
    assert not page.exception
    return page


def charts(page: AppTest) -> dict[str, SimpleNamespace]:
    """The figures on the page by the start of their key, as plotly reads them."""
    return {chart.proto.id: pio.from_json(chart.proto.spec).to_dict() for chart in page.get("plotly_chart")}


def numbers(values) -> np.ndarray:
    """An array of a figure, which plotly packs."""
    return np.frombuffer(b64decode(values["bdata"]), values["dtype"]) if isinstance(values, dict) else np.array(values)


def by_key(page: AppTest, kind: str, start: str):
    """The widget whose key begins so."""
    return next(widget for widget in page.get(kind) if (widget.key or "").startswith(start))


def view(binary: tab_models.Kept, row: int = 0, **edits: float) -> View:
    table: Table = binary.table
    x = binary.model.read(table.frame)[0]
    found = tabx_state.Patients("table", "drawn", table.frame, x, table.frame["outcome"].astype(str).to_numpy(), "d")
    return View("own_x", binary.model, binary.model.best, "yes", False, found, row, edits)


def test_without_a_model_it_says_where_to_get_one(app: AppTest, monkeypatch: pytest.MonkeyPatch, said: Said) -> None:
    monkeypatch.setattr(tab_models, "shipped", lambda: [])
    app.switch_page(PAGE).run()
    assert not app.exception and "No table model is here yet" in said(app)


def test_one_patient_with_doubts_facts_and_scale(page: AppTest, binary: tab_models.Kept, said: Said) -> None:
    text = said(page)
    found = binary.model.predict(binary.table.frame.iloc[[0]])[0]
    assert f"{found.label}: " in text and "Prediction set" in text and "Recorded in the table" in text
    assert "When it was held out" in text and "Not a medical device" in text and "About this model" in text
    (_bars, waterfall, force) = charts(page).values()
    assert waterfall["layout"]["xaxis"]["title"]["text"] == force["layout"]["xaxis"]["title"]["text"]
    assert waterfall["layout"]["xaxis"]["title"]["text"] == "Log-odds of yes"
    steps = waterfall["data"][0]
    told = binary.model.explain(binary.table.frame.iloc[[0]])
    base, size = numbers(steps["base"]), numbers(steps["x"])
    assert base[0] == pytest.approx(told.base_value)
    assert base[-1] + size[-1] == pytest.approx(told.predictions[0])
    page.button_group(key="tabx_scale").set_value(True).run()
    assert not page.exception
    assert list(charts(page).values())[1]["layout"]["xaxis"]["title"]["text"] == "Probability of yes"


def test_the_held_out_answer_is_the_patients_own(binary: tab_models.Kept) -> None:
    seen = view(binary, 7)
    answers, outcomes = binary.model.held()
    label = binary.model.predict(binary.table.frame.iloc[[7]])[0].label
    assert tabx_answer.held_out(seen, label) == pytest.approx(answers[7] if label == "yes" else 1 - answers[7])
    mixed = tabx_state.Patients(**{**vars(seen.patients), "outcome": np.roll(seen.patients.outcome, 1)})
    other = View(**{**{name: getattr(seen, name) for name in seen.__dataclass_fields__}, "patients": mixed})
    assert outcomes.any() and tabx_answer.held_out(other, label) is None


def test_every_model_and_their_agreement(page: AppTest, binary: tab_models.Kept, said: Said) -> None:
    text = said(tab(page, MODELS))
    families = page.dataframe[0].value
    assert len(families) == 2 and "(best)" in " ".join(families["family"])
    assert "pushed the same way by all" in text and len(page.metric) == 2
    heat = list(charts(page).values())[-1]["data"][0]
    assert len(heat["x"]) == 2


def test_a_changed_value_moves_the_answer_and_is_undone(page: AppTest, binary: tab_models.Kept, said: Said) -> None:
    youngest = int(binary.table.frame["age (years)"].argmin())
    page.number_input[0].set_value(youngest + 1)
    tab(page, WHAT_IF)
    page.selectbox(key="tabx_feature_own_x").set_value("age (years)").run()
    by_key(page, "number_input", "tabx_value_").set_value(89.0)
    page.button(key="tabx_apply").click().run()
    row = binary.table.frame.iloc[youngest].to_dict()
    want = binary.model.predict({**row, "age (years)": 89.0})[0].probabilities["yes"]
    was = binary.model.predict(row)[0].probabilities["yes"]
    assert not page.exception and want > was
    assert "Values changed: 1" in said(page) and "→ 89" in said(page)
    shown = page.dataframe[0].value
    assert (shown["As recorded"] != shown["With the changes"]).all()
    # The patient stays changed on the other tabs, and after another page.
    assert "age \\(years\\) of 89" in said(tab(page, WHY)).replace("age (years)", "age \\(years\\)")
    page.switch_page("pages/home/home.py").run()
    page.switch_page(PAGE).run()
    assert "Values changed: 1" in said(page)
    tab(page, WHAT_IF)
    page.button(key="tabx_undo_age (years)").click().run()
    assert "Values changed" not in said(page) and "Nothing is changed yet" in said(page)


def test_a_value_set_back_is_no_change(binary: tab_models.Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    state: dict = {}
    monkeypatch.setattr(tabx_state, "st", SimpleNamespace(session_state=state))
    seen = view(binary)
    gap = int(np.flatnonzero(np.isnan(seen.patients.x[:, 1]))[0])
    keep_edits(view(binary, gap), {"crp_mg_l": float("nan"), "noise": 9.0})
    assert tabx_state.edits_of("own_x", seen.patients, gap) == {"noise": 9.0}
    assert tabx_state.edits_of("own_x", seen.patients, gap + 1) == {}


def test_the_smallest_change_keeps_what_is_locked_and_is_taken_over(
    page: AppTest, binary: tab_models.Kept, said: Said
) -> None:
    shares = [one.probabilities["yes"] for one in binary.model.predict(binary.table.frame)]
    page.number_input[0].set_value(next(k for k, share in enumerate(shares) if 0.35 < share < 0.5) + 1)
    tab(page, WHAT_IF)
    locked = page.multiselect(key="tabx_locked_own_x")
    assert locked.value == ["age (years)"]  # nobody's age can be changed: proposed
    changed = [one.value for one in page.markdown if "→ **" in one.value]
    assert changed and not any(line.startswith("age") for line in changed)
    page.button(key="tabx_take_0").click().run()
    assert not page.exception and "Values changed" in said(page)
    assert 'class="medai-answer">yes' in said(page)


def test_all_patients_and_a_click_opens_one(page: AppTest, binary: tab_models.Kept, said: Said) -> None:
    tab(page, ALL)
    swarm, bars = list(charts(page).values())[-2:]
    told = binary.model.explain(binary.table.frame)
    names = [one.strip() for one in bars["layout"]["yaxis"]["ticktext"]]
    order = np.argsort(-np.abs(told.values).mean(axis=0))
    assert names == [binary.model.encoder.names[k] for k in order]
    first = swarm["data"][0]
    patient, value = first["customdata"][5][0], numbers(first["x"])[5]
    assert value == pytest.approx(told.values[patient, order[0]], abs=1e-6)
    page.session_state[tabx_state.TABS] = ALL
    for shown in ("one", "groups", "stability"):
        page.button_group(key="tabx_view").set_value(shown).run()
        assert not page.exception and not page.error and charts(page), shown


def test_a_point_opens_its_patient(monkeypatch: pytest.MonkeyPatch, binary: tab_models.Kept) -> None:
    seen, state = view(binary), {}
    monkeypatch.setattr(tabx_state, "st", SimpleNamespace(session_state=state))
    tabx_state.open_patient(seen.patients, 41, WHY)
    assert state == {tabx_state.row_key(seen.patients): 42, tabx_state.TABS: WHY}


def test_work_in_pieces_is_the_whole_and_stops(binary: tab_models.Kept) -> None:
    x = binary.model.read(binary.table.frame)[0]
    rows = np.random.default_rng(0).permutation(len(x))
    work = tabx_work.Work(binary.model, "boosting", None, False, x, rows, seconds=40.0)
    assert work.state == "waiting" and work.left_seconds == 40.0
    work.work(0.1)
    assert work.done == 0  # nobody has started it
    work.start()
    work.work(0.0)
    begun = work.done
    assert 0 < begun < len(x) and work.state == "running"
    work.stop()
    work.work(5.0)
    assert work.state == "stopped" and work.done == begun
    part, mine = work.result
    assert np.array_equal(part.x, x[mine], equal_nan=True)
    work.start()
    work.work(60.0)
    told, mine = work.result
    assert work.state == "done" and sorted(mine) == list(range(len(x)))
    whole = binary.model.explain(x, "boosting")
    assert told.values == pytest.approx(whole.values[mine]) and told.additivity_error < 1e-6


def test_points_of_a_swarm_do_not_lie_on_each_other() -> None:
    values = np.r_[np.zeros(30), np.linspace(1, 2, 30)]
    places = tabx_columns.spread(values)
    assert np.abs(places).max() <= 1.0
    assert len(set(places[:30].tolist())) == 30
    assert np.abs(tabx_columns.spread(np.zeros(3))).max() <= 1.0 and tabx_columns.spread(np.zeros(1)).tolist() == [0.0]


def test_other_patients_are_opened_closed_and_refused(page: AppTest, said: Said) -> None:
    mine = patients(12, seed=9).drop(columns="outcome")
    page.file_uploader[0].upload("mine.csv", mine.drop(columns="noise").to_csv(index=False).encode()).run()
    assert "lacks 1 of the columns the model reads: noise" in page.error[0].value.replace("\\", "")
    mine.loc[0, "age (years)"] = 300.0
    page.file_uploader[0].upload("mine.csv", mine.to_csv(index=False).encode()).run()
    assert not page.exception and not page.error
    assert "Patient, 1 to 12" in [one.label for one in page.number_input]
    assert any("outside the trained range" in one.value.replace("\\", "") for one in page.warning)
    assert "When it was held out" not in said(page)
    page.button(key="tabx_close").click().run()
    assert "Patient, 1 to 160" in [one.label for one in page.number_input]


def test_the_csv_of_one_patient_adds_up(binary: tab_models.Kept) -> None:
    told = binary.model.explain(binary.table.frame.iloc[[2]])
    head, *rows = list(csv.reader(io.StringIO(tabx_why.contributions_csv(told).decode("utf-8-sig"))))
    values = {name: float(value.lstrip("'")) for name, _shown, value in rows}
    assert "log-odds" in head[2] and "exact" in head[2]
    total = sum(value for name, value in values.items() if not name.startswith("("))
    assert total + values["(base value)"] == pytest.approx(values["(prediction)"], abs=1e-4)


@pytest.mark.parametrize(("frame", "target"), [(three_kinds, "grade"), (a_number, "score")])
def test_other_tasks(
    app: AppTest, tmp_path, monkeypatch: pytest.MonkeyPatch, said: Said, frame: Callable, target: str
) -> None:
    page = opened(app, kept(tmp_path, frame(), target, ("logistic",)), monkeypatch)
    for name in (WHY, MODELS, WHAT_IF, ALL):
        tab(page, name)
        assert not page.error, name
    assert ("Explain the label" in [one.label for one in page.selectbox]) == (target == "grade")
    assert ("nine of ten patients" in said(page)) and ("in its own units" in str(charts(page))) == (target == "score")


def test_how_unlike_a_patient_is(
    page: AppTest, binary: tab_models.Kept, monkeypatch: pytest.MonkeyPatch, said: Said
) -> None:
    monkeypatch.setattr(tabx_answer, "unlikeness", UNLIKENESS)
    shares = iter([0.42, 0.995])
    stub = SimpleNamespace(percentile=lambda x: np.array([next(shares)]))
    monkeypatch.setitem(binary.model.__dict__, "_unlikeness", stub)
    monkeypatch.setitem(binary.model.bundle.preprocessing, "unlikeness", {})
    page.run()
    assert "than 42% of them are" in said(page) and "refer" not in said(page)
    page.number_input[0].set_value(2).run()
    assert "The answer must not be relied on: refer." in said(page)


def test_markup_in_a_table_is_no_markup_in_a_chart() -> None:
    from pages.ui.tabx_words import short

    assert short("<b>a</b> & b") == "&lt;b&gt;a&lt;/b&gt; &amp; b" and len(short("x" * 200)) == 34
