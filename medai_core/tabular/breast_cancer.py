"""The Wisconsin breast cancer table in the layouts it is handed around in (Street, Wolberg & Mangasarian 1993)."""

from __future__ import annotations

import io
import re
from functools import cache

import pandas as pd

from medai_core.errors import InputError
from medai_core.tabular.problem import BINARY, Plan
from medai_core.tabular.tables import Table, read_table, table_of

TARGET, BENIGN, MALIGNANT = "diagnosis", "benign", "malignant"
_PARTS = ("radius", "texture", "perimeter", "area", "smoothness", "compactness", "concavity", "concave points",
          "symmetry", "fractal dimension")  # fmt: skip
FEATURES = tuple(
    [f"mean {part}" for part in _PARTS] + [f"{part} error" for part in _PARTS] + [f"worst {part}" for part in _PARTS]
)
_ANSWERS = {"m": MALIGNANT, "b": BENIGN, MALIGNANT: MALIGNANT, BENIGN: BENIGN}
_TARGETS = ("diagnosis", "target", "label", "class")


@cache
def sample_table() -> Table:
    """The 569 patients as scikit-learn ships them, with a column ``diagnosis``."""
    from sklearn.datasets import load_breast_cancer

    found = load_breast_cancer(as_frame=True)
    words = found.target.map({0: MALIGNANT, 1: BENIGN})
    return table_of(found.data.assign(**{TARGET: words}), "Breast Cancer Wisconsin (Diagnostic)")


def plan() -> Plan:
    """What the shipped model was trained for."""
    return Plan(TARGET, BINARY, FEATURES, MALIGNANT)


def read_breast_cancer(data: bytes, name: str = "table") -> Table:
    """Read the table with or without a header, in the names of scikit-learn, UCI or Kaggle.

    Parameters
    ----------
    data : bytes
        A file :func:`~medai_core.tabular.tables.read_table` reads; UCI's ``wdbc.data`` (number, M or B, 30 values) and
        scikit-learn's ``breast_cancer.csv`` (0 malignant, 1 benign, in the last column) have no names.

    Returns
    -------
    Table
        With the columns :data:`FEATURES`, then ``diagnosis`` where the file has it, then any others.

    Raises
    ------
    InputError
        If a measurement is missing, or a diagnosis is not one of M, B, malignant, benign, 0, 1.
    """
    first = data[:400].split(b"\n", 1)[0].strip().lower()
    if re.match(rb"\d+,[mb],[\d.]+,", first):
        return _named(data, ["id", TARGET, *FEATURES], name)
    if re.match(rb"\d+,30,malignant,benign", first):
        return _named(data.split(b"\n", 1)[1], [*FEATURES, TARGET], name)
    table = read_table(data, name)
    known = {_plain(column): column for column in table.names}
    lacking = [feature for feature in FEATURES if _plain(feature) not in known]
    if lacking:
        raise InputError("The table lacks {count} of the 30 measurements: {names}.", count=len(lacking),
                         names=", ".join(lacking[:4]))  # fmt: skip
    used = [known[_plain(feature)] for feature in FEATURES]
    frame = table.frame[used].set_axis(list(FEATURES), axis=1)
    target = next((known[word] for word in _TARGETS if word in known), None)
    if target is not None:
        frame = frame.assign(**{TARGET: _diagnoses(table.frame[target])})
    others = table.frame.drop(columns=[*used, *([target] if target else [])])
    return table_of(pd.concat([frame, others], axis=1), table.name)


def _named(data: bytes, names: list[str], name: str) -> Table:
    try:
        frame = pd.read_csv(io.BytesIO(data), names=names, header=None)
    except (ValueError, UnicodeDecodeError) as error:
        raise InputError("The file is no readable table: {why}.", why=str(error).partition("\n")[0]) from None
    return table_of(frame[list(FEATURES)].assign(**{TARGET: _diagnoses(frame[TARGET])}), name)


def _plain(name: str) -> str:
    """One spelling for ``radius_mean``, ``radius1``, ``mean radius``: ``mean radius``."""
    text = re.sub(r"[_\s]+", " ", name.strip().lower()).replace("concave points", "concavepoints")
    text = text.replace("fractal dimension", "fractaldimension")
    for endings, form in ((("mean", "1"), "mean {}"), (("se", "error", "2"), "{} error"), (("worst", "3"), "worst {}")):
        for ending in endings:
            if (found := re.fullmatch(rf"([a-z]+) ?{ending}", text)) and found[1] not in ("mean", "worst"):
                text = form.format(found[1])
    return text.replace("concavepoints", "concave points").replace("fractaldimension", "fractal dimension")


def _diagnoses(series: pd.Series) -> pd.Series:
    words = series.map(lambda value: f"{value:g}" if isinstance(value, float | int) else str(value).strip().lower())
    found = words.map({**_ANSWERS, "0": MALIGNANT, "1": BENIGN})
    bad = words[found.isna() & series.notna()]
    if len(bad):
        raise InputError("A diagnosis must be M, B, malignant, benign, 0 (malignant) or 1 (benign), got {value}.",
                         value=str(bad.iloc[0])[:20])  # fmt: skip
    return found.where(series.notna(), None)
