"""W&B: what it is told is what the trace says, and nothing that happens to it touches a life."""

from __future__ import annotations

import io
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cls_sim import sinks
from cls_sim.sinks import wandb as arm
from cls_sim.sinks import wandb_run
from cls_sim.sinks.service import Service
from cls_sim.storage.summary import Summary
from cls_sim.storage.trace import Trace
from tests.wandb_server import KEY, served

RUN = ("experiment=digits", "size=small", "subjects=5", "days=8", "arms=[sleepless]")
LONG = ("experiment=digits", "size=small", "arms=[cls]")  # some seconds between first and last step
BOUND = 60.0  # seconds in which everything is over: the life, and at most 30 for W&B


def row(day: int, subjects: int = 5, **others: Any) -> dict[str, Any]:
    draw = np.random.default_rng(day)
    readings = {"accuracy": draw.random((subjects, 3)), "dose": draw.random(subjects)}
    return {"moment": "day.end", "day": np.full(subjects, float(day)), "tick": 10 * day, "readings": readings} | others


INFO = {"name": "seed=1", "group": "digits", "job_type": "cls", "config": {"world": {"batch": 10}}}


def records(folder: Path, kind: str) -> list[dict[str, Any]]:
    """What an offline run holds, by W&B's own reader."""
    (file,) = folder.glob("*.wandb")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file)]
    found = subprocess.run(command, capture_output=True, text=True, check=True, env=quiet()).stdout
    lines = [json.loads(line) for line in found.splitlines()]
    return [line[kind] for line in lines if line["type"] == kind]


def quiet(**others: str) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    return ours | {"OMP_NUM_THREADS": "1", "WANDB_ERROR_REPORTING": "false"} | others


def history(folder: Path) -> list[dict[str, Any]]:
    rows = [record["item"] for record in records(folder, "history")]
    return [row for row in rows if "day" in row]


@pytest.fixture(autouse=True)
def forgotten():
    arm.SAID.clear()
    arm.OUT_OF_REACH.clear()


class Dummy:
    """Instead of the process that talks to W&B: one that does what its code says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, code: str):
        def start(*_: Any) -> subprocess.Popen[bytes]:
            command = [sys.executable, "-c", f"import sys, json, time\n{code}"]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            return subprocess.Popen(command, start_new_session=True, **pipes)  # type: ignore[call-overload]

        monkeypatch.setattr(arm, "_service", start)


FAITHFUL = """
for line in sys.stdin:
    told = json.loads(line)
    if 'n' in told: print(json.dumps({'rows': told['n'] + 1}), flush=True)
    if 'start' in told: print(json.dumps({'heard': told['start']}), flush=True)
    if 'end' in told: print(json.dumps({'closed': True}), flush=True); break
