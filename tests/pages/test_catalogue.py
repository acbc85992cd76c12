"""The catalogues: every sentence of the pages and of the core, translated, with the same fields."""

from __future__ import annotations

import ast
import io
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from string import Formatter

import pytest
import yaml
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po

from medai_core.errors import say
from medai_core.icu.cards import CARDS as ICU_CARDS
from medai_core.imaging.cards import CARDS
from medai_core.synthesis.cards import CARDS as SYNTHESIS_CARDS
from medai_core.tabular.cards import CARDS as TABLE_CARDS
from medai_core.tabular.cards import OWN
from medai_core.tabular.treatment_cards import CARD as TREATMENT_CARD

ROOT = Path(__file__).parents[2]
CALLS = {"_", "say", "MedAIError", "InputError", "RefusedInput", "ArtifactError"}
CARD_TEXTS = ("name", "summary", "population", "metrics_note")
CARD_LISTS = ("intended_use", "not_for", "failure_modes", "explanation_notes", "notes")


def code_messages() -> set[str]:
    """Return the first argument of every call that makes a sentence, in app, pages and core.

    Read from the syntax tree, because Babel's own extractor does not look into f-strings; a class derived
    from one of the errors counts like the error.
    """
    files = [ROOT / "app.py", *(ROOT / "pages").rglob("*.py"), *(ROOT / "medai_core").rglob("*.py")]
    nodes = [node for path in files for node in ast.walk(ast.parse(path.read_text("utf-8")))]
    derived = {
        node.name for node in nodes
        if isinstance(node, ast.ClassDef) and any(isinstance(b, ast.Name) and b.id in CALLS for b in node.bases)
    }  # fmt: skip
    return {
        node.args[0].value for node in nodes
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CALLS | derived
        and node.args and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str)
    }  # fmt: skip


def card_messages() -> set[str]:
    """Return the prose of the cards and the titles of the samples: data, and still shown on pages."""
    shipped = [yaml.safe_load(path.read_text("utf-8")) for path in (ROOT / "assets/models").glob("*/card.yaml")]
    found: set[str] = set()
    tables = [*TABLE_CARDS.values(), OWN, TREATMENT_CARD]
    for card in [*CARDS.values(), *ICU_CARDS.values(), *SYNTHESIS_CARDS.values(), *tables, *shipped]:
        found |= {card[field] for field in CARD_TEXTS if card.get(field)}
        found |= {text for field in CARD_LISTS for text in card.get(field, [])}
        found.add((card.get("split") or {}).get("method", ""))
        found |= {str((card.get("training_data") or {}).get(field, "")) for field in ("name", "source", "licence")}
    samples = ROOT / "assets/samples.yaml"
    if samples.exists():
        found |= {row["title"] for row in yaml.safe_load(samples.read_text("utf-8"))}
    return found - {""}


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


def test_no_message_is_translated_twice() -> None:
    # Babel keeps one of two silently.
    text = (ROOT / "pages/ui/locale/zh_CN/LC_MESSAGES/medai.po").read_text("utf-8")
    found = Counter(re.sub(r'"\n"', "", lines) for lines in re.findall(r'^msgid (".*"(?:\n".*")*)', text, re.MULTILINE))
    assert len(found) > 500
    assert [message for message, n in found.items() if n > 1] == []


def test_fields_survive_translation() -> None:
    changed = [message.id for message in catalogue() if message.id and fields(message.id) != fields(message.string)]
    assert not changed, "other fields in Chinese:\n" + "\n".join(changed)


def test_a_sentence_of_the_core_is_translated_before_it_is_filled_in(monkeypatch: pytest.MonkeyPatch) -> None:
    from pages.ui import language

    monkeypatch.setattr(language, "language", lambda: "zh_CN")
    told = language.tell(say("{plane} slice {number} of {total}", plane="axial", number=3, total=9))
    assert told == "轴位第 3/9 层"
    assert language.tell("no such message") == "no such message"
    assert language.tell("") == ""
