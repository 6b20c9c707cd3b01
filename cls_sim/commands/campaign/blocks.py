"""`cls-sim-claims blocks=N`: how often each claim holds on blocks of subjects that nobody has looked at.

A block has as many subjects as the experiment.  The first block has the seeds from 20000 on, and each block those that
follow the block before.  A subject's life does not depend on its company, so several blocks are lived as one cohort in
one batched computation, as long as that is cheaper, and judged one by one.  Arms that no claim names are left out.

Blocks are stored in results/blocks/EXPERIMENT.json, one entry for each size.  If a claim changes, its blocks no longer
count, and if the configuration changes, none does: new ones are lived on seeds that come after all that were used.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cls_sim.claims import about
from cls_sim.commands.campaign.plan import Piece
from cls_sim.commands.campaign.results import Results, asks, decides
from cls_sim.config import experiments
from cls_sim.core.errors import ConfigError
from cls_sim.sinks.console import brief
from cls_sim.storage.disk import made, read, write
from cls_sim.storage.summary import Claim

FIRST = 20_000  # the first seed of all
FEW, TOGETHER = 16, 128  # subjects that are lived together at first, and at most if the experiment has no `chunk`
PAYS = 0.85  # more blocks are lived together if a block then takes less than this share of its time
ENOUGH, SHARE = 20, 0.95  # from this number of blocks on, a claim must hold in this share of them

# overrides, folder, subjects of a block → the verdicts on the claims in each block, and the processor seconds of all
Live = Callable[[Sequence[str], Path, int], tuple[Sequence[Sequence[Claim]], float]]


def on(piece: Piece, seed: int, subjects: int | None = None) -> list[str]:
    """The overrides of a piece on other subjects.

    >>> on(Piece("digits", None, "small"), 20100, 80)
    ['experiment=digits', 'size=small', 'seed=20100', 'subjects=80']
    """
    return [*piece.overrides, f"seed={seed}", *([] if subjects is None else [f"subjects={subjects}"])]


def needed(piece: Piece) -> list[str]:
    """The override that leaves out arms that no claim names, or none; the origins of branches are lived anyway.

    >>> needed(Piece("digits", None, "small", {"it": {"kind": "better", "arm": "cls", "than": "sleepless"}}))
    ['arms=[cls,sleepless]']
    """
    named = [about(claim) for claim in piece.claims.values()]
    return [] if piece.part or not all(named) else [f"arms=[{','.join(sorted(set().union(*named)))}]"]


class Sizes:
    """How many blocks to live together: three times as many as before while that makes a block cheaper.

    A batched computation of a few small subjects takes as long as that of one; of large ones it does not.

    >>> sizes = Sizes(subjects=16, most=128)
    >>> sizes.next(20)
    1
    >>> sizes.took(1, seconds=10.0)
    >>> sizes.next(19)  # three blocks may cost little more than one
    3
    >>> sizes.took(3, seconds=29.0)
    >>> sizes.next(16), Sizes(subjects=5, most=128).next(20), Sizes(subjects=6, most=5).next(20)
    (1, 3, 1)
    """

    def __init__(self, *, subjects: int, most: int):
        self.most = max(1, most // subjects)
        self.now = self.best = min(self.most, max(1, FEW // subjects))
        self.least = math.inf  # seconds of a block

    def alone(self) -> None:
        """One block at a time from now on: this experiment cannot be lived together."""
        self.most = self.now = self.best = 1

    def next(self, missing: int) -> int:
        return min(self.now, missing)

    def took(self, blocks: int, seconds: float) -> None:
        """Note what these blocks, lived together, cost."""
        if seconds / blocks < PAYS * self.least:
            self.least, self.best = seconds / blocks, blocks
            self.now = min(self.most, 3 * blocks)
        else:
            self.now = self.best


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
    piece: Piece,
    results: Results,
    runs: Path,
    live: Live,
    wanted: int,
    *,
    again: bool = False,
    together: int | None = None,
) -> dict[str, Tally]:
    """Live blocks until each claim has `wanted` of them; each block is stored, and told in one line, when it is judged.

    again     start anew, on blocks after all that were used
    together  the number of subjects that are lived together at most; None: `chunk` of the experiment, or 128
    """
    kept, now = _kept(results, piece), _decides(piece)
    if again or kept.get("decides") != now:
        kept = {"decides": now, "next": kept.get("next", FIRST), "blocks": []}
    cfg = experiments.read(piece.overrides).cfg
    subjects = cfg["subjects"]
    sizes = Sizes(subjects=subjects, most=together or cfg["chunk"] or TOGETHER)
    while (missing := _missing(piece, wanted, kept["blocks"])) > 0:
        seed, number = kept["next"], sizes.next(missing)
        overrides = [*on(piece, seed, number * subjects), *needed(piece)]
        folder = runs / "blocks" / piece.size / f"{piece.name}-{decides(overrides)[:8]}"
        try:
            judged, seconds = live([*overrides, "figures=null"], folder, subjects)
        except ConfigError:  # not enough memory, or a setting has one number for each subject
            if number == 1:
                raise
            sizes.alone()
            continue
        sizes.took(number, seconds)
        for block, found in enumerate(judged):
            claims = {
                claim.name: {"asks": _asks(piece, claim.name), "value": claim.told.get("value"), "passed": claim.passed}
                for claim in found
                if claim.name in piece.claims
            }
            lived = {"seed": seed + block * subjects, "seconds": round(seconds / number, 1), "claims": claims}
            kept["blocks"].append(lived)
            print(_line(piece, len(kept["blocks"]), lived), flush=True)
        kept["next"] = seed + number * subjects
        _store(results, piece, kept)
        shutil.rmtree(folder, ignore_errors=True)
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


def _missing(piece: Piece, wanted: int, blocks: Sequence[Mapping[str, Any]]) -> int:
    """How many blocks lack to the claim that has fewest."""
    return max((wanted - len(_mine(piece, name, blocks)) for name in piece.claims), default=0)


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
