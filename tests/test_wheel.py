"""The wheel, installed without dependencies into a fresh environment that sees those already there."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from cls_sim.config import experiments

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.claims
def test_the_wheel_runs_outside_the_repository(tmp_path: Path):
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path / "dist"), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    (site,) = (tmp_path / "env").glob("lib/python*/site-packages")
    (site / "shared.pth").write_text(sysconfig.get_path("purelib") + "\n")
    subprocess.run([python, "-m", "pip", "install", "--no-deps", "-q", wheel], check=True, capture_output=True)
    assert {"py.typed", "__init__.pyi"} <= {file.name for file in (site / "cls_sim").iterdir()}
    away = tmp_path / "away"
    away.mkdir()
    plain = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}

    def run(*args: str) -> str:
        done = subprocess.run([python.parent / "cls-sim", *args], cwd=away, env=plain, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = "import cls_sim; print(cls_sim.__file__)"
    found = subprocess.run(
        [python, "-c", where], cwd=away, env=plain, capture_output=True, text=True, check=True
    ).stdout
    assert found.startswith(str(tmp_path / "env"))
    listed = run("--help")
    for file in (experiments.conf_dir() / "experiment").glob("*.yaml"):
        assert file.stem in listed
    tiny = (
        "subjects=2",
        "arms=[cls]",
        "world.per_context=12",
        "rhythm.experiences_per_day=6",
        "rhythm.steps_per_night=4",
        "out=run",
    )
    assert run(*tiny).strip().endswith("run: run")
