"""A run directory made by a stranger: nothing is read or written through a link, and no pipe or device is opened."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from cls_sim import __main__ as command
from cls_sim.commands import compare, dashboard, export, report
from cls_sim.commands.sweeps import sweep
from cls_sim.core.errors import ConfigError
from cls_sim.storage import disk

TINY = ["subjects=2", "size=small", "arms=[cls]", "world.per_context=12", "rhythm.experiences_per_day=6"]
SECRET = "the secret of the house"
PLACES = (
    *("run.json", "summary.json", "config.yaml", "environment.json", "protocol.json", "dashboard.json"),
    *("report.md", "report.html", "wandb.json", "trace", "jobs", "figures", "checkpoints", "wandb", "report_figures"),
    *("trace/cls-000000.jsonl", "jobs/cls-000000.json", "figures/leak.png", "wandb/cls-000000.jsonl", "wandb/files"),
)
COMMANDS = {
    "resume": lambda run: command.main([f"resume={run}"]),
    "wandb": lambda run: command.main([f"resume={run}", "wandb=offline"]),
    "compare": lambda run: compare.main([str(run), f"out={run}"]),
    "report": lambda run: report.main([str(run)]),
    "dashboard": lambda run: dashboard.main([str(run), "--picture"]),
    "send": lambda run: dashboard.main([str(run), "--send=offline"]),
    "export": lambda run: export.main([str(run)]),
}


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("lived") / "run"
    assert command.main([*TINY, f"out={run}"]) == 0
    return run


@pytest.fixture
def run(lived: Path, tmp_path: Path) -> Path:
    shutil.copytree(lived, tmp_path / "run")
    return tmp_path / "run"


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def put_away(run: Path, place: str, outside: Path) -> None:
    """Move a part of the run outside, with a secret, and leave a link to it."""
    path, there = run / place, outside / Path(place).name
    path.parent.mkdir(exist_ok=True)
    if path.exists():
        path.rename(there)
    elif "." in place:
        there.write_text(SECRET)
    else:
        there.mkdir()
    if there.is_dir():
        (there / "secret.png").write_text(SECRET)
    path.symlink_to(there)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_follows_a_link(name: str, place: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    """`dashboard.json`, `report_figures` and `wandb` were written through, and `figures/x.png` was read."""
    outside = tmp_path / "outside"
    outside.mkdir()
    put_away(run, place, outside)
    before, mine = files(outside), set(run.rglob("*"))
    assert COMMANDS[name](run) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and str(run / place) in said and "a link" in said
    assert files(outside) == before
    assert not [path for path in set(run.rglob("*")) - mine if path.is_file() and SECRET in path.read_text("latin1")]


@pytest.mark.parametrize("place", ["summary.json", "dashboard.json", "figures/x.png", "wandb/a.json", "jobs/x"])
@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_waits_for_a_pipe(name: str, place: str, run: Path, capsys: pytest.CaptureFixture):
    (run / place).parent.mkdir(exist_ok=True)
    (run / place).unlink(missing_ok=True)
    os.mkfifo(run / place)
    assert COMMANDS[name](run) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and str(run / place) in said


def test_a_folder_of_runs_may_not_lead_the_report_elsewhere(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    (tmp_path / "mine").mkdir()
    many = tmp_path / "many"
    many.mkdir()
    run.rename(many / "run")
    (many / "report_figures").symlink_to(tmp_path / "mine")
    assert report.main([str(many)]) == 2 and "report_figures: is a link" in capsys.readouterr().err
    (many / "report_figures").unlink()
    (tmp_path / "mine" / "page").write_text(SECRET)
    for name in ("report.html", "report.md"):
        (many / name).symlink_to(tmp_path / "mine" / "page")
    assert report.main([str(many)]) == 0 and (tmp_path / "mine" / "page").read_text() == SECRET
    (many / "figure.png").symlink_to(tmp_path / "mine" / "page")
    assert compare.main([str(many), f"out={many}"]) == 0 and (tmp_path / "mine" / "page").read_text() == SECRET


def test_a_sweep_does_not_write_its_logs_elsewhere(tmp_path: Path):
    home = tmp_path / "sweep"
    (home / "logs").mkdir(parents=True)
    (home / "sweep.json").write_text("{}")
    (tmp_path / "mine").write_text("mine")
    (home / "logs" / "seed=1.txt").symlink_to(tmp_path / "mine")
    with pytest.raises(ConfigError, match="is a link"):
        sweep(["-m", *TINY, "seed=1,2", f"out={home}"])
    assert (tmp_path / "mine").read_text() == "mine"


def test_a_link_to_the_run_directory_itself_is_mine(run: Path, tmp_path: Path):
    (tmp_path / "short").symlink_to(run)
    assert COMMANDS["report"](tmp_path / "short") == 0 and COMMANDS["resume"](tmp_path / "short") == 0


def test_links_of_wandb_inside_its_folder_are_left_alone(run: Path):
    (run / "wandb" / "run-1").mkdir(parents=True)
    (run / "wandb" / "latest-run").symlink_to("run-1")
    disk.plain_below(run)
    (run / "wandb" / "up").symlink_to("../..")
    with pytest.raises(ConfigError, match="up: is a link"):
        disk.plain_below(run)


@pytest.mark.parametrize(
    "call", [disk.appended, lambda path, _: disk.content(path, 9), lambda path, _: disk.text(path)]
)
def test_the_guards_refuse_links_and_pipes(call, tmp_path: Path):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe"):
        with pytest.raises((OSError, ValueError, disk.NotPlain)):
            call(tmp_path / name, b"x")
    assert (tmp_path / "mine").read_text() == "mine"


OWN = {  # files of the package, of the user's own data, or of a download: not below a run directory
    *("storage/disk.py", "storage/checkpoint.py", "config/reader.py", "core/renamed.py", "commands/show.py"),
    "commands/report/expected.py",
}
RAW = re.compile(r"\.open\(|\bopen\(|(read|write)_(text|bytes)\(|np\.(load|save)\(|savefig\((?!page|png|pdf)|\.touch\(")


def test_there_is_one_way_to_the_disk():
    """Every file below a run directory is read and written by storage/disk.py."""
    root = Path(disk.__file__).parents[1]
    odd = []
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root).as_posix()
        if name in OWN or name.startswith(("world/", "people/")):
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if RAW.search(line) and not re.search(
                r"os\.devnull|\(__file__\)\.with_name\(|Image\.open|/proc/cpuinfo|def |>>>|O_NOFOLLOW", line
            ):
                odd.append(f"{name}:{number}: {line.strip()}")
    assert not odd