"""


def tell(sink: sinks.Wandb, days: range, before: range = range(0), outcome: str = "finished") -> dict[str, Any]:
    sink.start({**INFO, "rows": [row(day) for day in before]})
    for day in days:
        sink.moment(row(day))
    sink.end({"outcome": outcome})
    return sink.record


# -- what is told -------------------------------------------------------------------------------------------


def test_curves_are_means_over_subjects_with_their_intervals():
    one = row(3)
    one["readings"]["accuracy"][0, 2] = np.nan
    told = sinks.curves(one)
    accuracy = one["readings"]["accuracy"]
    assert told["day"] == 3.0 and told["tick"] == 30 and told["moment"] == "day.end"
    assert told["evaluation/accuracy"] == pytest.approx(np.nanmean(accuracy, 1).mean())
    assert told["evaluation/accuracy.context.3"] == pytest.approx(np.nanmean(accuracy[:, 2]))
    dose = one["readings"]["dose"]
    half = 2.7764451 * dose.std(ddof=1) / np.sqrt(5)  # Student's t, 4 degrees of freedom
    assert told["evaluation/dose.low"] == pytest.approx(dose.mean() - half)
    assert told["evaluation/dose.high"] == pytest.approx(dose.mean() + half)


def test_curves_leave_out_what_is_no_number_and_intervals_of_few():
    few = row(1, subjects=4)
    few["readings"]["dose"][:] = np.nan
    told = sinks.curves(few)
    assert "evaluation/dose" not in told and "evaluation/accuracy" in told and "evaluation/accuracy.low" not in told
    some = row(2, who=np.array([True, False, False, False, False]))
    some["day"][1:] = 99.0
    assert sinks.curves(some)["day"] == 2.0


def test_what_a_life_costs_is_read_without_touching_it():
    from tests.lives import live, small

    life, alone = live(small(), 20), live(small(), 20)
    told = sinks.costs(life)
    assert told["night_passes"].tolist() == life.ledger.totals()["night_passes"].tolist()
    assert told["wake_rate"].tolist() == [0.002, 0.002] and told["night_rate"][0] < 0.01
    from cls_sim.running.jobs import fingerprint

    assert fingerprint(live(life).state()) == fingerprint(live(alone).state())


def test_a_name_is_what_was_overridden_in_one_line():
    assert wandb_run.name_of(["experiment=digits", "out=/x", "seed=3", "wandb=online", "+x.y=1"]) == "seed=3,+x.y=1"
    assert len(wandb_run.name_of([f"seed={'1' * 500}"])) == wandb_run.LONGEST


def test_a_configuration_goes_without_the_environment(monkeypatch):
    monkeypatch.setenv("CLS_SIM_DATA_DIR", "/home/somebody/data")
    told = wandb_run.without_environment({"world": {"folder": "/home/somebody/data/mnist", "batch": 3}, "x": ["a"]})
    assert told == {"world": {"folder": "${oc.env:CLS_SIM_DATA_DIR}/mnist", "batch": 3}, "x": ["a"]}


def test_an_artifact_holds_the_run_but_no_checkpoint_and_no_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("CLS_SIM_DATA_DIR", "/home/somebody/data")
    for name in ("trace/a.jsonl", "checkpoints/a/x.safetensors", "wandb/a.json", "summary.json", ".hidden"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")
    (tmp_path / "config.yaml").write_text("folder: /home/somebody/data")
    told = wandb_run.artifact(tmp_path, Summary("digits", {}, config_sha256="0" * 64))
    assert sorted(told["files"]) == ["summary.json", "trace/a.jsonl"]


# -- the queue, and the process behind it ---------------------------------------------------------------------


def test_everything_told_arrives(tmp_path, monkeypatch):
    Dummy(monkeypatch, FAITHFUL)
    record = tell(sinks.Wandb("offline", tmp_path, job="cls-000000"), range(1, 50))
    assert (record["state"], record["rows"], record["lost"], record["dropped"]) == ("finished", 49, 0, 0)
    assert json.loads((tmp_path / "wandb.json").read_text())["cls-000000"] == record


def test_a_queue_that_is_full_drops_the_oldest_and_counts(tmp_path, monkeypatch, capsys):
    Dummy(monkeypatch, "time.sleep(60)")
    sink = sinks.Wandb("offline", tmp_path, job="cls-000000", room=5, deadline=0.3)
    monkeypatch.setattr(
        arm, "curves", lambda row: sinks.curves(row) | {"much": "x" * 200_000}
    )  # more than a pipe holds
    start = time.monotonic()
    record = tell(sink, range(30))
    assert time.monotonic() - start < 10
    assert record["dropped"] >= 24 and record["lost"] == 30 and record["state"] == "down"
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2 and "oldest of 5 waiting rows are dropped" in said[0] and "30 of 30 rows are lost" in said[1]


def test_a_process_that_dies_is_noticed_and_the_loss_counted(tmp_path, monkeypatch, capsys):
    Dummy(monkeypatch, "sys.exit(3)")
    record = tell(sinks.Wandb("offline", tmp_path, job="cls-000000"), range(20))
    assert record["lost"] == 20 and "died" in record["reason"]
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_resumed_life_goes_on_with_its_id_and_tells_nothing_twice(tmp_path, monkeypatch):
    Dummy(monkeypatch, FAITHFUL)
    first = tell(sinks.Wandb("online", tmp_path, job="cls-000000"), range(10), outcome="interrupted")
    sink = sinks.Wandb("online", tmp_path, job="cls-000000")
    sent: list[int] = []
    put = sink._put
    sink._put = lambda message: (sent.append(message.get("n", -1)), put(message))[1]  # type: ignore[method-assign]
    second = tell(sink, range(7, 15), before=range(7))  # the checkpoint was older than what W&B has
    assert second["id"] == first["id"] and sent == [10, 11, 12, 13, 14, -1]
    assert (second["rows"], second["told"], second["lost"]) == (15, 15, 0)
    kept = [json.loads(line) for line in (tmp_path / "wandb" / "cls-000000.jsonl").read_text().splitlines()]
    assert [told["n"] for told in kept] == list(range(15))


def test_costs_told_before_are_told_again(tmp_path, monkeypatch):
    Dummy(monkeypatch, FAITHFUL)
    sink = sinks.Wandb("offline", tmp_path, job="cls-000000")
    sink.start(INFO)
    sink.moment({**row(0), "costs": {"night_dose": np.full(5, 0.25)}})
    sink.end({"outcome": "interrupted"})
    tell(sinks.Wandb("offline", tmp_path, job="cls-000000"), range(1, 2), before=range(1))
    kept = [json.loads(line) for line in (tmp_path / "wandb" / "cls-000000.jsonl").read_text().splitlines()]
    assert [told.get("sleep/dose") for told in kept] == [0.25, None]


def test_a_record_that_somebody_spoilt_is_not_believed(tmp_path, monkeypatch):
    Dummy(monkeypatch, FAITHFUL)
    (tmp_path / "wandb").mkdir()
    for spoilt in ("[]", "{}", '{"id": "../../x", "rows": 3, "mode": "online"}', '{"id": 7}', "\0"):
        (tmp_path / "wandb" / "cls-000000.json").write_text(spoilt)
        (tmp_path / "wandb" / "cls-000000.jsonl").write_text(spoilt)
        record = tell(sinks.Wandb("online", tmp_path, job="cls-000000"), range(3))
        assert record["state"] == "finished" and len(record["id"]) == 8 and record["lost"] == 0


def test_without_the_package_one_line_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "wandb", None)
    record = tell(sinks.Wandb("online", tmp_path, job="cls-000000"), range(3))
    tell(sinks.Wandb("online", tmp_path, job="exact-000000"), range(3))
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and "pip install wandb" in said[0] and record["lost"] == 3


def test_a_folder_that_cannot_be_written_stops_no_life(tmp_path):
    (tmp_path / "wandb").write_text("in the way")
    (tmp_path / "run.json").write_text('{"overrides": []}')
    trace = Trace()
    with pytest.warns(UserWarning, match="is dropped .*; the life continues"):  # noqa: SIM117
        with wandb_run.WandbRun("offline", tmp_path, "cls-000000", {}, trace) as mirrored:
            mirrored.moment(row(1), None)
    with wandb_run.WandbRun("off", tmp_path, "cls-000000", {}, trace) as mirrored:
        mirrored.moment(row(1), None)


def test_a_breaker_after_errors_one_after_another():
    class Run:
        def __init__(self) -> None:
            self.calls = 0

        def log(self, _: Any) -> None:
            self.calls += 1
            if self.calls != 2:
                raise RuntimeError("no more kind of part")

    answers: list[Any] = []
    service = Service(answers.append)
    service.run = Run()
    went_on = [service.hear({"n": n}) for n in range(5)]
    assert went_on == [True, True, True, True, False]  # wrong, right, wrong, wrong, wrong
    assert answers == [{"rows": 2}, {"down": "no more kind of part"}]


def test_variables_of_wandb_are_few_in_the_process(tmp_path, monkeypatch):
    seen: dict[str, Any] = {}
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **how: seen.update(how))
    for name in ("WANDB_SERVICE", "WANDB_RUN_ID", "WANDB_MODE", "WANDB_BASE_URL", "WANDB_RESUME", "WANDB_DIR"):
        monkeypatch.setenv(name, "x")
    arm._service(tmp_path, False)
    kept = {name for name in seen["env"] if name.startswith("WANDB_")}
    assert kept == {"WANDB_BASE_URL", "WANDB_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_ERROR_REPORTING"}
    assert seen["start_new_session"] and seen["stdin"] == subprocess.PIPE  # no terminal to ask at


# -- W&B itself, offline --------------------------------------------------------------------------------------


def test_an_offline_run_holds_what_was_told(tmp_path):
    sink = sinks.Wandb("offline", tmp_path, job="cls-000000")
    sink.start({**INFO, "rows": [row(0)]})
    for day in range(1, 6):
        sink.moment({**row(day), "costs": {"night_passes": np.arange(5.0) * day}})
    sink.end({"outcome": "finished", "summary": {"final/accuracy": 0.5}})
    assert (sink.record["state"], sink.record["lost"]) == ("finished", 0)
    folder = tmp_path / "wandb" / sink.record["files"]
    (run,) = records(folder, "run")[:1]
    assert (run["run_group"], run["job_type"], run["display_name"]) == ("digits", "cls", "seed=1")
    assert run["run_id"] == sink.record["id"] and run["config"]["update"]["world"] == {"batch": 10}
    axes = {metric.get("glob_name"): metric.get("step_metric") for metric in records(folder, "metric")}
    assert {f"{stage}/*": "day" for stage in ("wake", "sleep", "evaluation")}.items() <= axes.items()
    rows = history(folder)
    assert [told["day"] for told in rows] == list(range(6)) and [told["_step"] for told in rows] == list(range(6))
    for day, told in enumerate(rows):
        for name, value in sinks.curves(row(day)).items():
            assert told[name] == value
        assert told.get("sleep/passes") == (2.0 * day if day else None)


@pytest.mark.claims
def test_killing_the_service_loses_rows_and_nothing_else(tmp_path, capsys):
    sink = sinks.Wandb("offline", tmp_path, job="cls-000000")
    sink.start(INFO)
    core = awaited(lambda: [pid for pid in family(os.getpid()) if named(pid, "wandb-core")], 30.0)[0]
    sink.moment(row(1))
    awaited(lambda: sink.record["rows"] == 1, 10.0)
    os.kill(core, signal.SIGKILL)
    for day in range(2, 20):
        sink.moment(row(day))
        time.sleep(0.05)
    start = time.monotonic()
    sink.end({"outcome": "finished"})
    assert time.monotonic() - start < 30
    assert sink.record["state"] == "down" and "died" in sink.record["reason"] and sink.record["lost"] >= 10
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not [pid for pid in family(os.getpid()) if named(pid, "wandb-core")]


# -- whole runs -----------------------------------------------------------------------------------------------


def family(pid: int) -> list[int]:
    """The children of a process, and theirs."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            continue
        parents.setdefault(parent, []).append(int(entry.name))
    found, todo = [], [pid]
    while todo:
        todo += (children := parents.get(todo.pop(), []))
        found += children
    return found


