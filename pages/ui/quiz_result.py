"""The result of a reader test: the share of right answers against guessing, by label, image by image, to keep."""

from __future__ import annotations

import json

import plotly.graph_objects as go
import streamlit as st

from medai_core.synthesis.reader_test import RECORD, SYNTHETIC, Score, records, score, summary
from pages.ui import loaders
from pages.ui.charts import draw
from pages.ui.frame import table
from pages.ui.language import _
from pages.ui.queue import csv_table
from pages.ui.quiz_ask import Quiz, choice_name
from pages.ui.synth_grid import Picture, pictures
from pages.ui.theme import accent, muted
from pages.ui.words import interval, label_name


def result(quiz: Quiz) -> None:
    """Show the score of what was answered."""
    found = score(quiz.test)
    share = found.share
    if not quiz.test.done:
        st.info(
            _("Stopped after {n} of {all} images; the result is about these.").format(
                n=found.answered, all=len(quiz.test.questions)
            ),
            icon=":material/pause_circle:",
        )
    left, right = st.columns([4, 7], gap="large", vertical_alignment="center")
    with left:
        st.metric(_("Right answers"), f"{share.value:.0%}")
        st.caption(
            _("{right} of {n}; 95% interval {low} to {high}").format(
                right=found.right, n=found.answered, low=f"{share.low:.0%}", high=f"{share.high:.0%}"
            )
        )
        st.caption(_("Median time: {s} s an image").format(s=f"{found.median_seconds:.1f}"))
    with right:
        against_chance(found)
    st.write(verdict(found))
    by_label(found, quiz.practice)
    downloads(quiz)
    with st.expander(_("Image by image"), icon=":material/grid_view:"):
        review(quiz)


def verdict(found: Score) -> str:
    """Return in words what the interval says about guessing."""
    chance = f"{found.chance:.0%}"
    words = {
        "above": _("Better than guessing: the whole interval lies above {chance}."),
        "below": _("Worse than guessing: the whole interval lies below {chance}, as if the answers were swapped."),
        "chance": _("Not distinguishable from guessing: the interval holds {chance}. That is no proof that nobody can "
                    "tell; more images make the interval shorter."),
    }  # fmt: skip
    return words[found.verdict].format(chance=chance)


def against_chance(found: Score) -> None:
    """Draw the share of right answers with its interval beside what guessing gives."""
    share = found.share
    figure = go.Figure()
    figure.add_scatter(
        x=[share.low, share.high], y=[0, 0], mode="lines", line={"color": accent(), "width": 10}, opacity=0.35,
        hoverinfo="skip",
    )  # fmt: skip
    figure.add_scatter(
        x=[share.value], y=[0], mode="markers", marker={"size": 17, "color": accent()},
        hovertemplate="%{x:.0%}<extra></extra>",
    )  # fmt: skip
    figure.add_vline(x=found.chance, line_dash="dot", line_color=muted(), line_width=2)
    figure.add_annotation(
        x=found.chance, y=1, yref="paper", yanchor="bottom", showarrow=False, text=_("guessing"),
        font={"color": muted(), "size": 13},
    )  # fmt: skip
    figure.update_layout(margin={"l": 14, "r": 14, "t": 26, "b": 26}, showlegend=False)
    figure.update_xaxes(range=[-0.02, 1.02], tickformat=".0%", dtick=0.25, fixedrange=True, zeroline=False)
    figure.update_yaxes(visible=False, range=[-1, 1], fixedrange=True)
    words = f"{_('Right answers')}: {interval(share, as_percent=True)}; {_('guessing')}: {found.chance:.0%}"
    draw(figure, "quiz_chance", words, height=120)


def by_label(found: Score, practice: bool) -> None:
    """Show right answers by kind and label; when practising the label is the truth."""
    named = [] if practice else [_("Label")]
    rows = []
    for row in found.rows:
        label = [] if practice else [label_name(row.label) if row.label else "–"]
        share = interval(row.share, as_percent=True)
        rows.append((choice_name(row.truth), *label, str(row.shown), str(row.right), share))
    table((_("Truth"), *named, _("Shown"), _("Right"), _("Share right (95% interval)")), rows)


def downloads(quiz: Quiz) -> None:
    """Offer the result as CSV and JSON."""
    about = {
        "test": "label of synthetic images" if quiz.practice else "real or synthetic",
        "model": quiz.wish.model,
        "model_version": loaders.version(quiz.wish.model),
        "told_after_each": quiz.wish.told,
    }
    with st.container(horizontal=True):
        st.download_button(
            _("Download CSV"), lambda: csv_table(RECORD, records(quiz.test)), file_name="medai-reader-test.csv",
            mime="text/csv", icon=":material/download:", on_click="ignore", key="quiz_csv",
        )  # fmt: skip
        st.download_button(
            _("Download JSON"), lambda: json.dumps(summary(quiz.test, about), indent=1),
            file_name="medai-reader-test.json", mime="application/json", icon=":material/download:",
            on_click="ignore", key="quiz_json",
        )  # fmt: skip
    if not quiz.practice:
        st.caption(_("These files are in English. They hold the names of your files as you gave them."))


def review(quiz: Quiz) -> None:
    """Show every image that was judged, with the truth; synthetic ones carry their mark again."""
    from medai_core import marks

    shown = []
    for question, answer in zip(quiz.test.questions, quiz.test.answers, strict=False):
        made = quiz.practice or question.truth == SYNTHETIC
        pixels = marks.visible(question.pixels) if made else question.pixels
        right = answer.given == question.truth
        words = f"{'✓' if right else '✗'} {choice_name(question.truth)}"
        if not quiz.practice and question.label:
            words += f" · {label_name(question.label)}"
        if not right:
            words += " · " + _("you said: {given}").format(given=choice_name(answer.given))
        shown.append(Picture(pixels, words, words))
    pictures(shown)
