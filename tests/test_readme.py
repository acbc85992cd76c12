"""The documentation is tested: its commands parse and run, and what it names is there."""

from __future__ import annotations

import argparse
import ast
import json
import re
import shlex
import subprocess
import sys
from importlib.metadata import packages_distributions, version
from pathlib import Path

import pytest

from medai_core import cli, registry

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```bash\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
LINES = [line for block in BLOCKS for line in block.strip().splitlines()]
OURS = [line for line in LINES if line.startswith("python -m medai_core ")]
# The bench times the first page in a browser where Playwright happens to be installed.
ONLY_IF_THERE = {"playwright"}


def pinned(name: str) -> dict[str, str]:
    """Package → version of a requirements file; every line must pin one."""
    lines = [line.split("#")[0].strip() for line in (ROOT / name).read_text().splitlines()]
    found = [re.fullmatch(r"([\w.-]+)(?:\[[\w-]+\])?==([\w.]+)", line) for line in lines if line and line[:2] != "-r"]
    assert all(found), f"{name} must pin every package"
    return {match[1].lower(): match[2] for match in found}


def subparsers() -> dict[str, argparse.ArgumentParser]:
    actions = cli.parser()._actions
    return next(action.choices for action in actions if isinstance(action, argparse._SubParsersAction))


def test_two_commands_install_start_and_test():
    start, test = (line for line in LINES if "pip install" in line)
    assert "-r requirements.txt" in start and start.endswith(".venv/bin/streamlit run app.py")
    assert "-r requirements-dev.txt" in test and test.endswith(".venv/bin/python -m pytest")
    assert (ROOT / "app.py").exists()


def test_ci_runs_exactly_the_test_command():
    test = next(line for line in LINES if line.endswith("pytest"))
    script = (ROOT / ".ci/run").read_text().rstrip().splitlines()
    assert script[script.index("tests() {") + 1] == test
    programs = re.search(r"\(which (.+?) \|\|", test)[1]
    assert f"if ! which {programs} >/dev/null; then" in script
    assert "bash .ci/run" in (ROOT / ".github/workflows/ci.yml").read_text()
    subprocess.run(["bash", "-n", str(ROOT / ".ci/run")], check=True)


@pytest.mark.parametrize("line", OURS)
def test_each_command_parses(line):
    args = cli.parser().parse_args(shlex.split(line)[3:])
    assert args.chosen in cli.COMMANDS


def test_the_listing_of_models_runs():
    command = [sys.executable, "-m", "medai_core", "models", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["id"] for row in rows] == list(registry.MODELS)
    assert all(list(row) == ["id", "task", "version", "digest_ok", "device", "size_mb"] for row in rows)
    assert done.returncode == (0 if all(row["digest_ok"] for row in rows) else 1)


def test_the_samples_are_read():
    files = [path for path in (ROOT / "assets/samples").glob("*") if path.suffix in (".png", ".dcm")]
    if not files or len(registry.available()) < len(registry.MODELS):
        pytest.skip("models or samples are not here yet")
    command = [sys.executable, "-m", "medai_core", "scan", "--demonstration", *sorted(map(str, files)), "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stderr
    assert [row["file"] for row in rows] == sorted(map(str, files))
    assert "read" in {row["status"] for row in rows}


@pytest.mark.parametrize("command", [command.name for command in cli.COMMANDS])
def test_each_command_is_documented_with_its_options(command):
    row = next((line for line in README.splitlines() if re.match(rf"\| `{command}\b", line)), None)
    assert row, f"README.md must have a table row for the command {command}"
    options = {name for action in subparsers()[command]._actions for name in action.option_strings}
    for name in options - {"-h", "--help", "--json"}:
        assert name in row, f"README.md must name {name} of {command}"


@pytest.mark.parametrize("model", registry.MODELS)
def test_each_model_says_how_to_retrain_it(model):
    assert f"python -m medai_core train {model} " in README


def test_links_and_files_are_there():
    for target in re.findall(r"\]\((?!http|#)([^)]+)\)", README):
        assert (ROOT / target).exists(), target
    for name in re.findall(r"^\s*(?:medai_core/)?(\w+\.py)", README, re.MULTILINE):
        assert any(ROOT.rglob(name)), name


def test_pins_are_what_these_tests_run_with():
    for name in ("requirements.txt", "requirements-dev.txt", "requirements-gpu.txt"):
        for package, wanted in pinned(name).items():
            if package == "ruff":  # a tool, never imported
                continue
            assert version(package) == wanted, f"{name} pins {package} to {wanted}"


@pytest.mark.parametrize("folder", ["medai_core", "pages", "tests"])
def test_every_import_is_required(folder):
    file = "requirements-dev.txt" if folder == "tests" else "requirements.txt"
    listed = set(pinned("requirements.txt")) | set(pinned(file))
    sources = [*(ROOT / folder).rglob("*.py"), ROOT / "app.py"]
    own = {"medai_core", "pages", "app", "tests", *(path.stem for path in sources)}
    origins = packages_distributions()
    for source in sources:
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level and node.module:
                names = [node.module]
            for name in {name.split(".")[0] for name in names} - sys.stdlib_module_names - own - ONLY_IF_THERE:
                packages = {package.lower().replace("_", "-") for package in origins.get(name, [])}
                assert packages & listed, f"{source.name} imports {name}, which {file} does not list"


FIGURE = re.compile(r"\| `(\w+)` \| (.+?) \| (.+?) \(n = (\d+)\) \| ([\d.]+) \(([\d.]+)–([\d.]+)\) \| ([\d.]+|–) \|")


def test_figures_are_those_of_the_bundles():
    table = README.partition("<!-- figures -->")[2].partition("<!-- /figures -->")[0]
    rows = FIGURE.findall(table)
    assert len(rows) == len(table.strip().splitlines()) - 2, "a row of the table has another form"
    for model, metric, split, n, *numbers, baseline in rows:
        stored = json.loads((ROOT / "assets/models" / model / "metrics.json").read_text("utf-8"))
        found = {part: {(r["metric"], r["split"]): r for r in stored.get(part, [])} for part in ("figures", "baseline")}
        row = found["figures"][metric, split]
        assert [f"{row[key]:.3f}" for key in ("value", "low", "high")] == numbers, (model, metric, split)
        assert str(row["n"]) == n
        plain = found["baseline"].get((metric, split))
        assert baseline == (f"{plain['value']:.3f}" if plain else "–"), (model, metric, split)
