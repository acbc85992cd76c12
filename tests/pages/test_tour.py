"""The guided tour: every step works, it can be left and resumed, and gives back what the visitor had open."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
from streamlit.testing.v1 import AppTest

from pages.ui import tour, tour_steps

Said = Callable[[AppTest], str]


def click(app: AppTest, key: str) -> AppTest:
    app.button(key=key).click().run()
    assert not app.exception
    return app


def keys(app: AppTest) -> set[str]:
    return {button.key for button in app.button if button.key}


def test_no_tour_no_bar(app: AppTest) -> None:
    assert "tour_start" in keys(app) and "tour_next" not in keys(app)
    app.switch_page("pages/imaging/read_scan.py").run()
    assert not app.exception and not any(key.startswith("tour_") for key in keys(app))
    assert "tour" not in app.query_params


# What is open there, which the page would not say by itself.
OPEN = {
    "An answer that says how sure it is": "chest_xray_normal",
    "Why, and whether the why can be trusted": "chest_xray_bacterial",
    "Many scans, the urgent ones first": "Needs a look",
    "A stay in intensive care, hour by hour": "Expected outside the normal range",
    "What if a value were different?": "Undo all",
    "Many patients, and whose risk is rising": "Median risk",
    "A table's answer, taken apart": "Patient 216",
    "Images of no patient": "12 images",
    "What the generator has learnt": "One drawing, every label",
    "Proof of privacy": "of real-to-real distances",
    "Restoration, and what it invents": "Full colour is",
}


def test_every_step_shows_its_page_and_what_to_look_at(app: AppTest, said: Said) -> None:
    found = tour_steps.steps()
    assert 9 <= len(found) <= 16
    click(app, "tour_start")
    for place, step in enumerate(found):
        text = said(app)
        assert f"Tour, step {place + 1} of {len(found)}" in text and step.words in text, step.title
        assert not app.error, step.title
        assert OPEN.get(step.title, "") in text, step.title
        assert app.query_params["tour"] in (str(place + 1), [str(place + 1)])
        if place + 1 < len(found):
            click(app, "tour_next")
    assert set(OPEN) <= {step.title for step in found}
    click(app, "tour_end")
    assert "tour" not in app.query_params and not any(key == "tour_back" for key in keys(app))


def test_it_can_be_left_and_resumed(app: AppTest, said: Said) -> None:
    click(click(click(app, "tour_start"), "tour_next"), "tour_next")
    click(app, "tour_leave")
    assert "tour_next" not in keys(app) and "held_scan" not in app.session_state
    app.switch_page("pages/home/home.py").run()
    assert app.button(key="tour_resume").label == f"Resume at step 3 of {len(tour_steps.steps())}"
    click(app, "tour_resume")
    assert "Tour, step 3" in said(app) and "chest_xray_bacterial" in said(app)
    app.switch_page("pages/models/models.py").run()
    assert "You left the page of this step" in said(app)
    click(app, "tour_return")
    assert "Tour, step 3" in said(app) and "chest_xray_bacterial" in said(app)


def test_a_sample_of_the_worklist_opens_as_a_demonstration(app: AppTest, said: Said) -> None:
    place = next(k for k, step in enumerate(tour_steps.steps()) if step.page.endswith("worklist.py"))
    app.query_params["tour"] = str(place + 1)
    app.run()
    names = app.selectbox(key="open_choice").options
    app.selectbox(key="open_choice").set_value(next(k for k, name in enumerate(names) if "chest_xray" in name)).run()
    click(app, "open_chosen")
    text = said(app)
    assert app.title[0].value == "Read a scan" and "synthetic sample, no patient" in text
    assert app.session_state["held_scan"].demonstration and "90% prediction set" in text
    click(app, "tour_return")
    assert "Needs a look" in said(app)


def test_what_the_visitor_had_open_comes_back(app: AppTest, files: dict[str, bytes], said: Said) -> None:
    app.switch_page("pages/imaging/read_scan.py").run()
    app.file_uploader[0].upload("mine.png", files["sure"]).run()
    app.switch_page("pages/home/home.py").run()
    click(click(app, "tour_start"), "tour_next")
    assert "chest_xray_normal" in said(app)
    click(app, "tour_leave")
    app.switch_page("pages/imaging/read_scan.py").run()
    assert "mine.png" in said(app)


def test_the_address_says_which_step(app: AppTest, said: Said) -> None:
    app.query_params["tour"] = "2"
    app.run()
    assert "Tour, step 2" in said(app) and "Read a scan" in said(app)


@pytest.mark.parametrize(("wanted", "at"), [("no number", None), ("-4", 0), ("999", 14), ("3", 2)])
def test_an_odd_address_does_no_harm(monkeypatch: pytest.MonkeyPatch, wanted: str, at: int | None) -> None:
    state: dict[str, tour.Tour] = {}
    monkeypatch.setattr(tour, "st", SimpleNamespace(session_state=state, query_params={"tour": wanted}))
    monkeypatch.setattr(tour, "steps", lambda: [None] * 15)
    tour.from_address()
    assert (state["tour"].at if state else None) == at


def test_parts_that_are_not_installed_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    from pages.ui import synth_loaders

    monkeypatch.setattr(synth_loaders, "generator_ids", lambda: [])
    monkeypatch.setattr(synth_loaders, "restorer_ids", lambda: [])
    monkeypatch.setattr(tour_steps, "samples", lambda: ())
    monkeypatch.setattr(tour_steps.tab_models, "shipped", lambda: [])
    monkeypatch.setattr(tour_steps.icu_stay, "demo_stays", lambda: [])
    assert [step.page for step in tour_steps.steps()] == ["pages/home/home.py", "pages/models/models.py"]


def test_a_visitor_s_newer_file_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    state: dict[str, object] = {"a": "mine", "c": None}
    monkeypatch.setattr(tour, "st", SimpleNamespace(session_state=state))
    guide = tour.Tour()
    guide.place({"a": "step one", "b": "step one"})
    state["b"] = "opened during the tour"
    guide.place({"a": "step two"})
    guide.clear()
    assert state["a"] == "mine" and state["b"] == "opened during the tour"
