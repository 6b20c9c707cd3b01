"""Every claim of every experiment at size=small, as a user would run it: `make claims`.

A claim that misses fails, unless its file carries `missed:` with the measured interval and the reason; one marked so
that passes fails too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cls_sim import configs

EXPERIMENTS = sorted(file.stem for file in (configs.conf_dir() / "experiment").glob("*.yaml"))
SCENARIOS = {"split_mnist": ("class", "domain", "task")}
RUNS = [(name, scenario) for name in EXPERIMENTS for scenario in SCENARIOS.get(name, (None,))]


@pytest.mark.claims
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name, scenario", RUNS, ids=lambda value: value or "")
def test_the_claims_of(name: str, scenario: str | None, tmp_path: Path, request: pytest.FixtureRequest):
    if "mnist" in name:
        request.getfixturevalue("data_dir")
    args = [f"experiment={name}", "size=small", "out=run", *([f"scenario={scenario}"] if scenario else [])]
    done = subprocess.run(
        [sys.executable, "-m", "cls_sim", *args],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    claims = json.loads((tmp_path / "run" / "summary.json").read_text())["claims"]
    judged = [claim for claim in claims if claim["passed"] is not None]
    assert judged, "an experiment claims something at every size"
    wrong = [claim for claim in judged if claim["passed"] == ("missed" in claim)]
    assert not wrong, "\n".join(map(str, wrong))
    print(done.stdout)
