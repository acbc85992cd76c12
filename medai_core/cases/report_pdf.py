"""The report of a study as a PDF to print: patient, what the models said, what the readers said.

Text, bars and tables are those of the report of one reading (:mod:`medai_core.imaging.report_pdf`); this one has as
many pages as it needs.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from reportlab.lib.pagesizes import A4
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import BaseDocTemplate, Flowable, Frame, Image, PageTemplate, Spacer

from medai_core.cases.answers import Finding, Identity
from medai_core.cases.report_answer import Answer, Estimate
from medai_core.cases.report_codes import status_of, word
from medai_core.cases.report_facts import KINDS, ReportFacts, ReviewFacts, Source, person
from medai_core.errors import Message, say
from medai_core.imaging.report_pdf import (
    DISCLAIMER,
    MARGIN,
    NO_LOCALISATION,
    ORANGE,
    PRINTED_PX,
    WIDTH,
    Bar,
    bare_table,
    percent,
    rule,
)
from medai_core.imaging.report_text import BLUE, MUTED, PageText, Translate

TITLE = say("Report of a study")
SHOWN = 4
"""Objects told in full, the most urgent ones; the others get one line each."""
LISTED, LABELS, COURSE, CAUTIONS, FINDINGS = 60, 8, 12, 6, 40
PICTURE_SIDE, FOOT = 62 * mm, 12 * mm
LONG_TEXT = 4000
_NOT_READ = {
    "refused": say("Not read: refused"),
    "failed": say("Not read: the reading failed"),
    "waiting": say("No model has read this yet."),
}
_NAMES = {"location": say("Location"), "confidence": say("How sure"), "comment": say("Description")}
_CONFIDENCE = {"low": say("Low"), "moderate": say("Moderate"), "high": say("High")}
_SEXES = {"F": say("female"), "M": say("male"), "O": say("other")}


def pdf(facts: ReportFacts, *, translate: Translate = str) -> bytes:
    """Return the report as PDF of A4 pages; the same facts give the same bytes.

    Parameters
    ----------
    translate : callable
        Turns a sentence or a word into the language of the page; Chinese is set in STSong-Light.
    """
    page = PageText(translate)
    shown = sorted(facts.sources, key=lambda source: -(source.answer.urgency if source.answer else 0.0))[:SHOWN]
    shown = [source for source in facts.sources if any(source is one for one in shown)]
    story = [
        page.text(TITLE, size=15, bold=True),
        page.text(DISCLAIMER, bold=True, colour=ORANGE),
        *_standing(page, facts),
        *_about(page, facts),
        *(line for number, review in enumerate(facts.reviews, 1) for line in _review(page, review, number)),
        *(line for source in shown for line in _source(page, facts, source)),
        *_others(page, facts, shown),
        rule(),
        page.text(NO_LOCALISATION, size=7, colour=MUTED),
    ]
    return _pages(page, story)


def _pages(page: PageText, story: list[Flowable]) -> bytes:
    """Lay the story out on as many pages as it needs, each with the disclaimer and its number."""

    def foot(canvas: Canvas, document: BaseDocTemplate) -> None:
        number = page.text(say("Page {number}", number=document.page), size=7, colour=MUTED)
        for line, left in ((page.text(DISCLAIMER, size=7, colour=MUTED), MARGIN), (number, A4[0] - MARGIN - 15 * mm)):
            line.wrapOn(canvas, WIDTH, FOOT)
            line.drawOn(canvas, left, MARGIN - FOOT / 2)

    file = io.BytesIO()
    document = BaseDocTemplate(
        file, pagesize=A4, invariant=1, title=page.plain(TITLE), creator="MedAI", author="MedAI",
        leftMargin=MARGIN, rightMargin=MARGIN, topMargin=MARGIN, bottomMargin=MARGIN + FOOT / 2,
    )  # fmt: skip
    frame = Frame(
        MARGIN, MARGIN + FOOT / 2, WIDTH, A4[1] - 2 * MARGIN - FOOT / 2,
        leftPadding=0, rightPadding=0, topPadding=0, bottomPadding=0,
    )  # fmt: skip
    document.addPageTemplates([PageTemplate(frames=[frame], onPage=foot)])
    document.build(story)
    return file.getvalue()


# ------------------------------------------------------------------------------------------------- who, what


def _standing(page: PageText, facts: ReportFacts) -> list[Flowable]:
    """How far the report may be relied on."""
    told = {
        "final": say("Reviewed by a reader."),
        "preliminary": say("Preliminary: no reader has reviewed this study."),
        "refused": say("Not read: refused. No reader has reviewed this study."),
    }[facts.status]
    return [page.text(told, size=10, bold=True, colour=BLUE if facts.status == "final" else ORANGE), Spacer(1, 4)]


def _about(page: PageText, facts: ReportFacts) -> list[Flowable]:
    who = facts.identity
    rows = _who(page, facts, who) if who else [(say("Patient, by pseudonym"), facts.pseudonym)]
    rows += [
        (say("Kind of study"), page.plain(KINDS[facts.kind])),
        (say("Description"), facts.description),
        (say("Day of the examination"), facts.study_date.isoformat() if facts.study_date else ""),
        (say("Arrived"), _time(facts.arrived) if facts.arrived else ""),
        (say("Written"), _time(facts.written)),
        (say("Study identifier"), facts.study if facts.kind == "scan" else ""),
    ]
    cells = [[page.text(name, colour=MUTED), page.verbatim(value)] for name, value in rows if value]
    return [rule(), bare_table(cells, [45 * mm, WIDTH - 45 * mm]), rule()]


def _who(page: PageText, facts: ReportFacts, who: Identity) -> list[tuple[Message, str]]:
    return [
        (say("Patient"), person(who.person_name)),
        (say("Patient number"), f"{who.patient_id} ({who.issuer})" if who.issuer else who.patient_id),
        (say("Born"), who.birth_date.isoformat() if who.birth_date else ""),
        (say("Sex"), page.plain(_SEXES[who.sex]) if who.sex in _SEXES else ""),
        (say("Accession number"), facts.accession),
    ]


def _time(when: Any) -> str:
    return when.isoformat(sep=" ", timespec="minutes")


# --------------------------------------------------------------------------------------------------- reviews


def _review(page: PageText, review: ReviewFacts, number: int) -> list[Flowable]:
    verdicts = {
        True: say("Agrees with the model's answer."),
        False: say("Overrules the model's answer."),
        None: say("There was no answer of a model to compare with."),
    }
    lines: list[Flowable] = [
        page.heading(say("Review {number}", number=number)),
        page.text(say("Reader's answer: {label}", label=_word(page, review.label)), size=12, bold=True),
        page.text(verdicts[review.agrees], bold=True, colour=ORANGE if review.agrees is False else BLUE),
    ]
    if review.reason:
        # Outside the message: a translator of messages translates their values too, and this is nobody's catalogue.
        lines.append(page.verbatim(f"{page.plain(say('Reason'))}: {review.reason}", limit=LONG_TEXT))
    details = [_detail(page, name, value) for name, value in _first(review.findings, FINDINGS)]
    details += [f"{page.plain(say('Also'))}: {_finding_beside(page, one)}" for one in review.also]
    lines += [page.verbatim(f"• {detail}", limit=LONG_TEXT) for detail in details]
    if review.first:
        lines.append(page.text(say("Read before the model's answer was shown."), size=7, colour=MUTED))
    told = [_time(review.committed)] if review.committed else []
    if review.reader:
        told.insert(0, f"{page.plain(say('Reader'))}: {person(review.reader)}")
    if review.seconds is not None:
        told.append(page.plain(say("{seconds} seconds to the decision", seconds=round(review.seconds))))
    return [*lines, *([page.verbatim(" · ".join(told), size=7, colour=MUTED)] if told else [])]


def _detail(page: PageText, name: str, value: str) -> str:
    """Words of the form in the language of the page, a reader's own as they are."""
    told = page.plain(_CONFIDENCE[value]) if name == "confidence" and value in _CONFIDENCE else value
    return f"{page.plain(_NAMES[name]) if name in _NAMES else name}: {told}"


