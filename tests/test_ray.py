"""Jobs on a Ray cluster: two real nodes on this machine, one of them killed in mid-run; the same bits all the same."""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ARGS = [
    "subjects=6",
    "chunk=2",
    "size=small",
    "arms=[cls,lesioned]",
    "arm.lesioned.branch_at=4d",
    "world.per_context=120",
]

# two nodes of one processor each; the second dies by SIGKILL when a line comes in, all of it when there are no more
CLUSTER = """
import os, sys
from ray.cluster_utils import Cluster
size = 80 * 2**20
os.makedirs(os.path.join(os.environ.get("RAY_TMPDIR", "/tmp"), "ray"), exist_ok=True)  # it notes the cluster there
cluster = Cluster()
cluster.add_node(num_cpus=1, include_dashboard=False, object_store_memory=size, temp_dir=sys.argv[1])
second = cluster.add_node(num_cpus=1, object_store_memory=size)
print(cluster.address, second.node_id, flush=True)
for _ in sys.stdin:
    cluster.remove_node(second, allow_graceful=False)
cluster.shutdown()
"""


@pytest.fixture(scope="module", autouse=True)
def installed() -> None:
    if importlib.util.find_spec("ray") is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("ray is not installed")


@pytest.fixture
def quiet() -> dict[str, str]:
    own = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    return {**os.environ, **own, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "CLS_SIM_SAVE_EVERY": "0.5"}


@pytest.fixture
def cluster(quiet: dict[str, str]) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """A cluster of two nodes: its process, its address, and the name of the second node."""
    folder = tempfile.mkdtemp(prefix="ray")  # short: Ray puts sockets there
    process = subprocess.Popen(
        [sys.executable, "-c", CLUSTER, folder],
        env=quiet,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout
        address, second = process.stdout.readline().split()
        yield process, address, second
    finally:
        assert process.stdin
        process.stdin.close()
        try:
            process.wait(60)
        finally:
            process.kill()
            shutil.rmtree(folder, ignore_errors=True)


def bits(run: Path) -> dict[str, str]:
    traces = {file.name: file.read_text() for file in (run / "trace").glob("*.jsonl")}
    prints = {file.name: json.loads(file.read_text())["fingerprint"] for file in (run / "jobs").glob("*.json")}
    assert len(traces) == len(prints) == 6
    return traces | prints


def books(run: Path) -> dict[str, list[dict]]:
    """Of each job, who came to live it."""
    return {
        file.name.split(".")[0]: [
            json.loads(line) for line in file.read_text().splitlines(keepends=True) if line[-1:] == "\n"
        ]
        for file in run.glob("jobs/*.where.jsonl")
    }


@pytest.mark.claims
@pytest.mark.timeout(600)
def test_jobs_of_a_node_that_dies_go_on_elsewhere_with_the_same_bits(tmp_path: Path, quiet, cluster):
    process, address, second = cluster
    command = [sys.executable, "-m", "cls_sim", *ARGS]
    run = tmp_path / "run"
    driver = subprocess.Popen(
        [*command, "engine=ray", "out=run"],
        cwd=tmp_path,
        env=quiet | {"RAY_ADDRESS": address},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        lost, end = [], time.monotonic() + 240
        while not lost:
            assert driver.poll() is None, driver.communicate()
            assert time.monotonic() < end, "the second node has not begun"
            time.sleep(0.1)
            there = [name for name, lines in books(run).items() if lines and lines[-1].get("node") == second]
            lost = [name for name in there if any(tick(path) for path in run.glob(f"checkpoints/{name}/tick-*"))]
        process.stdin.write("kill\n")
        process.stdin.flush()
        _, said = driver.communicate(timeout=280)
        assert driver.returncode == 0, said
    finally:
        driver.kill()
    nodes = {line["node"] for lines in books(run).values() for line in lines if "node" in line}
    assert len(nodes) == 2 and second in nodes
    first, again, over = books(run)[lost[0]]
    assert first["node"] == second != again["node"] and over == {"id": "over"}
    assert first["tick"] == 0 < again["tick"], "it went on from a checkpoint, not from birth"
    done = subprocess.run([*command, "out=local"], cwd=tmp_path, env=quiet, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert bits(run) == bits(tmp_path / "local")


def tick(path: Path) -> int:
    return int(path.name.split("-")[1])


@pytest.mark.claims
@pytest.mark.timeout(300)
def test_a_cluster_that_does_not_answer_is_named_and_a_run_begun_there_ends_here(tmp_path: Path, quiet):
    args = [sys.executable, "-m", "cls_sim", *ARGS, "world.per_context=12", "engine=ray"]
    done = subprocess.run(
        [*args, "out=run"],
        cwd=tmp_path,
        env=quiet | {"RAY_ADDRESS": "127.0.0.1:1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    assert done.stderr.splitlines()[-1].startswith("cls-sim: error: engine: no Ray cluster answers at 127.0.0.1:1")
    args[-1] = "engine=local"
    done = subprocess.run([*args, "resume=run"], cwd=tmp_path, env=quiet, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(bits(tmp_path / "run")) == 12
