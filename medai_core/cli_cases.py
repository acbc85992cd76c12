"""The commands ``cases``, ``audit``, ``backup`` and ``restore``: the case workspace without its pages.

Who may start them owns the data folder and its key; they act as the local user.
"""

from __future__ import annotations

import argparse
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medai_core.errors import InputError, MedAIError
from medai_core.settings import settings

if TYPE_CHECKING:
    from medai_core.cases.access import User
    from medai_core.cases.answers import Receipt
    from medai_core.cases.workspace import Workspace

Row = dict[str, Any]
Emit = Callable[[Row], None]
Read = Callable[[Iterable[tuple[str, bytes]]], Iterator[tuple[str, Any]]]
PAGE = 200


def _local(group: str | None) -> User:
    from medai_core.cases.access import LOCAL

    return LOCAL if group is None else replace(LOCAL, groups=frozenset({group}))


def _workspace() -> Workspace:
    from medai_core.cases.workspace import open_workspace

    return open_workspace()


# --------------------------------------------------------------------------------------------------- cases


def cases_arguments(parser: argparse.ArgumentParser) -> None:
    does = (
        "receive files, list the worklist, find and fetch studies of the PACS, send reports to it, forget cases for "
        "ever, or serve: receive and read until interrupted"
    )
    parser.add_argument("does", choices=("receive", "list", "find", "fetch", "send", "forget", "serve"), help=does)
    about = (
        "files, archives or folders to receive, UIDs of studies to fetch, numbers of studies to send or cases to forget"
    )
    parser.add_argument("what", nargs="*", metavar="PATH|UID|STUDY|CASE", help=about)
    parser.add_argument("--group", metavar="NAME", help="department (default: default)")
    parser.add_argument("--case", metavar="CASE", help="of `receive`: the case that the files belong to")
    for name, kind, about in (
        ("--patient", "NUMBER", "patient number"),
        ("--name", "NAME", "start of the name, as in `Doe, Jane`"),
        ("--days", "DAYS", "day of the examination or two with a hyphen, as in 20240101-20240131"),
        ("--modality", "CODE", "modality, as in DX"),
    ):
        parser.add_argument(name, default="", metavar=kind, help=f"of `find`: {about}")
    parser.add_argument("--to", default="", metavar="NAME", help="of `send`: AE title of a peer, or DICOMweb")
    parser.add_argument("--report", default="sr", metavar="KIND", help="of `send`: sr (default) or capture")
    reasons = "of `forget`: request (default), retention, error or test"
    parser.add_argument("--reason", default="request", metavar="WORD", help=reasons)


def cases(
    args: argparse.Namespace,
    emit: Emit,
    answers: Callable[[Iterable[str], Read], Iterator[tuple[str, Any]]],
    start: Callable[[], None],
    note: Callable[[object], None],
) -> bool:
    """Do what was asked of the workspace; `answers` and `start` as of :func:`medai_core.cli_icu.icu`."""
    takes = {"receive": "paths", "fetch": "UIDs of studies", "send": "studies", "forget": "cases"}
    if bool(args.what) != (args.does in takes):
        raise InputError("`cases {does}` takes {count}", does=args.does, count=takes.get(args.does, "none"))
    if args.does == "receive":
        return _receive(args, emit, answers)
    if args.does == "serve":
        return _serve(start, note)
    return {"list": _list, "find": _find, "fetch": _fetch, "send": _send, "forget": _forget}[args.does](args, emit)


def _receive(args: argparse.Namespace, emit: Emit, answers: Callable[..., Iterator[tuple[str, Any]]]) -> bool:
    workspace, user = _workspace(), _local(args.group)

    def read(items: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, Any]]:
        for name, data in items:
            for receipt in workspace.receive_all(user, data, Path(name).name, case_id=args.case, group=args.group):
                yield name, receipt

    all_well = True
    for name, found in answers(args.what, read):
        failed = isinstance(found, MedAIError)
        emit({"file": name, "status": "error", "reason": str(found)} if failed else _receipt(name, found))
        all_well &= not failed
    return all_well


def _receipt(name: str, receipt: Receipt) -> Row:
    told = {"file": name, "status": receipt.status, "reason": str(receipt.reason or "")}
    return told | {"case": receipt.case_id, "study": receipt.study_id, "object": receipt.object_id}


def _list(args: argparse.Namespace, emit: Emit) -> bool:
    """Under pseudonyms: what goes to a pipe or a file shall name nobody."""
    from medai_core.cases.access import Role

    user, number, told = replace(_local(args.group), roles=frozenset({Role.ADMINISTRATOR})), 0, True
    while told:
        page = _workspace().worklist(user, page=number, size=PAGE)
        for row in page.rows:
            emit(
                {
                    "study": row.study_id, "case": row.case_id, "patient": row.patient, "kind": row.kind,
                    "modality": row.modality, "status": row.status, "model_state": row.model_state,
                    "urgency": row.urgency, "label": row.label, "arrived": row.arrived.isoformat(),
                    "assignee": row.assignee, "objects": row.objects,
                }
            )  # fmt: skip
        number, told = number + 1, len(page.rows) == PAGE
    return True


def _find(args: argparse.Namespace, emit: Emit) -> bool:
    """Without the patients: what goes to a pipe or a file shall name nobody."""
    from medai_core.cases.dicomweb import Query, find_studies, name_pattern

    query = Query(args.patient, name_pattern(args.name), study_date=args.days, modality=args.modality)
    for study in find_studies(_workspace(), _local(args.group), query):
        emit(
            {
                "uid": study.study_uid, "date": study.study_date, "modality": "/".join(study.modalities),
                "files": study.instances, "here": study.here,
            }
        )  # fmt: skip
    return True


