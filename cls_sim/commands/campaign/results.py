"""The stored results of finished pieces of the claims campaign."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cls_sim import PART_KINDS
from cls_sim.claims import WORDS
from cls_sim.commands.campaign.plan import Piece
from cls_sim.config import experiments
from cls_sim.storage.disk import made, read, write
from cls_sim.storage.summary import Claim, Summary

DECIDE = (*PART_KINDS, "subjects", "seed", "days", "chunk")  # the keys on which a result depends


def fingerprint(arms: Mapping[str, Any]) -> str:
    """The sha256 of the settings that determine the numbers of a piece."""
    plain = {name: {key: cfg.get(key) for key in DECIDE} for name, cfg in arms.items()}
    for name, cfg in arms.items():
        if cfg.get("precision", "float32") != "float32":
            plain[name]["precision"] = cfg["precision"]
        if cfg.get("budget") is not None:
            plain[name]["budget"] = cfg["budget"]
    return hashlib.sha256(json.dumps(plain, sort_keys=True, default=str).encode()).hexdigest()


def decides(overrides: Sequence[str]) -> str:
    return fingerprint({name: arm.cfg for name, arm in experiments.read(overrides).arms.items()})


def asks(claims: Mapping[str, Any]) -> str:
    """The sha256 of all keys of the claims that determine a verdict: not of their words (statement, source, …)."""
    plain = {name: {key: v for key, v in claim.items() if key not in WORDS} for name, claim in claims.items()}
    return hashlib.sha256(json.dumps(plain, sort_keys=True, default=str).encode()).hexdigest()


@dataclass(frozen=True)
class Results:
    """The stored results of finished pieces, in `into`/results/PIECE.json."""

    into: Path

    def file(self, piece: Piece) -> Path:
        folder = self.into / "results"
        return (folder if piece.size == "paper" else folder / piece.size) / f"{piece.name}.json"

    def kept(self, piece: Piece) -> dict[str, Any] | None:
        """The stored entry of a piece: command, decides, asks, seconds, summary, and ablation if it was run."""
        file = self.file(piece)
        return read(file) if file.is_file() else None

    def summary(self, piece: Piece) -> Summary | None:
        """The summary of a finished piece: its main readings, and its own claims."""
        kept = self.kept(piece)
        return Summary.of(kept["summary"], str(self.file(piece))) if kept and "summary" in kept else None

    def done(self, piece: Piece) -> bool:
        """Whether there is a result for this piece with its present configuration and claims."""
        kept = self.kept(piece)
        if kept is None or kept.get("asks") != asks(piece.claims):
            return False
        return kept["decides"] == decides(piece.overrides)

    def record(self, piece: Piece, summary: Summary, seconds: float) -> None:
        """Store a finished piece.  The time of a resumed run is more than that of its last process."""
        arms = {
            name: replace(arm, readings={key: e for key, e in arm.readings.items() if key == arm.main})
            for name, arm in summary.arms.items()
        }
        mine = tuple(claim for claim in summary.claims if claim.name in piece.claims)
        seconds = max(seconds, sum(arm.cost_seconds for arm in arms.values()))
        kept = {
            "command": f"cls-sim {' '.join(piece.overrides)}",
            "decides": decides(piece.overrides),
            "asks": asks(piece.claims),
        }
        kept |= {"seconds": round(seconds, 1), "summary": replace(summary, arms=arms, claims=mine).entries()}
        self._write(piece, kept)

    def record_off(self, piece: Piece, claims: Mapping[str, Claim], seconds: float) -> None:
        """Store the verdicts of the ablation."""
        found = {name: {key: claims[name].told[key] for key in ("value", "passed")} for name in piece.fails}
        off = {"overrides": _removed(piece), "claims": found, "seconds": round(seconds, 1)}
        self._write(piece, (self.kept(piece) or {}) | {"ablation": off})

    def off_done(self, piece: Piece) -> bool:
        off = (self.kept(piece) or {}).get("ablation")
        return off is not None and off["overrides"] == _removed(piece) and set(off["claims"]) == set(piece.fails)

    def _write(self, piece: Piece, kept: dict[str, Any]) -> None:
        made(self.file(piece).parent)
        write(self.file(piece), kept)


def _removed(piece: Piece) -> list[Any]:
    """The overrides of the ablation, as they are stored; of several, a list for each."""
    found = [do for do, _ in piece.removing]
    return found[0] if len(found) == 1 else found