def _finding_beside(page: PageText, finding: Finding) -> str:
    details = {"location": finding.location, "confidence": finding.confidence}
    return "; ".join(
        [_word(page, finding.label), *(_detail(page, name, value) for name, value in details.items() if value)]
    )


def _first(findings: Any, count: int) -> list[tuple[str, str]]:
    return [(str(name), str(value)) for name, value in findings.items()][:count]


# --------------------------------------------------------------------------------------------------- objects


def _source(page: PageText, facts: ReportFacts, source: Source) -> list[Flowable]:
    answer = source.answer
    number = next(k for k, one in enumerate(facts.sources, start=1) if one is source)
    lines: list[Flowable] = [page.heading(_numbered(facts, number))]
    pictures = [part for part in (source.image, source.overlay) if part is not None]
    if pictures:
        lines.append(bare_table([[_picture(part) for part in pictures]], [PICTURE_SIDE + 4 * mm] * len(pictures)))
    if source.overlay is not None and source.explained:
        lines.append(page.text(source.explained, size=7, colour=MUTED))
    lines += _answer(page, answer) if answer is not None and answer.status == "read" else _no_answer(page, answer)
    if answer is not None:
        lines += [page.text(caution, bold=True, colour=ORANGE) for caution in answer.cautions[:CAUTIONS]]
        lines += _algorithm(page, answer)
    return [*lines, page.text(say("SHA-256 of the file: {digest}", digest=source.digest), size=7, colour=MUTED)]


