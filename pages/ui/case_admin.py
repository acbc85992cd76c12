"""The state of the workspace for those who run it: people, storage, models and how often they are overruled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import plotly.graph_objects as go
import streamlit as st

from medai_core.settings import settings
from pages.ui.case_kit import moment, workspace
from pages.ui.charts import draw, told
from pages.ui.frame import facts
from pages.ui.language import _, tell
from pages.ui.theme import ORANGE, accent
from pages.ui.words import model_name

if TYPE_CHECKING:
    from medai_core.cases.answers import Failure, Overview, UserSeen, VersionUse


def figures(found: Overview) -> None:
    """Show the few figures that say whether all is well."""
    rows = [
        (_("Cases"), f"{found.cases:,}"),
        (_("Studies"), f"{found.studies:,}"),
        (_("In the queue"), f"{found.queue:,}"),
        (_("Not readable"), f"{found.failed:,}"),
        (_("Storage"), storage(found.storage_bytes)),
    ]
    for column, (name, value) in zip(st.columns(len(rows)), rows, strict=True):
        column.metric(name, value, border=True)


def storage(size: int) -> str:
    """Return an amount of storage in words."""
    for unit, length in (("GB", 1e9), ("MB", 1e6)):
        if size >= length:
            return f"{size / length:,.1f} {unit}"
    return f"{size / 1e3:,.0f} kB"


def key_warning(found: Overview) -> None:
    """Warn when the key lies beside what it encrypts."""
    if found.key_beside_data:
        st.warning(
            _(
                "The key lies in the same folder as the data it encrypts: whoever copies the folder can read it. Keep "
                "the key elsewhere, and give it to the server as MEDAI_KEY."
            ),
            icon=":material/key:",
        )


def set_up(found: Overview) -> None:
    """Show how the workspace is set up."""
    here = settings()
    days = here.retention_days
    keeping = _("{n} days after a case's last arrival").format(n=days) if days else _("without limit")
    listening = f"{here.dicom_aet} · {here.dicom_address}:{here.dicom_port}" if here.dicom_port else _("off")
    facts(
        [
            (_("Database"), found.database),
            (_("Cases are kept"), keeping),
            (_("Watched folder"), _("on") if here.watch_dir else _("off")),
            (_("DICOM reception"), listening),
            (_("DICOMweb"), _("on") if here.dicomweb_url else _("off")),
            (_("Key"), _("beside the data") if found.key_beside_data else _("from MEDAI_KEY")),
        ]
    )


def people(users: tuple[UserSeen, ...]) -> None:
    """Show who has been here."""
    from medai_core.cases.access import User
    from pages.ui.signin import roles_of

    known = {"reader", "researcher", "administrator"}
    st.dataframe(
        {
            _("Name"): [one.name for one in users],
            _("Roles"): [
                roles_of(User("", "", frozenset(role for role in one.roles if role in known))) for one in users
            ],
            _("Last seen"): [moment(one.seen) for one in users],
            _("Known to the sign-in as"): [one.subject for one in users],
        },
        hide_index=True, key="admin_users", height=min(38 + 35 * max(len(users), 1), 300), alt=_("Users seen"),
    )  # fmt: skip


def versions(found: tuple[VersionUse, ...]) -> None:
    """Show what readers made of each version of each model."""
    if not found:
        st.caption(_("No model has read anything yet."))
        return
    st.dataframe(
        {
            _("Model"): [model_name(one.model) for one in found],
            _("Version"): [one.version for one in found],
            _("Read"): [one.read for one in found],
            _("Refused"): [one.refused for one in found],
            _("Agreed"): [one.agreed for one in found],
            _("Overruled"): [one.overruled for one in found],
            _("Share overruled"): [share(one) for one in found],
        },
        hide_index=True, key="admin_versions", height="content", alt=_("Model versions"),
    )  # fmt: skip
    judged = [one for one in found if one.agreed + one.overruled]
    if judged:
        judged_chart(judged)
    else:
        st.caption(_("No reader has agreed with a model or overruled one yet."))


def share(one: VersionUse) -> str:
    """Return how often a version was overruled, with how many judged it."""
    judged = one.agreed + one.overruled
    return f"{one.overruled / judged:.0%} (n = {judged})" if judged else "–"


def judged_chart(found: list[VersionUse]) -> None:
    """Draw agreed and overruled counts side by side; the second is hatched, so that colour is not needed."""
    names = [f"{model_name(one.model)} {one.version}" for one in found]
    figure = go.Figure()
    for title, values, look in (
        (_("Agreed"), [one.agreed for one in found], {"color": accent()}),
        (_("Overruled"), [one.overruled for one in found], {"color": ORANGE, "pattern": {"shape": "/", "size": 6}}),
    ):
        figure.add_bar(
            name=title, y=names, x=values, orientation="h", marker=look | {"line_width": 0},
            text=[value or "" for value in values],
            textposition="outside", cliponaxis=False, hovertemplate="%{y}: %{x}<extra>" + title + "</extra>",
        )  # fmt: skip
    figure.update_layout(
        barmode="group", bargap=0.35, margin={"l": 0, "r": 40, "t": 26, "b": 0}, dragmode=False,
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0, "traceorder": "normal", "itemclick": False,
                "itemdoubleclick": False},
    )  # fmt: skip
    figure.update_xaxes(visible=False, fixedrange=True, rangemode="tozero")
    figure.update_yaxes(autorange="reversed", fixedrange=True, ticksuffix="  ", automargin=True)
    words = [
        f"{name}: {_('Agreed')} {one.agreed}, {_('Overruled')} {one.overruled}"
        for name, one in zip(names, found, strict=True)
    ]
    draw(figure, "admin_judged", told(_("Agreed and overruled by model version"), words), 56 + 62 * len(names))


def failures(found: tuple[Failure, ...], count: int) -> None:
    """Show which files no model could read, and why."""
    if not found:
        st.markdown(
            f":material/check_circle: {_('Every file that arrived could be read or was refused with a reason.')}"
        )
        return
    st.dataframe(
        {
            _("Arrived"): [moment(one.at) for one in found],
            _("Why"): [tell(one.reason) if one.reason else "" for one in found],
            _("Case"): [one.case_id for one in found],
            _("File"): [one.object_id for one in found],
        },
        hide_index=True, key="admin_failures", height=min(38 + 35 * len(found), 320), alt=_("Failures"),
    )  # fmt: skip
    if count > len(found):
        st.caption(_("The newest {n} of {all}.").format(n=len(found), all=f"{count:,}"))


def backups() -> None:
    """Say how a copy is made and put back."""
    st.write(
        _(
            "A back-up is one file with the database and all stored files, as they were at one moment; it is made "
            "while the server runs. The key is not in it: keep it elsewhere, without it no copy can be read."
        )
    )
    st.code(
        "python -m medai_core backup medai-backup.zip\npython -m medai_core restore medai-backup.zip", language="bash"
    )
    st.caption(_("Restore into an empty data folder, with the same key, while no server is running."))


def state() -> Overview:
    """Return the overview for the person at the page."""
    from pages.ui.signin import current_user

    return workspace().overview(current_user())
