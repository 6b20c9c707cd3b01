"""Terminal output: one line at the end of every context, and the summary of a run."""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

import numpy as np

from cls_sim.sinks.base import Sink, print_above
from cls_sim.storage.summary import FAILS, HOLDS, OPEN, UNJUDGED, Claim, Difference, Summary

WIDTH = 100  # columns of a summary that is not printed to a terminal
MARKS = {HOLDS: ("✓", "+"), FAILS: ("✗", "x"), OPEN: ("?", "?"), UNJUDGED: ("-", "-")}  # in Unicode, in ASCII
COLOURS = {HOLDS: "green", FAILS: "red", OPEN: "yellow", UNJUDGED: "dim"}


class Console(Sink):
    """One line at the end of every context and of the life: the day, and the means over subjects.

    out    a text stream, by default standard error
    quiet  None: silent unless `out` is a terminal
    """

    def __init__(self, *, out: TextIO | None = None, quiet: bool | None = None):
        self.out = sys.stderr if out is None else out
        self.quiet = not self.out.isatty() if quiet is None else quiet
        self._name = ""

    def start(self, info: Mapping[str, Any]) -> None:
        self._name = str(info.get("name", ""))

    def moment(self, row: Mapping[str, Any]) -> None:
        if row["moment"] in ("context.end", "life.end"):
            means = (f"{name} {_mean(values)}" for name, values in row["readings"].items())
            day = float(np.mean(row["day"]))
            self._say("  ".join([f"{self._name:<12} day {day:<7.1f} {row['moment']:<12}", *means]))

    def end(self, summary: Mapping[str, Any]) -> None:
        self._say(f"{self._name:<12} done")

    def _say(self, line: str) -> None:
        if not self.quiet:
            print_above(line.rstrip(), self.out)


def print_protocol(
    protocols: Mapping[str, Sequence[str]], out: TextIO | None = None, quiet: bool | None = None
) -> None:
    """Print the protocol in a few lines: that of most arms, then the lines in which other arms differ.

    protocols  arm → the lines of its protocol
    quiet      None: silent unless `out` (standard error) is a terminal

    >>> print_protocol({"er": ["class-incremental", "context 0: 0, 1"], "joint": ["iid", "context 0: 0, 1"]},
    ...     out=sys.stdout, quiet=False)
    protocol  class-incremental
              context 0: 0, 1
    joint     iid
    """
    stream = sys.stderr if out is None else out
    if (not stream.isatty() if quiet is None else quiet) or not protocols:
        return
    (common, _), *others = by_protocol(protocols)
    contexts = [line for line in common if line.startswith("context ")]
    shown = [line for line in common if line not in contexts][:3] + contexts[:1]
    if len(contexts) > 1:
        shown[-1] += f"; and {len(contexts) - 1} more like it"
    told = [("protocol" if i == 0 else "", line) for i, line in enumerate(shown)]
    for lines, arms in others[:2]:
        odd = [line for line in lines if line not in common]
        told += [(", ".join(arms), line) for line in odd[:1]]
    if len(others) > 2:
        told.append(("", f"{len(others) - 2} more kinds of arms: see protocol.json"))
    for name, line in told:
        print(f"{name:<9} {line}".rstrip(), file=stream, flush=True)


def by_protocol(protocols: Mapping[str, Sequence[str]]) -> list[tuple[tuple[str, ...], list[str]]]:
    """The lines of each protocol, and the arms that have it; that of most arms first."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for arm, lines in protocols.items():
        groups.setdefault(tuple(lines), []).append(arm)
    return sorted(groups.items(), key=lambda pair: -len(pair[1]))


# -- the summary --------------------------------------------------------------------------------------------


def table(summary: Summary | Mapping[str, Any]) -> Any:
    """The rich table of a run's summary: arm, reading, mean, 95 % interval, n, difference to the first arm.

    It has the main reading of each arm, or all readings if there is no main reading.  The difference is that to the
    first arm within subjects, with its interval and the p-value of a sign-flip test.
    """
    told = _typed(summary)
    first = next(iter(told.arms), "")
    compared = len(told.arms) > 1 and bool(told.paired)
    heads = ["arm", "reading", "mean", "95 % interval", "n", *([f"difference to {first}", "p"] if compared else [])]
    rows = []
    for name, arm in told.arms.items():
        for reading, e in arm.readings.items():
            if arm.main in (None, reading):
                row = [name, reading, number(e.mean), interval((e.low, e.high)), str(e.n)]
                rows.append([*row, *(_difference(told.paired, first, name, reading) if compared else ())])
    return columns(heads, rows, [head not in ("arm", "reading") for head in heads])


def columns(heads: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[bool], whole: bool = False) -> Any:
    """A rich table; `numbers` says which columns are numbers, at the right; `whole`: numbers are never wrapped."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    found = Table(box=SIMPLE_HEAD, pad_edge=False)
    for head, is_number in zip(heads, numbers, strict=True):
        found.add_column(head, justify="right" if is_number else "left", overflow="fold", no_wrap=is_number and whole)
    for row in rows:
        found.add_row(*row)
    return found


