"""Which language a visitor reads, and the sentences of the core in that language.

The message ids are the English sentences. A catalogue is a ``.po`` file that Babel reads and compiles in
memory, so that no compiled file has to be kept in step with it.
"""

from __future__ import annotations

import gettext
import io
from functools import cache
from pathlib import Path

import streamlit as st

from medai_core.errors import MedAIError, Message

LANGUAGES = {"en": "English", "zh_CN": "中文"}
LOCALE = Path(__file__).with_name("locale")
KEY = "language"
SWITCH = "language_switch"


@cache
def catalogue(language: str) -> gettext.NullTranslations:
    """Return the compiled catalogue of one language; English needs none."""
    source = LOCALE / language / "LC_MESSAGES" / "medai.po"
    if language not in LANGUAGES or not source.exists():
        return gettext.NullTranslations()
    from babel.messages.mofile import write_mo
    from babel.messages.pofile import read_po

    compiled = io.BytesIO()
    with source.open("rb") as file:
        write_mo(compiled, read_po(file, locale=language))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


def language() -> str:
    """Return the language of this visitor: ``en`` or ``zh_CN``."""
    return st.session_state.get(KEY, "en")


def _(text: str) -> str:
    """Return ``text`` in the visitor's language, or unchanged where the catalogue has no line for it."""
    return catalogue(language()).gettext(text) if text else ""


def tell(message: Message | MedAIError | str) -> str:
    """Return a sentence of the core in the visitor's language.

    The template is looked up first and filled in afterwards; a value that is itself a word of the
    catalogue ("axial", "photograph") is translated as well.
    """
    if isinstance(message, MedAIError):
        message = message.message
    if isinstance(message, str):
        return _(message)
    values = {name: _value(value) for name, value in message.values.items()}
    return _(message.template).format(**values) if values else _(message.template)


def _value(value: object) -> object:
    if isinstance(value, Message):
        return tell(value)
    return _(value) if isinstance(value, str) else value


def first_language() -> str:
    """Return the language of the address (``?lang=zh``), else of the browser, else English."""
    wanted = st.query_params.get("lang") or st.context.locale or ""
    return next((code for code in LANGUAGES if wanted[:2].lower() == code[:2]), "en")


def language_switch() -> None:
    """Show the switch, and keep the choice in the session and in the address."""
    if KEY not in st.session_state:
        st.session_state[KEY] = first_language()
    st.segmented_control(
        "Language · 语言",
        list(LANGUAGES),
        default=language(),
        format_func=LANGUAGES.__getitem__,
        required=True,
        key=SWITCH,
        on_change=_switched,
        width="stretch",
    )
    if language() != first_language():
        st.query_params["lang"] = language()[:2]


def _switched() -> None:
    # The widget's own value is empty for a moment while the browser builds it; the choice must not be.
    st.session_state[KEY] = st.session_state[SWITCH] or language()
