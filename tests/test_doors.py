"""The commands beside cls-sim: help in plain words, bad input in one line with exit code 2."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cls_sim.commands import compare, dashboard, report
from cls_sim.commands.campaign import runner

COMMANDS = {
    "cls-sim-claims": runner.main,
    "cls-sim-compare": compare.main,
    "cls-sim-dashboard": dashboard.main,
    "cls-sim-report": report.main,
}


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_is_shown(name: str, flag: str, capsys: pytest.CaptureFixture[str]):
    assert COMMANDS[name](["somewhere", flag]) == 0
    said = capsys.readouterr()
    assert said.out.startswith(f"`{name}") and not said.err


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize(
    "args",
    [["--verbos"], ["--verbos=3", "."], ["x" * 5000], ["nowhere"], ["--into"], ["--out"], ["--send"], ["workers=²"]],
    ids=lambda args: args[0][:10],
)
def test_bad_input_is_one_line_with_exit_code_2(
    name: str, args: list[str], capsys: pytest.CaptureFixture[str], tmp_path, monkeypatch: pytest.MonkeyPatch
):
    """`workers=²`, a long path, and an option without its value were tracebacks."""
    monkeypatch.chdir(tmp_path)
    run: Callable[[list[str]], int] = COMMANDS[name]
    assert run(args) == 2
    said = capsys.readouterr()
    assert said.err.startswith(f"{name}: error: ") and said.err.count("\n") == 1 and not said.out


@pytest.mark.parametrize("name", ["cls-sim-compare", "cls-sim-report"])
def test_a_setting_alone_names_no_folder(name: str, capsys: pytest.CaptureFixture[str]):
    assert COMMANDS[name](["out=x"]) == 2 and "needs a folder" in capsys.readouterr().err
    assert COMMANDS[name]([]) == 0 and name in capsys.readouterr().out
