"""What keeps the server quick for many visitors: garbage collection that has little to walk through."""

from __future__ import annotations

import gc
import sys
import time
import weakref
from concurrent.futures import Future
from types import ModuleType, SimpleNamespace

import pytest
from streamlit.runtime.scriptrunner import script_runner

from pages.ui import loaders


def test_the_end_of_a_page_leaves_keras_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    cleared = []
    keras = ModuleType("keras")
    keras.backend = SimpleNamespace(clear_session=lambda free_memory=True: cleared.append(1))
    monkeypatch.setitem(sys.modules, "keras", keras)
    script_runner._clean_problem_modules()
    assert cleared == [1], "Streamlit does not clear Keras any more: keep_keras can go"
    loaders.keep_keras()
    script_runner._clean_problem_modules()
    assert cleared == [1]


class Left:
    """Something of a visitor who leaves; it holds itself, so that only a collection removes it."""

    def __init__(self) -> None:
        self.me = self


def test_settling_again_removes_what_visitors_left() -> None:
    mine = Left()
    there = weakref.ref(mine)
    loaders.settle()
    del mine
    gc.collect()
    assert there() is not None  # out of reach of what Streamlit collects
    loaders.settle()
    assert there() is None


def test_tidying_waits_for_new_libraries_or_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    settled, warmed = [], Future()
    monkeypatch.setattr(loaders, "settle", lambda: settled.append(1))
    monkeypatch.setattr(loaders, "loading", lambda: SimpleNamespace(warmed=warmed))
    monkeypatch.setattr(loaders, "_settled", (0, 0.0))
    loaders.tidy()
    assert not settled  # the models are still on their way
    warmed.set_result(None)
    loaders.tidy()
    assert len(settled) == 1
    monkeypatch.setattr(loaders, "_settled", (len(sys.modules), time.monotonic()))
    loaders.tidy()
    assert len(settled) == 1
    monkeypatch.setitem(sys.modules, "one_library_more", ModuleType("one_library_more"))
    loaders.tidy()
    assert len(settled) == 2
    monkeypatch.setattr(loaders, "_settled", (len(sys.modules), time.monotonic() - loaders.SETTLE_SECONDS - 1))
    loaders.tidy()
    assert len(settled) == 3
