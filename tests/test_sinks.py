"""What is shown of a life, and that nothing shown can stop it."""

from __future__ import annotations

import io
import sys
import time
import warnings

import numpy as np
import pytest

from cls_sim import sinks
from cls_sim.core.clock import Clock
from cls_sim.sinks import Console, Fenced, Progress, Sink
from cls_sim.sinks.bar import _watched


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


class Listener(Sink):
    def __init__(self, fails_at: str | None = None):
        self.heard: list[str] = []
        self.fails_at = fails_at

    def _hear(self, name: str) -> None:
        self.heard.append(name)
        if name == self.fails_at:
            raise ConnectionResetError("the service died")

    def start(self, info):
        self._hear("start")

    def moment(self, row):
        self._hear("moment")

    def end(self, summary):
        self._hear("end")


ROW = {
    "moment": "context.end",
    "day": np.array([4.0, 4.0]),
    "readings": {"accuracy": np.array([[0.5, np.nan], [0.7, 0.6]])},
}


@pytest.mark.parametrize("fails_at", ["start", "moment", "end"])
def test_a_sink_that_raises_is_dropped_with_one_warning(fails_at):
    inner = Listener(fails_at)
    sink = Fenced(inner)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for _ in range(2):
            sink.start({})
            sink.moment(ROW)
            sink.moment(ROW)
            sink.end({})
    assert len(said) == 1 and "Listener is dropped (ConnectionResetError: the service died)" in str(said[0].message)
    assert inner.heard.count(fails_at) == 1 and inner.heard[-1] == fails_at
    assert sink.dropped == "ConnectionResetError: the service died"


def test_a_fence_hides_nothing_of_a_sink_that_works_and_lets_the_person_interrupt():
    inner = Listener()
    sink = Fenced(inner)
    sink.start({})
    sink.moment(ROW)
    sink.end({})
    assert inner.heard == ["start", "moment", "end"] and sink.dropped is None

    def interrupt(row):
        raise KeyboardInterrupt

    inner.moment = interrupt
    with pytest.raises(KeyboardInterrupt):
        sink.moment(ROW)


def test_console_says_a_line_a_context_with_means_over_subjects():
    out = Terminal()
    console = Console(out=out)
    console.start({"name": "cls"})
    console.moment(ROW)
    console.moment(ROW | {"moment": "day.end"})
    console.moment(ROW | {"moment": "life.end", "readings": {"gist": np.array([np.nan, np.nan])}})
    console.end({})
    lines = out.getvalue().splitlines()
    assert [line.split() for line in lines] == [
        ["cls", "day", "4.0", "context.end", "accuracy", "0.600"],
        ["cls", "day", "4.0", "life.end", "gist", "n/a"],
        ["cls", "done"],
    ]


def test_console_is_silent_in_a_file_unless_asked():
    for quiet, lines in ((None, 0), (False, 1), (True, 0)):
        out = io.StringIO()
        Console(out=out, quiet=quiet).moment(ROW)
        assert len(out.getvalue().splitlines()) == lines
    out = Terminal()
    Console(out=out, quiet=True).moment(ROW)
    assert out.getvalue() == ""


class Begun:
    horizon = 50


def advance(clock: Clock, ticks: int, asleep: bool = False) -> None:
    who = np.ones(clock.subjects, bool)
    clock.asleep = who & asleep
    for _ in range(ticks):
        clock.advance(who & (not asleep), who & asleep)


def test_the_bar_tells_day_night_and_phase(monkeypatch):
    out = Terminal()
    monkeypatch.setattr(sys, "stderr", out)
    clock = Clock(subjects=2, per_day=10)
    bar = sinks.progress(Begun(), "cls", quiet=False)
    advance(clock, 20)
    clock.night += 2
    advance(clock, 3, asleep=True)
    bar.update(clock)
    bar.close()
    last = out.getvalue().split("\r")[-1]
    assert "cls:  40%" in last and "20/50" in last and "day 2.0, night 2, asleep" in last


def test_the_bar_draws_by_time_not_by_tick_and_ends_where_the_life_does(monkeypatch):
    out, now = Terminal(), [100.0]
    monkeypatch.setattr(sys, "stderr", out)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    clock = Clock(subjects=1, per_day=10)
    with Progress(50, "cls", quiet=False) as bar:
        drawn = out.getvalue().count("day")
        for _ in range(40):
            advance(clock, 1)
            now[0] += 0.01
            bar.update(clock)
        assert 3 <= out.getvalue().count("day") - drawn <= 6  # 0.4 s at ten a second
    assert "40/50" in out.getvalue().split("\r")[-1]
    bar.update(clock)  # after the end: nothing
    bar.close()


def test_the_bar_is_silent_without_anybody_to_look(monkeypatch, capsys):
    clock = Clock(subjects=1, per_day=10)
    for terminal in (io.StringIO(), Terminal()):
        monkeypatch.setattr(sys, "stderr", terminal)
        with sinks.progress(Begun()) as bar:  # pytest is running
            bar.update(clock)
        assert terminal.getvalue() == ""
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    assert _watched()
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert not _watched()
    monkeypatch.setattr(sys, "stderr", None)
    assert not _watched()


