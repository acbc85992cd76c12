"""The page that explains any case of any model, and holds the explanation against random ones."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pandas as pd
import pytest
from fake_trial import fake_treatment
from streamlit.testing.v1 import AppTest

from medai_core.errors import ArtifactError
from medai_core.faithfulness import Faithfulness, against_random
from medai_core.tabular.risk_model import RiskModel
from medai_core.tabular.tables import table_of
from medai_core.tabular.treatment_explain import explain
from pages.ui import explore_cases, explore_faithful, tab_models, treat_loaders, treat_patient, uploads
from pages.ui.icu_stay import STAY

PAGE = "pages/explore/explore.py"
Said = Callable[[AppTest], str]
COURSE = "\n".join(["minutes,parameter,value", *(f"{60 * h + 30},HR,{70 + 4 * h}" for h in range(6))]).encode()
KNOWN = {
    "chest_xray": ("scan", "Chest"), "brain_mri": ("scan", "Brain"), "icu_mortality": ("stay", "Intensive care"),
    "drawn": ("table", "Drawn table"), "actg175": ("treatment", "Trial"),
}  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> RiskModel:
    """A table model with one linear family, trained here in a moment."""
    from medai_core.tabular import cards, compare, problem
    from medai_core.tabular.bundles import save_study

    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 3)).round(2)
    ill = np.where(x[:, 0] + 0.3 * x[:, 1] + rng.normal(0, 0.4, 120) > 0, "yes", "no")
    table = table_of(pd.DataFrame(x, columns=["marker", "age", "noise"]).assign(ill=ill))
    plan, _findings = problem.propose(table, "ill")
    with mock.patch("medai_core.tabular.compare._Work.unlikeness", lambda work: None):
        study = compare.compare(problem.prepare(table, plan), ["logistic"], folds=3)
    folder = tmp_path_factory.mktemp("model") / "drawn"
    return tab_models.in_memory(save_study(study, folder, cards.card_of(study, table, "Drawn")))


@pytest.fixture
def page(app: AppTest, model: RiskModel, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    # What is compiled and imported once is not to count as the page's own time.
    explain(fake_treatment(), treat_patient.PATIENTS["new"], "1", "0")
    monkeypatch.setattr(treat_loaders, "load", fake_treatment)
    monkeypatch.setattr(explore_cases, "models", lambda: KNOWN)
    monkeypatch.setattr(tab_models, "table_model", lambda key: model)
    monkeypatch.setattr(tab_models, "table_of_model", lambda key: None)
    app.switch_page(PAGE).run()
    assert not app.exception
    return app


def kind(page: AppTest, name: str) -> AppTest:
    page.button_group(key="explore_kind").set_value(name).run()
    assert not page.exception
    return page


def test_a_sample_scan_is_explained_and_checked(page: AppTest, said: Said) -> None:
    text = said(page)
    assert "What the model answers" in text and "Synthetic, made by a computer" in text
    assert "Faithful for this scan" in text and "A heat map is no localisation" in text
    assert "Children of one to five years." in text  # whom the model is for


def test_the_scan_that_is_open_can_be_chosen(page: AppTest, files: dict[str, bytes], said: Said) -> None:
    page.session_state[uploads.SCAN] = uploads.Held("mine.png", files["unsure"], "d" * 64)
    page.run()
    box = next(one for one in page.selectbox if one.key == "explore_case_chest_xray")
    assert any("mine.png" in option for option in box.options)
    box.set_value("loaded").run()
    assert not page.exception and "Bacterial pneumonia" in said(page)


def test_a_scan_that_is_refused_is_not_explained(page: AppTest, files: dict[str, bytes], said: Said) -> None:
    page.session_state[uploads.SCAN] = uploads.Held("dark.png", files["refused"], "d" * 64)
    page.run()
    next(one for one in page.selectbox if one.key == "explore_case_chest_xray").set_value("loaded").run()
    assert not page.exception and "Faithful" not in said(page)


def test_an_hour_of_a_stay_is_explained_and_checked(page: AppTest, said: Said) -> None:
    page.session_state[STAY] = ("course.csv", COURSE)
    text = said(kind(page, "stay"))
    assert "up to hour 6" in text and "Does the explanation hold?" in text
    assert "Additivity gap 0.000" in text and "Mean along the curve" in text
    page.slider[0].set_value(3).run()
    assert not page.exception and "up to hour 3" in said(page)


def test_a_row_of_a_table_is_explained_and_checked(page: AppTest, said: Said) -> None:
    text = said(kind(page, "table"))
    assert "exact" in text and "Does the explanation hold?" in text and "They are no causes." in text
    before = text
    page.number_input[0].set_value(3).run()
    assert not page.exception and said(page) != before


def test_a_treatment_is_explained_and_checked(page: AppTest, said: Said) -> None:
    text = said(kind(page, "treatment"))
    assert "percentage points" in text and "Does the explanation hold?" in text and "CD4 count 250" in text
    page.button_group(key="explore_asked").set_value("risk").run()
    assert not page.exception and "Probability of the event by 2 years" in said(page)


def test_a_broken_model_is_one_sentence(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(key: str) -> None:
        raise ArtifactError("The model {model} is not installed: its folder is missing from the assets", model=key)

    monkeypatch.setattr(tab_models, "table_model", broken)
    kind(page, "table")
    assert len(page.error) == 1 and "not installed" in page.error[0].value


def test_without_models_the_page_says_so(page: AppTest, said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explore_cases, "models", dict)
    assert "No model with an explanation" in said(page.run()) or page.info


def test_every_shipped_model_with_an_explanation_is_offered() -> None:
    from medai_core import registry

    wanted = {
        name
        for name in registry.available()
        if registry.MODELS[name].task not in ("gate", "generator", "restoration", "forecast")
    }
    assert set(explore_cases.models()) == wanted


def test_what_does_not_hold_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    worth = np.array([2.0, 1.0, -1.0, 0.5, 0.2, 0.1])
    shown: list[str] = []
    stand_in = SimpleNamespace(success=lambda text, **_o: shown.append(f"good {text}"),
                               warning=lambda text, **_o: shown.append(f"bad {text}"))  # fmt: skip
    monkeypatch.setattr(explore_faithful, "st", stand_in)
    for values in (worth, -worth):
        found: Faithfulness = against_random(lambda present: present @ worth, values, True)
        explore_faithful._verdict(found, "values")
    assert shown[0].startswith("good Faithful") and shown[1].startswith("bad A random order")