def _numbered(facts: ReportFacts, number: int) -> Message:
    if len(facts.sources) == 1:
        return say("What the model said")
    return say("What the model said of object {number} of {total}", number=number, total=len(facts.sources))


def _picture(pixels: NDArray[np.uint8]) -> Image:
    picture = PillowImage.fromarray(np.ascontiguousarray(pixels))
    scale = min(PRINTED_PX, max(picture.size)) / max(picture.size)
    width, height = (max(1, round(side * scale)) for side in picture.size)
    file = io.BytesIO()
    picture.resize((width, height), PillowImage.Resampling.BILINEAR).save(file, "PNG")
    share = PICTURE_SIDE / max(width, height)
    return Image(io.BytesIO(file.getvalue()), width * share, height * share, hAlign="LEFT")


def _no_answer(page: PageText, answer: Answer | None) -> list[Flowable]:
    lines: list[Flowable] = [page.text(_NOT_READ[status_of(answer)], size=12, bold=True, colour=ORANGE)]
    if answer is not None:
        lines.append(page.text(answer.reason or answer.code, size=10, limit=LONG_TEXT))
    return lines


def _answer(page: PageText, answer: Answer) -> list[Flowable]:
    lines: list[Flowable] = []
    if answer.label:
        lines.append(page.text(say("Answer: {label}", label=_word(page, answer.label)), size=12, bold=True))
    lines += _finding(page, answer)
    if answer.prediction_set:
        labels = ", ".join(_word(page, label) for label in answer.prediction_set)
        lines.append(page.text(say("Prediction set: {labels}", labels=labels)))
    if answer.refer:
        lines.append(page.text(say("Refer to a reader in any case."), bold=True, colour=ORANGE))
    if answer.probabilities:
        rows = [
            [page.verbatim(_word(page, label), limit=60), Bar(share, BLUE), page.verbatim(percent(share))]
            for label, share in answer.ranked[:LABELS]
        ]
        lines += [
            page.heading(say("Calibrated probabilities")),
            bare_table(rows, [45 * mm, WIDTH - 70 * mm, 25 * mm]),
        ]
    return [*lines, *_estimates(page, answer.estimates)]


