"""The page that compares treatments: one patient, what choosing is worth, and a visitor's own trial."""

from __future__ import annotations

import dataclasses
import re
import threading
import time
import weakref
from collections.abc import Callable

import pytest
import streamlit as st
from fake_trial import fake_treatment
from streamlit.testing.v1 import AppTest

from medai_core import registry
from medai_core.errors import ArtifactError, InputError
from medai_core.metrics import Interval
from medai_core.tabular.treatment import TreatmentModel
from medai_core.tabular.treatment_explain import explain
from pages.ui import language, treat_charts, treat_fit, treat_loaders, treat_patient, treat_words, words
from pages.ui.treat_example import NAME, made_up_trial
from pages.ui.treat_fit import COMPARING, RESAMPLING, Fit
from pages.ui.treat_words import Compared

PAGE = "pages/tabular/treatment.py"
Said = Callable[[AppTest], str]


@pytest.fixture
def page(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    # What is compiled and imported once is not to count as the page's own time.
    explain(fake_treatment(), treat_patient.PATIENTS["new"], "1", "0")
    monkeypatch.setattr(treat_loaders, "load", fake_treatment)
    app.switch_page(PAGE).run()
    assert not app.exception
    return app


@pytest.fixture
def own(page: AppTest) -> AppTest:
    """The page with the made-up trial open."""
    page.button_group(key="treat_source").set_value("own").run()
    page.button(key="treat_made_up").click().run()
    assert not page.exception
    return page


def compared() -> Compared:
    return Compared("drawn", fake_treatment(), True)


def key_of(page: AppTest, name: str) -> str:
    return next(w.key for w in page.number_input if w.key.startswith("treat_actg175") and w.key.endswith(f"_{name}"))


def open_tab(page: AppTest, name: str) -> AppTest:
    page.session_state["treat_tabs_True"] = name
    page.run()
    assert not page.exception
    return page


# --------------------------------------------------------------------------------------------- the built-in trial


def test_four_treatments_side_by_side_and_none_recommended(page: AppTest, said: Said) -> None:
    model, text = fake_treatment(), said(page)
    assert not model.policy.evidence
    found = model.assess(treat_patient.PATIENTS["treated"])
    for arm, name in zip(model.arms, ("Zidovudine alone", "Zidovudine and didanosine",
                                      "Zidovudine and zalcitabine", "Didanosine alone"), strict=True):  # fmt: skip
        one = found.event_free[arm]
        assert f"<td>{name}</td><td>{one.value:.1%} ({one.low:.1%}–{one.high:.1%})</td>" in text
    assert "No treatment is recommended" in text and "There is no evidence that choosing the treatment" in text
    assert "association: changing the value need not change the outcome" in text
    assert "subsets of the covariates (exact)" in text


def test_few_similar_patients_are_not_counted_out(page: AppTest, said: Said) -> None:
    assert "fewer than 5" not in said(page)
    cells = fake_treatment().cells
    few = dataclasses.replace(fake_treatment(), cells=dataclasses.replace(cells, counts=cells.counts * 0 + 4))
    st.cache_resource.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(treat_loaders, "load", lambda: few)
        assert said(page.run()).count("<td>fewer than 5</td>") == 4


def test_a_value_changes_the_answer_and_survives_another_page(page: AppTest, said: Said) -> None:
    before = said(page)
    key = key_of(page, "cd40")
    page.number_input(key=key).set_value(600.0).run()
    after = said(page)
    assert page.number_input(key=key).value == 600 and before != after
    page.switch_page("pages/models/models.py").run()
    page.switch_page(PAGE).run()
    assert page.number_input(key=key).value == 600 and said(page) == after


def test_an_example_fills_the_form(page: AppTest) -> None:
    page.button(key="treat_example_ill").click().run()
    assert not page.exception
    assert page.number_input(key=key_of(page, "cd40")).value == treat_patient.PATIENTS["ill"]["cd40"]


def test_what_is_missing_or_unusual_is_said_in_one_sentence(page: AppTest, said: Said) -> None:
    page.number_input(key=key_of(page, "age")).set_value(95.0).run()
    assert any("Age of 95 lies outside the trained range" in w.value.replace("\\", "") for w in page.warning)
    page.number_input(key=key_of(page, "age")).set_value(None).run()
    assert [e.value.replace("\\", "") for e in page.error] == ["The value of Age is missing."]


def test_the_worth_of_choosing(page: AppTest, said: Said) -> None:
    text = said(open_tab(page, "Is choosing worth it?"))
    value = fake_treatment().policy
    assert f"{value.individual.value:.1%} ({value.individual.low:.1%}–" in text
    assert f"{value.followed} of {value.n} did" in text and "No treatment is recommended" in text


def test_the_whole_trial(page: AppTest, said: Said) -> None:
    text = said(open_tab(page, "The whole trial"))
    population = fake_treatment().population
    for patients, events in zip(population.patients, population.events, strict=True):
        assert f"<td>{patients}</td><td>{events}</td>" in text


def test_with_evidence_the_arm_is_named_and_no_order_given(page: AppTest, said: Said) -> None:
    gain = tuple(Interval(0.1, 0.05, 0.15) for _arm in fake_treatment().arms)
    policy = dataclasses.replace(fake_treatment().policy, gain=gain)
    model = dataclasses.replace(fake_treatment(), policy=policy)
    st.cache_resource.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(treat_loaders, "load", lambda: model)
        text = said(page.run())
    best = max(found := model.event_free(treat_patient.PATIENTS["treated"]), key=lambda arm: found[arm].value)
    assert f"Highest for this patient: {Compared('', model, True).within(best)}" in text
    assert "does not direct anybody's care" in text and "No treatment is recommended" not in text


def test_a_broken_bundle_is_one_sentence(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> TreatmentModel:
        raise ArtifactError("The model {model} is not installed: its folder is missing from the assets", model="x")

    monkeypatch.setattr(treat_loaders, "load", broken)
    app.switch_page(PAGE).run()
    assert not app.exception and len(app.error) == 1 and "not installed" in app.error[0].value


# --------------------------------------------------------------------------------------------------- an own trial


def test_an_own_table_is_read_and_its_columns_are_proposed(own: AppTest, said: Said) -> None:
    assert "made up, no patients" in said(own)
    chosen = {w.key.split("_", 2)[2]: w.value for w in own.selectbox}
    assert (chosen["arm"], chosen["time"], chosen["event"]) == ("treatment", "days", "event")
    assert own.multiselect[0].value == ["age (years)", "stage", "marker (ng/mL)"]


def test_without_the_statement_nothing_is_compared(own: AppTest) -> None:
    own.button(key="treat_start").click().run()
    assert len(own.error) == 1 and "only where chance assigned them" in own.error[0].value
    assert "treat_fit" not in own.session_state
    assert own.multiselect[0].value and not own.checkbox[0].value


def test_an_own_trial_is_compared(own: AppTest, said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch)
    own.checkbox[0].check().run()
    own.button(key="treat_start").click().run()
    wait(own)
    text = said(own)
    model = own.session_state["treat_fit"].model
    assert "The arms were alike before treatment" in text and "It was not measured on other patients" in text
    assert "<td>new</td>" in text and "<td>standard</td>" in text and model.arms == ("new", "standard")
    own.button(key="treat_let_go").click().run()
    assert not own.exception and "treat_fit" not in own.session_state and "treat_own" not in own.session_state


def test_the_work_stops_when_asked(own: AppTest, said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[int] = []

    def endless(trial: object, *, horizon: float, progress: Callable[[str, int, int], None]) -> None:
        while True:
            time.sleep(0.01)
            steps.append(1)
            progress("cox", 1, 15)

    monkeypatch.setattr("medai_core.tabular.treatment_fit.fit_treatment", endless)
    own.checkbox[0].check().run()
    own.button(key="treat_start").click().run()
    assert own.button(key="treat_stop")
    own.button(key="treat_stop").click().run()
    time.sleep(0.2)
    done = len(steps)
    time.sleep(0.2)
    assert len(steps) == done and own.session_state["treat_fit"].state == "stopped"
    assert "Nothing was kept of the work" in said(own)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "The file is empty"),
        (b"a\n1\n2\n3\n", "column"),
        (b"arm,time,event,x\na,1,0,1\nb,2,1,2\n", ""),
    ],
    ids=["empty", "one column", "two rows"],
)
def test_bad_tables_are_one_sentence(page: AppTest, data: bytes, sentence: str) -> None:
    page.button_group(key="treat_source").set_value("own").run()
    page.file_uploader[0].upload("table.csv", data).run()
    assert not page.exception
    if page.checkbox:
        page.checkbox[0].check().run()
        page.button(key="treat_start").click().run()
    assert not page.exception and len(page.error) == 1 and sentence in page.error[0].value


