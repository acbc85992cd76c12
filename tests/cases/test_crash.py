"""Killed at any moment: what was acknowledged is there, and nothing half-written shows.

A process receives, reads and reviews in a loop, and prints a line for each thing only after it is done. It is killed at
random moments; then everything it had printed must be found, whole, and the audit log too.
"""

from __future__ import annotations

import json
import os
import random
import select
import subprocess
import sys
import time
from pathlib import Path

from quick_reader import QuickReader

from medai_core.cases.access import LOCAL
from medai_core.cases.store import utc_now
from medai_core.cases.worker import LEASE, Worker
from medai_core.cases.workspace import Workspace
from medai_core.settings import Settings

KILLS, AT_ONCE, LONGEST_SECONDS = 50, 5, 1.0
ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import io, json, sys
from pathlib import Path
import numpy as np
from PIL import Image
from quick_reader import QuickReader
from medai_core.cases.access import LOCAL
from medai_core.cases.answers import ReviewInput
from medai_core.cases.worker import Worker
from medai_core.cases.workspace import Workspace
from medai_core.settings import Settings

random, workspace = np.random.default_rng(int(sys.argv[2])), Workspace(Settings(data_dir=Path(sys.argv[1])))
worker = Worker(workspace, QuickReader)
print(json.dumps(["ready"]), flush=True)
while True:
    file = io.BytesIO()
    Image.fromarray(random.integers(0, 255, (32, 32), np.uint8)).save(file, "PNG")
    got = workspace.receive(LOCAL, file.getvalue(), "a.png")
    print(json.dumps(["received", got.case_id, got.study_id, got.object_id, file.getvalue().hex()]), flush=True)
    if worker.work():
        (study,) = workspace.case(LOCAL, got.case_id).studies
        if study.readings:
            print(json.dumps(["read", got.case_id, study.readings[0].reading_id]), flush=True)
    made = workspace.review(LOCAL, got.study_id, ReviewInput("normal"), 1)
    print(json.dumps(["reviewed", got.case_id, made.review_id]), flush=True)
"""


def test_kill_9_at_any_moment_loses_nothing_acknowledged(tmp_path):
    folder, rng = tmp_path / "data", random.Random(0)
    Workspace(Settings(data_dir=folder)).close()
    told: list[list[str]] = []
    for first in range(0, KILLS, AT_ONCE):
        told += killed(folder, range(first, first + AT_ONCE), rng)
    assert sum(line[0] == "received" for line in told) >= KILLS, "they were killed at work"
    check(Workspace(Settings(data_dir=folder)), told)


def killed(folder: Path, seeds: range, rng: random.Random) -> list[list[str]]:
    """Start processes on one workspace, kill each at its moment, and return what they had said by then."""
    path = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(folder), str(seed)], stdout=subprocess.PIPE, text=True,
            env=os.environ | {"PYTHONPATH": path},
        )
        for seed in seeds
    ]  # fmt: skip
    for process in processes:
        assert select.select([process.stdout], [], [], 60)[0], "it starts"
    for process in processes:
        time.sleep(rng.uniform(0, LONGEST_SECONDS / AT_ONCE))
        process.kill()
    lines = [line for process in processes for line in process.communicate()[0].splitlines(keepends=True)]
    return [json.loads(line) for line in lines if line.endswith("\n")]


def check(workspace: Workspace, told: list[list[str]]) -> None:
    cases = {line[1]: workspace.case(LOCAL, line[1]) for line in told if len(line) > 1}
    for what, *about in told:
        if what == "received":
            assert workspace.content(LOCAL, about[2]).hex() == about[3]
        elif what != "ready":
            (study,) = cases[about[0]].studies
            kept = [one.review_id for one in study.reviews] + [one.reading_id for one in study.readings]
            assert about[1] in kept, f"{what} and lost"
    assert workspace.verify_audit(LOCAL).ok
    shown = {row.case_id for page in range(20) for row in workspace.worklist(LOCAL, page=page).rows}
    for case_id in shown:
        for study in workspace.case(LOCAL, case_id).studies:
            assert [len(workspace.content(LOCAL, one.object_id)) for one in study.objects] == [
                study.objects[0].size_bytes
            ]
            assert (study.status == "done") == bool(study.reviews) and len(study.readings) <= 1
            assert (study.model_state == "ready") == bool(study.readings)
    later = Workspace(workspace.store.settings, now=lambda: utc_now() + 2 * LEASE)
    worker = Worker(later, QuickReader)
    while worker.work():
        pass
    assert later.overview(LOCAL).queue == 0, "nothing is stuck"
    later.close()
    workspace.close()
