"""Shared by all tests: one thread, and data sets found, skipped or demanded."""

from __future__ import annotations

import gc
import os
import signal
from pathlib import Path

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read once, by torch: a second thread that waits takes no CPU time
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # started in the background of a script: hear Ctrl-C all the same
    signal.signal(signal.SIGINT, signal.default_int_handler)

gc.disable()  # until the tests begin: what is imported for them stays


def pytest_collection_finish() -> None:
    """Modules and tests stay to the end: a full collection that walks through them takes a quarter of a second."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of data sets; without it a test is skipped, except in CI, where that is a failure."""
    folder = os.environ.get("CLS_SIM_DATA_DIR")
    if folder and Path(folder).is_dir():
        return Path(folder)
    reason = "CLS_SIM_DATA_DIR names no folder of data sets"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """`cls-sim` with these arguments in this folder, without a process of its own: exit code, output, errors."""
    from cls_sim.__main__ import main

    def called(*args: str, cwd: Path) -> tuple[int, str, str]:
        monkeypatch.chdir(cwd)
        capsys.readouterr()  # what was printed before is not of this call
        return (main(args), *capsys.readouterr())

    return called


@pytest.fixture
def figure(record_property):
    """Say what was measured: `make faults` keeps it as a row of docs/reliability.md."""
    return lambda text: record_property("figure", text)


def pytest_make_parametrize_id(val: object) -> str | None:
    """Bytes are named by their length: content with a time in it (gzip) would give each worker other names of tests."""
    return f"{len(val)} bytes" if isinstance(val, bytes) else None
