"""Killed at any moment: what was acknowledged is there, and nothing half-written shows.

A process receives, reads and reviews in a loop, and prints a line for each thing only after it is done. It is killed at
random moments; then everything it had printed must be found, whole, and the audit log too.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

from quick_reader import QuickReader

from medai_core.cases.access import LOCAL
from medai_core.cases.store import utc_now
from medai_core.cases.worker import LEASE, Worker
from medai_core.cases.workspace import Workspace
from medai_core.settings import Settings

KILLS, AT_ONCE = 50, 2
ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import hashlib, io, json, os, random, signal, sys, time
from pathlib import Path
import numpy as np
from PIL import Image
from quick_reader import QuickReader
from medai_core.cases.access import LOCAL
from medai_core.cases.answers import ReviewInput
from medai_core.cases.worker import Worker
from medai_core.cases.workspace import Workspace
from medai_core.settings import Settings

folder, kills, at_once = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])

def say(*what):
    os.write(1, (json.dumps(what) + chr(10)).encode())  # one write of a short line is never cut

def work(seed, rounds, ready):
    draws, workspace = np.random.default_rng(seed), Workspace(Settings(data_dir=folder))
    worker = Worker(workspace, QuickReader)
    os.write(ready, b"1")
    for _ in range(rounds):
        file = io.BytesIO()
        Image.fromarray(draws.integers(0, 255, (32, 32), np.uint8)).save(file, "PNG")
        got = workspace.receive(LOCAL, file.getvalue(), "a.png")
        say("received", got.case_id, got.object_id, hashlib.sha256(file.getvalue()).hexdigest())
        if worker.work():
            (study,) = workspace.case(LOCAL, got.case_id).studies
            if study.readings:
                say("read", got.case_id, study.readings[0].reading_id)
        made = workspace.review(LOCAL, got.study_id, ReviewInput("normal"), 1)
        say("reviewed", got.case_id, made.review_id)
    workspace.close()

moments, (is_ready, ready) = random.Random(0), os.pipe()
work(kills, 1, ready)  # imports everything once, before anything is forked
start = time.monotonic()
work(kills + 1, 2, ready)
longest = 1.5 * (time.monotonic() - start)  # on a busy machine everything takes its time
os.read(is_ready, 2)
for first in range(0, kills, at_once):
    children = []
    for seed in range(first, first + at_once):
        child = os.fork()
        if not child:
            work(seed, 1_000_000, ready)
        children.append(child)
    for child in children:
        os.read(is_ready, 1)
    for child in children:
        time.sleep(moments.uniform(0, longest / at_once))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        say("killed")
"""


def test_kill_9_at_any_moment_loses_nothing_acknowledged(tmp_path):
    folder = tmp_path / "data"
    Workspace(Settings(data_dir=folder)).close()
    path = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    command = [sys.executable, "-c", PROGRAM, str(folder), *map(str, (KILLS, AT_ONCE))]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path})
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert sum(line[0] == "killed" for line in told) == KILLS, done.stderr
    counts = {what: sum(line[0] == what for line in told) for what in ("received", "read", "reviewed")}
    assert min(counts.values()) >= KILLS / 5, f"they were killed at work: {counts}"
    check(Workspace(Settings(data_dir=folder)), told)


def check(workspace: Workspace, told: list[list[str]]) -> None:
    cases = {line[1]: workspace.case(LOCAL, line[1]) for line in told if len(line) > 1}
    for what, *about in told:
        if what == "received":
            assert hashlib.sha256(workspace.content(LOCAL, about[1])).hexdigest() == about[2]
        elif what != "killed":
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
