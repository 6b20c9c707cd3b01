"""Matrix products in bfloat16: only if asked for, only where the processor has them, and never unseen in a result."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import cls_sim as cs
from cls_sim.commands.campaign.results import decides
from cls_sim.config import experiments
from cls_sim.core.errors import ConfigError
from cls_sim.running import precision, runs
from cls_sim.storage.run_directory import config_hash

TINY = ["size=small", "subjects=2", "arms=[cls]", "days=2", "figures=null"]


def test_it_is_refused_in_one_line_where_the_device_lacks_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(precision, "has_bf16", lambda: False)
    for asked, reason in (["precision=bf16"], "has no products"), (["precision=bf16", "device=cuda"], "device=cpu"):
        with pytest.raises(ConfigError, match=reason) as caught:
            runs.perform(experiments.read([*TINY, *asked, f"out={tmp_path / 'run'}"]), quiet=True)
        assert caught.value.key == "precision" and "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ConfigError, match="float32, bf16"):
        experiments.read(["precision=float16"])


def test_it_lasts_while_a_life_lasts(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(precision, "has_bf16", lambda: True)
    with pytest.raises(ZeroDivisionError), precision.products({"precision": "bf16", "device": "cpu"}):
        assert torch.get_float32_matmul_precision() == "medium"
        _ = 1 / 0
    with precision.products({"precision": "float32", "device": "cpu"}):
        assert torch.get_float32_matmul_precision() == "highest"


def test_results_tell_it():
    one, usual, other = (["experiment=digits", *asked] for asked in ([], ["precision=float32"], ["precision=bf16"]))
    assert decides(one) == decides(usual) != decides(other)
    hashes = [config_hash(experiments.read(overrides)) for overrides in (one, usual, other)]
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.skipif(not precision.has_bf16(), reason="this processor has no products in bf16")
def test_only_the_factors_of_large_products_are_rounded():
    """Such lives differ by less than the rounding; weights stay float32; small products keep their bits."""
    weights = []
    for kind in ("float32", "bf16"):
        life = cs.Life(
            world=cs.Digits(per_context=12, batch=256),
            neocortex=cs.Mlp(hidden=[400, 400]),
            hippocampus=cs.NoHippocampus(),
            rhythm=cs.Sleepless(experiences_per_day=6),
            plasticity=0.01,
            replay=cs.Uniform(batch=8),
            consolidation=cs.Descent(optimizer=cs.Sgd()),
        )
        with precision.products({"precision": kind, "device": "cpu"}):
            few = torch.bmm(torch.full((1, 8, 8), 1 / 3), torch.full((1, 8, 8), 1 / 3))
            life.step()
        assert torch.equal(few, torch.bmm(torch.full((1, 8, 8), 1 / 3), torch.full((1, 8, 8), 1 / 3)))
        weights.append(life.neocortex.weights["weight1"].detach())
    one, other = weights
    assert one.dtype == other.dtype == torch.float32
    assert 0 < (one - other).abs().max() < 2**-8 * one.abs().max()
