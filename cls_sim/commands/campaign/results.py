"""Where finished pieces of the claims program are kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cls_sim import ROOMS
from cls_sim.commands.campaign.plan import Piece
from cls_sim.config import configs

DECIDE = (*ROOMS, "subjects", "seed", "days", "chunk")  # the keys on which a result depends


def fingerprint(arms: Mapping[str, Any]) -> str:
    """The sha256 of what decides a piece's numbers."""
    plain = {name: {key: cfg.get(key) for key in DECIDE} for name, cfg in arms.items()}
    return hashlib.sha256(json.dumps(plain, sort_keys=True, default=str).encode()).hexdigest()


def decides(piece: Piece) -> str:
    return fingerprint({name: arm.cfg for name, arm in configs.read(piece.overrides).arms.items()})


def asks(piece: Piece) -> list[str]:
    """The sha256 of what a piece claims: without `missed`, which is written down after a run; and with it."""
    plain = {name: {key: v for key, v in claim.items() if key != "missed"} for name, claim in piece.claims.items()}
    texts = [json.dumps(claims, sort_keys=True, default=str) for claims in (plain, piece.claims)]
    return [hashlib.sha256(text.encode()).hexdigest() for text in texts]


@dataclass(frozen=True)
class Results:
    """Where finished pieces are kept: `into`/results/PIECE.json."""

    into: Path

    def file(self, piece: Piece) -> Path:
        folder = self.into / "results"
        return (folder if piece.size == "paper" else folder / piece.size) / f"{piece.name}.json"

    def kept(self, piece: Piece) -> dict[str, Any] | None:
        file = self.file(piece)
        return json.loads(file.read_text()) if file.is_file() else None

    def done(self, piece: Piece) -> bool:
        """Whether this piece is there, as it is lived and claimed now."""
        kept = self.kept(piece)
        return kept is not None and kept["decides"] == decides(piece) and kept.get("asks") in (None, *asks(piece))

    def record(self, piece: Piece, summary: dict[str, Any], seconds: float) -> None:
        """Keep a finished piece.  A run that was taken up again took longer than its last process did."""
        for arm in summary["arms"].values():
            arm["readings"] = {name: reading for name, reading in arm["readings"].items() if name == arm["main"]}
        summary["claims"] = [claim for claim in summary["claims"] if claim["name"] in piece.claims]
        seconds = max(seconds, sum(arm.get("cpu_seconds", arm["seconds"]) for arm in summary["arms"].values()))
        kept = {"command": f"cls-sim {' '.join(piece.overrides)}", "decides": decides(piece), "asks": asks(piece)[0]}
        self._write(piece, kept | {"seconds": round(seconds, 1), "summary": summary})

    def record_off(self, piece: Piece, claims: Mapping[str, Any], seconds: float) -> None:
        """Keep what the claims came to without the mechanism."""
        found = {name: {key: claims[name][key] for key in ("value", "passed")} for name in piece.fails}
        off = {"do": list(piece.off["do"]), "claims": found, "seconds": round(seconds, 1)}
        self._write(piece, (self.kept(piece) or {}) | {"off": off})

    def off_done(self, piece: Piece) -> bool:
        off = (self.kept(piece) or {}).get("off")
        return off is not None and off["do"] == list(piece.off["do"]) and set(off["claims"]) == set(piece.fails)

    def _write(self, piece: Piece, kept: dict[str, Any]) -> None:
        self.file(piece).parent.mkdir(parents=True, exist_ok=True)
        self.file(piece).write_text(json.dumps(kept, indent=1) + "\n")
