"""One A4 page for one reading, laid out so that it stays one page whatever the texts are."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Flowable, Image, KeepInFrame, Paragraph, Spacer, Table

from medai_core.errors import Message, say
from medai_core.imaging.explain import Explanation
from medai_core.imaging.reading import Reading
from medai_core.imaging.report_text import BLUE, INK, MUTED, PageText, Translate, printable, shortened
from medai_core.metrics import Interval

DISCLAIMER = say("Not a medical device. For research and teaching; a qualified reader decides.")
NO_LOCALISATION = say("A heat map is no localisation: it shows what moved the model's answer, not where disease is.")
MARGIN = 15 * mm
WIDTH, HEIGHT = A4[0] - 2 * MARGIN, A4[1] - 2 * MARGIN
IMAGE_SIDE, PRINTED_PX = 52 * mm, 384
LINE, ORANGE = HexColor("#d0d7de"), HexColor("#b34a00")
MAX_LABELS, MAX_ITEMS, MAX_TRACE = 8, 4, 16


def report_pdf(
    reading: Reading,
    file_name: str,
    card: Mapping[str, Any] | None,
    overlay_image: NDArray[np.uint8] | None = None,
    *,
    explanation: Explanation | None = None,
    metrics: Mapping[str, Any] | None = None,
    model_digest: str | None = None,
    created: str | None = None,
    translate: Translate = str,
) -> bytes:
    """Return the report of a reading as a PDF of one A4 page; the same arguments give the same bytes.

    Parameters
    ----------
    reading : Reading
        Read or refused.
    file_name : str
        Printed as text; long ones are shortened in the middle.
    card, metrics : mapping, optional
        The model's card and metrics as in its bundle; None when no model was chosen.
    overlay_image : NDArray[np.uint8], optional
        (H, W, 3), the scan with its heat map.
    explanation : Explanation, optional
        Its check of itself is printed below the map.
    translate : callable
        Turns a sentence or a word into the language of the page; Chinese is set in STSong-Light.
    """
    page = PageText(translate)
    card = card or {}
    story = [
        page.text(say("Report of one reading"), size=15, bold=True),
        page.text(DISCLAIMER, bold=True, colour=ORANGE),
        *_file_lines(page, reading, file_name, created),
        rule(),
        _pictures_and_answer(page, reading, overlay_image, explanation),
        *(_probability_lines(page, reading) if reading.status == "read" else _gate_lines(page, reading)),
        *_cautions(page, reading),
        *_operating_point(page, reading),
        *_purpose(page, card),
        *_performance(page, card, metrics or {}),
        *_trace(page, reading),
        rule(),
        *_identity(page, reading, card, model_digest),
    ]
    return _one_page(story, page.plain(say("Report of one reading")))


def _one_page(story: Sequence[Flowable], title: str) -> bytes:
    """Draw the story, shrunk when it is longer than the page."""
    file = io.BytesIO()
    canvas = Canvas(file, pagesize=A4, invariant=1, pageCompression=1)
    canvas.setTitle(title)
    canvas.setCreator("MedAI")
    block = KeepInFrame(WIDTH, HEIGHT, list(story), mode="shrink")
    _, height = block.wrapOn(canvas, WIDTH, HEIGHT)
    block.drawOn(canvas, MARGIN, A4[1] - MARGIN - height)
    canvas.save()
    return file.getvalue()


# ---------------------------------------------------------------------------------------------- numbers


def percent(share: float | None) -> str:
    if share is None or not math.isfinite(share):
        return "–"
    if 0 < share < 0.001:
        return "< 0.1\u00a0%"
    return "> 99.9\u00a0%" if 0.999 < share < 1 else f"{100 * share:.1f}\u00a0%"


def _interval(value: Interval) -> str:
    return f"{percent(value.value)} ({percent(value.low)} – {percent(value.high)})"


# --------------------------------------------------------------------------------------------- sections


def _file_lines(page: PageText, reading: Reading, file_name: str, created: str | None) -> list[Flowable]:
    lines = [
        # Outside the message: a translator of messages translates their values too, and a name is no word.
        page.verbatim(f"{page.plain(say('File'))}: {shortened(printable(file_name), 120)}"),
        page.text(say("SHA-256 of the file: {digest}", digest=reading.digest), size=7, colour=MUTED),
    ]
    if reading.frames > 1:
        number = say("Frame {number} of {total}", number=reading.frame + 1, total=reading.frames)
        lines.append(page.text(number, size=7, colour=MUTED))
    if created:
        lines.append(page.verbatim(f"{page.plain(say('Written'))}: {created}", size=7, colour=MUTED))
    return lines


def _pictures_and_answer(
    page: PageText, reading: Reading, overlay_image: NDArray[np.uint8] | None, explanation: Explanation | None
) -> Table:
    cells: list[list[Flowable]] = []
    if reading.prepared is not None:
        grey = np.rint(np.clip(reading.prepared, 0, 1) * 255).astype(np.uint8)
        cells.append([_picture(grey), page.text(say("What the network saw"), size=7, colour=MUTED)])
    if overlay_image is not None:
        cells.append([_picture(overlay_image), *_map_lines(page, explanation)])
    answer = _answer_lines(page, reading) if reading.status == "read" else _refusal_lines(page, reading)
    cells.append(answer)
    widths = [IMAGE_SIDE + 3 * mm] * (len(cells) - 1)
    return bare_table([cells], [*widths, WIDTH - sum(widths)])


def _picture(pixels: NDArray[np.uint8]) -> Image:
    picture = PillowImage.fromarray(np.squeeze(pixels))
    picture = picture.resize((PRINTED_PX, PRINTED_PX), PillowImage.Resampling.BILINEAR)
    file = io.BytesIO()
    picture.save(file, "PNG")
    return Image(io.BytesIO(file.getvalue()), IMAGE_SIDE, IMAGE_SIDE, hAlign="LEFT")


def _map_lines(page: PageText, found: Explanation | None) -> list[Paragraph]:
    lines = []
    if found is not None:
        method = {"grad_cam": "Grad-CAM", "shap": "SHAP"}[found.method]
        lines.append(say("{method} for “{label}”", method=method, label=page.label(found.label)))
        if found.additivity_gap is not None:
            gap = f"{found.additivity_gap:.2f} ± {found.additivity_error or 0.0:.2f}"
            lines.append(say("Additivity gap {gap} in log-odds", gap=gap))
        if found.faithful is not None:
            good = say("Check: better than every random order")
            lines.append(good if found.faithful else say("Check: a random order did as well, do not rely on it"))
    return [page.text(line, size=7, colour=MUTED) for line in (*lines, NO_LOCALISATION)]


def _answer_lines(page: PageText, reading: Reading) -> list[Flowable]:
    point = reading.operating_point
    lines = [page.text(say("Answer: {label}", label=page.label(reading.label or "")), size=12, bold=True)]
    if point is not None and reading.probabilities.get(reading.label or "", 1.0) < max(reading.probabilities.values()):
        lines.append(page.text(say(
            "The name follows the threshold for {finding}, to which all its labels count together; among those on its "
            "side of the threshold, “{label}” is the likeliest.",
            finding=page.label(point.finding), label=page.label(reading.label or ""),
        ), size=7.5, colour=MUTED))  # fmt: skip
    if point is not None and reading.finding_probability is not None:
        values = {"finding": page.label(point.finding), "p": percent(reading.finding_probability)}
        lines.append(page.text(say("{finding}: calibrated probability {p}", **values), size=10))
        side = (
            say("Above the threshold of {threshold}", threshold=percent(point.threshold))
            if reading.above_threshold
            else say("Below the threshold of {threshold}", threshold=percent(point.threshold))
        )
        lines.append(page.text(side))
    lines.append(page.text(say("Prediction set: {labels}", labels=page.labels(reading.prediction_set))))
    if reading.refer:
        refer = say("Refer to a reader: the prediction set holds more than one label.")
        lines.append(page.text(refer, bold=True, colour=ORANGE))
    else:
        lines.append(page.text(say("The prediction set holds one label.")))
    return [part for line in lines for part in (line, Spacer(1, 2))]


def _refusal_lines(page: PageText, reading: Reading) -> list[Flowable]:
    return [
        page.text(say("Not read: refused"), size=12, bold=True, colour=ORANGE),
        Spacer(1, 2),
        page.text(reading.reason or reading.code, size=10),
        Spacer(1, 2),
        page.text(say("No probability is given for an image that no model here was made for."), colour=MUTED),
    ]


def _probability_lines(page: PageText, reading: Reading) -> list[Flowable]:
    ranked = sorted(reading.probabilities.items(), key=lambda item: -item[1])
    point = reading.operating_point
    rows = []
    if point is not None and reading.finding_probability is not None:
        bar = Bar(reading.finding_probability, ORANGE, point.threshold)
        finding = page.text(page.label(point.finding), bold=True, limit=60)
        rows.append([finding, bar, page.verbatim(percent(reading.finding_probability), bold=True)])
    for label, share in ranked[:MAX_LABELS]:
        rows.append([page.verbatim(page.label(label), limit=60), Bar(share, BLUE), page.verbatim(percent(share))])
    lines: list[Flowable] = [
        page.heading(say("Calibrated probabilities")),
        bare_table(rows, [45 * mm, 110 * mm, 25 * mm]),
    ]
    if len(ranked) > MAX_LABELS:
        rest = sum(share for _, share in ranked[MAX_LABELS:])
        more = say("{count} more labels together: {p}", count=len(ranked) - MAX_LABELS, p=percent(rest))
        lines.append(page.text(more, size=7, colour=MUTED))
    return lines


def _gate_lines(page: PageText, reading: Reading) -> list[Flowable]:
    signals = reading.gate.signals if reading.gate else ()
    if not signals:
        return []
    lines: list[Flowable] = [page.heading(say("What the gate measured"))]
    for signal in signals[:MAX_LABELS]:
        values = {"name": page.plain(signal.name), "value": f"{signal.value:.3g}", "limit": f"{signal.limit:.3g}"}
        over = say("{name}: {value}, above its limit of {limit}", **values)
        lines.append(page.text(over if signal.exceeded else say("{name}: {value}, limit {limit}", **values)))
    return lines


def _cautions(page: PageText, reading: Reading) -> list[Flowable]:
    if not reading.cautions:
        return []
    shown = [page.text(caution, bold=True, colour=ORANGE) for caution in reading.cautions[:MAX_ITEMS]]
    return [page.heading(say("Caution")), *shown]


def _operating_point(page: PageText, reading: Reading) -> list[Flowable]:
    point = reading.operating_point
    if point is None:
        return []
    name = say(
        "Operating point “{name}”: {finding} from {threshold}",
        name=page.plain(point.name),
        finding=page.label(point.finding),
        threshold=percent(point.threshold),
    )
    costs = say(
        "On unseen cases, with 95 % intervals: sensitivity {sensitivity}, specificity {specificity}",
        sensitivity=_interval(point.sensitivity),
        specificity=_interval(point.specificity),
    )
    return [page.heading(name), page.text(costs)]


def _purpose(page: PageText, card: Mapping[str, Any]) -> list[Flowable]:
    def column(title: Message, key: str) -> list[Flowable]:
        items = [str(item) for item in card.get(key, ())][:MAX_ITEMS]
        return [page.heading(title), *(page.verbatim("• " + page.plain(item), size=7.5) for item in items)]

    if not (card.get("intended_use") or card.get("not_for")):
        return []
    columns = [column(say("What the model is for"), "intended_use"), column(say("What it is not for"), "not_for")]
    lines: list[Flowable] = [bare_table([columns], [WIDTH / 2, WIDTH / 2])]
    if card.get("population"):
        population = page.plain(str(card["population"]))
        lines.append(page.text(say("Trained on: {population}", population=population), size=7.5, limit=400))
    return lines


def _performance(page: PageText, card: Mapping[str, Any], metrics: Mapping[str, Any]) -> list[Flowable]:
    figures = list(metrics.get("figures", ()))
    own = [row for row in figures if row.get("split") == "test"]
    shown = [*own[:5], *[row for row in figures if row not in own][:2]]
    if not shown:
        return []
    rows = [[page.text(title, size=7.5, bold=True) for title in _COLUMNS]]
    for row in shown:
        value = "{value:.3f} ({low:.3f} – {high:.3f})".format(
            **{k: _number(row.get(k)) for k in ("value", "low", "high")}
        )
        cells = (page.plain(str(row["metric"])), value, str(row.get("n", "")), page.plain(str(row.get("split", ""))))
        rows.append([page.verbatim(cell, size=7.5, limit=80) for cell in cells])
    table = bare_table(rows, [70 * mm, 50 * mm, 20 * mm, 40 * mm])
    lines: list[Flowable] = [page.heading(say("Performance on unseen cases")), table]
    if card.get("metrics_note"):
        lines.append(page.text(str(card["metrics_note"]), size=7, colour=MUTED))
    return lines


_COLUMNS = (say("Figure"), say("Value (95 % interval)"), say("Images"), say("Measured on"))


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)


def _trace(page: PageText, reading: Reading) -> list[Flowable]:
    if not reading.trace:
        return []
    steps = [shortened(page.plain(step), 120) for step in reading.trace[:MAX_TRACE]]
    return [
        page.heading(say("What was done to the pixels")),
        page.verbatim(" → ".join(steps), size=7.5, limit=900),
    ]


def _identity(page: PageText, reading: Reading, card: Mapping[str, Any], digest: str | None) -> list[Flowable]:
    if reading.model is None:
        return [page.text(DISCLAIMER, size=7, colour=MUTED)]
    name = page.plain(str(card.get("name", reading.model)))
    model = say("Model: {name} ({id}), version {version}", name=name, id=reading.model, version=reading.version or "–")
    lines = [page.text(model, size=7, colour=MUTED)]
    if digest:
        lines.append(page.text(say("Digest of the model: {digest}", digest=digest), size=7, colour=MUTED))
    return [*lines, page.text(DISCLAIMER, size=7, colour=MUTED)]


# ---------------------------------------------------------------------------------------------- drawing


class Bar(Flowable):
    """A probability as a bar, with a tick at a threshold."""

    def __init__(self, share: float, colour: HexColor, threshold: float | None = None) -> None:
        super().__init__()
        self._share, self._colour, self._threshold = min(max(share, 0.0), 1.0), colour, threshold

    def wrap(self, width: float, height: float) -> tuple[float, float]:
        self.width, self.height = width, 8.0
        return self.width, self.height

    def draw(self) -> None:
        self.canv.setFillColor(LINE)
        self.canv.rect(0, 1, self.width, 6, stroke=0, fill=1)
        self.canv.setFillColor(self._colour)
        self.canv.rect(0, 1, self.width * self._share, 6, stroke=0, fill=1)
        if self._threshold is not None:
            self.canv.setFillColor(INK)
            self.canv.rect(self.width * self._threshold - 0.5, -0.5, 1, 9, stroke=0, fill=1)


def rule() -> Table:
    return Table([[""]], [WIDTH], [5], style=[("LINEBELOW", (0, 0), (-1, -1), 0.5, LINE)])


def bare_table(rows: Sequence[Sequence[Any]], widths: Sequence[float]) -> Table:
    style = [
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("LEFTPADDING", (0, 0), (-1, -1), 0),
        ("RIGHTPADDING", (0, 0), (-1, -1), 6),
        ("TOPPADDING", (0, 0), (-1, -1), 1),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 1),
    ]
    return Table(rows, widths, style=style, hAlign="LEFT")
