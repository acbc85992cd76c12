"""The command ``table``, and training and measuring models of a user's own table."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from medai_core.errors import InputError, MedAIError

if TYPE_CHECKING:
    from medai_core.artifacts import Bundle
    from medai_core.tabular.compare import Progress
    from medai_core.tabular.problem import Plan
    from medai_core.tabular.risk_model import RiskModel
    from medai_core.tabular.tables import Table

Row = dict[str, Any]
Read = Callable[[Iterable[tuple[str, bytes]]], Iterator[tuple[str, Any]]]
OWN = "table"
SHIPPED = "breast_cancer"
ROWS_AT_ONCE = 5_000


def table_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", nargs="+", metavar="PATH", help="tables (CSV, Parquet, Excel), or folders of them")
    about = "a shipped model, or the folder of one trained by `train table` (default: %(default)s)"
    parser.add_argument("--model", default=SHIPPED, metavar="MODEL", help=about)
    parser.add_argument("--family", metavar="NAME", help="which of its models answers (default: the best)")
    parser.add_argument("--explain", action="store_true", help="add each feature's contribution (SHAP)")


def table(
    args: argparse.Namespace,
    emit: Callable[[Row], None],
    answers: Callable[[Iterable[str], Read], Iterator[tuple[str, Any]]],
    start: Callable[[], None],
) -> bool:
    """Score every row of the tables; `answers` and `start` as of :func:`medai_core.cli_icu.icu`."""

    def read(items: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, Any]]:
        from medai_core.tabular.evaluate import find_model

        model = find_model(args.model)
        if model.needs_networks(args.family):
            start()
        for name, data in items:
            yield name, _scored(model, name, data, args)

    all_well = True
    for name, found in answers(args.paths, read):
        try:
            if isinstance(found, MedAIError):
                raise found
            for row in found:
                emit(row)
        except MedAIError as error:
            emit({"file": name, "row": None, "status": "error", "reason": str(error)})
            all_well = False
    return all_well


def _scored(model: RiskModel, name: str, data: bytes, args: argparse.Namespace) -> Iterator[Row]:
    """Lines of one table; some rows at a time, so that a million of them need no more memory than the table."""
    from medai_core.tabular.evaluate import read_for

    frame, label = read_for(model, data, name).frame, None
    for first in range(0, len(frame), ROWS_AT_ONCE):
        some = frame.iloc[first : first + ROWS_AT_ONCE]
        found = model.predict(some, args.family)
        label = label or found[0].label
        told = model.explain(some, args.family, label) if args.explain else None
        for k, one in enumerate(found):
            row = {"file": name, "row": first + k, "status": "read", "reason": None, **one.to_json()}
            if told is not None:
                row |= {"scale": told.link, "base_value": told.base_value, "exact": told.exact}
                row["explained"] = model.labels[told.output] if model.labels else model.target
                row["contributions"] = dict(zip(told.encoder.names, told.values[k].tolist(), strict=True))
            yield row


def table_text(row: Row) -> str:
    if row["status"] != "read":
        return f"{row['file']}: {row['status']}: {row['reason']}"
    cautions = "".join(f"; {caution}" for caution in row["cautions"])
    if row["value"] is not None:
        low, high = row["interval"]
        return f"{row['file']} row {row['row']}: {row['value']:.4g} ({low:.4g} to {high:.4g}){cautions}"
    shares = ", ".join(f"{label} {p:.3f}" for label, p in row["probabilities"].items())
    refer = f"; undecided between {' and '.join(row['prediction_set'])}" if len(row["prediction_set"]) > 1 else ""
    return f"{row['file']} row {row['row']}: {row['label']} ({shares}){refer}{cautions}"


# ------------------------------------------------------------------------------------------ a user's own


def own_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``train table``."""
    own = parser.add_argument_group("of `train table`")
    own.add_argument("--target", metavar="COLUMN", help="what to predict")
    own.add_argument("--event", metavar="COLUMN", help="makes the target a time; this says whether the event was seen")
    own.add_argument(
        "--positive", metavar="VALUE", help="of a target with two values: the one whose probability counts"
    )
    own.add_argument("--group", metavar="COLUMN", help="which rows are of one patient")
    own.add_argument("--drop", nargs="+", default=[], metavar="COLUMN", help="columns not to predict from")
    own.add_argument("--keep", nargs="+", default=[], metavar="COLUMN", help="columns to predict from all the same")
    own.add_argument("--models", nargs="+", metavar="NAME", help="models to compare (default: all)")
    own.add_argument("--folds", type=int, metavar="N", help="of the cross-validation (default: by the rows)")
    own.add_argument("--name", help="of the result, for people (default: that of the table)")


def train_own(args: argparse.Namespace, progress: Callable[[Row], None], note: Callable[[object], None]) -> Bundle:
    """Fit and compare models on a user's table, and save them as a bundle.

    Raises
    ------
    InputError
        If the target is not given or cannot be predicted, or the table cannot be read.
    """
    from medai_core.tabular.bundles import save_study
    from medai_core.tabular.cards import card_of
    from medai_core.tabular.compare import compare
    from medai_core.tabular.evaluate import table_file
    from medai_core.tabular.models import ORDER
    from medai_core.tabular.problem import prepare
    from medai_core.tabular.results import leaderboard
    from medai_core.tabular.tables import read_table

    if not args.target:
        raise InputError("`--target` must name the column to predict.")
    path = table_file(args.data)
    found = read_table(path.read_bytes(), path.name)
    for sentence in found.notes:
        note(sentence)
    problem = prepare(found, _plan(found, args, note))
    for sentence in problem.notes:
        note(sentence)

    def tell(step: Progress) -> None:
        progress({"part": "fits", "epoch": step.done, "of": step.of, "model": step.family, "on": step.part})

    study = compare(problem, args.models or ORDER, folds=args.folds, progress=tell)
    figures = leaderboard(study)
    for row in figures:
        note(f"{row['family']:<10} {row['metric']:<24} {row['value']:.4f} ({row['low']:.4f} to {row['high']:.4f})")
    return save_study(study, args.out, card_of(study, found, args.name or found.name), figures=figures)


def _plan(found: Table, args: argparse.Namespace, note: Callable[[object], None]) -> Plan:
    from medai_core.tabular.problem import propose

    plan, findings = propose(found, args.target, args.event)
    for finding in findings:
        left_out = finding.exclude and finding.column not in args.keep
        note(f"{finding.message}{' Left out.' if left_out else ''}")
    for name in args.drop:
        _ = found[name]  # raises where there is no such column: a slip of the pen must not leave a leak in
    features = [name for name in plan.features if name not in args.drop]
    features += [name for name in args.keep if name not in features]
    changes: Row = {"features": tuple(features)}
    if args.group:
        changes |= {"group": args.group, "features": tuple(name for name in features if name != args.group)}
    if args.positive:
        changes["positive"] = args.positive
    return replace(plan, **changes)
