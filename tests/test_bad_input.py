"""Every command: bad input ends with one printable line and exit code 2, 3 or 4, never with a traceback."""

from __future__ import annotations

import copy
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cls_sim import __main__ as command
from cls_sim import figures
from cls_sim.commands import compare, dashboard, listing, report
from cls_sim.commands.campaign import runner
from cls_sim.config import experiments, reader
from cls_sim.core.errors import ConfigError, short_of_memory
from cls_sim.running import checkpointed

COUNT = 200
TINY = ["experiment=digits", "subjects=2", "size=small", "world.per_context=12", "rhythm.experiences_per_day=6"]
ODD = (
    *("", " ", "-1", "0", "²", "٣", "1e999", "nan", "null", "true", "1" * 400, "x" * 5000, "/".join("x" * 2000)),
    *(
        "\ud800",
        "\x00",
        "a\nb",
        "a\x1b[31m",
        "\u202e",
        "é",
        "[",
        "{a: b",
        "(1",
        "'",
        '"',
        "`",
        "\\",
        "a,b",
        "[a,b]",
        "{a: 1}",
    ),
    *("${x}", "${oc.env:HOME}", "${seed}", "$HOME", "~", "=", "a=b", "--", "-", "-m", "..", "../..", "/", "/dev/null"),
    *(
        "/proc/self/mem",
        "/proc/1/nope",
        "nowhere",
        ".",
        "a file",
        "a pipe",
        "a link",
        "empty",
        "damaged",
        "run",
        "run/run.json",
    ),
    *(
        "1,2",
        "0x10",
        "1_000",
        "1.5",
        "-0",
        "1e3",
        "inf",
        "None",
        "{_target_: os.system}",
        "!!python/object:os.system",
        "*x",
        "&x",
    ),
)
KEYS = (
    *(
        "experiment",
        "method",
        "scenario",
        "subjects",
        "chunk",
        "seed",
        "days",
        "size",
        "device",
        "workers",
        "engine",
        "out",
    ),
    *(
        "resume",
        "wandb",
        "arms",
        "debug",
        "precision",
        "budget",
        "hippocampus",
        "hippocampus.capacity",
        "world",
        "world.batch",
        "rhythm",
    ),
    *(
        "replay.batch",
        "neocortex.hidden",
        "plasticity",
        "plasticity.night_rate",
        "probes",
        "title",
        "claims",
        "figures",
        "arm",
    ),
    *(
        "nothing",
        "world.x",
        "hydra.run.dir",
        "hydra/launcher",
        "readout",
        "consolidation.optimizer.rate",
        "label_noise",
        "small",
    ),
)
WORDS = {
    "cls-sim": (
        *(f"{key}=" for key in KEYS),
        *(f"--{key}=" for key in KEYS),
        "--config-dir=",
        "--allow=",
        "--into=",
        "--cfg",
        "",
    ),
    "cls-sim show": (*(f"{key}=" for key in KEYS), "arm=", "--all", ""),
    "cls-sim experiments": ("", "--", "a="),
    "cls-sim export": ("", "out=", "--out=", "--all"),
    "cls-sim-claims": (
        "",
        "into=",
        "workers=",
        "blocks=",
        "size=",
        "--table",
        "--check",
        "--list",
        "--off=",
        "--nothing",
    ),
    "cls-sim-compare": ("", "out=", "reading=", "--out", "--nothing"),
    "cls-sim-report": ("", "out=", "reference=", "--out", "--nothing"),
    "cls-sim-dashboard": ("", "--send=", "--entity=", "--project=", "--picture", "--push", "--nothing"),
}
CALLS: dict[str, Callable[[list[str]], int]] = {
    "cls-sim": command.main,
    **{
        f"cls-sim {word}": lambda args, word=word: command.main([word, *args])
        for word in ("show", "experiments", "export")
    },
    "cls-sim-claims": runner.main,
    "cls-sim-compare": compare.main,
    "cls-sim-report": report.main,
    "cls-sim-dashboard": dashboard.main,
}


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("lived") / "run"
    assert command.main([*TINY, "arms=[cls,sleepless]", f"out={run}"]) == 0
    return run


