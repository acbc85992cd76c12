"""The page of synthetic images: what is made, shown, moved, withheld and taken away."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from fake_generator import COPY_EVERY, LABELS, FakeGenerator
from page_kit import on_page, shown
from streamlit.testing.v1 import AppTest

from medai_core.errors import ArtifactError, InputError
from medai_core.synthesis.evaluate import TITLES
from medai_core.synthesis.restore_evaluate import SIGMAS
from pages.ui.synth_quality import TRAINED

PAGE = "pages/synthesis/synthesize.py"
ROOT = Path(__file__).parents[2]
CHEST = "chest_xray_gan"
Said = Callable[[AppTest], str]


@pytest.fixture
def page(app: AppTest) -> AppTest:
    return on_page(app, PAGE)


def open_tab(page: AppTest, name: str) -> AppTest:
    page.session_state["synth_tabs"] = name
    page.run()
    assert not page.exception
    return page


def make(page: AppTest) -> AppTest:
    page.button(key=f"synth_make_{CHEST}").click().run()
    assert not page.exception
    return page


def test_a_first_visitor_sees_images_of_every_label(page: AppTest, said: Said) -> None:
    text = said(page)
    assert len(shown(page)) == 12
    for sentence in ("12 images", "seed 1", "every image carries the mark SYNTHETIC", "Viral pneumonia · 0", "Adults."):
        assert sentence in text, sentence
    assert page.button(key=f"synth_make_{CHEST}").disabled


def test_every_image_shown_carries_the_visible_mark(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    from medai_core import marks

    asked: list[np.ndarray] = []
    monkeypatch.setattr(marks, "visible", lambda pixels: asked.append(pixels) or np.zeros_like(pixels))
    page.number_input(key=f"synth_each_3_{CHEST}").set_value(2).run()
    asked.clear()
    blank = set(shown(make(page)))
    assert len(asked) == 6 and len(blank) == 1


def test_the_same_seed_gives_the_same_images_and_a_new_one_others(page: AppTest) -> None:
    first = shown(page)
    page.button(key=f"synth_new_seed_{CHEST}").click().run()
    assert page.number_input(key=f"synth_seed_{CHEST}").value != 1
    assert shown(page) == first
    assert shown(make(page)) != first
    page.number_input(key=f"synth_seed_{CHEST}").set_value(1).run()
    assert shown(make(page)) == first


def test_a_setting_alone_makes_nothing(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeGenerator, "generate", lambda *a, **k: pytest.fail("made anew"))
    page.slider(key=f"synth_truncation_{CHEST}").set_value(0.7).run()
    page.run()
    assert not page.exception and len(shown(page)) == 12
    assert not page.button(key=f"synth_make_{CHEST}").disabled


def test_labels_count_and_truncation_are_followed(page: AppTest, said: Said) -> None:
    page.button_group(key=f"synth_labels_{CHEST}").set_value(["viral"]).run()
    page.number_input(key=f"synth_each_1_{CHEST}").set_value(60).run()
    page.slider(key=f"synth_truncation_{CHEST}").set_value(0.5).run()
    text = said(make(page))
    assert "60 images" in text and "truncation 0.5" in text and "Images 1 to 48 of 60" in text
    assert len(shown(page)) == 48
    page.button_group(key=f"synth_labels_{CHEST}").set_value([]).run()
    assert page.button(key=f"synth_make_{CHEST}").disabled and "Choose at least one label" in said(page)


def test_near_copies_are_counted(page: AppTest, said: Said) -> None:
    assert "None of them had to be withheld" in said(page)
    page.number_input(key=f"synth_each_3_{CHEST}").set_value(COPY_EVERY).run()
    make(page)
    (info,) = page.info
    assert "3 of 33 drawn images (9.1%) came too close" in info.value


def test_a_stop_keeps_the_labels_that_were_finished(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    from pages.ui import synth_batch

    generate = FakeGenerator.generate
    wish = synth_batch.Wish(CHEST, ("normal", "viral"), 3)
    page.session_state[f"synth_order_{CHEST}"] = synth_batch.Order(
        wish, [generate(FakeGenerator(CHEST), "normal", 3, 1)]
    )

    def fail(*args: object, **options: object) -> None:
        raise InputError("The seed gives nothing more.")

    monkeypatch.setattr(FakeGenerator, "generate", fail)
    assert "nothing more" in page.run().error[0].value
    assert "Stopped: 3 of 6 images were finished." in page.run().warning[0].value
    assert len(shown(page)) == 3


def test_leaving_out_the_visible_mark_has_to_be_confirmed(page: AppTest) -> None:
    def held_back() -> list[bool]:
        return [button.proto.disabled for button in page.get("download_button")]

    assert held_back() == [False, False, False]
    page.button_group(key="synth_mark").set_value("clean").run()
    assert held_back() == [True, True, False]
    page.checkbox(key="synth_confirmed").check().run()
    assert held_back() == [False, False, False]
    page.button_group(key="synth_mark").set_value("marked").run()
    assert held_back() == [False, False, False] and not page.checkbox


def test_one_drawing_as_every_label_and_its_sliders(page: AppTest, said: Said) -> None:
    open_tab(page, "Look inside")
    assert "One step moves the measured value by 0.90" in said(page)
    before = shown(page)
    assert len(before) == 3 + 3 + 3 and before[:3] == before[3:6]
    page.slider(key=f"synth_shift_opacity_{CHEST}").set_value(1.5).run()
    after = shown(page)
    assert after[:3] == before[:3] and not set(after[3:6]) & set(before[:3])
    page.button(key=f"synth_reset_{CHEST}").click().run()
    assert shown(page) == before


def test_the_way_from_one_seed_to_another(page: AppTest) -> None:
    open_tab(page, "Look inside")
    step = page.slider(key=f"synth_step_{CHEST}")
    start, middle, end = shown(page)[-3:]
    assert len({start, middle, end}) == 3
    step.set_value(1).run()
    assert shown(page)[-2] == start
    page.slider(key=f"synth_step_{CHEST}").set_value(25).run()
    assert shown(page)[-2] == end


def test_a_near_copy_on_the_way_is_not_shown(page: AppTest, said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    from pages.ui import synth_loaders

    generator = synth_loaders.generator(CHEST)
    copies = np.array([True, False, False])
    monkeypatch.setattr(
        generator.descriptors, "nearest",
        lambda images: type("Near", (), {"withheld": np.resize(copies, len(images))}),
    )  # fmt: skip
    open_tab(page, "Look inside")
    page.number_input(key=f"synth_point_index_{CHEST}").set_value(7).run()
    assert "Normal · withheld as a near-copy" in said(page)


def test_the_other_generator_has_its_own_images(page: AppTest, said: Said) -> None:
    page.button_group(key="synth_model").set_value("brain_mri_gan").run()
    assert not page.exception and len(shown(page)) == 8 and "Glioma · 0" in said(page)
    page.button_group(key="synth_model").set_value(CHEST).run()
    assert "Normal · 0" in said(page)


def test_distances_of_the_images_shown(page: AppTest, said: Said) -> None:
    text = said(open_tab(page, "Is it anyone's copy?"))
    assert "percentile 5.0" in text and "of real-to-real distances" in text
    assert len(shown(page)) == 4


def measured() -> list[dict[str, object]]:
    """Return a row for every figure that the evaluation of a generator writes."""
    names = [title + ending for title in TITLES.values() for ending in ("", ", real against real")]
    names += [f"{title}, ratio to real against real" for title in ("Fréchet distance", "KID")]
    for label in LABELS[CHEST]:
        names += [f"MS-SSIM within {label}, {kind}" for kind in ("synthetic", "real")]
        names += [f"label agreement of the scan model, {label}"]
    for space in ("pixels", "features"):
        names += [f"within the closest 0.1 % of real-to-real distances, {space}", f"membership AUC, {space}"]
        names += [f"percentile among real-to-real distances, {space}, median"]
    names += [f"AUC, normal or not, trained on {name}" for name in TRAINED]
    names += [
        "AUC, normal or not, synthetic less real", "label agreement of the scan model",
        "AUC, normal or not, gain from synthetic beside a tenth of the real",
        "withheld as near-copies, share of all made", "similarity to the nearest training image, median",
        "similarity of real images to the nearest other, median",
    ]  # fmt: skip
    return [
        {"metric": name, "value": 0.5 + 0.01 * k, "low": 0.4, "high": 1.1, "n": 2100, "split": "synthetic"}
        for k, name in enumerate(names)
    ]


@pytest.fixture
def evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    from pages.ui import loaders

    plain = loaders.bundle

    def bundle(model: str) -> SimpleNamespace:
        return SimpleNamespace(**vars(plain(model)) | {"metrics": {"figures": measured()}})

    monkeypatch.setattr(loaders, "bundle", bundle)


def test_the_measured_quality_is_drawn(page: AppTest, evaluated: None, said: Said) -> None:
    text = said(open_tab(page, "How good are they?"))
    for sentence in ("that of real images among themselves", "Of use for training?", "Does it repeat itself?",
                     "Synthetic less real: +", "AUC, normal or not"):  # fmt: skip
        assert sentence in text, sentence
    assert len(page.get("plotly_chart")) == 5
    (table,) = page.dataframe
    assert len(table.value) == len(measured())


def test_the_measured_privacy_is_drawn(page: AppTest, evaluated: None, said: Said) -> None:
    text = said(open_tab(page, "Is it anyone's copy?"))
    for sentence in ("who was trained on", "Withheld as near-copies, share of all made", "0.5 is guessing"):
        assert sentence in text, sentence
    assert len(page.get("plotly_chart")) == 2


def test_a_bundle_without_figures_says_so(page: AppTest, monkeypatch: pytest.MonkeyPatch, said: Said) -> None:
    from pages.ui import synth_quality

    monkeypatch.setattr(synth_quality, "figures", lambda model: {})
    assert "The bundle holds no figures." in said(open_tab(page, "How good are they?"))


def test_every_figure_has_its_name_in_chinese(monkeypatch: pytest.MonkeyPatch) -> None:
    from pages.ui import language, words

    monkeypatch.setattr(language, "language", lambda: "zh_CN")
    shipped = [path for kind in ("gan", "restorer") for path in (ROOT / "assets/models").glob(f"*_{kind}/metrics.json")]
    names = [f"{figure}, noise of {sigma:.0%}" for figure in ("PSNR", "MS-SSIM") for sigma in SIGMAS]
    rows = [{"metric": name} for name in (*names, "mean absolute error in a hole")]
    rows += measured() + [row for path in shipped for row in json.loads(path.read_text("utf-8"))["figures"]]
    untranslated = [row["metric"] for row in rows if not re.search("[\u4e00-\u9fff]", words.metric_name(row["metric"]))]
    assert not untranslated


def test_without_a_generator_the_page_is_helpful(app: AppTest, said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    from pages.ui import synth_loaders

    monkeypatch.setattr(synth_loaders, "generator_ids", lambda: [])
    app.switch_page(PAGE).run()
    assert not app.exception and not app.error
    assert "No generator of images is installed" in said(app) and not app.tabs


def test_a_generator_that_cannot_be_trusted_is_one_sentence(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    from pages.ui import synth_loaders

    def refuse(model: str) -> None:
        raise ArtifactError("The model {model} has no pinned digest, so it cannot be trusted", model=model)

    monkeypatch.setattr(synth_loaders, "load", refuse)
    app.switch_page(PAGE).run()
    assert not app.exception and "no pinned digest" in app.error[0].value
