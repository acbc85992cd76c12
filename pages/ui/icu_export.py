"""What is shown of a stay, to compute with: risk and forecasts as CSV, everything as JSON. In English."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import PurePath
from typing import Any

import streamlit as st

from medai_core.errors import MedAIError
from pages.ui import icu_loaders, loaders
from pages.ui.icu_course import View, measured_names
from pages.ui.icu_words import variable
from pages.ui.language import _

Row = list[object]


def downloads(view: View) -> None:
    """Offer the files."""
    st.write(
        _(
            "Numbers as the command line gives them, with the changes made. The files hold the record's number if the "
            "file you opened names one, and no other identity."
        )
    )
    stem = PurePath(view.held.name).stem or "stay"
    files: list[tuple[str, bytes, str, str, str]] = [
        (_("Risk by hour, CSV"), risk_csv(view), f"{stem}-risk.csv", "text/csv", "table"),
    ]
    if not isinstance(view.outlook, MedAIError):
        name = f"{stem}-forecast-hour-{view.at}.csv"
        files.append((_("Forecasts, CSV"), forecast_csv(view), name, "text/csv", "table"))
    files.append((_("Everything, JSON"), everything(view), f"{stem}.json", "application/json", "data_object"))
    with st.container(horizontal=True):
        for place, (label, data, name, kind, icon) in enumerate(files):
            st.download_button(
                label, data, file_name=name, mime=kind, icon=f":material/{icon}:", on_click="ignore",
                key=f"icu_download_{place}",
            )  # fmt: skip
    st.caption(_("These files are in English."))


def risk_csv(view: View) -> bytes:
    """Return the risk at every hour up to now, with its range over the members, and as recorded."""
    rows = [
        [h, *(f"{table[0, h - 1]:.6f}" for table in (view.risks.blend, view.risks.low, view.risks.high)),
         f"{view.recorded_risks.blend[0, h - 1]:.6f}"]
        for h in range(1, view.at + 1)
    ]  # fmt: skip
    return _csv(["hour", "risk", "lowest_member", "highest_member", "risk_as_recorded"], rows)


def forecast_csv(view: View) -> bytes:
    """Return the quantiles of every variable measured in the stay, hour by hour up to the horizon."""
    rows = [
        [name, row["unit"], hour, *(row[q][place] for q in quantile_names())]
        for name, row in forecasts(view).items()
        for place, hour in enumerate(row["hours"])
    ]
    return _csv(["variable", "unit", "hour", *quantile_names()], rows)


def quantile_names() -> list[str]:
    """Names of the quantiles as the command line writes them: ``q05`` to ``q95``."""
    from medai_core.icu.outlook import QUANTILES

    return [f"q{round(100 * q):02d}" for q in QUANTILES]


def forecasts(view: View) -> dict[str, dict[str, Any]]:
    """Return the forecasts as ``forecast --json`` does, for the variables measured in the stay."""
    from medai_core.icu.outlook import VARIABLES

    if isinstance(view.outlook, MedAIError):
        return {}
    held, hours = measured_names(view.stay), list(view.outlook.hours[: view.horizon])
    found = {}
    for place, name in enumerate(VARIABLES):
        if name in held:
            table = view.outlook.quantiles[place, : view.horizon]
            columns = {q: [round(float(v), 5) for v in table[:, k]] for k, q in enumerate(quantile_names())}
            found[name] = {"unit": variable(name).unit, "hours": hours} | columns
    return found


def everything(view: View) -> bytes:
    """Return risk, forecasts, changes, and what the models are, as JSON."""
    hours = list(range(1, view.at + 1))
    models = {model: loaders.bundle(model) for model in (icu_loaders.RISK, icu_loaders.OUTLOOK)}
    content = {
        "stay": view.recorded.id or PurePath(view.held.name).stem,
        "sha256": view.held.digest,
        "at": view.at,
        "changes": [asdict(edit) for edit in view.edits],
        "hours": hours,
        "risk": [float(view.risks.blend[0, h - 1]) for h in hours],
        "risk_lowest_member": [float(view.risks.low[0, h - 1]) for h in hours],
        "risk_highest_member": [float(view.risks.high[0, h - 1]) for h in hours],
        "risk_as_recorded": [float(view.recorded_risks.blend[0, h - 1]) for h in hours],
        "variables": forecasts(view),
        "noticed_on_reading": [str(flag.message) for flag in view.recorded.flags],
        "models": {
            name: {"version": found.version, "sha256": found.digest}
            for name, found in models.items()
            if not isinstance(found, MedAIError)
        },
        "note": "Not a medical device. Association, not effect.",
    }
    return json.dumps(content, indent=1, ensure_ascii=False).encode()


def _csv(head: Row, rows: Iterable[Row]) -> bytes:
    """UTF-8 that Excel recognises."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(head)
    writer.writerows(rows)
    return out.getvalue().encode("utf-8-sig")
