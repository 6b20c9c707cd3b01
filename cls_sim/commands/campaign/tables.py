"""The results of the claims campaign as tables: claims.md, published.md, results.md, and lines for a terminal."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cls_sim.claims.bounds import VAGUE, decided
from cls_sim.commands.campaign import blocks, plan
from cls_sim.commands.campaign.plan import Piece
from cls_sim.commands.campaign.results import Results
from cls_sim.sinks.console import brief
from cls_sim.storage.disk import made, put
from cls_sim.storage.summary import FAILS, HOLDS, OPEN, UNJUDGED, Claim, Summary

HEADS = ("experiment", "claim", "source", "expected", "value", "theory", "verdict", "without the mechanism")
HEADS = (*HEADS, "unused blocks", "seconds")
BESIDE = {HOLDS: "inside", FAILS: "**outside**", OPEN: OPEN, UNJUDGED: OPEN}  # the verdicts on published numbers


@dataclass(frozen=True)
class Row:
    """A claim of a piece.

    told     the claim in the experiment's file
    off      whether it failed in the ablation, as it must; None: not run
    blocks   in how many unused blocks of seeds it held, such as 19/20; empty: not tested
    seconds  the time of the whole piece
    """

    piece: Piece
    claim: Claim
    told: Mapping[str, Any]
    off: bool | None
    seconds: float
    blocks: str = ""

    @property
    def expected(self) -> str:
        tolerance = f" ± {brief(self.claim.tolerance)}" if self.claim.tolerance else ""
        return brief(self.claim.expected) + tolerance

    @property
    def value(self) -> str:
        return brief(self.claim.value) + (f" {_ends(*self.claim.interval)}" if self.claim.interval else "")

    @property
    def theory(self) -> str:
        return self.claim.theory or str(self.told.get("theory") or self.told.get("law") or "")

    @property
    def verdict(self) -> str:
        state = f"**{FAILS}**" if self.claim.state == FAILS else self.claim.state
        missed = self.told.get("missed")
        return f"{state} (known: {missed})" if missed and not self.claim.passed else state

    @property
    def wrong(self) -> str:
        """The problem in words, or empty."""
        passed, missed = self.claim.passed, self.told.get("missed")
        if passed is False and not missed:
            return f"failed: {self.value}, expected {self.expected}"
        if passed and missed:
            return f"holds, although its file says that it is missed: {missed}"
        return "holds without its mechanism" if self.off is False else ""

    @property
    def statement(self) -> str:
        return str(self.told.get("statement") or self.claim.statement)

    @property
    def source(self) -> str:
        return str(self.told.get("source") or self.claim.source)

    def cells(self) -> list[str]:
        size = "" if self.piece.size == "paper" else f" ({self.piece.size})"
        off = {None: "", True: "fails, as it must", False: "**still holds**"}[self.off]
        return [
            *(self.piece.name + size, self.statement, self.source, self.expected, self.value, self.theory),
            *(self.verdict, off, self.blocks, f"{self.seconds:.0f}"),
        ]


def rows(results: Results, piece: Piece) -> list[Row]:
    """The claims of a finished piece."""
    kept, summary = results.kept(piece), results.summary(piece)
    if kept is None or summary is None:
        return []
    off, lived = kept.get("ablation", {}).get("claims", {}), blocks.tallies(results, piece)
    seconds = kept.get("seconds") or sum(arm.seconds for arm in summary.arms.values())
    found = [_row(piece, claim, off.get(claim.name), seconds) for claim in summary.claims]
    return [replace(row, blocks=lived[name].cell) if (name := row.claim.name) in lived else row for row in found]


def _row(piece: Piece, claim: Claim, off: Mapping[str, Any] | None, seconds: float) -> Row:
    failed, told = None if off is None else off["passed"] is False, piece.claims.get(claim.name, {})
    return Row(piece, replace(claim, decided=decided(told, claim.told)), told, failed, seconds)


def _ends(low: float, high: float) -> str:
    """An interval in brackets, nothing where there is none.

    >>> _ends(0.12345, 0.2), _ends(float("nan"), float("nan"))
    ('[0.1235, 0.2]', '')
    """
    return "" if math.isnan(low) or math.isnan(high) else f"[{low:.4g}, {high:.4g}]"


def lines(results: Results, piece: Piece) -> list[str]:
    """The claims of a piece, one line each, for a terminal."""
    return [
        f"{'ok  ' if not row.wrong else 'FAIL'} {piece.name} · {row.statement}: {row.value} "
        f"(expected {row.expected}; {row.seconds:.0f} s){' · ' + row.wrong if row.wrong else ''}"
        for row in rows(results, piece)
    ]


def write(results: Results, paper: Sequence[Piece], small: Sequence[Piece]) -> None:
    """Write claims.md, published.md and results.md from the stored results."""
    made(results.into)
    put(results.into / "claims.md", claims_page(results, paper, small).encode())
    put(results.into / "published.md", published_page(results, paper).encode())
    put(results.into / "results.md", results_page(results, paper).encode())


def claims_page(results: Results, paper: Sequence[Piece], small: Sequence[Piece]) -> str:
    """Every claim in one table: at full size if it was tested there, else at size=small."""
    full, less = (
        {(piece.experiment, piece.scenario, row.claim.name): row for piece in some for row in rows(results, piece)}
        for some in (paper, small)
    )
    for key in full.keys() & less.keys():
        if full[key].off is None:
            full[key] = replace(full[key], off=less[key].off)
        if less[key].blocks and not full[key].blocks:
            full[key] = replace(full[key], blocks=f"{less[key].blocks} (small)")
    group = {(piece.experiment, piece.scenario): i for i, piece in enumerate(paper)}  # a scenario's parts together
    order = {piece.name: i for i, piece in enumerate(paper)}

    def place(row: Row) -> tuple[int, bool, int]:
        piece = row.piece
        return group.get((piece.experiment, piece.scenario), 0), piece.size == "small", order.get(piece.name, 0)

    found = sorted((less | full).values(), key=place)
    count = Counter(row.claim.state for row in found)
    tried, many = [row.off for row in found if row.off is not None], sum(bool(row.blocks) for row in found)
    page = [
        "# Claims",
        "",
        "Every claim of every experiment, on seeds from 1000, made by `make paper` (`cls-sim-claims`).  An experiment",
        "marked (small) was run at `size=small` only.  Seconds are those of the whole piece.",
        "",
        "* *Without the mechanism* is the same claim in a run whose mechanism is removed (`ablation` in its file),",
        "  where it must fail.",
        "* *Not decided*: the test cannot tell at this number of subjects, because the 95 % interval reaches across",
        f"  the bound, or because there is none.  A published number: our SEM is above {VAGUE:g} points.",
        "* *Unused blocks*: in how many blocks of subjects with seeds from 20000 the claim holds (`blocks=20`).",
        "",
        f"{len(found) - count[UNJUDGED]} claims were tested: {count[HOLDS]} hold, {count[FAILS]} do not hold, "
        f"{count[OPEN]} are not decided.  {len(tried)} were also tested without their mechanism; {sum(tried)} of them "
        f"then failed, as they must.  {many} were also tested on unused blocks of seeds.",
        "",
        *table(HEADS, ([_cell(cell) for cell in row.cells()] for row in found)),
    ]
    return "\n".join(page)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def published_page(results: Results, paper: Sequence[Piece]) -> str:
    """Experiments with published numbers: one row per arm, one column per scenario, its parts combined."""
    page = [
        "# Comparison with published numbers",
        "",
        "Ours ± SEM (published ± SEM), and whether ours lies within `max(1.5, 3 √(SEM² + SEM²))` points of the",
        f"published number; not decided if our SEM is above {VAGUE:g} points.  Seeds from 1000, made by `make paper`.",
        "",
    ]
    groups: dict[str, list[tuple[Piece, Summary]]] = {}
    for piece in paper:
        if summary := results.summary(piece):
            groups.setdefault(piece.experiment, []).append((piece, summary))
    for experiment, found in groups.items():
        if sum(told.get("kind") == "published" for piece, _ in found for told in piece.claims.values()) > 1:
            page += _beside(experiment, found)
    return "\n".join(page)


def _beside(experiment: str, found: Sequence[tuple[Piece, Summary]]) -> list[str]:
    cells: dict[str, dict[str, str]] = {}
    count = Counter[str]()
    seconds = 0.0
    for piece, summary in found:
        claims = {claim.name: claim for claim in summary.claims}
        told = {t["arm"]: (name, t) for name, t in piece.claims.items() if t.get("kind") == "published"}
        for name, arm in summary.arms.items():
            e = next(iter(arm.readings.values()))
            seconds += arm.cost_seconds / e.n
            cell = f"{100 * e.mean:.1f} ± {100 * e.sem:.1f}"
            if name in told:
                claim, known = told[name]
                judged = replace(claims[claim], decided=decided(known, claims[claim].told))
                verdict = BESIDE[judged.state]
                count[verdict] += 1
                cell += f" ({known['value']:g} ± {known['sem']:g}), {verdict}"
            cells.setdefault(name, {})[piece.scenario or ""] = cell
    scenarios = dict.fromkeys(piece.scenario or "" for piece, _ in found)
    order = [*plan.read(experiment).get("arm", ()), *cells]  # the order of the file, independent of parts
    cells = {arm: cells[arm] for arm in sorted(cells, key=order.index)}
    clear = count[BESIDE[HOLDS]] + count[BESIDE[FAILS]]
    sources = dict.fromkeys(t["source"] for piece, _ in found for t in piece.claims.values() if t.get("source"))
    return [
        f"## {experiment}",
        "",
        f"{'; '.join(sources)}.  Of {count.total()} numbers {clear} are decided, {count[BESIDE[HOLDS]]} inside.  "
        f"All arms of one subject take {seconds / 60:.0f} minutes of one core.",
        "",
        *table(("arm", *scenarios), ([name, *(row.get(s, "") for s in scenarios)] for name, row in cells.items())),
    ]


def table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    """The lines of a Markdown table, and an empty line."""
    lines = [f"| {' | '.join(map(str, cells))} |" for cells in (heads, *rows)]
    return [lines[0], f"|{'---|' * len(heads)}", *lines[1:], ""]


def results_page(results: Results, paper: Sequence[Piece]) -> str:
    """The main readings of all arms at full size."""
    page = ["# Results", ""]
    page += ["Every experiment at full size, on seeds from 1000, made by `make paper`.  Their claims are in"]
    page += ["[claims](claims.md).", ""]
    for piece in paper:
        if summary := results.summary(piece):
            page += _section(summary, (results.kept(piece) or {})["command"], piece.part)
    return "\n".join(page)


def _section(summary: Summary, command: str, part: str | None) -> list[str]:
    seconds = sum(arm.seconds for arm in summary.arms.values())
    title = (summary.title or summary.experiment) + (f" ({part})" if part else "")
    lines = [
        [name, reading, brief(e.mean), _ends(e.low, e.high), brief(e.sem), e.n]
        for name, arm in summary.arms.items()
        for reading, e in arm.readings.items()
    ]
    heads = ("arm", "reading", "mean", "95 % interval", "SEM", "n")
    return [f"## {title}", "", f"`{command}` ({seconds:.0f} s)", "", *(table(heads, lines) if lines else [])]
