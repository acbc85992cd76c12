"""What a study looks like: a picture that can be windowed and zoomed, the course of a stay, the values of a row."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from medai_core.errors import MedAIError
from medai_core.icu.variables import INDEX
from pages.ui import icu_loaders, icu_panels, icu_stay, loaders
from pages.ui.case_answer import reading_of, version_words
from pages.ui.case_kit import workspace
from pages.ui.charts import draw, told
from pages.ui.explain_panel import explanation_panel
from pages.ui.frame import facts, problem
from pages.ui.icu_course import series, view
from pages.ui.icu_style import icu_styles
from pages.ui.icu_words import unit_name, variable_name
from pages.ui.language import _, tell
from pages.ui.loaders import KEEP
from pages.ui.theme import accent
from pages.ui.viewer import View, preset_name, scan_facts, window_presets, zoomable
from pages.ui.words import plain

if TYPE_CHECKING:
    from medai_core.cases.access import User
    from medai_core.cases.answers import Object, Study
    from medai_core.icu.stay import Stay
    from medai_core.imaging.read import Scan

FIRST_LABS = 3
ALONE = ("HR", "RespRate", "SaO2", "Temp", "GCS")


@st.cache_data(max_entries=6, **KEEP)
def _content(subject: str, object_id: str, _user: User) -> bytes:
    return workspace().content(_user, object_id)


def forget() -> None:
    """Drop what this visitor's session keeps of the files."""
    _content.clear()
    loaders.forget()
    icu_loaders.forget()


def chosen_object(study: Study, side: str) -> Object:
    """Return the file of a study to look at: a choice where there are several."""
    if len(study.objects) == 1:
        return study.objects[0]
    place = st.slider(
        _("File"), 1, len(study.objects), key=f"case_file_{side}_{study.study_id[:12]}", persist_state="session",
        help=_("A study of several files: each has a reading of its own."),
    )  # fmt: skip
    return study.objects[place - 1]


def look(study: Study, one: Object, side: str, user: User, height_px: int) -> None:
    """Show one file of a study; ``side`` keeps what stands side by side apart."""
    try:
        data = _content(user.subject, one.object_id, user)
        if study.kind == "scan":
            picture(hashlib.sha256(data).hexdigest(), data, f"{side}_{one.object_id[:12]}", height_px)
        elif study.kind == "row":
            values(data)
    except MedAIError as error:
        problem(error, one.name)


def stay_look(one: Object, user: User, withheld: bool, side: str) -> None:
    """Show the course of a stay; while the model's answer is withheld, only what was measured."""
    icu_styles()
    try:
        data = _content(user.subject, one.object_id, user)
        held = icu_stay.Held(one.name, data, hashlib.sha256(data).hexdigest(), None)
        stay = icu_loaders.stay(held.digest, data)
        icu_stay.stay_line(stay)
        icu_stay.intake(stay)
        names = set(np.unique(stay.series).tolist())
        names = {code for code, place in INDEX.items() if place in names}
        key = f"{side}_{held.key}"
        labs = _labs(names, key)
        pressures = icu_panels.LINE if names & set(icu_panels.LINE) else icu_panels.CUFF
        if withheld:
            measured(stay, [code for code in (*ALONE, *pressures, *labs) if code in names], key)
        else:
            seen = view(held, stay, (), stay.hours, 12, False)
            icu_panels.course_chart(seen, pressures, labs, key=f"case_course_{key}")
    except MedAIError as error:
        problem(error, one.name)


def _labs(names: set[str], key: str) -> list[str]:
    there = [code for code in icu_panels.LABS if code in names]
    return st.multiselect(
        _("Laboratory values"), there, default=there[:FIRST_LABS], format_func=variable_name, key=f"case_labs_{key}",
        persist_state="session",
    )  # fmt: skip


def measured(stay: Stay, codes: Sequence[str], key: str) -> None:
    """Draw what was measured, a row for each variable, and nothing that a model said."""
    height = len(codes) * 92
    traces, axes, notes = [], {}, []
    for place, code in enumerate(codes):
        hours, found = series(stay, code)
        top, number = 1 - (place * 92 + 26) / height, place + 1 if place else ""
        traces.append(
            {
                "type": "scatter", "mode": "lines+markers", "x": hours, "y": found, "xaxis": "x", "yaxis": f"y{number}",
                "line": {"color": accent(), "width": 1.2}, "marker": {"size": 6}, "showlegend": False,
                "hovertemplate": "%{y:.4~g}<extra>" + variable_name(code) + "</extra>",
            }
        )  # fmt: skip
        axes[f"yaxis{number}"] = {"domain": [top - 62 / height, top], "fixedrange": True, "nticks": 4, "ticks": ""}
        notes.append({"xref": "paper", "yref": "paper", "x": 0, "y": top, "xanchor": "left", "yanchor": "bottom",
                      "showarrow": False, "text": f"<b>{variable_name(code)}</b>  {unit_name(code)}"})  # fmt: skip
    layout = axes | {
        "annotations": notes, "margin": {"l": 46, "r": 8, "t": 4, "b": 40}, "dragmode": False,
        "xaxis": {"range": [-0.4, stay.hours + 0.4], "dtick": 6, "fixedrange": True, "zeroline": False,
                  "title": {"text": _("Hours since admission")}, "anchor": f"y{len(codes)}" if len(codes) > 1 else "y"},
    }  # fmt: skip
    words = told(_("What was measured"), [variable_name(code) for code in codes])
    draw(go.Figure(data=traces, layout=layout), f"case_measured_{key}", words, height + 44)


