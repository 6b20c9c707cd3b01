"""Sweeps: a run for every combination; one that dies takes no other with it, and a second call does what is missing."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cls_sim.commands import sweeps
from cls_sim.config.experiments import read
from cls_sim.core.errors import ConfigError, StorageError
from cls_sim.storage.run_directory import config_hash

ROOT = Path(__file__).resolve().parent.parent
TINY = [
    "subjects=2",
    "size=small",
    "world.per_context=12",
    "rhythm.experiences_per_day=6",
    "rhythm.steps_per_night=4",
    "arms=[cls]",
]

# in place of cls-sim: a job that is named by its capacity fails, dies or is done, and notes that it was begun
STUB = """
import json, os, signal, sys
folder = sys.argv[sys.argv.index("--into") + 1]
open(os.path.join(os.path.dirname(folder), "begun"), "a").write(os.path.basename(folder) + chr(10))
if folder.endswith("=2"):
    print("cls-sim: error: hippocampus.capacity: 2 is odd; give another", file=sys.stderr); sys.exit(2)
if folder.endswith("=3"):
    os.kill(os.getpid(), signal.SIGKILL)
os.makedirs(folder)
"""


# in place of SLURM: a machine that begins every task of an array at once
SBATCH = """#!{python}
import os, pathlib, re, subprocess, sys
script = pathlib.Path(sys.argv[-1]).read_text()
options = dict(re.findall(r"^#SBATCH --([\\w-]+)=(.*)$", script, re.M))
pathlib.Path(os.environ["ASKED"]).write_text(repr(options))
first, last = re.match(r"(\\d+)-(\\d+)", options["array"]).groups()
for task in range(int(first), int(last) + 1):
    own = dict(SLURM_JOB_ID=str(100 + task), SLURM_ARRAY_JOB_ID="77", SLURM_ARRAY_TASK_ID=str(task), SLURM_PROCID="0")
    own |= dict(SLURM_JOB_NODELIST="here", SLURM_JOB_NUM_NODES="1", SLURM_NTASKS="1", SLURM_LOCALID="0", SLURM_NODEID="0")
    subprocess.Popen(["bash", sys.argv[-1]], env=os.environ | own, stdout=-3, stderr=-3, start_new_session=True)
print("Submitted batch job 77")
"""
SRUN = """#!{python}
import os, sys
args = sys.argv[1:]
while args[0].startswith("-"):
    option = args.pop(0)
    if option in ("--output", "--error"):
        args.pop(0)
