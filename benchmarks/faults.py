"""Test every fault in full number: `make faults`.

The faults are tested in pieces of less than an hour; a second call runs only the missing pieces.  A finished piece
writes docs/results/faults/PIECE.json, which is committed.  The table of docs/reliability.md is made from these files.

    python -m benchmarks.faults [PIECE …]     run the missing pieces (of those named), two at a time (or --jobs=N)
    python -m benchmarks.faults --table       run nothing; write the table
    python -m benchmarks.faults --list        run nothing; list what is done and what is missing
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import yaml

from cls_sim import __version__
from cls_sim.commands.door import Parser, entered
from cls_sim.core.errors import choice, whole

ROOT = Path(__file__).resolve().parent.parent
ROWS = ROOT / "docs" / "results" / "faults"
PAGE = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- made by python -m benchmarks.faults -->", "<!-- end -->"
LIMIT = 3600  # seconds of a piece


@dataclass(frozen=True)
class Piece:
    """A fault of the catalogue: its number, what happens, what is expected, and the tests that show it."""

    number: int
    fault: str
    expected: str
    tests: str  # arguments of pytest


CATALOGUE = yaml.safe_load((ROOT / "benchmarks" / "faults.yaml").read_text())
PIECES = {name: Piece(**given) for name, given in CATALOGUE.items()}


def decides(piece: Piece) -> str:
    """The sha256 of what a result depends on: the tests, and the version."""
    return hashlib.sha256(f"{piece.tests} {__version__}".encode()).hexdigest()


def done(name: str) -> bool:
    file = ROWS / f"{name}.json"
    return file.is_file() and json.loads(file.read_text())["decides"] == decides(PIECES[name])


def run(name: str) -> bool:
    """Run a piece; returns whether it finished with the expected results."""
    if done(name):  # another process has finished it
        return True
    tests, _, chosen = PIECES[name].tests.partition(" -k ")
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, *f"-m pytest -q -n 0 --timeout {LIMIT} -ojunit_family=xunit1".split()]
        command += [f"--junitxml={report}"]
        command += [*tests.split(), *(["-k", chosen] if chosen else []), f"--basetemp={folder}/tests"]
        env = os.environ | {"CLS_SIM_FAULTS": "full", "OMP_NUM_THREADS": "1"}
        try:
            ended = subprocess.run(
                command, cwd=ROOT, env=env, timeout=LIMIT, capture_output=True, text=True, check=False
            )
        except subprocess.TimeoutExpired:
            print(f"{name}: not finished after {LIMIT} s", file=sys.stderr)
            return False
        if ended.returncode:
            print(f"{name}: not as expected\n{ended.stdout[-6000:]}{ended.stderr[-2000:]}", file=sys.stderr)
            return False
        found = told(ElementTree.parse(report).getroot())
    row: dict[str, Any] = {"piece": name, "command": f"python -m benchmarks.faults {name}"}
    row |= {"decides": decides(PIECES[name]), "version": __version__, "seconds": round(time.monotonic() - started)}
    ROWS.mkdir(parents=True, exist_ok=True)
    (ROWS / f"{name}.json").write_text(json.dumps(row | found, indent=1, ensure_ascii=False) + "\n")
    print(f"{name}: {row['seconds']} s: {'; '.join(found['figures']) or found['tests']}", flush=True)
    return True


def told(report: ElementTree.Element) -> dict[str, Any]:
    """The content of a report of pytest: the number of tests, those skipped, and what they measured."""
    cases = list(report.iter("testcase"))
    skipped = [case.get("name") for case in cases if case.find("skipped") is not None]
    figures = [p.get("value") for case in cases for p in case.iter("property") if p.get("name") == "figure"]
    return {"tests": len(cases) - len(skipped), "skipped": skipped, "figures": list(dict.fromkeys(figures))}


def table() -> str:
    """The table of the catalogue: each fault with what is expected and what was measured."""
    lines = ["| # | fault | expected | measured | piece |", "|---|---|---|---|---|"]
    for name, piece in PIECES.items():
        file = ROWS / f"{name}.json"
        row = json.loads(file.read_text()) if file.is_file() else None
        lines.append(f"| {piece.number} | {piece.fault} | {piece.expected} | {_measured(row)} | `{name}` |")
    return "\n".join(lines)


def _measured(row: dict[str, Any] | None) -> str:
    if row is None:
        return "not measured yet"
    said = "; ".join(row["figures"]) or "as expected"
    return f"{said} ({row['tests']} {'test' if row['tests'] == 1 else 'tests'}, {row['seconds']} s)"


def put(page: str) -> str:
    """The page with the present table between its two marks."""
    return re.sub(f"({re.escape(BEGIN)}\n).*({re.escape(END)})", lambda m: f"{m[1]}{table()}\n{m[2]}", page, flags=re.S)


def main(argv: Sequence[str] | None = None) -> int:
    return entered(Parser("benchmarks.faults", __doc__, {"jobs": "2"}, ("--list", "--table")), make, argv)


def make(args: argparse.Namespace) -> int:
    """Run the pieces that are missing, and write the table."""
    for word in args.given:
        choice("piece", word, PIECES)
    jobs = whole("jobs", int(args.jobs) if args.jobs.isdecimal() else args.jobs)
    missing = [name for name in args.given or PIECES if not done(name)]
    if args.list:
        print("\n".join(f"{'missing' if name in missing else 'done   '}  {name}" for name in args.given or PIECES))
        return 0
    failed: list[str] = []
    if not args.table:
        with ThreadPoolExecutor(jobs) as pool:
            failed = [name for name, well in zip(missing, pool.map(run, missing), strict=True) if not well]
    PAGE.write_text(put(PAGE.read_text()))
    if failed:
        print(f"not finished: {', '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