def explained(study: Study, one: Object, user: User) -> None:
    """Show what moved the model's answer to a scan, and whether that holds; computed once it is opened."""
    kept = reading_of(study, one)
    if study.kind != "scan" or kept is None or kept.status != "read":
        return
    part = st.expander(
        _("Explanation"), icon=":material/layers:", key=f"case_explained_{one.object_id[:12]}", on_change="rerun"
    )
    if not part.open:
        return
    with part:
        try:
            data = _content(user.subject, one.object_id, user)
            digest = hashlib.sha256(data).hexdigest()
            layout = loaders.layout(digest, data, None)
            scan = loaders.scan(digest, data, None, None)
            # The worker has answered already: also a synthetic image, if it was added as a demonstration.
            found = loaders.reading(digest, data, kept.model, layout.frame, layout.plane, demonstration=True)
        except MedAIError as error:
            problem(error, one.name)
            return
        version_words(kept, found.version)
        if found.status == "read":
            key = (digest[:12], layout.frame, layout.plane, found.model, found.version)
            explanation_panel(found, scan, key)
        else:
            st.write(plain(tell(found.reason)))


@st.fragment
def picture(digest: str, data: bytes, key: str, height_px: int) -> None:
    """Show a scan with window, level, zoom and its slices; a fragment, so that moving one redraws only this."""
    with st.spinner(_("Opening the file")):
        layout = loaders.layout(digest, data, None)
    frame = None
    if layout.frames > 1:
        chosen = st.slider(_("Slice or frame"), 1, layout.frames, layout.frame + 1, key=f"case_frame_{key}") - 1
        frame = None if chosen == layout.frame else chosen
    with st.spinner(_("Opening the file")):
        scan = loaders.scan(digest, data, frame, None)
    place = st.container()
    with st.popover(_("Window and level"), icon=":material/contrast:", key=f"case_window_{key}"):
        shown = windowed(scan, key)
        facts(scan_facts(scan))
    with place:
        view_key = f"case_view_{key}_{scan.frame}"
        zoomable(
            shown,
            scan.spacing_mm,
            view_key,
            View(st.session_state[f"case_zoom_{key}"], 0.5, 0.5),
            f"lightbox_case_{key}",
            height_px,
        )


def windowed(scan: Scan, key: str) -> np.ndarray:
    """Show the controls of the window, and return the picture through it."""
    low, high = float(scan.stored.min()), float(scan.stored.max())
    span = high - low or 1.0
    step = 1.0 if span > 20 else span / 200
    presets = {name: (c, max(w, step)) for name, (c, w) in window_presets(scan, low, high).items()}
    names = {part: f"case_{part}_{key}" for part in ("preset", "level", "width", "invert")}

    def apply() -> None:
        found = presets[st.session_state[names["preset"]] or "default"]
        st.session_state[names["level"]], st.session_state[names["width"]] = found

    for part, value in zip(("level", "width"), presets["default"], strict=True):
        st.session_state.setdefault(names[part], value)
    st.selectbox(_("Preset"), list(presets), format_func=preset_name, key=names["preset"], on_change=apply)
    (own, around), centres = presets["default"], [centre for centre, _width in presets.values()]
    limits = [low, high, own - around / 2, own + around / 2, *centres]
    shape = "%d" if step == 1.0 else None
    centre = st.slider(_("Level (centre)"), min(limits), max(limits), step=step, format=shape, key=names["level"])
    widest = max(span * 1.5, *(width for _centre, width in presets.values()))
    width = st.slider(_("Window (width)"), step, widest, step=step, format=shape, key=names["width"])
    invert = st.toggle(_("Invert"), key=names["invert"])
    st.slider(_("Zoom"), 1.0, 8.0, 1.0, 0.5, format="%.1f ×", key=f"case_zoom_{key}")
    untouched = (centre, width) == presets["default"] and not invert
    return scan.display if untouched else scan.render(centre, width, invert)


def values(data: bytes) -> None:
    """Show the columns of a row of a clinical table."""
    import io

    import pandas as pd

    row = pd.read_csv(io.BytesIO(data), nrows=1).iloc[0]
    st.dataframe(
        {_("Column"): [str(name) for name in row.index], _("Value"): [str(value) for value in row]},
        hide_index=True, key="case_row_values", height=460, alt=_("Values of the row"),
    )  # fmt: skip