os.execvp(args[0], args)
"""
SACCT = """#!/bin/sh
echo "JobID|State|NodeList"; echo "77_0|RUNNING|here"; echo "77_1|RUNNING|here"
"""


def begun(home: Path) -> list[str]:
    return (home / "begun").read_text().split()


def called(*args: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cls_sim", *args],
        cwd=cwd,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)} | env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


# -- names --------------------------------------------------------------------------------------------------


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=300), min_size=1, max_size=8, unique=True))
def test_every_job_has_a_folder_of_its_own_inside_the_sweep(values: list[str]):
    names = [sweeps.job_name(["seed=1", f"world.path={value}"], {"world.path"}) for value in values]
    assert len(set(names)) == len(values)
    for name in names:
        assert len(name) <= 255 and re.fullmatch(r"[A-Za-z0-9_+][A-Za-z0-9_.+=,@\[\]-]*", name)


def test_a_folder_is_named_by_what_is_swept():
    assert sweeps.job_name(["experiment=digits", "a=1", "b.c=[2,3]"], {"a", "b.c"}) == "a=1,b.c=[2,3]"
    assert sweeps.job_name(["a=1"], set()) == "run"


# -- what is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "args",
    [
        ["resume=run"],
        ["hippocampus=sparse,nobody"],
        ["hippocampus.capcity=1,2"],
        ["seed=range(1,3),choice("],
        ["out=here", "seed=1,2"],
    ],
)
def test_a_sweep_that_cannot_be_is_refused_before_anything_is_written(args, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "precious").touch()
    before = set(tmp_path.rglob("*"))
    with pytest.raises(ConfigError) as caught:
        sweeps.sweep(["-m", *args])
    assert caught.value.exit_code == 2 and "\n" not in str(caught.value)
    assert set(tmp_path.rglob("*")) == before


def test_a_launcher_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sweeps, "find_spec", lambda name: None)
    for launcher, extra in (("joblib", "sweep"), ("submitit_slurm", "slurm")):
        with pytest.raises(ConfigError, match=rf"pip install 'cls-sim\[{extra}\]'"):
            sweeps.sweep(["-m", f"hydra/launcher={launcher}", "seed=1,2"])


# -- what becomes of the jobs -------------------------------------------------------------------------------


def test_a_job_that_fails_or_dies_does_not_stop_the_others(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setattr(sweeps, "CODE", STUB)
    home = tmp_path / "it's a sweep"
    with pytest.raises(StorageError) as caught:
        sweeps.sweep(["-m", "hippocampus.capacity=1,2,3,4", f"out={home}"])
    assert begun(home) == [f"hippocampus.capacity={i}" for i in (1, 2, 3, 4)]
    line = str(caught.value)
    assert line.startswith("sweep: 2 of 4 jobs failed: hippocampus.capacity=2 (exit code 2), hippocampus.capacity=3 (")
    assert "killed by signal 9" in line and shlex.quote(f"out={home}") in line
    said = capsys.readouterr().out
    assert "capacity=2 (exit code 2: hippocampus.capacity: 2 is odd; give another)" in said
    assert "2 of 4 jobs are done" in said
    assert sorted(file.name for file in (home / "logs").iterdir()) == [f"hippocampus.capacity={i}.txt" for i in "1234"]


def test_jobs_that_agree_on_what_is_wrong_give_its_exit_code(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(sweeps, "CODE", STUB)
    with pytest.raises(ConfigError) as caught:
        sweeps.sweep(["-m", "hippocampus.capacity=1,2", f"out={tmp_path / 's'}"])
    assert caught.value.exit_code == 2


def test_a_job_that_is_done_is_not_done_again(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setattr(sweeps, "CODE", STUB)
    home = tmp_path / "s"
    again = ["-m", "arms=[cls]", "hippocampus.capacity=4,5", f"out={home}"]
    assert sweeps.sweep(again) == 0
    done = home / "hippocampus.capacity=4"
    record = {"config_sha256": config_hash(read(["arms=[cls]", "hippocampus.capacity=4"]))}
    for name in ("run.json", "summary.json"):
        (done / name).write_text(json.dumps(record))
    capsys.readouterr()
    (home / "hippocampus.capacity=5").rmdir()
    assert sweeps.sweep(again) == 0
    assert begun(home) == [f"hippocampus.capacity={i}" for i in (4, 5, 5)]
    said = capsys.readouterr().out
    assert f"done before: {done}" in said and "1 of them were before" in said
    with pytest.raises(ConfigError, match=re.escape("hippocampus.capacity=4 (exit code 2)")):
        sweeps.sweep([*again, "world.batch=5"])
    assert "holds a run of another configuration" in capsys.readouterr().out


def test_whether_a_run_is_done(tmp_path: Path):
    experiment = read(["arms=[cls]", "seed=3"])
    assert not sweeps.done(experiment, tmp_path)
    (tmp_path / "run.json").write_text(json.dumps({"config_sha256": config_hash(experiment)}))
    assert not sweeps.done(experiment, tmp_path)
    (tmp_path / "summary.json").write_text(json.dumps({"config_sha256": config_hash(experiment)}))
    assert sweeps.done(experiment, tmp_path)
    with pytest.raises(ConfigError, match="another configuration"):
        sweeps.done(read(["arms=[cls]", "seed=4"]), tmp_path)
    (tmp_path / "summary.json").write_text("{}")
    with pytest.raises(ConfigError, match="not a record"):
        sweeps.done(experiment, tmp_path)


# -- for real -----------------------------------------------------------------------------------------------


@pytest.mark.claims
@pytest.mark.parametrize("launcher", ["basic", "submitit_local"])
def test_launchers_run_what_is_missing(launcher: str, tmp_path: Path):
    if launcher != "basic" and os.environ.get("CI") != "true":
        pytest.importorskip("submitit")
    args = ["-m", *TINY, f"hydra/launcher={launcher}", "out=sweep"]
    done = called(*args, "hippocampus.capacity=10,-1", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("cls-sim: error: sweep: 1 of 2 jobs failed: hippocampus.capacity=-1 (exit code 2)")
    first = tmp_path / "sweep" / "hippocampus.capacity=10" / "summary.json"
    before = first.stat().st_mtime_ns
    done = called(*args, "hippocampus.capacity=10,20", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith(f"sweep: {tmp_path / 'sweep'}: 2 of 2 jobs are done, 1 of them")
    assert first.stat().st_mtime_ns == before
    assert (tmp_path / "sweep" / "hippocampus.capacity=20" / "summary.json").is_file()


@pytest.mark.claims
def test_joblib_jobs_die_alone_and_go_on(tmp_path: Path):
    """One of three is killed, the others finish; then the same command resumes it and leaves the others alone."""
    if os.environ.get("CI") != "true":
        pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    args = ["-m", *TINY, "world.per_context=60", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "out=sweep"]
    args += ["hippocampus.capacity=10,20,30"]
    process = subprocess.Popen(
        [sys.executable, "-m", "cls_sim", *args],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "CLS_SIM_SAVE_EVERY": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    lock, end = tmp_path / "sweep" / "hippocampus.capacity=10" / ".lock", time.monotonic() + 120
    while len(list(lock.parent.glob("checkpoints/*/tick-*"))) < 2:
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.05)
    os.kill(int(re.findall(r"process (\d+)", lock.read_text())[0]), signal.SIGKILL)
    out, said = process.communicate(timeout=240)
    assert process.returncode == 3, said
    assert "1 of 3 jobs failed: hippocampus.capacity=10 (killed by signal 9)" in said and said.count("\n") == 1
    assert "2 of 3 jobs are done" in out
    stamps = {file: file.stat().st_mtime_ns for file in (tmp_path / "sweep").glob("*/summary.json")}
    assert len(stamps) == 2
    done = called(*args, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "3 of 3 jobs are done, 2 of them were before" in done.stdout
    assert {file: file.stat().st_mtime_ns for file in stamps} == stamps
    assert json.loads((lock.parent / "run.json").read_text())["resumed"] == 1


@pytest.mark.claims
def test_slurm_is_asked_by_its_documented_interface(tmp_path: Path):
    """A stand-in takes the place of sbatch, srun and sacct; a real cluster was never at hand."""
    if os.environ.get("CI") != "true":
        pytest.importorskip("submitit")
    for name, script in (("sbatch", SBATCH), ("srun", SRUN), ("sacct", SACCT)):
        (tmp_path / name).write_text(script.replace("{python}", sys.executable))
        (tmp_path / name).chmod(0o755)
    asked = tmp_path / "asked"
    settings = ["partition=long", "timeout_min=600", "mem_gb=2", "cpus_per_task=1"]
    done = called(
        *("-m", *TINY, "hydra/launcher=submitit_slurm", *(f"hydra.launcher.{setting}" for setting in settings)),
        *("hippocampus.capacity=10,20", "out=sweep"),
        cwd=tmp_path,
        PATH=f"{tmp_path}:{os.environ['PATH']}",
        ASKED=str(asked),
    )
    assert done.returncode == 0, done.stderr
    assert "2 of 2 jobs are done" in done.stdout
    assert len(list(tmp_path.glob("sweep/*/summary.json"))) == 2
    options = ast.literal_eval(asked.read_text())
    wanted = {"partition": "long", "time": "600", "mem": "2GB", "cpus-per-task": "1", "job-name": "cls-sim"}
    assert wanted.items() <= options.items() and options["array"].startswith("0-1")


def test_a_job_does_not_die_of_the_signal_that_is_for_submitit(tmp_path: Path):
    code = sweeps.CODE.split("sys.path")[0] + "import os; os.kill(os.getpid(), signal.SIGUSR2); print('alive')"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "alive\n"
