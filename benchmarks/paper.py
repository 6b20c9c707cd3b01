"""Every experiment at full size: `make paper`.  In pieces, each under an hour; a rerun does only what is missing.

A finished piece leaves docs/results/<piece>.json, to be committed, and docs/results.md is made from these files.

    python -m benchmarks.paper [PIECE …]     run what is missing (of these pieces)
    python -m benchmarks.paper --table       only make docs/results.md
    python -m benchmarks.paper --list        say what is there and what is missing
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from cls_sim import ROOMS, configs

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs" / "results"
OUT = ROOT / "outputs" / "paper"
DECIDE = (*ROOMS, "subjects", "seed", "days", "chunk")  # the keys on which a result depends


def pieces() -> dict[str, list[str]]:
    """Piece → overrides: every experiment, once for each scenario that its claims name."""
    found = {}
    for file in sorted((configs.conf_dir() / "experiment").glob("*.yaml")):
        claims = (yaml.safe_load(file.read_text()) or {}).get("claims") or {}
        scenarios = dict.fromkeys(c["scenario"] for c in claims.values() if "scenario" in c)
        for scenario in scenarios or [None]:
            name = f"{file.stem}_{scenario}" if scenario else file.stem
            found[name] = [f"experiment={file.stem}", *([f"scenario={scenario}"] if scenario else [])]
    return found


def fingerprint(arms: dict[str, Any]) -> str:
    """The sha256 of what decides a piece's results."""
    plain = {name: {key: cfg.get(key) for key in DECIDE} for name, cfg in arms.items()}
    return hashlib.sha256(json.dumps(plain, sort_keys=True, default=str).encode()).hexdigest()


def wanted(overrides: list[str]) -> str:
    return fingerprint({name: arm.cfg for name, arm in configs.read(overrides).arms.items()})


def record(piece: str, overrides: list[str], folder: Path) -> None:
    """Keep what a finished run came to as docs/results/<piece>.json."""
    summary = json.loads((folder / "summary.json").read_text())
    arms = yaml.safe_load((folder / "config.yaml").read_text())["arms"]
    for arm in summary["arms"].values():
        arm["readings"] = {name: reading for name, reading in arm["readings"].items() if name == arm["main"]}
    kept = {"command": f"cls-sim {' '.join(overrides)}", "decides": fingerprint(arms), "summary": summary}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{piece}.json").write_text(json.dumps(kept, indent=1) + "\n")


def done(piece: str, overrides: list[str]) -> bool:
    file = RESULTS / f"{piece}.json"
    return file.is_file() and json.loads(file.read_text())["decides"] == wanted(overrides)


def run(piece: str, overrides: list[str]) -> bool:
    """Run a piece, or go on with it; whether it was finished."""
    folder = OUT / piece
    started = (folder / "run.json").is_file()
    args = [f"resume={folder}"] if started else [*overrides, f"out={folder}"]
    finished = subprocess.run([sys.executable, "-m", "cls_sim", *args], cwd=ROOT, check=False).returncode == 0
    if finished:
        record(piece, overrides, folder)
    return finished


def table() -> str:
    """docs/results.md, from the finished pieces."""
    page = ["# Results", "", "Every experiment at full size, on seeds from 1000.  Made by `make paper`.", ""]
    for file in sorted(RESULTS.glob("*.json")):
        kept = json.loads(file.read_text())
        page += _section(kept["summary"], kept["command"])
    return "\n".join(page)


def _section(summary: dict[str, Any], command: str) -> list[str]:
    seconds = sum(arm["seconds"] for arm in summary["arms"].values())
    lines = [f"## {summary['title']}", "", f"`{command}` ({seconds:.0f} s)", ""]
    lines += ["| arm | reading | mean | 95 % interval | SEM | n |", "|---|---|---|---|---|---|"]
    for name, arm in summary["arms"].items():
        for reading, e in arm["readings"].items():
            lines.append(
                f"| {name} | {reading} | {_n(e['mean'])} | {_interval(e['ci95'])} | {_n(e['sem'])} | {e['n']} |"
            )
    lines += ["", "| claim | expected | tolerance | found | holds | source |", "|---|---|---|---|---|---|"]
    for claim in summary["claims"]:
        says = claim.get("says") or claim["name"].replace("_", " ")
        holds = {True: "yes", False: "**no**", None: "not judged"}[claim["passed"]]
        found = _n(claim["value"]) + (f" {_interval(claim['interval'])}" if claim.get("interval") else "")
        row = [says, _n(claim["expected"]), _n(claim["tolerance"]), found, holds, claim["source"] or ""]
        lines.append(f"| {' | '.join(str(cell) for cell in row)} |")
        if claim.get("missed"):
            lines.append(f"| | | | | | {claim['missed']} |")
    return [*lines, ""]


def _n(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)


def _interval(ends: list[Any]) -> str:
    return "" if None in ends else f"[{_n(ends[0])}, {_n(ends[1])}]"


def main(args: list[str]) -> int:
    chosen = {name: o for name, o in pieces().items() if not [a for a in args if a[0] != "-"] or name in args}
    missing = [name for name, overrides in chosen.items() if not done(name, overrides)]
    if "--list" in args:
        print("\n".join(f"{'missing' if name in missing else 'done   '}  {name}" for name in chosen))
        return 0
    failed = [] if "--table" in args else [name for name in missing if not run(name, chosen[name])]
    (ROOT / "docs" / "results.md").write_text(table())
    if failed:
        print(f"not finished: {', '.join(failed)}", file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
