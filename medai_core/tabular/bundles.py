"""A trained table model as a bundle: every family with its calibration, what was measured, and no pickle."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from platform import python_version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medai_core import calibration
from medai_core.artifacts import (
    Bundle,
    load_arrays,
    load_estimator,
    load_model,
    load_text,
    read_bundle,
    save_bundle,
)
from medai_core.errors import ArtifactError, InputError
from medai_core.settings import settings
from medai_core.tabular import results
from medai_core.tabular.compare import Study, data_of
from medai_core.tabular.encoder import Design, Encoder
from medai_core.tabular.fitting import Blend, Member
from medai_core.tabular.importance import stability
from medai_core.tabular.models import (
    BLEND,
    BOOSTING,
    FOREST,
    KERNEL,
    LINEAR,
    NETWORK,
    ORDER,
    Linear,
    boosting_of,
    forest_of,
    kernel_of,
    linear_of,
)
from medai_core.tabular.problem import BINARY, SURVIVAL, TASKS, VALUE
from medai_core.tabular.time_to_event import Baseline, horizon_of

Matrix = NDArray[np.float64]

FORMAT = 1
MAX_MB = 100
COVERAGE = 0.9
TREES = ("sklearn.tree._tree.Tree",)
BACKGROUND, HELD = "background", "held"
LIBRARIES = ("numpy", "scikit-learn", "lightgbm", "keras", "skops", "shap")


def libraries() -> dict[str, str]:
    """Versions of what a bundle was made with."""
    return {name: version(name) for name in LIBRARIES} | {"python": python_version()}


# ---------------------------------------------------------------------------------------------------- save


def save_study(
    study: Study,
    folder: Path | str,
    card: Mapping[str, Any],
    *,
    figures: results.Figures | None = None,
    more: Mapping[str, Any] | None = None,
    max_mb: float = MAX_MB,
) -> Bundle:
    """Save what a training gave.

    Parameters
    ----------
    card : mapping
        ``id`` and ``version`` at least; see :func:`medai_core.tabular.cards.card_of`.
    figures : list of dict, optional
        In place of :func:`~medai_core.tabular.results.leaderboard`'s, if they are there already.
    more : mapping, optional
        Added to ``metrics.json``.

    Raises
    ------
    InputError
        If no family was complete.
    ArtifactError
        If the bundle would be too large.
    """
    best, problem = results.best_family(study), study.problem
    named = _named(study)
    stored = {name: _stored(member) for name, member in named.items()}
    if BLEND in study.members:
        stored[BLEND] = _stored_blend(study.members[BLEND], named)
    constants = {
        "format": FORMAT, "version": card["version"], "task": problem.plan.task, "target": problem.plan.target,
        "labels": list(problem.labels), "features": problem.encoder.to_list(), "families": stored, "best": best,
        "coverage": COVERAGE, "widths": {name: width_of(study, name) for name in study.families}, "seed": study.seed,
        "group": problem.plan.group, "unlikeness": _unlikeness(study), "times": _times(study),
    }  # fmt: skip
    rows = results.leaderboard(study) if figures is None else figures
    document = {**_document(study, best, rows), **(more or {})}
    networks = {name: member.learner.model for name, member in study.members.items() if name == NETWORK}
    if study.unlikeness is not None:
        networks["unlikeness"] = study.unlikeness.model
    held = {name: results.answers(study, name).mean(axis=0).astype(np.float32) for name in study.families}
    arrays = {BACKGROUND: {"x": study.background}, HELD: {"outcome": data_of(problem).y, **held}}
    return save_bundle(
        folder, networks, card, constants, document, arrays, _texts(named), _estimators(named), max_mb
    )  # fmt: skip


def _named(study: Study) -> dict[str, Member]:
    """Every model with an estimator of its own, by the name of its file; parts of the average follow the families."""
    found = {name: member for name, member in study.members.items() if name != BLEND}
    if BLEND in study.members:
        for member in study.members[BLEND].learner.members:
            if not any(member.learner is one.learner for one in found.values()):
                found[f"{BLEND}_{sum(name.startswith(BLEND) for name in found)}"] = member
    return found


def _stored(member: Member) -> dict[str, Any]:
    """What a member needs beside its estimator."""
    found = {"family": member.family, "config": member.config, "loss": member.loss}
    found |= {"scale": member.scale, "bias": member.bias}
    if hasattr(member.learner, "design"):
        found["design"] = member.learner.design.to_dict()
    if member.family == LINEAR and member.learner.estimator is None:
        found["coef"] = member.learner.coef
    if member.family == NETWORK:
        found |= {"shift": member.learner.shift, "stretch": member.learner.stretch}
    if member.family == KERNEL:
        found["machines"] = len(member.learner.estimators)
    return found


def _stored_blend(blend: Member, named: Mapping[str, Member]) -> dict[str, Any]:
    names = [next(n for n, one in named.items() if one.learner is m.learner) for m in blend.learner.members]
    return {**_stored(blend), "of": names, "weights": blend.learner.weights}


def _unlikeness(study: Study) -> dict[str, Any] | None:
    if study.unlikeness is None:
        return None
    return {"design": study.unlikeness.design.to_dict(), "percentiles": study.unlikeness.percentiles}


def _texts(named: Mapping[str, Member]) -> dict[str, str]:
    boosted = {name: member for name, member in named.items() if member.family == BOOSTING}
    return {f"{name}.txt": member.learner.model.model_to_string() for name, member in boosted.items()}


def _estimators(named: Mapping[str, Member]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, member in named.items():
        if member.family == LINEAR and member.learner.estimator is not None:
            found[name] = member.learner.estimator
        elif member.family == FOREST:
            found[name] = member.learner.model
        elif member.family == KERNEL:
            found |= {f"{name}_of_{k}": machine for k, machine in enumerate(member.learner.estimators)}
    return found


def _times(study: Study) -> dict[str, Any] | None:
    """Of times to an event: the horizon, and each family's baseline from held-out rows."""
    if study.problem.plan.task != SURVIVAL:
        return None
    y = data_of(study.problem).y
    baselines = {name: Baseline.fit(study.held[name].mean(axis=0)[:, 0], y).to_dict() for name in study.families}
    return {
        "event": study.problem.plan.event,
        "seen": study.problem.plan.positive,
        "horizon": horizon_of(y),
        "baselines": baselines,
    }


