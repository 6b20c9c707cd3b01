"""The same lives on a GPU: draws and data bit for bit, weights within tolerance over the first steps."""

from __future__ import annotations

import pytest
import torch
from lives import live, small

import cls_sim as cs

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")

MEMORIES = [lambda: cs.Sparse(capacity=20), lambda: cs.Store(capacity=20), cs.NoHippocampus]


@pytest.mark.parametrize("memory", MEMORIES)
def test_cpu_and_gpu_agree(memory):
    lives = [live(small(3, hippocampus=memory(), device=device), 50) for device in ("cpu", "cuda")]
    cpu, gpu = (life.neocortex.weights for life in lives)
    for name, weight in cpu.items():
        torch.testing.assert_close(weight, gpu[name].cpu(), rtol=1e-3, atol=1e-4)
    batches = [life.world.next(life.clock) for life in lives]
    assert (batches[0].x == batches[1].x.cpu()).all() and (batches[0].item == batches[1].item.cpu()).all()
    traces = [life.hippocampus.traces() for life in lives]
    assert (traces[0].item == traces[1].item.cpu()).all()


def test_a_whole_life_on_the_gpu_learns_as_on_the_cpu():
    scores = []
    for device in ("cpu", "cuda"):
        life = live(small(4, device=device, world=cs.Digits(per_context=60, batch=10)))
        with torch.no_grad():
            scores.append(cs.Accuracy().measure(life).mean().item())
    assert scores[0] == pytest.approx(scores[1], abs=0.05)