def named(pid: int, name: str) -> bool:
    try:
        return name.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def awaited(asked: Any, seconds: float) -> Any:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := asked():
            return found
        time.sleep(0.02)
    raise AssertionError("waited in vain")


def command(*overrides: str) -> list[str]:
    return [sys.executable, "-m", "cls_sim", *overrides]


def lived(out: Path, *overrides: str, home: Path | None = None, **environment: str) -> tuple[Any, float]:
    """A run of its own process: what it said, and how long it took."""
    start = time.monotonic()
    places = {"HOME": str(home), "MPLCONFIGDIR": str(out.parent)} if home else {}
    done = subprocess.run(
        command(*overrides, f"out={out}"),
        capture_output=True,
        text=True,
        timeout=2 * BOUND,
        env=quiet(**places, **environment),
        stdin=subprocess.DEVNULL,
        check=False,
    )
    return done, time.monotonic() - start


def prints(out: Path) -> dict[str, str]:
    return {file.stem: json.loads(file.read_text())["fingerprint"] for file in sorted((out / "jobs").glob("*.json"))}


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    """Both lives without W&B."""
    folder = tmp_path_factory.mktemp("plain")
    for name, overrides in (("run", RUN), ("long", LONG)):
        done, _ = lived(folder / name, *overrides)
        assert done.returncode == 0, done.stderr
    return folder


