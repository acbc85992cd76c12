"""The quiz "real or synthetic?": put together, asked, stopped, gone on with, scored, kept."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable

import numpy as np
import pytest
from fake_generator import FakeGenerator
from page_kit import on_page
from PIL import Image
from streamlit.testing.v1 import AppTest

from medai_core.errors import InputError
from medai_core.synthesis.reader_test import REAL, SYNTHETIC
from pages.ui import quiz_draw
from pages.ui.queue import Upload

PAGE = "pages/synthesis/reader_test.py"
CHEST = "chest_xray_gan"
LABELS = ("normal", "bacterial", "viral")
Said = Callable[[AppTest], str]


def radiograph(seed: int) -> bytes:
    """Return a PNG of smooth random shades."""
    grey = np.random.default_rng(seed).integers(40, 220, (12, 10), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(grey).resize((200, 240), Image.Resampling.BICUBIC).save(buffer, "PNG")
    return buffer.getvalue()


def folder(count: int) -> Upload:
    """Return a ZIP of images in folders that state a label, with one file that is no image."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("NORMAL/readme.bin", b"no image at all " * 40)
        for n in range(count):
            name = f"NORMAL/{n}.png" if n % 2 else f"PNEUMONIA/person{n}_virus_1.png"
            archive.writestr(name, radiograph(n))
    return Upload("mine.zip", packed.getvalue())


@pytest.fixture
def page(app: AppTest) -> AppTest:
    return on_page(app, PAGE)


def begun(page: AppTest, count: int = 10, told: bool = False) -> AppTest:
    page.select_slider(key="quiz_count").set_value(count).run()
    page.toggle(key="quiz_told").set_value(told).run()
    page.file_uploader[0].upload("mine.zip", folder(count).data).run()
    page.button(key="quiz_start").click().run()
    assert not page.exception and not page.error
    return page


def state(page: AppTest):
    return page.session_state["reader_test"]


def answer(page: AppTest, right: bool = True) -> AppTest:
    truth = state(page).test.question.truth
    wrong = SYNTHETIC if truth == REAL else REAL
    page.button(key=f"quiz_answer_{truth if right else wrong}").click().run()
    assert not page.exception
    return page


def test_an_empty_page_is_friendly_and_offers_practice(page: AppTest, said: Said) -> None:
    text = said(page)
    assert "The test needs your own images" in text and "One image at a time" in text
    assert page.button(key="quiz_start").disabled and not page.button(key="quiz_practise").disabled


def test_a_whole_test(page: AppTest, said: Said) -> None:
    begun(page)
    pool = [question.truth for question in state(page).test.questions]
    assert pool.count(REAL) == pool.count(SYNTHETIC) == 5
    assert page.button(key=f"quiz_answer_{REAL}").proto.shortcut == "left"
    for place in range(10):
        answer(page, right=place < 8)
    text = said(page)
    assert "8 of 10; 95% interval 49% to 94%" in text and "Not distinguishable from guessing" in text
    assert "Viral pneumonia" in text and "✗" in text
    assert [button.label for button in page.get("download_button")] == ["Download CSV", "Download JSON"]
    page.button(key="quiz_new").click().run()
    assert len(page.file_uploader) == 1 and "reader_test" not in page.session_state