def test_columns_that_cannot_be_told_are_asked_for(page: AppTest) -> None:
    page.button_group(key="treat_source").set_value("own").run()
    rows = "\n".join(f"{k % 2},{k},{k % 3}" for k in range(60))
    page.file_uploader[0].upload("table.csv", f"p,q,r\n{rows}\n".encode()).run()
    page.button(key="treat_start").click().run()
    assert not page.exception and "Choose the columns of treatment" in page.error[0].value


def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few refits, and one family."""
    from medai_core.tabular import treatment_fit

    whole = treatment_fit.fit_treatment
    monkeypatch.setattr(
        treatment_fit, "fit_treatment",
        lambda trial, **options: whole(trial, **options, family="cox", resamples=6, repeats=1),
    )  # fmt: skip


def wait(page: AppTest) -> None:
    fit = page.session_state["treat_fit"]
    until = time.monotonic() + 60
    while fit.state == "running" and time.monotonic() < until:
        time.sleep(0.05)
    assert fit.state == "done", fit.failure
    page.run()
    assert not page.exception


# ----------------------------------------------------------------------------------------------------- the pieces


def test_the_work_tells_how_far_it_is() -> None:
    fit, seen = Fit("key", None, 730.0), []
    for what, of in (("cox", 15), ("cox_smooth", 15), ("kaplan_meier", 15), ("policy", 15), ("resamples", 200)):
        for done in range(1, of + 1):
            fit.tell(what, done, of)
            seen.append(fit.share)
        assert fit.part == (COMPARING if what in ("cox", "cox_smooth", "kaplan_meier") else what)
    assert seen == sorted(seen) and 0 < seen[0] < 0.1 and seen[-1] == 1.0
    assert fit.part == RESAMPLING and fit.seconds_left == 0


def test_an_unexpected_error_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_args: object, **_options: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("medai_core.tabular.treatment_fit.fit_treatment", broken)
    fit = Fit("key", None, 730.0)
    treat_fit._work(weakref.ref(fit), fit.trial, fit.horizon)
    assert fit.state == "failed" and isinstance(fit.failure, InputError) and "unexpected error" in str(fit.failure)


def test_nobody_waits_for_a_trial_whose_visitor_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[bool] = []

    def endless(trial: object, *, horizon: float, progress: Callable[[str, int, int], None]) -> None:
        try:
            while True:
                time.sleep(0.01)
                progress("cox", 1, 15)
        finally:
            ended.append(True)

    monkeypatch.setattr("medai_core.tabular.treatment_fit.fit_treatment", endless)
    fit = Fit("key", None, 730.0)
    worker = threading.Thread(target=treat_fit._work, args=(weakref.ref(fit), None, 730.0))
    worker.start()
    time.sleep(0.1)
    assert not fit.waiting and not ended
    del fit
    worker.join(5)
    assert not worker.is_alive() and ended == [True]


def test_a_trial_waits_for_its_turn_and_is_stopped_while_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "medai_core.tabular.treatment_fit.fit_treatment", lambda *_arguments, **_options: pytest.fail("was started")
    )
    fit = Fit("key", None, 730.0)
    worker = threading.Thread(target=treat_fit._work, args=(weakref.ref(fit), None, 730.0))
    with treat_fit.turn:
        worker.start()
        time.sleep(0.1)
        assert fit.waiting and fit.state == "running"
        fit.stop()
        worker.join(5)
    assert not worker.is_alive() and fit.state == "stopped" and fit.model is None


def test_differences_are_told_apart_by_their_intervals() -> None:
    one = compared()
    told = [treat_patient.in_words(one, "1", "0", Interval(0.1, *ends)) for ends in ((0.02, 0.2), (-0.1, 0.2))]
    assert "whole interval is above 0" in told[0] and "cannot be told apart" in told[1]
    assert "below 0" in treat_patient.in_words(one, "1", "0", Interval(-0.1, -0.2, -0.05))


@pytest.mark.parametrize(
    ("days", "told"),
    [(730.0, "2 years"), (365.25, "12 months"), (1826.25, "5 years"), (182.6, "6 months"), (45.0, "45 days")],
)
def test_times_in_words(days: float, told: str) -> None:
    assert treat_words.duration(days) == told


def test_similar_patients_bands_hold_the_patient() -> None:
    one, row = compared(), treat_patient.PATIENTS["treated"]
    cells, x = one.model.cells, one.model.read(row)[0]
    for place, column, edges in zip(cells.bands(x), cells.columns, cells.edges, strict=True):
        feature = one.model.encoder.features[column]
        told = treat_patient.band(one, feature, edges, place)
        if not one.yes_no(feature.name):
            assert any(f"{edge:,.0f}" in told for edge in edges)


def test_every_arm_has_a_colour_a_dash_and_a_symbol() -> None:
    assert len(treat_charts.DASHES) >= 8 <= len(treat_charts.SYMBOLS)
    assert len(set(treat_charts.SYMBOLS)) == len(treat_charts.SYMBOLS)


def test_the_made_up_trial_shows_that_choosing_can_help() -> None:
    from medai_core.tabular.tables import read_table
    from medai_core.tabular.treatment_fit import fit_treatment
    from medai_core.tabular.trial import balance, make_trial, propose_roles

    table = read_table(made_up_trial(), NAME)
    trial = make_trial(table, propose_roles(table), randomised=True)
    assert not balance(trial).suspect
    assert fit_treatment(trial, family="cox_interactions", resamples=2, repeats=1)[0].policy.evidence


@pytest.mark.skipif("actg175" not in registry.available(), reason="the bundle is not trained yet")
def test_every_figure_of_the_shipped_model_has_a_name_in_both_languages(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = registry.bundle("actg175").metrics
    rows = [*metrics["figures"], *metrics["baseline"]]
    for code, names in (("en", set()), ("zh_CN", set())):
        monkeypatch.setattr(language, "language", lambda code=code: code)
        for row in rows:
            shown = f"{words.metric_name(row['metric'])} {words.split_name(row['split'])}"
            plain = re.sub("Brier|Kaplan|Meier|Weibull|Cox", "", shown)
            assert code == "en" or not re.search("[A-Za-z]{2}", plain), shown
            names.add((shown, row["split"]))
        assert len(names) == len({(row["metric"], row["split"]) for row in rows})
