"""The results of the claims campaign as tables: claims.md, published.md, results.md, and lines for a terminal."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cls_sim.claims.bounds import VAGUE, decided
from cls_sim.commands.campaign import blocks, plan
from cls_sim.commands.campaign.plan import Piece
from cls_sim.commands.campaign.results import Results
from cls_sim.commands.pages import page
from cls_sim.sinks.console import brief, wanted
from cls_sim.storage.disk import made, put
from cls_sim.storage.summary import FAILS, HOLDS, OPEN, UNJUDGED, Claim, Summary

BESIDE = {HOLDS: "inside", FAILS: "**outside**", OPEN: OPEN, UNJUDGED: OPEN}  # the verdicts on published numbers


@dataclass(frozen=True)
class Row:
    """A claim of a piece, with its words as the experiment's file has them now.

    missed   why it is known to fail; empty if it is not
    off      whether it failed in the ablation, as it must; None: not run
    blocks   in how many unused blocks of seeds it held, such as 19/20; empty: not tested
    seconds  the time of the whole piece
    """

    piece: Piece
    claim: Claim
    missed: str
    off: bool | None
    seconds: float
    blocks: str = ""

    @property
    def expected(self) -> str:
        return wanted(self.claim)

    @property
    def value(self) -> str:
        return brief(self.claim.value) + (f" {_ends(*self.claim.interval)}" if self.claim.interval else "")

    @property
    def verdict(self) -> str:
        state = f"**{FAILS}**" if self.claim.state == FAILS else self.claim.state
        return f"{state} (known: {self.missed})" if self.missed and not self.claim.passed else state

    @property
    def wrong(self) -> str:
        """The problem in words, or empty."""
        passed, missed = self.claim.passed, self.missed
        if passed is False and not missed:
            return f"failed: {self.value}, expected {self.expected}"
        if passed and missed:
            return f"holds, although its file says that it is missed: {missed}"
        return "holds without its mechanism" if self.off is False else ""


def rows(results: Results, piece: Piece) -> list[Row]:
    """The claims of a finished piece."""
    kept, summary = results.kept(piece), results.summary(piece)
    if kept is None or summary is None:
        return []
    off, lived = kept.get("ablation", {}).get("claims", {}), blocks.tallies(results, piece)
    seconds = kept.get("seconds") or sum(arm.seconds for arm in summary.arms.values())
    return [_row(piece, claim, off.get(claim.name), seconds, lived.get(claim.name)) for claim in summary.claims]


def _row(piece: Piece, claim: Claim, off: Mapping[str, Any] | None, seconds: float, lived: blocks.Tally | None) -> Row:
    failed, told = None if off is None else off["passed"] is False, piece.claims.get(claim.name, {})
    words = {name: str(told[name]) for name in ("statement", "source") if told.get(name)}
    words["theory"] = claim.theory or str(told.get("theory") or told.get("law") or "")
    now = replace(claim, decided=decided(told, claim.told), **words)
    return Row(piece, now, str(told.get("missed") or ""), failed, seconds, lived.cell if lived else "")


def _ends(low: float, high: float) -> str:
    """An interval in brackets, nothing where there is none.

    >>> _ends(0.12345, 0.2), _ends(float("nan"), float("nan"))
    ('[0.1235, 0.2]', '')
    """
    return "" if math.isnan(low) or math.isnan(high) else f"[{low:.4g}, {high:.4g}]"


def lines(results: Results, piece: Piece) -> list[str]:
    """The claims of a piece, one line each, for a terminal."""
    return [
        f"{'ok  ' if not row.wrong else 'FAIL'} {piece.name} · {row.claim.statement}: {row.value} "
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
    return page("campaign/claims.md.jinja", rows=found, count=count, vague=f"{VAGUE:g}")


def published_page(results: Results, paper: Sequence[Piece]) -> str:
    """Experiments with published numbers: one row per arm, one column per scenario, its parts combined."""
    groups: dict[str, list[tuple[Piece, Summary]]] = {}
    for piece in paper:
        if summary := results.summary(piece):
            groups.setdefault(piece.experiment, []).append((piece, summary))
    studies = [
        _beside(experiment, found)
        for experiment, found in groups.items()
        if sum(told.get("kind") == "published" for piece, _ in found for told in piece.claims.values()) > 1
    ]
    return page("campaign/published.md.jinja", studies=studies, vague=f"{VAGUE:g}")


def _beside(experiment: str, found: Sequence[tuple[Piece, Summary]]) -> dict[str, Any]:
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
    sources = dict.fromkeys(t["source"] for piece, _ in found for t in piece.claims.values() if t.get("source"))
    return {
        "experiment": experiment,
        "sources": sources,
        "count": count,
        "seconds": seconds,
        "scenarios": scenarios,
        "arms": {arm: cells[arm] for arm in sorted(cells, key=order.index)},
    }


def results_page(results: Results, paper: Sequence[Piece]) -> str:
    """The main readings of all arms at full size."""
    stored = ((piece, results.summary(piece), results.kept(piece) or {}) for piece in paper)
    runs = [(piece, summary, kept["command"]) for piece, summary, kept in stored if summary]
    return page("campaign/results.md.jinja", runs=runs, brief=brief, ends=_ends)
