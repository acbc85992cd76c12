"""Who may import whom: held by walking the source, so it needs none of the libraries.

pages, app, cli → cases → wings → registry → artifacts, runtime → calibration → metrics, settings, errors
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
WINGS = {"imaging", "synthesis", "icu", "tabular"}
FLOOR = {
    "errors": 0,
    "settings": 0,
    "metrics": 0,
    "faithfulness": 0,
    "calibration": 1,
    "likeness": 1,
    "marks": 1,
    "artifacts": 2,
    "runtime": 2,
    "registry": 3,
}
LEVELS = (
    FLOOR
    | dict.fromkeys(WINGS, 4)
    | {
        "cases": 5,
        "bench": 6,
        "bench_cases": 6,
        "cli_cases": 6,
        "cli_icu": 6,
        "cli_synthesis": 6,
        "cli_treat": 6,
        "cli_table": 6,
        "cli_scan": 6,
        "cli_train": 6,
        "cli": 7,
        "__main__": 8,
    }
)
SLOW = {"tensorflow", "keras", "shap"}
TRAINING = ("train", "augment")
NETWORKS = ("network", "forecast_network")
MAY_START_SLOWLY = ("runtime", *NETWORKS, *TRAINING)

CORE = sorted((ROOT / "medai_core").rglob("*.py"))
FACE = [path for path in (ROOT / "app.py", *sorted((ROOT / "pages").rglob("*.py"))) if path.exists()]


def name_of(path: Path) -> str:
    """Dotted name of a source file: ``medai_core.imaging`` for the package's ``__init__.py``."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_file(dotted: str) -> bool:
    path = ROOT.joinpath(*dotted.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def imports(path: Path, *, at_start_only: bool = False) -> list[str]:
    """Dotted names a file imports; with ``at_start_only`` those that importing the file imports."""
    package = name_of(path) if path.name == "__init__.py" else name_of(path).rpartition(".")[0]
    return list(imports_of(path.read_text(encoding="utf-8"), package, at_start_only))


def imports_of(source: str, package: str, at_start_only: bool = False) -> Iterator[str]:
    for node in nodes(ast.parse(source), at_start_only):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")
            base = above[: len(above) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                yield f"{origin}.{alias.name}" if is_file(f"{origin}.{alias.name}") else origin


def nodes(node: ast.AST, at_start_only: bool) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if at_start_only and (isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) or is_typing_only(child)):
            continue
        yield child
        yield from nodes(child, at_start_only)


def is_typing_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def is_training(dotted: str) -> bool:
    """Whether a module serves training alone: ``train``, ``train_<model>``, ``augment``, or in a package so named."""
    parts = dotted.split(".")
    return parts[0] == "medai_core" and any(p in TRAINING or p.startswith("train_") for p in parts)


def floor_of(dotted: str) -> str:
    return (dotted.split(".") + ["", ""])[1]


ids = {"argvalues": CORE, "ids": name_of}


@pytest.mark.parametrize("path", **ids)
def test_every_core_module_has_a_floor(path):
    assert floor_of(name_of(path)) in {"", *LEVELS}, "a new module or wing needs a level in this test"


@pytest.mark.parametrize("path", **ids)
def test_core_knows_nothing_of_the_face(path):
    roots = {name.split(".")[0] for name in imports(path)}
    assert not roots & {"streamlit", "app", "pages"}


@pytest.mark.parametrize("path", **ids)
def test_imports_go_downwards(path):
    here = floor_of(name_of(path))
    for name in imports(path):
        there = floor_of(name)
        if not name.startswith("medai_core.") or not here or here == there:
            continue
        assert LEVELS[there] <= LEVELS[here], f"{name_of(path)} must not import {name}: it stands above"
        assert not {here, there} <= WINGS, f"{name_of(path)} must not import {name}: wings do not know each other"


@pytest.mark.parametrize("path", [*CORE, *FACE], ids=name_of)
def test_only_the_command_line_trains(path):
    here = name_of(path)
    if here in ("medai_core.cli", "medai_core.cli_train") or is_training(here):
        return
    assert not [name for name in imports(path) if is_training(name)]


@pytest.mark.parametrize("path", [*CORE, *FACE], ids=name_of)
def test_slow_libraries_are_imported_where_they_are_used(path):
    if any(part.startswith(MAY_START_SLOWLY) for part in name_of(path).split(".")):
        return
    assert not {name.split(".")[0] for name in imports(path, at_start_only=True)} & SLOW


def test_importing_the_core_imports_nothing_slow():
    quick = [name_of(p) for p in CORE if not is_training(name_of(p)) and p.stem not in (*NETWORKS, "__main__")]
    program = f"import importlib, sys; [importlib.import_module(n) for n in {quick}]; print(*{SLOW} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr or f"imported at start: {done.stdout}"


def test_the_walk_finds_what_it_looks_for():
    source = (
        "import a.b\nfrom ..metrics import x\nfrom medai_core import errors\nfrom . import reading\n"
        "if TYPE_CHECKING:\n import keras\ndef f():\n import c\n"
    )
    at_start = ["a.b", "medai_core.metrics", "medai_core.errors", "medai_core.imaging.reading"]
    assert list(imports_of(source, "medai_core.imaging", at_start_only=True)) == at_start
    assert list(imports_of(source, "medai_core.imaging")) == [*at_start, "keras", "c"]