def _finding(page: PageText, answer: Answer) -> list[Flowable]:
    if answer.finding is None or answer.finding_probability is None:
        return []
    values = {"finding": _word(page, answer.finding), "p": percent(answer.finding_probability)}
    lines: list[Flowable] = [page.text(say("{finding}: calibrated probability {p}", **values), size=10)]
    if answer.threshold is not None and answer.above_threshold is not None:
        threshold = percent(answer.threshold)
        above = say("Above the threshold of {threshold}", threshold=threshold)
        below = say("Below the threshold of {threshold}", threshold=threshold)
        lines.append(page.text(above if answer.above_threshold else below))
    return lines


def _estimates(page: PageText, estimates: Sequence[Estimate]) -> list[Flowable]:
    """A table of the numbers; of a long course evenly spaced hours, the last one always among them."""
    if not estimates:
        return []
    step = max(1, -(-len(estimates) // COURSE))
    kept = estimates[::-1][::step][::-1]
    rows = [[page.text(title, size=7.5, bold=True) for title in _COLUMNS]]
    for estimate in kept:
        between = " – ".join(_amount(estimate, limit) for limit in (estimate.low, estimate.high) if limit is not None)
        hour = "" if estimate.hour is None else str(estimate.hour)
        cells = (page.plain(estimate.name), hour, _amount(estimate, estimate.value), between)
        rows.append([page.verbatim(cell, size=7.5, limit=80) for cell in cells])
    heading = page.heading(say("Estimates of the model"))
    return [heading, bare_table(rows, [70 * mm, 20 * mm, 35 * mm, WIDTH - 125 * mm])]


_COLUMNS = (say("Figure"), say("Hour"), say("Value"), say("Range"))


def _amount(estimate: Estimate, value: float) -> str:
    return percent(value) if estimate.unit == "1" else f"{value:.4g} {estimate.unit}".strip()


def _algorithm(page: PageText, answer: Answer) -> list[Flowable]:
    if answer.model is None:
        return []
    name = page.plain(answer.title) if answer.title else answer.model
    version = answer.version or "–"
    model = say("Model: {name} ({id}), version {version}", name=name, id=answer.model, version=version)
    lines: list[Flowable] = [page.text(model, size=7, colour=MUTED)]
    if answer.digest:
        lines.append(page.text(say("Digest of the model: {digest}", digest=answer.digest), size=7, colour=MUTED))
    return lines


def _others(page: PageText, facts: ReportFacts, shown: Sequence[Source]) -> list[Flowable]:
    """One line for each object that was not told in full."""
    rest = [
        (number, source) for number, source in enumerate(facts.sources, start=1)
        if not any(source is one for one in shown)
    ]  # fmt: skip
    if not rest:
        return []
    rows = []
    for number, source in rest[:LISTED]:
        told = _in_short(page, source.answer)
        rows.append([page.verbatim(str(number), size=7.5), page.verbatim(told, size=7.5)])
    lines: list[Flowable] = [
        page.heading(say("The other objects of the study")),
        bare_table(rows, [15 * mm, WIDTH - 15 * mm]),
    ]
    if len(rest) > LISTED:
        lines.append(page.text(say("{count} more objects are in the JSON report.", count=len(rest) - LISTED)))
    return lines


def _in_short(page: PageText, answer: Answer | None) -> str:
    if answer is None or answer.status != "read":
        reason = page.plain(answer.reason) if answer is not None else ""
        return f"{page.plain(_NOT_READ[status_of(answer)])} {reason}".strip()
    if answer.label:
        share = answer.probabilities.get(answer.label)
        return f"{_word(page, answer.label)} {percent(share)}"
    return percent(answer.finding_probability)


def _word(page: PageText, label: str) -> str:
    return page.plain(word(label))