def test_images_asked_about_are_unmarked_and_marked_again_in_the_result(
    page: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    from medai_core import marks

    asked: list[np.ndarray] = []
    plain = marks.visible
    begun(page)
    monkeypatch.setattr(marks, "visible", lambda pixels: asked.append(pixels) or plain(pixels))
    for _place in range(9):
        answer(page)
    assert not asked
    answer(page)
    assert len(asked) == 5
    (sizes,) = {question.pixels.shape for question in state(page).test.questions}
    assert sizes == (128, 128)


def test_stop_and_go_on(page: AppTest, said: Said) -> None:
    answer(begun(page))
    page.button(key="quiz_pause").click().run()
    assert "Stopped after 1 of 10 images" in page.info[0].value
    page.switch_page("pages/models/models.py").run()
    page.switch_page(PAGE).run()
    page.button(key="quiz_go_on").click().run()
    assert state(page).test.place == 1 and not page.info
    page.button(key="quiz_undo").click().run()
    assert state(page).test.place == 0
    page.button(key="quiz_pause").click().run()
    assert "Nothing is answered yet" in said(page)


def test_answers_can_be_told(page: AppTest) -> None:
    begun(page, told=True)
    assert "You were right" in answer(page).success[0].value
    assert "You said" in answer(page, right=False).warning[0].value
    assert page.button(key="quiz_undo").disabled


def test_a_second_press_of_a_key_answers_nothing(page: AppTest) -> None:
    quiz = state(begun(page))
    quiz.answer(REAL, 0)
    quiz.answer(REAL, 0)
    assert quiz.test.place == 1


def test_practice_asks_for_labels(page: AppTest, said: Said) -> None:
    page.button(key="quiz_practise").click().run()
    assert "For which label was this image made?" in said(page)
    for _place in range(20):
        page.button(key=f"quiz_answer_{state(page).test.question.label}").click().run()
    assert "Better than guessing: the whole interval lies above 33%" in said(page)


def test_too_few_images_are_one_sentence(page: AppTest) -> None:
    page.file_uploader[0].upload("mine.zip", folder(3).data).run()
    page.button(key="quiz_start").click().run()
    assert "needs 10 of your images; 3 of the 4 files can be used" in page.error[0].value


def test_without_a_generator_the_page_is_helpful(app: AppTest, said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    from pages.ui import synth_loaders

    monkeypatch.setattr(synth_loaders, "generator_ids", lambda: [])
    app.switch_page(PAGE).run()
    assert not app.exception and "nothing to compare your images with" in said(app)


def test_labels_of_the_made_images_follow_those_of_the_own() -> None:
    wish = quiz_draw.Wish(CHEST, 12, 5)
    test, opened = quiz_draw.own_test([folder(12)], wish, FakeGenerator(CHEST), lambda done, count: None)
    labels = {kind: sorted(q.label for q in test.questions if q.truth == kind) for kind in (REAL, SYNTHETIC)}
    assert labels[REAL] == labels[SYNTHETIC] and opened.synthetic == 0
    names = [question.name for question in test.questions]
    again, _opened = quiz_draw.own_test([folder(12)], wish, FakeGenerator(CHEST), lambda done, count: None)
    assert names == [question.name for question in again.questions]


def test_no_two_made_images_are_one_body_under_two_labels() -> None:
    generator, last = FakeGenerator(CHEST), 2**32 - 1
    quiz_draw.generated(generator, dict.fromkeys(LABELS, 3), last, lambda done, count: None)
    assert generator.asked == [("normal", 3, last), ("bacterial", 3, 0), ("viral", 3, 1)]


def test_a_made_image_saved_while_it_is_asked_about_is_still_recognised() -> None:
    from medai_core import marks

    made = quiz_draw.generated(FakeGenerator(CHEST), {"viral": 3}, 1, lambda done, count: None)
    found = [marks.recognise(question.pixels) for question in made]
    assert all(one.watermark and not one.visible for one in found)


def test_unknown_labels_are_made_evenly() -> None:
    assert quiz_draw.like_own((), LABELS, 10) == {"normal": 4, "bacterial": 3, "viral": 3}


def test_marked_images_are_left_out() -> None:
    from medai_core import marks

    drawn = marks.visible(FakeGenerator(CHEST).generate("viral", 1, 1).images[0].pixels)
    buffer = io.BytesIO()
    Image.fromarray(drawn).resize((256, 256), Image.Resampling.BILINEAR).save(buffer, "PNG")
    mine = [folder(4), Upload("marked.png", buffer.getvalue())]
    opened = quiz_draw.open_own(mine, 4, LABELS, 1, lambda done, count: None)
    assert (opened.synthetic, opened.unreadable, len(opened.questions)) == (1, 1, 4)
    with pytest.raises(InputError, match="4 of the 6 files"):
        quiz_draw.open_own(mine, 5, LABELS, 1, lambda done, count: None)


def test_the_result_as_json() -> None:
    from medai_core.synthesis.reader_test import summary

    wish = quiz_draw.Wish(CHEST, 6, 2)
    test = quiz_draw.practice_test(wish, FakeGenerator(CHEST), lambda done, count: None)
    stored = json.loads(json.dumps(summary(test.answer(test.question.truth, 1.5), {"model": CHEST})))
    assert stored["answered"] == stored["right"] == 1
    assert re.match(r"\w+_seed[234]_\d{4}", stored["answers"][0]["name"])