def width_of(study: Study, family: str) -> float:
    """What makes sets or intervals hold the truth in nine of ten: see :func:`calibration.conformal_threshold`.

    Of a number: the quantile of the held-out absolute error. Of times to an event there is none.
    """
    if study.problem.plan.task == SURVIVAL:
        return 0.0
    found, y = results.answers(study, family).mean(axis=0), study.problem.y
    if study.problem.plan.task == VALUE:
        rank = min(len(y), int(np.ceil((len(y) + 1) * COVERAGE)))
        return float(np.sort(np.abs(found - y))[rank - 1])
    shares = np.c_[1 - found, found] if found.ndim == 1 else found
    return calibration.conformal_threshold(shares, y, COVERAGE)


def _document(study: Study, best: str, figures: results.Figures) -> dict[str, Any]:
    """Figures of all families, curves of each, and what the model pages draw of the best."""
    kept = [row for row in figures if np.isfinite([row["value"], row["low"], row["high"]]).all()]
    named = [{**row, "metric": f"{row['metric']}, {row['family']}"} for row in kept]
    document: dict[str, Any] = {"figures": named, "baseline": _baseline(named, best)}
    names = study.problem.encoder.names
    document["stability"] = {
        family: [vars(one) for one in stability(rows, names)] for family, rows in study.importance.items()
    }
    document["seconds"] = {name: round(value, 3) for name, value in study.seconds.items()}
    document["subgroups"] = [
        row for row in results.subgroups(study, best) if row["value"] is None or np.isfinite(row["low"])
    ]
    if study.problem.labels:
        document["confusion"] = results.confusion(study, best)
    if study.problem.plan.task == BINARY:
        p, y = results.outcome_of(study, best)
        document |= {"reliability": results.reliability(p, y)}
        document["roc"] = results.roc(p, y) | {"name": study.problem.labels[1]}
    return document


def _baseline(figures: results.Figures, best: str) -> results.Figures:
    """The plain model's figures, named as the best one's."""
    if best == LINEAR:
        return []
    mine = [row for row in figures if row["family"] == LINEAR]
    return [row | {"metric": row["metric"].replace(f", {LINEAR}", f", {best}"), "family": best} for row in mine]


# ---------------------------------------------------------------------------------------------------- load


def load_member(bundle: Bundle, name: str) -> Member:
    """One family of a bundle, verified once more.

    Raises
    ------
    InputError
        If the bundle has no such family.
    ArtifactError
        If it cannot be loaded.
    """
    known = bundle.preprocessing["families"]
    if name not in known:
        raise InputError("`family` must be one of {known}, got {name}", known=", ".join(families_of(bundle)), name=name)
    try:
        stored = known[name]
        scale, bias = (np.array(stored[part], float) for part in ("scale", "bias"))
        learner = _learner(bundle, name, stored)
        return Member(stored["family"], stored["config"], learner, scale, bias, float(stored["loss"]))
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ArtifactError(
            "{file} in the bundle {bundle} cannot be loaded: {error}", file=name, bundle=bundle.id, error=repr(error)
        ) from error