def _fetch(args: argparse.Namespace, emit: Emit) -> bool:
    from medai_core.cases.dicomweb import fetch_study

    all_well = True
    for uid in args.what:
        try:
            for receipt in fetch_study(_workspace(), _local(args.group), uid, args.group):
                emit(_receipt(uid, receipt))
        except MedAIError as error:
            emit({"file": uid, "status": "error", "reason": str(error)})
            all_well = False
    return all_well


def _send(args: argparse.Namespace, emit: Emit) -> bool:
    from medai_core.cases.send import send_report

    def send(study: str) -> None:
        send_report(_workspace(), _local(args.group), study, args.report, args.to)

    return _one_by_one(args.what, "study", send, "sent", emit)


def _forget(args: argparse.Namespace, emit: Emit) -> bool:
    def forget(case_id: str) -> None:
        _workspace().forget(_local(args.group), case_id, args.reason)

    return _one_by_one(args.what, "case", forget, "forgotten", emit)


def _one_by_one(ids: Sequence[str], kind: str, act: Callable[[str], None], done: str, emit: Emit) -> bool:
    """Act on each; one that fails does not stop the others. Return whether all went well."""
    all_well = True
    for one in ids:
        try:
            act(one)
            emit({kind: one, "status": done, "reason": ""})
        except MedAIError as error:
            emit({kind: one, "status": "error", "reason": str(error)})
            all_well = False
    return all_well


def _serve(start: Callable[[], None], note: Callable[[object], None]) -> bool:
    from medai_core.cases.worker import Worker

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    workspace, given = _workspace(), settings()
    parts: list[Any] = [Worker(workspace)]
    if given.watch_dir:
        from medai_core.cases.watch import Watcher

        parts.append(Watcher(workspace, given.watch_dir))
        note(f"Files of {given.watch_dir} are received.")
    if given.dicom_port:
        from medai_core.cases.listener import Listener

        parts.append(Listener(workspace))
        note(f"DICOM is received on {given.dicom_address}, port {given.dicom_port}, as {given.dicom_aet}.")
    start()
    with ExitStack() as running:
        for part in parts:
            part.start()
            running.callback(part.stop)
        note("What arrives is read. Stop with Ctrl-C.")
        threading.Event().wait()
    return True


def cases_text(row: Row) -> str:
    if "arrived" in row:
        urgency = "-" if row["urgency"] is None else f"{row['urgency']:.2f}"
        told = f"{row['study']} {row['patient']} {row['modality']:<6} {row['status']:<8} {urgency:>5}"
        return f"{told} {row['label'] or '-'}"
    if "uid" in row:
        known = " (here)" if row["here"] else ""
        return f"{row['uid']} {row['date'] or '-':<8} {row['modality'] or '-':<6} {row['files']} files{known}"
    about = row.get("file") or row.get("study") or row.get("case")
    return f"{about}: {row['status']}{': ' + row['reason'] if row['reason'] else ''}"


# --------------------------------------------------------------------------------------------------- audit


def audit_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("does", choices=("verify", "export"), help="look for tampering, or write the log as CSV")
    kept = "of `verify`: digest of an earlier `verify`, kept elsewhere; a line must still have it"
    parser.add_argument("--head", metavar="DIGEST", help=kept)
    parser.add_argument("--out", type=Path, metavar="FILE", help="of `export`: a new file")


def audit(args: argparse.Namespace, emit: Emit) -> bool:
    """Check the audit log, or write it to a file; False if it was tampered with."""
    workspace, user = _workspace(), _local(None)
    if args.does == "verify":
        found = workspace.verify_audit(user, args.head)
        emit({"ok": found.ok, "count": found.count, "digest": found.digest, "problems": list(map(str, found.problems))})
        return found.ok
    if args.out is None:
        raise InputError("`--out` must name the file to write.")
    try:
        with open(args.out, "x", encoding="utf-8", newline="") as file:
            lines = sum(bool(file.write(line)) for line in workspace.audit_csv(user))
    except OSError as error:
        raise InputError("{path} cannot be written: {why}", path=str(args.out), why=error.strerror) from error
    emit({"file": str(args.out), "count": lines - 1})
    return True


def audit_text(row: Row) -> str:
    if "file" in row:
        return f"{row['file']}: {row['count']} events"
    whole = "whole" if row["ok"] else " ".join(row["problems"])
    return f"{row['count']} events, {whole}; digest {row['digest']}"


# -------------------------------------------------------------------------------------- backup and restore


def backup_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="a new file; it holds no key")


def restore_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="of `backup`; the key must be set, the workspace empty")


def backup(args: argparse.Namespace, emit: Emit) -> bool:
    """Write the whole workspace to a file."""
    from medai_core.cases.backup import backup as save

    saved = save(_workspace(), _local(None), args.file)
    emit({"file": str(args.file), "cases": saved.cases, "files": saved.files, "bytes": saved.size_bytes})
    return True


def restore(args: argparse.Namespace, emit: Emit) -> bool:
    """Bring a backup back into an empty workspace."""
    from medai_core.cases.backup import restore as bring_back

    saved = bring_back(settings(), _local(None), args.file)
    emit({"file": str(args.file), "cases": saved.cases, "files": saved.files, "bytes": saved.size_bytes})
    return True


def backup_text(row: Row) -> str:
    return f"{row['file']}: {row['cases']} cases, {row['files']} files, {row['bytes'] / 1e6:.1f} MB"
