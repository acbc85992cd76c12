"""What every page has: a heading, the safety notice, and one calm way to say that something went wrong."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import streamlit as st

from medai_core.errors import MedAIError, Message
from pages.ui.language import _, tell
from pages.ui.theme import styles
from pages.ui.words import plain


def page(title: str, lead: str) -> None:
    """Open a page: style sheet, heading, one sentence, safety notice."""
    styles()
    st.title(title, anchor=False)
    st.html(f'<p class="medai-lead">{escape(lead)}</p>')
    safety_notice()


def safety_notice() -> None:
    """Say what this is not."""
    head = escape(_("Not a medical device."))
    body = escape(
        _("For research and teaching. Every result needs a qualified reader and must not direct care on its own.")
    )
    st.html(f'<div class="medai-notice" role="note"><b>{head}</b><span>{body}</span></div>')


def problem(error: MedAIError | Message | str, about: str = "") -> None:
    """Show what cannot be done, in one sentence, with the file it is about."""
    sentence = plain(tell(error))
    st.error(f"**{plain(about)}** · {sentence}" if about else sentence, icon=":material/error:")


def facts(rows: Sequence[tuple[str, str]]) -> None:
    """Show names and values side by side."""
    items = "".join(f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in rows if value)
    st.html(f'<dl class="medai-facts">{items}</dl>')


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Show a small table at once: Streamlit's own imports pandas and Arrow first."""
    titles = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    lines = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    st.html(f'<table class="medai-table"><thead><tr>{titles}</tr></thead><tbody>{lines}</tbody></table>')


def bullets(items: Sequence[str]) -> None:
    """Show sentences as a list."""
    st.html('<ul class="medai-list">' + "".join(f"<li>{escape(str(item))}</li>" for item in items) + "</ul>")


def chips(steps: Sequence[Message | str]) -> None:
    """Show what was done to the pixels, in order."""
    words = [f"<span>{escape(tell(step))}</span>" for step in steps]
    st.html('<p class="medai-chips">' + "<i>→</i>".join(words) + "</p>")


def stats(figures: Sequence[tuple[str, str, str]]) -> None:
    """Show a few figures, each as ``(name, value, what it means)``, two in a row."""
    cells = "".join(
        f'<div><span class="name">{escape(name)}</span><span class="value">{escape(value)}</span>'
        f'<span class="small">{escape(small)}</span></div>'
        for name, value, small in figures
    )
    st.html(f'<div class="medai-stats">{cells}</div>')
