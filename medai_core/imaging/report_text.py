"""Text of a printed report: translated, escaped, and set in fonts that have its characters."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from xml.sax.saxutils import escape

from reportlab.lib.colors import HexColor
from reportlab.lib.styles import ParagraphStyle
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.platypus import Paragraph

from medai_core.errors import Message, say

Translate = Callable[[Message | str], str]

LATIN, LATIN_BOLD, CHINESE = "Helvetica", "Helvetica-Bold", "STSong-Light"
INK, MUTED, BLUE = HexColor("#1b1f24"), HexColor("#57606a"), HexColor("#0072b2")
MAX_TEXT = 260
NO_BREAK = "\u00a0"
LABELS = {
    "normal": say("Normal"),
    "bacterial": say("Bacterial pneumonia"),
    "viral": say("Viral pneumonia"),
    "pneumonia": say("Pneumonia"),
    "glioma": say("Glioma"),
    "meningioma": say("Meningioma"),
    "notumor": say("No tumour"),
    "pituitary": say("Pituitary tumour"),
    "tumour": say("Tumour"),
}


class PageText:
    """Makes paragraphs: translated, escaped, and set in fonts that have the characters."""

    def __init__(self, translate: Translate) -> None:
        pdfmetrics.registerFont(UnicodeCIDFont(CHINESE))
        self._translate = translate

    def plain(self, message: Message | str) -> str:
        """The sentence or word in the language of the page."""
        return printable(self._translate(message)) if message else ""

    def label(self, code: str) -> str:
        """The word for a label of a model."""
        return self.plain(LABELS.get(code, code))

    def labels(self, codes: Iterable[str]) -> str:
        return ", ".join(self.label(code) for code in codes)

    def text(self, message: Message | str, **style: Any) -> Paragraph:
        """A paragraph of one of our sentences, or of the card's."""
        return self.verbatim(self.plain(message), **style)

    def verbatim(
        self,
        text: str,
        *,
        size: float = 8.5,
        bold: bool = False,
        colour: Any = INK,
        limit: int = MAX_TEXT,
        before: float = 0,
    ) -> Paragraph:
        """A paragraph of text that is nobody's markup and in no catalogue."""
        latin = LATIN_BOLD if bold else LATIN
        text = shortened(printable(text), limit)
        style = ParagraphStyle(
            "text", fontName=latin, fontSize=size, leading=size * 1.3, textColor=colour, spaceBefore=before,
            wordWrap="CJK" if any(_font(c) == CHINESE for c in text) else None, splitLongWords=1,
        )  # fmt: skip
        return Paragraph(_with_fonts(text), style)

    def heading(self, message: Message) -> Paragraph:
        """A section's title."""
        return self.text(message, size=9, bold=True, colour=BLUE, before=5)


def printable(text: str) -> str:
    """Drop control characters, unpaired surrogates and marks that turn the direction of writing."""
    return "".join(c if c.isprintable() or c == NO_BREAK else " " for c in text)


def shortened(text: str, limit: int) -> str:
    """Leave out the middle of a text longer than ``limit`` characters."""
    if len(text) <= limit:
        return text
    return f"{text[: limit * 2 // 3]} … {text[-limit // 3 :]}"


def _font(character: str) -> str | None:
    """Return the font that has a character, or None."""
    if character in "→≥≤−" or _encodes(character, "cp1252"):
        return LATIN  # the four signs come from the Symbol font, which stands behind Helvetica
    return CHINESE if _encodes(character, "gbk") else None


def _encodes(character: str, encoding: str) -> bool:
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def _with_fonts(text: str) -> str:
    """Return markup with each run of characters in a font that has them; what none has becomes a question mark."""
    runs: list[list[str]] = []
    for character in text:
        font = _font(character)
        shown = character if font else "?"
        if runs and runs[-1][0] == (font or LATIN):
            runs[-1][1] += shown
        else:
            runs.append([font or LATIN, shown])
    return "".join(f'<font name="{f}">{escape(t)}</font>' if f == CHINESE else escape(t) for f, t in runs)
