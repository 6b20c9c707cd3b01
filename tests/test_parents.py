"""SIGKILL of a parent ends all its child processes, at once and without their help."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import cls_sim
from cls_sim.core import parents

ROOT = Path(cls_sim.__file__).parents[1]
SLEEPS = "import sys, time; from cls_sim.core.parents import bind; bind(); print('up', flush=True); time.sleep(300)"
RUN = "import sys; from cls_sim.__main__ import main; print('up', flush=True); sys.exit(main(sys.argv[1:]))"
LONG = ["experiment=digits", "subjects=2", "arms=[cls]", "world.cycles=40"]
PARENT = """
import os, subprocess, sys, time
from cls_sim.core.parents import environment
child = subprocess.Popen([sys.executable, "-c", *sys.argv[1:]], env=environment(os.environ), stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(300)
"""
ENGINE = """
import time
from pathlib import Path
from cls_sim.running.engines.local import _Process
if __name__ == "__main__":
    print(_Process()._process.pid, flush=True)
    time.sleep(300)
"""


def lives(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def killed(command: list[str], place: Path) -> int:
    """Start a parent that prints the id of its child, kill it, and return the id."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, text=True, env=env, cwd=place) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert lives(child)
        parent.send_signal(signal.SIGKILL)
    return child


def gone(process: int) -> bool:
    end = time.monotonic() + 20.0  # 2 s, on a machine that does nothing else
    while lives(process) and time.monotonic() < end:
        time.sleep(0.02)
    return not lives(process)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("command", [["-c", PARENT, SLEEPS], ["-c", PARENT, RUN, *LONG]], ids=["any", "run"])
def test_a_killed_parent_takes_its_children_with_it(command: list[str], tmp_path: Path):
    child = killed(command, tmp_path)
    try:
        assert gone(child)
    finally:
        if lives(child):
            os.kill(child, signal.SIGKILL)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_worker_that_has_just_been_started_dies_too(tmp_path: Path):
    """It imported torch for seconds before it looked for its parent."""
    (tmp_path / "engine.py").write_text(ENGINE)
    assert gone(killed(["engine.py"], tmp_path))


def test_who_has_no_such_parent_is_not_bound(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(parents.PARENT, raising=False)
    parents.bind()
    assert parents.environment({"A": "b"}) == {"A": "b", parents.PARENT: str(os.getpid())}


def test_every_child_process_is_bound():
    """The process that talks to W&B is not: it notices the end of its input, and marks the run as interrupted."""
    for path in sorted((ROOT / "cls_sim").rglob("*.py")):
        content = path.read_text()
        if re.search(r"subprocess\.(Popen|run)\(|\.Process\(", content) and path.parent.name != "sinks":
            assert "parents.environment(" in content or "parents.bound" in content, path
