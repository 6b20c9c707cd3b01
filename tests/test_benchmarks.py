"""Benchmarks: the limit does the same work as ours, and the table can be made."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

import cls_sim as cs
from benchmarks import peer
from benchmarks.limit import Loop, Products, Prototype
from benchmarks.steps import _figures
from benchmarks.work import Work

SMALL = Work("small", cs.Digits, (32,), 16, 16, subjects=2, steps=2, target=1.0, capacity=500, rate=3e-3)


def test_ours_and_the_limit_learn_alike():
    """Ten digits in pairs with experience replay: five subjects here and five loops, on the mean."""
    work = replace(SMALL, subjects=5)
    life, right = work.life(60), []
    while not life.over:
        life.step()
    for seed in range(5):
        torch.manual_seed(seed)
        loop = Loop(work, 60, seed)
        for _ in range(300):
            loop.step()
        with torch.no_grad():
            right.append((loop.scores(loop.x).argmax(1) == loop.y).float().mean().item())
    assert loop.seen == life.ledger.totals()["lived"][0] == 4800
    ours, limit = cs.Accuracy().measure(life).mean().item(), sum(right) / 5
    assert ours > 0.4 and abs(ours - limit) < 0.15


def test_the_prototype_learns_like_the_loop():
    """Two stacked subjects; the same task, other draws."""
    prototype = Prototype(SMALL, 60)
    for _ in range(300):
        prototype.step()
    x = prototype.bytes[None] * prototype.quantum
    with torch.no_grad():
        h = torch.relu(prototype.weights[0] @ x.mT + prototype.weights[1])
        right = ((prototype.weights[2] @ h + prototype.weights[3]).argmax(1) == prototype.y).float().mean(1)
    assert (right > 0.4).all() and (prototype.mark[:, 0] >= 0).all()


def test_a_table_can_be_made():
    company, _, alone = _figures(SMALL, 2)
    assert company.ours > 0 and company.limit > 0 and alone.ratio > 0
    *_, products = _figures(replace(SMALL, subjects=1, key="w1_step"), 2)
    assert products.target == 1.5


def test_products_are_those_of_a_step():
    """Forward, and twice backward, save for what would reach the input."""
    work = replace(SMALL, hidden=(32, 16))
    flops = sum(2 * a.shape[0] * a.shape[1] * b.shape[1] for a, b in Products(work, inputs=64).pairs)
    assert flops == pytest.approx(2 * 32 * (2 * 64 * 32 + 3 * 32 * 16 + 3 * 16 * 10))


def test_the_peer_evaluates_as_ours_and_shows_no_progress(tmp_path, monkeypatch):
    """A program in place of the peer writes down how it was called."""
    log = tmp_path / "log"
    (tmp_path / "main.py").write_text(
        f"import json, os, sys\nopen({str(log)!r}, 'a').write(json.dumps([os.environ['TQDM_DISABLE'], *sys.argv]) + '\\n')"
    )
    monkeypatch.setattr(peer, "OURS", "sum(range({steps}))")
    step, run = peer.peer_figures(str(tmp_path), steps=3, repetitions=1)
    calls = [json.loads(line) for line in log.read_text().splitlines()]
    assert [next(one for one in call if one.startswith("--iters")) for call in calls] == [
        "--iters=1",
        "--iters=3",
        "--iters=6",
    ]
    assert all(call[0] == "1" and {"--results-dict", "--acc-n=10000"} <= set(call) for call in calls)
    assert (step.key, run.key) == ("peer_step", "peer_run") and run.ours > 0 and run.limit > 0


def test_a_folder_without_the_peer_is_refused(tmp_path):
    with pytest.raises(SystemExit, match=r"main\.py"):
        peer.peer_figures(str(tmp_path))
