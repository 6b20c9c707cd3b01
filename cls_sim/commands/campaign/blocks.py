"""`cls-sim-claims blocks=N`: how often each claim holds on blocks of subjects that nobody has looked at.

Block k has the subjects with seeds from 20000 + k · stride, where the stride is the number of subjects rounded up to
hundreds; so blocks share no subject.  Blocks are stored in results/blocks/EXPERIMENT.json, one entry for each size.
If a claim changes, its blocks no longer count, and if the configuration changes, none does: new ones are lived on
seeds that come after all that were used.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cls_sim.commands.campaign.plan import Piece
from cls_sim.commands.campaign.results import Results, asks, decides
from cls_sim.config import experiments
from cls_sim.sinks.console import brief
from cls_sim.storage.disk import made, read, write
from cls_sim.storage.summary import Summary

FIRST, HUNDRED = 20_000, 100  # the first seed of all, and the unit of the stride
ENOUGH, SHARE = 20, 0.95  # from this number of blocks on, a claim must hold in this share of them

Live = Callable[[Sequence[str], Path], tuple[Summary, float]]


def seed_of(block: int, subjects: int) -> int:
    """The first seed of a block.

    >>> seed_of(0, 40), seed_of(3, 40), seed_of(3, 101)
    (20000, 20300, 20600)
    """
    return FIRST + block * HUNDRED * -(-subjects // HUNDRED)


def on(piece: Piece, seed: int) -> list[str]:
    """The overrides of a piece on another block of seeds.

    >>> on(Piece("digits", None, "small"), 20100)
    ['experiment=digits', 'size=small', 'seed=20100']
    """
    return [*piece.overrides, f"seed={seed}"]


@dataclass(frozen=True)
class Tally:
    """How often a claim held on unused blocks: `held` of `tried`, and the values in the order of the blocks."""

    held: int
    tried: int
    values: tuple[Any, ...] = ()

    @property
    def cell(self) -> str:
        return f"{self.held}/{self.tried}" if self.tried else ""

    @property
    def rare(self) -> bool:
        """Whether the claim holds in less than 95 % of at least 20 blocks."""
        return self.tried >= ENOUGH and self.held < SHARE * self.tried

    @property
    def spread(self) -> str:
        """The values in words.

        >>> Tally(2, 3, (0.5, 0.25, 1.0)).spread, Tally(1, 2, ("a", "b")).spread
        ('median 0.5, 0.25 to 1', 'a, b')
        """
        numbers = sorted(v for v in self.values if isinstance(v, (int, float)))
        if not numbers or len(numbers) < len(self.values):
            return ", ".join(dict.fromkeys(brief(v) for v in self.values if v is not None))
        return f"median {numbers[len(numbers) // 2]:.4g}, {numbers[0]:.4g} to {numbers[-1]:.4g}"


def tallies(results: Results, piece: Piece) -> dict[str, Tally]:
    """Claim → its tally, from the stored blocks of the present configuration and the present claim."""
    kept = _kept(results, piece)
    return _tallies(piece, kept["blocks"]) if kept and kept["decides"] == _decides(piece) else {}


def run(
    piece: Piece, results: Results, runs: Path, live: Live, wanted: int, *, again: bool = False
) -> dict[str, Tally]:
    """Live blocks until each claim has `wanted` of them; each block is stored, and told in one line, as it ends.

    again  start anew, on blocks after all that were used
    """
    kept, now = _kept(results, piece), _decides(piece)
    if again or kept.get("decides") != now:
        kept = {"decides": now, "used": kept.get("used", 0) + len(kept.get("blocks", ())), "blocks": []}
    subjects = experiments.read(piece.overrides).cfg["subjects"]
    while min((len(_mine(piece, name, kept["blocks"])) for name in piece.claims), default=wanted) < wanted:
        seed = seed_of(kept["used"] + len(kept["blocks"]), subjects)
        folder = runs / "blocks" / piece.size / f"{piece.name}-{decides(on(piece, seed))[:8]}"
        summary, seconds = live([*on(piece, seed), "figures=null"], folder)
        found = {
            claim.name: {"asks": _asks(piece, claim.name), "value": claim.told.get("value"), "passed": claim.passed}
            for claim in summary.claims
            if claim.name in piece.claims
        }
        kept["blocks"].append({"seed": seed, "seconds": round(seconds, 1), "claims": found})
        _store(results, piece, kept)
        shutil.rmtree(folder, ignore_errors=True)
        print(_line(piece, len(kept["blocks"]), kept["blocks"][-1]), flush=True)
    return _tallies(piece, kept["blocks"])


def _line(piece: Piece, number: int, block: Mapping[str, Any]) -> str:
    judged = {name: told["passed"] for name, told in block["claims"].items() if told["passed"] is not None}
    failed = ", ".join(name for name, passed in judged.items() if not passed)
    return (
        f"{piece.name} block {number}, seeds from {block['seed']}: {sum(judged.values())} of {len(judged)} claims hold"
        f"{f', not {failed}' if failed else ''} ({block['seconds']:.0f} s)"
    )


def lines(piece: Piece, found: Mapping[str, Tally]) -> list[str]:
    """One line for each claim: how often it held, and with which values."""
    return [
        f"{'RARE' if tally.rare else 'ok  '} {piece.name} · {name}: holds in {tally.cell} blocks ({tally.spread})"
        if tally.tried
        else f"     {piece.name} · {name}: is not judged"
        for name, tally in found.items()
    ]


def _tallies(piece: Piece, blocks: Sequence[Mapping[str, Any]]) -> dict[str, Tally]:
    found = {}
    for name in piece.claims:
        mine = [one for one in _mine(piece, name, blocks) if one["passed"] is not None]
        held, values = sum(one["passed"] for one in mine), tuple(one["value"] for one in mine)
        found[name] = Tally(held, len(mine), values)
    return found


def _mine(piece: Piece, name: str, blocks: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The entries of a claim, as it now is, in each block."""
    asked = _asks(piece, name)
    return [told for block in blocks if (told := block["claims"].get(name)) and told["asks"] == asked]


def _asks(piece: Piece, name: str) -> str:
    return asks({name: piece.claims[name]})[:16]


def _decides(piece: Piece) -> str:
    return decides(on(piece, FIRST))


def _file(results: Results, piece: Piece) -> Path:
    return results.into / "results" / "blocks" / f"{piece.name}.json"


def _kept(results: Results, piece: Piece) -> dict[str, Any]:
    file = _file(results, piece)
    return (read(file) if file.is_file() else {}).get(piece.size, {})


def _store(results: Results, piece: Piece, kept: Mapping[str, Any]) -> None:
    file = _file(results, piece)
    made(file.parent)
    write(file, (read(file) if file.is_file() else {}) | {piece.size: kept})