PAGES: dict[Path, Any] = {}
EXPERIMENTS: dict[str, Any] = {}
ENDS: dict[str, Any] = {}


def once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read each experiment and each life's checkpoint once in this process: nothing here damages these files."""
    conf, read, composed, opened = experiments.conf_dir(), reader.page, experiments.read, checkpointed.final

    def page(file: Path) -> Any:
        if conf not in file.parents:
            return read(file)
        if file not in PAGES:
            PAGES[file] = read(file)
        return copy.deepcopy(PAGES[file])

    def final(job: Any, folder: Path) -> Any:
        key = repr(job)
        if key not in ENDS:
            ENDS[key] = opened(job, folder)
        return ENDS[key]

    def configured(overrides: Any, folders: Any = (), **how: Any) -> Any:
        key = repr((overrides, folders, how))
        if key not in EXPERIMENTS:
            EXPERIMENTS[key] = composed(overrides, folders, **how)
        return copy.deepcopy(EXPERIMENTS[key])

    monkeypatch.setattr(reader, "page", page)
    monkeypatch.setattr(experiments, "read", configured)
    monkeypatch.setattr(os, "fsync", lambda _: None)  # what lasts is tested elsewhere
    monkeypatch.setattr("cls_sim.running.opened.final", final)


@pytest.fixture
def place(lived: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which the odd names exist; nothing is simulated there."""
    shutil.copytree(lived, tmp_path / "run")
    (tmp_path / "a file").write_text("a file")
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "a pipe")
    (tmp_path / "a link").symlink_to("nowhere")
    shutil.copytree(lived, tmp_path / "damaged")
    (tmp_path / "damaged" / "summary.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    known = listing.themes()  # reads every experiment, which is slow
    monkeypatch.setattr(listing, "themes", lambda *_: known)
    once(monkeypatch)

    def stop(*_: Any, **__: Any) -> Any:
        raise ConfigError("test", "would be simulated", "no more")

    monkeypatch.setattr("cls_sim.running.runs.perform", stop)
    monkeypatch.setattr("cls_sim.commands.sweeps.sweep", stop)
    monkeypatch.setattr(runner, "live", stop)
    monkeypatch.setattr(runner, "_docs", lambda: tmp_path / "docs")  # `--table` writes there
    monkeypatch.setattr("cls_sim.sinks.wandb_run.send", stop)
    monkeypatch.setattr("cls_sim.commands.dashboard.workspace.push", stop)
    return tmp_path


def asked(name: str, args: list[str], capsys: pytest.CaptureFixture[str]) -> int:
    try:
        code = CALLS[name](args)
    except SystemExit as left:
        raise AssertionError(f"{name} {args!r} left by itself: {left}") from left
    except Exception as error:
        raise AssertionError(f"{name} {args!r}: {type(error).__name__}: {error}") from error
    said = capsys.readouterr().err
    assert code in (0, 2, 3, 4) or (name == "cls-sim-claims" and code == 1), (name, args, code)  # 1: a claim failed
    if code > 1:
        lines = said.removesuffix("\n").split("\n")
        assert len(lines) == 1 and lines[0].isprintable() and ": error: " in said, (name, args, said)
        assert len(said) < 6000
    return code


@pytest.mark.parametrize("name", CALLS)
def test_200_bad_inputs_are_one_line_each(name: str, place: Path, capsys: pytest.CaptureFixture[str]):
    draw = random.Random(name)
    refused = 0
    for _ in range(COUNT):
        args = [draw.choice(WORDS[name]) + draw.choice(ODD) for _ in range(draw.randint(1, 3))]
        refused += asked(name, args, capsys) > 0
    assert refused > COUNT / 3


VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    10**400,
    1e308,
    "",
    "\ud800",
    "../x",
    [],
    {},
    [[]],
    {"a": None},
    [None],
    "x" * 3000,
    float("nan"),
)


def damaged(tree: Any, draw: random.Random) -> Any:
    """The same JSON with one value replaced, removed, or put elsewhere."""
    if not isinstance(tree, (dict, list)) or not tree or draw.random() < 0.15:
        return draw.choice(VALUES)
    keys = list(tree) if isinstance(tree, dict) else range(len(tree))
    key = draw.choice(keys)
    tree = tree.copy()
    if draw.random() < 0.15:
        del tree[key]
    elif isinstance(tree, dict) and draw.random() < 0.1:
        tree[draw.choice(("", "../x", "\x1b", "a/b", "x" * 3000, "\ud800"))] = tree.pop(key)
    else:
        tree[key] = damaged(tree[key], draw)
    return tree


@pytest.mark.parametrize("name", ["cls-sim-compare", "cls-sim-report", "cls-sim-dashboard", "cls-sim export"])
def test_200_damaged_runs_are_one_line_each(
    name: str, place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(
        "cls_sim.figures.save", lambda *_: place / "figure.png"
    )  # drawing is slow, and tested elsewhere
    for module in ("contexts", "arms"):
        monkeypatch.setattr(f"cls_sim.commands.report.{module}.drawn", lambda _: bytes(24))
    pictures, matrix = {}, figures.matrix

    def once_each(panels: Any, **words: Any) -> Any:
        """Most damage leaves the numbers that are drawn as they are."""
        key = repr([(arm, values.shape, values.tobytes()) for arm, values in panels.items()]), repr(words)
        if key not in pictures:
            pictures[key] = matrix(panels, **words)
        return pictures[key]

    monkeypatch.setattr(figures, "matrix", once_each)
    draw = random.Random(name)
    files = sorted(
        path
        for path in (place / "run").rglob("*")
        if path.suffix in (".json", ".jsonl", ".yaml") and "checkpoints" not in path.parts
    )
    for _ in range(COUNT if name != "cls-sim-report" else 60):
        path = draw.choice(files)
        before = path.read_bytes()
        if path.suffix == ".json" and draw.random() < 0.8:
            path.write_text(json.dumps(damaged(json.loads(before), draw)))
        else:
            at = draw.randrange(len(before))
            path.write_bytes(before[:at] + draw.randbytes(draw.randint(0, 9)) + before[at + draw.randint(0, 99) :])
        shutil.rmtree(place / "run" / "export", ignore_errors=True)
        try:
            asked(name, [str(place / "run")], capsys)
        except AssertionError as error:
            raise AssertionError(f"{path.relative_to(place)}: {path.read_bytes()[:3000]!r}") from error
        path.write_bytes(before)


SHORT = (
    MemoryError(),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"
    ),
    OSError(12, "Cannot allocate memory"),
    ImportError("libtorch_cpu.so: failed to map segment from shared object"),
    RuntimeError("can't start new thread"),
)


@pytest.mark.parametrize("error", SHORT, ids=lambda error: type(error).__name__)
def test_too_little_memory_at_any_stage_is_one_line(
    error: Exception, place: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    """`replay.batch=2147483647` under a limit of memory was a traceback: only making a life was fenced."""

    def short(*_: Any, **__: Any) -> Any:
        raise error

    for where in (
        "cls_sim.running.runs.perform",
        "cls_sim.config.experiments.read",
        "cls_sim.storage.run_directory.resumed",
    ):
        with monkeypatch.context() as patch:
            patch.setattr(where, short)
            assert command.main([*TINY, *(["resume=run"] if "resumed" in where else [])]) == 3, where
            said = capsys.readouterr().err
            assert said.count("\n") == 1 and "memory: is not enough" in said
    monkeypatch.setattr("cls_sim.storage.summary.read", short)
    assert compare.main(["run"]) == 3 and capsys.readouterr().err.count("\n") == 1


def test_another_error_is_no_lack_of_memory():
    assert short_of_memory(RuntimeError("shapes differ")) is None and short_of_memory(KeyError("memory")) is None