def print_summary(summary: Summary | Mapping[str, Any], out: TextIO | None = None) -> None:
    """Print a run's summary: title, table, identical arms, claims with ✓, ✗, ? (not decided) or - (not judged).

    If `out` (default: standard output) is not a terminal, the output has 100 columns and no colour; it is ASCII if
    `out` has no Unicode.
    """
    from rich.table import Table
    from rich.text import Text

    told = _typed(summary)
    stream: Any = sys.stdout if out is None else out
    claims = Table.grid(padding=(0, 1))
    for claim in told.claims:
        mark, colour = MARKS[claim.state][_plain(stream)], COLOURS[claim.state]
        claims.add_row(Text(mark, style=colour), Text(_said(claim)))
    same = [Text(line, style="yellow") for line in alike(told)]
    show([Text(told.title or "", style="bold"), table(told), *same, claims], stream)


def alike(summary: Summary) -> list[str]:
    """One line for each arm whose life is identical to that of another arm, bit for bit.

    >>> alike(Summary("x", {}, identical=({"arm": "one_block", "than": "alternating", "subjects": 20},)))
    ['arm one_block: identical to alternating in all 20 subjects']
    """
    found = summary.identical or ()
    return [f"arm {one['arm']}: identical to {one['than']} in all {one['subjects']} subjects" for one in found]


def _typed(summary: Summary | Mapping[str, Any]) -> Summary:
    return summary if isinstance(summary, Summary) else Summary.of({"experiment": "", **summary})


def show(parts: Sequence[Any], stream: Any) -> None:
    """Print rich objects: with colour on a terminal, elsewhere in 100 columns without colour."""
    from rich.console import Console as Rich

    terminal, code = stream.isatty(), "ascii" if _plain(stream) else "utf-8"
    page = stream if terminal else io.TextIOWrapper(io.BytesIO(), code, "replace", newline="\n")
    rich = Rich(file=page, width=None if terminal else WIDTH, highlight=False, markup=False, emoji=False)
    for part in parts:
        rich.print(part)
    if not terminal:
        page.seek(0)
        lines = [line.rstrip() for line in page.read().split("\n")]
        stream.write("\n".join(lines).strip("\n") + "\n")
        stream.flush()


def _plain(stream: Any) -> bool:
    """Whether a stream has ASCII only."""
    return not (getattr(stream, "encoding", None) or "utf-8").lower().startswith("utf")


def _said(claim: Claim) -> str:
    ran = claim.value is not None
    found = {
        f"found {brief(claim.value)}": ran,
        "not run": not ran,
        f"expected {brief(claim.expected)}": claim.expected is not None,
        f"within {brief(claim.tolerance)}": claim.tolerance,
        str(claim.told.get("reason")): claim.told.get("reason"),
        claim.state: claim.state in (OPEN, UNJUDGED) and ran,
    }
    source = f" [{claim.source}]" if claim.source else ""
    missed = f" Known to miss: {claim.missed}." if claim.missed else ""
    return f"{claim.statement}: {', '.join(said for said, holds in found.items() if holds)}{source}{missed}"


def _difference(paired: Sequence[Difference], first: str, arm: str, reading: str) -> tuple[str, str]:
    """The paired difference arm - first, from an entry a - b of either direction."""
    for e in paired:
        if e.reading == reading and {e.a, e.b} == {first, arm} and arm != first:
            mean, low, high = (-e.mean, -e.high, -e.low) if e.a == first else (e.mean, e.low, e.high)
            return f"{number(mean, '+')} {interval((low, high), '+')}".rstrip(), p_value(e.p)
    return "", ""


def number(value: Any, sign: str = "") -> str:
    """A number for a table."""
    if value is None or value != value:
        return "n/a"
    return f"{value:{sign}.4g}" if abs(value) >= 1000 else f"{value:{sign}.3f}"


def interval(ends: Sequence[Any], sign: str = "") -> str:
    """An interval for a table."""
    ends = [number(end, sign) for end in ends]
    return "" if "n/a" in ends else f"[{', '.join(ends)}]"


def p_value(value: Any) -> str:
    """A p-value for a table."""
    text = number(value)
    return "" if text == "n/a" else "<0.001" if value < 0.001 else text


def brief(value: Any) -> str:
    """A number or a text of a claim, for a table."""
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)


def wanted(claim: Claim) -> str:
    """What a claim expects, with its tolerance, for a table."""
    return brief(claim.expected) + (f" ± {brief(claim.tolerance)}" if claim.tolerance else "")


def _mean(values: Any) -> str:
    present = np.asarray(values)[~np.isnan(values)]
    return f"{present.mean():.3f}" if present.size else "n/a"