def families_of(bundle: Bundle) -> tuple[str, ...]:
    """Families of a bundle, in the usual order."""
    return tuple(name for name in ORDER if name in bundle.preprocessing["families"])


def _learner(bundle: Bundle, name: str, stored: Mapping[str, Any]) -> Any:
    family = stored["family"]
    if family == BLEND:
        return Blend(tuple(load_member(bundle, part) for part in stored["of"]), np.array(stored["weights"], float))
    if family == FOREST:
        return forest_of(load_estimator(bundle, name, TREES))
    if family == BOOSTING:
        return boosting_of(_booster(load_text(bundle, f"{name}.txt")))
    design = Design.from_dict(stored["design"])
    if family == LINEAR and "coef" in stored:
        return Linear(design, np.array(stored["coef"], float), np.zeros(1), None)
    if family == LINEAR:
        return linear_of(load_estimator(bundle, name), design)
    if family == KERNEL:
        machines = tuple(load_estimator(bundle, f"{name}_of_{k}") for k in range(stored["machines"]))
        return kernel_of(machines, design)
    from medai_core.tabular.network_fit import Network

    return Network(design, load_model(bundle, f"{name}.keras"), stored["shift"], stored["stretch"])


def _booster(text: str) -> Any:
    import lightgbm

    try:
        return lightgbm.Booster(model_str=text)
    except lightgbm.basic.LightGBMError as error:
        raise ValueError(str(error)) from error


def load_unlikeness(bundle: Bundle) -> Any:
    """The autoencoder of a bundle, None where it has none."""
    stored = bundle.preprocessing.get("unlikeness")
    if stored is None:
        return None
    from medai_core.tabular.network_fit import Unlikeness

    design = Design.from_dict(stored["design"])
    return Unlikeness(design, load_model(bundle, "unlikeness.keras"), np.array(stored["percentiles"], float))


def check_bundle(bundle: Bundle) -> None:
    """Raise ArtifactError unless this is a table model that can be read here."""
    known = bundle.preprocessing
    if known.get("format") != FORMAT or known.get("task") not in TASKS or "features" not in known:
        raise ArtifactError("The bundle {bundle} is no table model of format {format}", bundle=bundle.id, format=FORMAT)


def encoder_of(bundle: Bundle) -> Encoder:
    return Encoder.from_list(bundle.preprocessing["features"])


def background_of(bundle: Bundle) -> Matrix:
    return np.asarray(load_arrays(bundle, BACKGROUND)["x"], float)


# ---------------------------------------------------------------------------------------- carried around


def to_zip(bundle: Bundle) -> bytes:
    """A bundle as one file to keep."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as target:
        for path in sorted(bundle.path.iterdir()):
            target.write(path, f"{bundle.id}/{path.name}")
    return buffer.getvalue()


def from_zip(data: bytes, folder: Path) -> Bundle:
    """Unpack a bundle made by :func:`to_zip` below a folder, and verify it.

    Raises
    ------
    InputError
        If the file is no such archive.
    ArtifactError
        If a file was changed, or it is no table model.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as source:
            members = [member for member in source.infolist() if not member.is_dir()]
            _check_members(members)
            home = folder / (PurePosixPath(members[0].filename).parts[0])
            home.mkdir(parents=True, exist_ok=True)
            for member in members:
                (home / PurePosixPath(member.filename).name).write_bytes(source.read(member))
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError):
        raise InputError("The file is no model bundle: its archive cannot be opened.") from None
    bundle = read_bundle(home)
    check_bundle(bundle)
    return bundle


def _check_members(members: list[zipfile.ZipInfo]) -> None:
    names = [PurePosixPath(member.filename) for member in members]
    plain = all(len(name.parts) == 2 and re.fullmatch(r"\w[\w.\-]*", part) for name in names for part in name.parts)
    if not names or not plain or len({name.parts[0] for name in names}) != 1:
        raise InputError("The file is no model bundle: it must hold one folder of files.")
    size_mb = sum(member.file_size for member in members) / 1e6
    if size_mb > min(MAX_MB * 3, settings().max_archive_mb):
        raise InputError("A model bundle must be at most {limit} MB when unpacked, got {size:.0f} MB.",
                         limit=MAX_MB * 3, size=size_mb)  # fmt: skip
