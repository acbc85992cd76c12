"""How good are the images? The figures measured on a generator's bundle, drawn to be read at a glance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from medai_core.errors import MedAIError
from pages.ui import loaders
from pages.ui.frame import stats
from pages.ui.language import _
from pages.ui.synth_figures import Line, Row, dots, figures, shown
from pages.ui.synth_metrics import RATIO, REAL, utility_title
from pages.ui.words import capital, interval, label_name, metric_name, plain

AGREEMENT = "label agreement of the scan model"
LIKENESS = ("precision", "recall", "density", "coverage")
TRAINED = ("real", "synthetic", "a tenth of the real", "a tenth of the real and synthetic")
Found = Mapping[str, Row]


def quality_panel(model: str, labels: Sequence[str]) -> None:
    """Show what was measured: near to real, as varied as real, the right label, of use for training."""
    found = figures(model)
    if not found:
        st.caption(_("The bundle holds no figures."))
        return
    at_a_glance(found)
    left, right = st.columns(2, gap="large")
    with left:
        distances(found)
        useful(found)
    with right:
        likeness(found)
        agreement(found, labels)
    variety(found, labels)
    with st.expander(_("All figures"), icon=":material/table_rows:"):
        table(found)
    notes(model)


def notes(model: str) -> None:
    """Say how the figures were found, as the bundle does."""
    bundle = loaders.bundle(model)
    card, metrics = ({}, {}) if isinstance(bundle, MedAIError) else (bundle.card, bundle.metrics)
    for line in (card.get("metrics_note", ""), *metrics.get("notes", [])):
        if line:
            st.caption(plain(_(line)))


def at_a_glance(found: Found) -> None:
    """Show the four figures that answer most questions."""
    title = utility_title(found)
    cards = []
    if row := found.get(f"Fréchet distance{RATIO}"):
        cards.append((_("Distance to real images"), f"{row['value']:.1f} ×", _("that of real images among themselves")))
    if row := found.get(AGREEMENT):
        cards.append((_("Right label"), f"{row['value']:.0%}", _("of the images, as the scan model sees them")))
    pair = [found.get(f"{title}, trained on {name}") for name in ("synthetic", "real")]
    if all(pair):
        words = _("of a small network that learnt from them; from real images {real}")
        cards.append((metric_name(title), f"{pair[0]['value']:.3f}", words.format(real=f"{pair[1]['value']:.3f}")))
    if row := found.get("coverage"):
        cards.append((_("Variety"), f"{row['value']:.0%}", _("of the real images have a synthetic one nearby")))
    stats(cards)


def section(title: str, words: str) -> None:
    """Open one figure with what it shows."""
    st.subheader(title, anchor=False)
    st.caption(words)


def distances(found: Found) -> None:
    """Draw both distances as multiples of what two halves of the real images have."""
    names = {"Fréchet distance": _("Fréchet distance"), "KID": _("Kernel distance")}
    lines = [Line(name, found[code + RATIO]) for code, name in names.items() if code + RATIO in found]
    if not lines:
        return
    words = _(
        "In the eyes of the scan model, as a multiple of the distance between two halves of the real images. "
        "1 would be as near as real images are to each other."
    )
    section(_("How far from real?"), words)
    high = max(line.row.get("high") or line.row["value"] for line in lines)
    dots(
        lines, "synth_distance", _("Ratio to real against real"), form=".1f", span=(0, 1.12 * max(high, 1.5)),
        reference=(1, _("real against real")),
    )  # fmt: skip


def likeness(found: Found) -> None:
    """Draw precision, recall, density and coverage beside those of real images."""
    names = {
        "precision": _("Look real (precision)"), "recall": _("Real ones reached (recall)"),
        "density": _("Among real ones (density)"), "coverage": _("Real ones covered (coverage)"),
    }  # fmt: skip
    lines = [Line(names[code], found[code], found.get(code + REAL)) for code in LIKENESS if code in found]
    if not lines:
        return
    words = _("Filled: synthetic. Hollow: two halves of the real images, the best that can be reached.")
    section(_("As real and as varied?"), words)
    top = max(row["value"] for line in lines for row in (line.row, line.real or line.row))
    dots(lines, "synth_likeness", _("Likeness to real images"), span=(0, max(1.04, 1.1 * top)))


def agreement(found: Found, labels: Sequence[str]) -> None:
    """Draw how often the scan model sees the label that was asked for."""
    named = {AGREEMENT: _("All labels")} | {f"{AGREEMENT}, {label}": label_name(label) for label in labels}
    lines = [Line(name, found[code], plain=code == AGREEMENT) for code, name in named.items() if code in found]
    if not lines:
        return
    section(
        _("Do the labels mean something?"), _("Share of the images to which the scan model gives the label asked for.")
    )
    low = min(line.row.get("low") or line.row["value"] for line in lines)
    dots(lines, "synth_agreement", _("Label agreement"), form=".0%", span=(min(0.5, low - 0.05), 1.03))


def useful(found: Found) -> None:
    """Draw how a small network does on real images after learning from synthetic and from real ones."""
    title = utility_title(found)
    names = {
        "real": _("real images"), "synthetic": _("as many synthetic ones"),
        "a tenth of the real": _("a tenth of the real ones"),
        "a tenth of the real and synthetic": _("a tenth, and synthetic ones"),
    }  # fmt: skip
    lines = [
        Line(names[name], found[f"{title}, trained on {name}"], plain="synthetic" not in name)
        for name in TRAINED if f"{title}, trained on {name}" in found
    ]  # fmt: skip
    if not lines:
        return
    words = _("{figure} of a small network on real images of other patients, by what it learnt from.")
    section(_("Of use for training?"), words.format(figure=metric_name(title)))
    dots(lines, "synth_useful", metric_name(title), form=".3f")
    gains = {
        f"{title}, synthetic less real": _("Synthetic less real"),
        f"{title}, gain from synthetic beside a tenth of the real": _("Gain from adding synthetic images to a tenth"),
    }
    said = [f"{words}: {shown(found[code], '+.3f')}" for code, words in gains.items() if code in found]
    if said:
        st.caption(" · ".join(said))


def variety(found: Found, labels: Sequence[str]) -> None:
    """Draw how alike two images of one label are, synthetic and real."""
    lines = [
        Line(label_name(label), found[f"MS-SSIM within {label}, synthetic"], found.get(f"MS-SSIM within {label}, real"))
        for label in labels if f"MS-SSIM within {label}, synthetic" in found
    ]  # fmt: skip
    if lines:
        words = _(
            "Structural similarity (MS-SSIM) of two random images of one label; more alike than real ones (hollow) "
            "would mean that the generator repeats itself."
        )
        section(_("Does it repeat itself?"), words)
        dots(lines, "synth_variety", _("Similarity within a label"))


def table(found: Found) -> None:
    """Show every figure with its interval and its number of images."""
    rows = list(found.values())
    st.dataframe(
        {
            _("Figure"): [capital(metric_name(row["metric"])) for row in rows],
            _("Value (95% interval)"): [interval(row) for row in rows],
            "n": [row.get("n") for row in rows],
        },
        hide_index=True, key="synth_figures", height="content",
    )  # fmt: skip
