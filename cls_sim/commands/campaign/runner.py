"""`cls-sim-claims`: run all experiments, test all claims, and write the results as tables.

cls-sim-claims [EXPERIMENT…]    run the missing experiments at full size, with their ablations; then write the tables
cls-sim-claims size=small       the same at size=small (minutes)
cls-sim-claims off=none         no ablations; off=quarter: the ablations of one experiment in four
cls-sim-claims workers=2        number of experiments that run at the same time
cls-sim-claims into=FOLDER      folder of results/ and of the tables (default: docs/ of a checkout, else ./claims)
cls-sim-claims NAME blocks=20   live 20 blocks of subjects with seeds from 20000, and print how often each claim holds
cls-sim-claims NAME blocks=20 together=16    with at most 16 subjects in one computation (less memory; default: 128)
cls-sim-claims --again          also run again what is finished
cls-sim-claims --table          run nothing; write the tables from the existing results
cls-sim-claims --list           run nothing; list what is done and what is missing
cls-sim-claims --check          run nothing; list weak claims, one line each (part of `make check`)

A piece is an experiment, one scenario of it (EXPERIMENT_SCENARIO), or, at full size, one part of its arms if its file
has `parts` (EXPERIMENT_SCENARIO_PART).  EXPERIMENT may name any of these.  A finished piece writes results/PIECE.json
(size=small: results/small/PIECE.json), which is committed; claims.md and results.md are made from these files.  An
interrupted piece continues where it stopped.  With `blocks=`, each finished block is kept in
results/blocks/PIECE.json, and the same command lives those that are missing.  Exit code 1: a claim failed, a piece did
not finish, a claim held in less than 95 % of 20 blocks or more, or a claim is weak.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cls_sim.commands.campaign import blocks, tables, weak
from cls_sim.commands.campaign.plan import Piece, pieces
from cls_sim.commands.campaign.results import Results, decides
from cls_sim.commands.door import Parser, entered, whole_of
from cls_sim.config import experiments
from cls_sim.core import parents
from cls_sim.core.errors import ConfigError, choice, suggest
from cls_sim.running.opened import judged_in_blocks
from cls_sim.sinks.wandb import without_run
from cls_sim.storage import summary
from cls_sim.storage.summary import Claim, Summary

SETTINGS = {"size": "paper", "off": "all", "blocks": "0", "together": "0", "workers": "1", "into": None}
FLAGS = ("--again", "--table", "--list", "--check")


def one_in_four(experiment: str) -> bool:
    """Whether an experiment belongs to a fixed quarter of all experiments, chosen by a hash of its name.

    >>> [name for name in ("digits", "split_mnist", "a", "b", "c", "d", "e", "f") if one_in_four(name)]
    ['digits', 'd']
    """
    return hashlib.sha256(experiment.encode()).digest()[0] % 4 == 0


# -- running ------------------------------------------------------------------------------------------------


def live(overrides: Sequence[str], folder: Path) -> tuple[Summary, float]:
    """Run an experiment in a separate process, or resume it; returns its summary and the seconds it took.

    Raises ConfigError with the last line of the process if it did not finish.
    """
    started, resumed = time.monotonic(), (folder / "run.json").is_file()
    args = [f"resume={folder}"] if resumed else [*overrides, f"out={folder}"]
    done = subprocess.run(
        [sys.executable, "-m", "cls_sim", *args],
        env=parents.environment(without_run(os.environ) | {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise ConfigError(" ".join(overrides), said.removeprefix("cls-sim: error: "), f"see {folder}")
    return summary.read(folder), time.monotonic() - started


def live_blocks(overrides: Sequence[str], folder: Path, subjects: int) -> tuple[list[tuple[Claim, ...]], float]:
    """Run an experiment as `live` does; returns the verdicts on each block of subjects, and processor time."""
    before = os.times()
    live(overrides, folder)
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return judged_in_blocks(folder, subjects), spent


def run(piece: Piece, results: Results, runs: Path, *, off: bool, again: bool = False) -> list[str]:
    """Run the missing runs of a piece; returns one line for each run that did not finish."""
    here = runs / piece.size
    try:
        if again or not results.done(piece):
            found, seconds = live(piece.overrides, _folder(here, piece, piece.overrides, again))
            results.record(piece, found, seconds)
        if off and piece.fails and (again or not results.off_done(piece)):
            failing: dict[str, Claim] = {}
            spent = 0.0
            for overrides, fails in piece.without():
                found, seconds = live(overrides, _folder(here, piece, overrides, again))
                failing |= {claim.name: claim for claim in found.claims if claim.name in fails}
                spent += seconds
            results.record_off(piece, failing, spent)
    except ConfigError as refused:
        return [f"{piece.name}: {refused}"]
    return []


def _folder(here: Path, piece: Piece, overrides: Sequence[str], again: bool) -> Path:
    """The folder of a run, or with `again` a new one next to it.

    Its name depends on the configuration, so that an outdated run is never resumed.
    """
    folder = path = here / f"{piece.name}-{decides(overrides)[:8]}"
    n = 1
    while again and path.exists():
        n += 1
        path = folder.with_name(f"{folder.name}.{n}")
    return path


# -- the command --------------------------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> int:
    """The command `cls-sim-claims`."""
    parser = Parser("cls-sim-claims", __doc__, SETTINGS, FLAGS)
    return entered(parser, _claims, argv, stopped="stopped; the same command continues")


def _claims(args: argparse.Namespace) -> int:
    for key in (name.partition("=")[0] for name in args.given if "=" in name):
        raise ConfigError(key, "is unknown", suggest(key, SETTINGS))
    size = choice("size", args.size, ("paper", "small"))
    off = choice("off", args.off, ("all", "quarter", "none"))
    workers = whole_of("workers", args.workers, 1, 1024)
    wanted = whole_of("blocks", args.blocks, 0, 10_000)
    results, chosen = Results(Path(args.into) if args.into else _docs()), pieces(size, args.given)
    if args.list:
        for piece in chosen:
            print(f"{'done   ' if results.done(piece) else 'missing'}  {piece.name}")
        return 0
    if args.check:
        found = list(weak.findings(results, pieces(named=args.given), pieces("small", args.given)))
        print("\n".join(found) or "no claim is weak")
        return int(bool(found))
    if wanted:
        together = whole_of("together", args.together, 0, 1_000_000)
        return _on_blocks(chosen, results, wanted, again=args.again, together=together)
    failed: list[str] = []
    if not args.table:

        def one(piece: Piece) -> list[str]:
            with_off = off == "all" or (off == "quarter" and one_in_four(piece.experiment))
            lines = run(piece, results, Path("outputs") / "claims", off=with_off, again=args.again)
            print("\n".join([*tables.lines(results, piece), *lines]), flush=True)
            return lines

        with ThreadPoolExecutor(workers) as pool:
            failed = [line for lines in pool.map(one, chosen) for line in lines]
    tables.write(results, pieces(), pieces("small"))
    wrong = [row for piece in chosen for row in tables.rows(results, piece) if row.wrong]
    for line in [*failed, *(f"{row.piece.name}: {row.claim.statement}: {row.wrong}" for row in wrong)]:
        print(line, file=sys.stderr)
    return int(bool(failed or wrong))


def _on_blocks(chosen: Sequence[Piece], results: Results, wanted: int, *, again: bool, together: int) -> int:
    """Live blocks of each piece, print how often each claim holds, and write the tables; returns the exit code."""
    rare = False
    for piece in chosen:
        runs = Path("outputs") / "claims"
        found = blocks.run(piece, results, runs, live_blocks, wanted, again=again, together=together or None)
        rare |= any(tally.rare and "missed" not in piece.claims[name] for name, tally in found.items())
        print("\n".join(blocks.lines(piece, found)), flush=True)
        tables.write(results, pieces(), pieces("small"))
    return int(rare)


def _docs() -> Path:
    """docs/ of the checkout that this package is in, or ./claims."""
    docs = experiments.conf_dir().parent / "docs"
    return docs if docs.is_dir() else Path("claims")


if __name__ == "__main__":
    sys.exit(main())
