"""Paths: whatever the file system allows can be typed, and what is printed can be pasted into a shell."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cls_sim.commands import sweeps
from cls_sim.config import experiments, validation
from cls_sim.core.errors import ConfigError
from cls_sim.core.signals import Interrupted
from cls_sim.running.engines.base import died
from cls_sim.storage.run_directory import resumed

TINY = [
    "subjects=2",
    "size=small",
    "world.per_context=12",
    "rhythm.experiences_per_day=6",
    "rhythm.steps_per_night=4",
    "arms=[cls]",
]
ODD = [
    "a = b",
    "ü,ö",
    'say "no"',
    "it's",
    "#1",
    "(x",
    "[y",
    "{z",
    "~",
    "a;b",
    "$HOME",
    "\\",
    "a\\",
    "*?",
    "null x",
    "  two  ",
    "-m",
]
NAMES = st.text(st.characters(exclude_characters="/"), min_size=1, max_size=40).filter(
    lambda name: (
        name.isprintable() and len(name.encode()) < 255 and name not in (".", "..", "null") and "${" not in name
    )
)


@settings(max_examples=60, deadline=None)
@given(NAMES)
@example("seed=1")
@example("=")
@example("'")
@example("\\'")
@example("'\\")
@example(" ")
def test_every_name_arrives_letter_by_letter(name: str):
    """Paths went through the grammar of Hydra, which fails at most of these and changes some of the others."""
    here = f"runs/{name}"
    files = [f"world.{key}={here}" for key in ("x", "y", "x_test", "y_test", "context", "context_test")]
    cfg = experiments.read(["arms=[cls]", "world=arrays", f"out={here}", f"resume={here}", *files]).arms["cls"].cfg
    assert (cfg["out"], cfg["resume"]) == (here, here)
    assert {cfg["world"][key] for key in ("x", "y", "x_test", "y_test", "context", "context_test")} == {here}
    assert validation.plain(validation.quoted(f"out={here}")) == f"out={here}"


@pytest.mark.parametrize("odd", ["a\nb", "a\tb", "a\x00b", "a\x1b[31m", "\u202eb", "\udcff", "a\u2028b"])
@pytest.mark.parametrize("key", ["out", "resume", "world.x", "--config-dir"])
def test_what_a_terminal_cannot_show_is_refused_by_name(key: str, odd: str):
    with pytest.raises(ConfigError) as caught:
        given, folders = ([], [odd]) if key == "--config-dir" else ([f"{key}={odd}"], [])
        experiments.read(["arms=[cls]", "world=arrays", "world.y=y.npy", "world.x=x.npy", *given], folders)
    assert caught.value.key == key and str(caught.value).isprintable()


@settings(max_examples=60, deadline=None)
@given(NAMES)
@example("it's  two  spaces")
def test_the_way_on_can_be_pasted_into_a_shell(name: str):
    folder = f"/runs/{name}"
    told = [
        str(Interrupted("SIGTERM", folder)).partition("go on with ")[2],
        str(died("x", "killed", Path(folder))).partition("resume with ")[2].removesuffix("; other chunks are not lost"),
    ]
    assert [shlex.split(one) for one in told] == [[f"resume={folder}"]] * 2
    assert shlex.split(sweeps._again(Path(folder))) == [f"out={folder}"]


def test_a_run_in_a_folder_of_an_odd_name_goes_on(tmp_path: Path, typed):
    """`cls-sim resume=sweep/seed=1`, the folder's own name, was told "mismatched input '='"."""
    (tmp_path / "sweep").mkdir()
    for name in ("sweep/seed=1", "".join(odd for odd in ODD if "/" not in odd)):
        code, out, err = typed(*TINY, f"out={name}", cwd=tmp_path)
        assert code == 0, err
        assert out.splitlines()[-1] == f"run: {name}"
        code, out, err = typed(f"resume={name}", cwd=tmp_path)
        assert code == 0 and out.splitlines()[-1] == f"run: {name}", err
        assert json.loads((tmp_path / name / "run.json").read_text())["resumed"] == 1
        code, out, err = typed(*TINY, f"out={name}", cwd=tmp_path)
        assert code == 2
        assert shlex.split(err.partition("resume it with ")[2]) == [f"resume={name}"]


def test_a_folder_of_configurations_may_have_any_name(tmp_path: Path):
    for name in (*ODD, "${x}"):
        (tmp_path / name / "experiment").mkdir(parents=True)
        (tmp_path / name / "experiment" / "mine.yaml").write_text("# @package _global_\nsubjects: 3\n")
        assert experiments.read(["experiment=mine"], [str(tmp_path / name)]).cfg["subjects"] == 3


def test_a_resumed_run_keeps_its_paths(tmp_path: Path):
    (tmp_path / "run.json").write_text(json.dumps({"overrides": ["world=arrays", "world.x=a, 'b'", "arms=[cls]"]}))
    overrides = resumed([f"resume={tmp_path}", "world.y=y"])
    assert experiments.read(overrides).arms["cls"].cfg["world"]["x"] == "a, 'b'"


def test_a_sweep_may_go_over_files_and_lie_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one, two.npy").touch()
    base = ["arms=[cls]", "world=arrays", "world.y=y.npy"]
    jobs, swept = sweeps._jobs([*base, "world.x=a.npy,'b c.npy'"], [])
    assert [job[-1] for job in jobs] == ["world.x=a.npy", "world.x=b c.npy"] and swept == {"world.x"}
    jobs, swept = sweeps._jobs([*base, "world.x=one, two.npy", "seed=1,2"], [])
    assert [job[-2] for job in jobs] == ["world.x=one, two.npy"] * 2 and swept == {"seed"}
    for odd in ODD:
        with sweeps._launcher([], tmp_path / odd) as launch:
            assert Path(launch.__self__.config.hydra.sweep.dir) == tmp_path / odd


def test_what_no_arm_reads_is_not_swept(tmp_path: Path):
    """The jobs would be identical."""
    for one in ("hippocampus.capacity=10,20", "rhythm=nights,nrem_rem"):
        with pytest.raises(ConfigError, match="is not read by any of the arms"):
            sweeps._jobs(["arms=[sleepless]", one], [])
    own = ["experiment=buzzega_2020_table", "arms=[er_500,er_5120]"]
    with pytest.raises(ConfigError, match="is not read by any of the arms"):
        sweeps._jobs([*own, "hippocampus.capacity=10,20"], [])
    assert len(sweeps._jobs(["arms=[cls,sleepless]", "hippocampus.capacity=10,20"], [])[0]) == 2
