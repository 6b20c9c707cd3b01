"""Every claim of every experiment at size=small, as a user would run it: `make claims`.

A claim that misses fails, unless its file carries `missed:` with the measured interval and the reason; one marked so
that passes fails too.  For one experiment in four, its claims must also fail where their mechanism is removed.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from cls_sim.commands.campaign import runner
from cls_sim.commands.campaign.runner import Piece
from cls_sim.config import experiments
from tests.lives import needs_data

PIECES = runner.pieces("small")
WITHOUT = [piece for piece in PIECES if piece.fails and runner.one_in_four(piece.experiment)]


@pytest.mark.claims
@pytest.mark.timeout(900)
@pytest.mark.parametrize("piece", PIECES, ids=lambda piece: piece.name)
def test_the_claims_of(piece: Piece, tmp_path: Path, request: pytest.FixtureRequest):
    needs_data(piece.experiment, request)
    summary, _ = runner.live(piece.overrides, tmp_path / "run")
    judged = [claim for claim in summary.claims if claim.passed is not None]
    assert judged, "an experiment claims something at every size"
    wrong = [claim for claim in judged if claim.passed == (claim.missed is not None)]
    assert not wrong, "\n".join(map(str, wrong))


@pytest.mark.claims
@pytest.mark.timeout(900)
@pytest.mark.parametrize("piece", WITHOUT, ids=lambda piece: piece.name)
def test_without_the_mechanism_they_fail(piece: Piece, tmp_path: Path, request: pytest.FixtureRequest):
    needs_data(piece.experiment, request)
    for i, (overrides, fails) in enumerate(piece.without()):
        summary, _ = runner.live(overrides, tmp_path / f"run{i}")
        passed = {claim.name: claim.passed for claim in summary.claims}
        assert {name: passed[name] for name in fails} == dict.fromkeys(fails, False)


@pytest.mark.parametrize("piece", [piece for piece in PIECES if piece.fails], ids=lambda piece: piece.name)
def test_what_is_removed_can_be_composed(piece: Piece):
    """Its overrides change an arm that a claim which must then fail is about."""
    lived = experiments.read(piece.overrides).arms
    for overrides, _ in piece.without():
        without = experiments.read(overrides).arms
        assert any(lived[arm].cfg != without[arm].cfg for arm in lived.keys() & without.keys())