def same(plain: Path, out: Path) -> None:
    """The same bits as without W&B: state, trace and summary."""
    assert prints(plain) == prints(out) != {}
    for file in (plain / "trace").glob("*.jsonl"):
        assert file.read_bytes() == (out / "trace" / file.name).read_bytes()
    told, wanted = (json.loads((folder / "summary.json").read_text()) for folder in (out, plain))
    assert {arm: one["readings"] for arm, one in told["arms"].items()} == {
        arm: one["readings"] for arm, one in wanted["arms"].items()
    }


def taken(out: Path) -> dict[str, Any]:
    return json.loads((out / "wandb.json").read_text())


@pytest.mark.claims
def test_an_offline_run_is_the_same_life_and_holds_its_trace(tmp_path, plain):
    home = tmp_path / "home"
    home.mkdir()
    done, _ = lived(tmp_path / "run", *RUN, "wandb=offline", home=home)
    assert done.returncode == 0 and done.stderr == ""
    same(plain / "run", tmp_path / "run")
    assert list(home.iterdir()) == []
    told = taken(tmp_path / "run")
    assert {name: one["state"] for name, one in told.items()} == {"sleepless-000000": "finished", "summary": "finished"}
    folder = tmp_path / "run" / "wandb" / told["sleepless-000000"]["files"]
    trace = Trace.read(tmp_path / "run" / "trace" / "sleepless-000000.jsonl")
    rows = history(folder)
    assert len(rows) == len(trace.rows)
    for told_row, ours in zip(rows, trace.rows, strict=True):
        assert {k: v for k, v in told_row.items() if k.startswith("evaluation/")} == {
            k: v for k, v in sinks.curves(ours).items() if k.startswith("evaluation/")
        }
        assert {"wake/passes", "wake/dose", "wake/rate", "sleep/passes", "sleep/dose"} <= told_row.keys()
    (run,) = records(folder, "run")[:1]
    assert (run["run_group"], run["job_type"]) == ("digits", "sleepless") and "subjects=5" in run["display_name"]
    summary = tmp_path / "run" / "wandb" / taken(tmp_path / "run")["summary"]["files"]
    kinds = {artifact["type"] for artifact in records(summary, "artifact")}
    files = {file["path"] for one in records(summary, "files") for file in one["files"]}
    assert {"run", "run_table"} <= kinds and any("figures/first_life" in file for file in files)


