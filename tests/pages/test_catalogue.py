"""The catalogues: every sentence of the pages and of the core, translated, with the same fields."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from string import Formatter

import pytest
import yaml
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir, extract_from_file
from babel.messages.pofile import read_po

ROOT = Path(__file__).parents[2]
KEYWORDS = {name: None for name in ("_", "say", "InputError", "RefusedInput", "ArtifactError")}
CARD_TEXTS = ("name", "summary", "population", "metrics_note")
CARD_LISTS = ("intended_use", "not_for", "failure_modes", "explanation_notes")


def code_messages() -> set[str]:
    """Return every message id of app, pages and core."""
    found = {message for _, message, *_ in extract_from_file("python", ROOT / "app.py", keywords=KEYWORDS)}
    for folder in ("pages", "medai_core"):
        found |= {row[2] for row in extract_from_dir(ROOT / folder, [("**.py", "python")], keywords=KEYWORDS)}
    return {message for message in found if isinstance(message, str)}


def card_messages() -> set[str]:
    """Return the prose of the shipped cards, which is data and still shown on pages."""
    found: set[str] = set()
    for path in (ROOT / "assets" / "models").glob("*/card.yaml"):
        card = yaml.safe_load(path.read_text("utf-8"))
        found |= {card[field] for field in CARD_TEXTS if card.get(field)}
        found |= {text for field in CARD_LISTS for text in card.get(field, [])}
        found |= {value for value in (card.get("split") or {}).values() if isinstance(value, str)}
    return found


def catalogue() -> Catalog:
    data = (ROOT / "pages/ui/locale/zh_CN/LC_MESSAGES/medai.po").read_bytes()
    return read_po(io.BytesIO(data), locale="zh_CN", abort_invalid=True)


def fields(text: str) -> list[tuple[str, str]]:
    """Return the fields of a template with their format specifications, sorted."""
    return sorted((name, spec or "") for _, name, spec, _ in Formatter().parse(text) if name is not None)


def wanted() -> Iterator[str]:
    yield from sorted(code_messages() | card_messages())


def test_every_message_is_translated() -> None:
    known = {message.id: message for message in catalogue() if message.id}
    missing = [text for text in wanted() if text not in known or not known[text].string]
    assert not missing, f"{len(missing)} messages without Chinese:\n" + "\n".join(missing)


def test_nothing_is_fuzzy_or_obsolete() -> None:
    found = catalogue()
    assert not [message.id for message in found if message.id and message.fuzzy]
    assert not list(found.obsolete)
    stale = {message.id for message in found if message.id} - set(wanted()) - EXTRA
    assert not stale, "no code says these any more:\n" + "\n".join(sorted(stale))


# Words that reach a page as values of the core's sentences, not as sentences of their own.
EXTRA: set[str] = set()


@pytest.mark.parametrize("message", [m for m in catalogue() if m.id], ids=lambda m: m.id[:50])
def test_fields_survive_translation(message) -> None:
    assert fields(message.id) == fields(message.string)