def test_a_notebook_is_watched_without_a_terminal(monkeypatch):
    class Shell:
        config = {"IPKernelApp": {}}  # noqa: RUF012

    class IPython:
        get_ipython = staticmethod(lambda: Shell())

    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setitem(sys.modules, "IPython", IPython)
    assert _watched()


def test_the_bar_leaves_no_thread_behind(monkeypatch):
    import threading

    monkeypatch.setattr(sys, "stderr", Terminal())
    before = threading.active_count()
    with Progress(5, "cls", quiet=False):
        assert threading.active_count() == before


# -- the summary --------------------------------------------------------------------------------------------


def estimate(mean: float, half: float, n: int = 16) -> dict:
    return {"mean": mean, "sem": half / 2, "ci95": [mean - half, mean + half], "n": n}


def summary() -> dict:
    few = estimate(0.5, 0.1, 3) | {"ci95": [None, None]}
    arms = {
        "cls": {"main": "accuracy", "readings": {"accuracy": estimate(0.913, 0.012), "gist": estimate(0.1, 0.01)}},
        "sleepless": {"main": "accuracy", "readings": {"accuracy": estimate(0.197, 0.02)}},
        "joint": {"main": "accuracy", "readings": {"accuracy": few}},
    }
    paired = [
        {"reading": "accuracy", "a": "cls", "b": "sleepless", **estimate(0.716, 0.02), "p": 0.00003},
        {"reading": "accuracy", "a": "joint", "b": "cls", "mean": -0.4, "ci95": [None, None], "n": 3, "p": 0.25},
    ]
    claims = [
        {
            "name": "sleep",
            "statement": "Sleep saves",
            "expected": "> 0.3",
            "tolerance": 0,
            "value": 0.71612,
            "passed": True,
        },
        {
            "name": "band_of_ewc",
            "expected": 20.64,
            "tolerance": 1.5,
            "value": 25.1,
            "passed": False,
            "source": "van de Ven",
        },
        {"name": "later", "expected": None, "value": None, "passed": None, "missed": "too slow"},
    ]
    return {"title": "Sleep – and no sleep", "arms": arms, "paired": paired, "claims": claims}


def printed(told: dict, encoding: str = "utf-8") -> str:
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding=encoding)
    sinks.print_summary(told, out)
    return raw.getvalue().decode(encoding)


def test_the_summary_in_a_file():
    text = printed(summary())
    lines = text.splitlines()
    assert lines[0] == "Sleep – and no sleep"
    assert max(map(len, lines)) <= 100 and "\x1b" not in text and all(line == line.rstrip() for line in lines)
    rows = {line.split()[0]: line.split()[1:] for line in lines if line.strip()}
    assert rows["cls"] == ["accuracy", "0.913", "[0.901,", "0.925]", "16"]
    assert rows["sleepless"] == [
        "accuracy",
        "0.197",
        "[0.177,",
        "0.217]",
        "16",
        "-0.716",
        "[-0.736,",
        "-0.696]",
        "<0.001",
    ]
    assert rows["joint"] == ["accuracy", "0.500", "3", "-0.400", "0.250"]  # no interval, and both directions of a pair
    assert "gist" not in text
    assert "difference to cls" in text
    assert "✓ Sleep saves: found 0.7161, expected > 0.3" in text
    assert "✗ band of ewc: found 25.1, expected 20.64, within 1.5 [van de Ven]" in text
    assert "- later: not run Known to miss: too slow." in text


def test_the_summary_where_only_ascii_can_be_said():
    text = printed(summary(), "ascii")
    assert "+ Sleep saves" in text and "x band of ewc" in text and text.isascii()


def test_the_summary_of_one_arm_without_a_main_reading_shows_all():
    told = {"arms": {"cls": {"main": None, "readings": {"train": estimate(0.1, 0.01), "big": estimate(12345.6, 1)}}}}
    text = printed(told)
    assert "train" in text and "1.235e+04" in text and "difference" not in text


def test_the_summary_in_a_terminal_is_coloured(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("NO_COLOR", raising=False)
    out = Terminal()
    sinks.print_summary(summary(), out)
    assert "\x1b[32m✓" in out.getvalue() and "\x1b[31m✗" in out.getvalue()


def test_rich_markup_in_names_is_text():
    told = summary()
    told["title"] = "[red]loud[/red]"
    told["claims"][0]["statement"] = "[bold]x[/nothing]"
    told["arms"]["[b]"] = told["arms"].pop("joint")
    text = printed(told)
    assert "[red]loud[/red]" in text and "[bold]x[/nothing]" in text and "[b]" in text


def test_sinks_import_is_light():
    import subprocess

    code = "import sys, cls_sim.sinks; print([m for m in ('torch', 'rich', 'tqdm', 'wandb') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