@pytest.mark.claims
def test_an_online_run_arrives(tmp_path, plain):
    with served() as server:
        done, _ = lived(tmp_path / "run", *RUN, "wandb=online", **server.environment())
    assert done.returncode == 0 and done.stderr == ""
    same(plain / "run", tmp_path / "run")
    told = taken(tmp_path / "run")
    run = told["sleepless-000000"]["id"]
    about = server.runs[run]
    assert (about["group"], about["job_type"]) == ("digits", "sleepless")
    assert json.loads(about["config"])["world"]["value"]["batch"] == 10
    trace = Trace.read(tmp_path / "run" / "trace" / "sleepless-000000.jsonl")
    rows = [row for row in server.rows[run] if "day" in row]
    assert [row["evaluation/accuracy"] for row in rows] == [
        sinks.curves(ours)["evaluation/accuracy"] for ours in trace.rows
    ]
    assert server.exits == {run: 0, told["summary"]["id"]: 0}
    assert any(name.startswith("digits-") for name in server.artifacts) and "summary.json" in server.files
    assert not any("safetensors" in name for name in server.files)


@pytest.mark.claims
@pytest.mark.parametrize("victim", ["wandb-core", "cls_sim.sinks.service"])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "suspended"])
def test_a_service_killed_or_suspended_in_mid_run(tmp_path, plain, victim, how):
    out = tmp_path / "long"
    with served() as server:
        run = subprocess.Popen(
            command(*LONG, "wandb=online", f"out={out}"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=quiet(**server.environment()),
        )
        pid = awaited(lambda: [pid for pid in family(run.pid) if named(pid, "wandb-core") and server.runs], 60.0)
        pid = [pid for pid in family(run.pid) if named(pid, victim)]
        assert run.poll() is None and not (out / "jobs" / "cls-000000.json").exists()
        os.kill(pid[0], how)
        helpers = family(run.pid)
        awaited((out / "jobs" / "cls-000000.json").exists, BOUND)
        said = run.communicate(timeout=2 * BOUND)[1]  # W&B's deadline, and what is left of the lives
        first_over = taken(out)["cls-000000"]
    assert run.returncode == 0, said
    same(plain / "long", out)
    assert first_over["state"] == "down" and first_over["reason"]
    assert [line for line in said.splitlines() if "cls-000000" in line and "send all of it" in line]
    assert not [one for one in helpers if Path(f"/proc/{one}").exists()]


@pytest.mark.claims
def test_online_without_a_key_goes_offline_and_says_so(tmp_path, plain):
    home = tmp_path / "home"
    home.mkdir()
    done, seconds = lived(tmp_path / "run", *RUN, "wandb=online", home=home, WANDB_BASE_URL="http://127.0.0.1:9")
    assert done.returncode == 0 and seconds < BOUND
    same(plain / "run", tmp_path / "run")
    assert len(done.stderr.splitlines()) == 1 and "offline" in done.stderr and "API key" in done.stderr
    told = taken(tmp_path / "run")
    assert {(one["state"], one["mode"], one["lost"]) for one in told.values()} == {("finished", "offline", 0)}
    assert list((tmp_path / "run" / "wandb").glob("offline-run-*")) and list(home.iterdir()) == []


@pytest.mark.claims
def test_nobody_is_asked_in_a_terminal(tmp_path):
    """In a terminal W&B would ask for a login and wait: a run there asks nothing and ends."""
    said = io.BytesIO()
    out, home = tmp_path / "run", tmp_path / "home"
    home.mkdir()
    child, terminal = pty.fork()
    if child == 0:
        environment = quiet(HOME=str(home), WANDB_BASE_URL="http://127.0.0.1:9", MPLCONFIGDIR=str(tmp_path))
        os.execve(sys.executable, command(*RUN, "wandb=online", f"out={out}"), environment)
    until = time.monotonic() + BOUND
    while time.monotonic() < until:
        try:
            part = os.read(terminal, 4096)
        except OSError:
            break
        if not part:
            break
        said.write(part)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    text = said.getvalue().decode(errors="replace")
    assert "Enter your choice" not in text and "logged offline" in text
    assert taken(out)["sleepless-000000"]["mode"] == "offline"


@pytest.mark.claims
@pytest.mark.parametrize("key", ["short", KEY], ids=["of the wrong form", "that the server does not know"])
def test_a_bad_key_goes_offline(tmp_path, plain, key):
    with served(key="b" * 40) as server:
        environment = server.environment() | {"WANDB_API_KEY": key}
        done, seconds = lived(tmp_path / "run", *RUN, "wandb=online", **environment)
    assert done.returncode == 0 and seconds < BOUND
    same(plain / "run", tmp_path / "run")
    assert len(done.stderr.splitlines()) == 1 and "logged offline" in done.stderr and KEY not in done.stderr
    assert {one["lost"] for one in taken(tmp_path / "run").values()} == {0}


@pytest.mark.claims
@pytest.mark.parametrize("network", ["refuses", "swallows"])
def test_without_a_network_the_end_is_near_and_nothing_is_lost(tmp_path, plain, network):
    with socket.socket() as hole:
        hole.bind(("127.0.0.1", 0))
        hole.listen(50)  # takes calls, and never answers
        port = 9 if network == "refuses" else hole.getsockname()[1]
        environment = {"WANDB_BASE_URL": f"http://127.0.0.1:{port}", "WANDB_API_KEY": KEY}
        done, seconds = lived(tmp_path / "run", *RUN, "wandb=online", **environment)
    assert done.returncode == 0 and seconds < BOUND
    same(plain / "run", tmp_path / "run")
    assert len(done.stderr.splitlines()) == 1 and "logged offline" in done.stderr
    assert {one["lost"] for one in taken(tmp_path / "run").values()} == {0}


@pytest.mark.claims
def test_a_killed_run_goes_on_under_its_id(tmp_path, plain):
    out = tmp_path / "long"
    with served() as server:
        environment = quiet(**server.environment(), CLS_SIM_SAVE_EVERY="0.5")
        run = subprocess.Popen(command(*LONG, "wandb=online", f"out={out}"), env=environment, stderr=subprocess.DEVNULL)
        kept = out / "wandb" / "cls-000000.jsonl"
        awaited(lambda: kept.exists() and len(kept.read_text().splitlines()) > 8 and server.runs, 60.0)
        service = [pid for pid in family(run.pid) if named(pid, "cls_sim.sinks.service")]
        run.kill()
        run.wait()
        awaited(lambda: not any(Path(f"/proc/{pid}").exists() for pid in service), 40.0)
        first = json.loads((out / "wandb" / "cls-000000.json").read_text())
        assert first["state"] == "interrupted" and first["rows"] > 0
        done = subprocess.run(
            command(f"resume={out}", "wandb=online"), env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    same(plain / "long", out)
    told = taken(out)["cls-000000"]
    assert told["id"] == first["id"] and told["lost"] == 0
    trace = Trace.read(out / "trace" / "cls-000000.jsonl")
    ticks = [(row["tick"], row["moment"]) for row in server.rows[told["id"]] if "day" in row]
    assert ticks == [(row["tick"], row["moment"]) for row in trace.rows]
