"""State trees: one module walks them for parts, checkpoints, the ledger, the finite check and fingerprints."""

from __future__ import annotations

import numpy as np
import torch

from cls_sim.core import trees
from cls_sim.core.clock import Clock
from cls_sim.core.optimizers import Optimizer
from cls_sim.core.part import Part


def part() -> Part:
    found = Part()
    found.weights = {"w": torch.ones(2, 3), "steps": [np.zeros(2), torch.zeros(2)], "name": "x"}
    found.inside, found.inside_weight = Part(), 3
    found.inside.mask = torch.ones(2, dtype=torch.bool)
    found.clock = Clock(2, 10)  # read by the part, and none of its state
    return found


def test_a_part_is_its_leaves_and_a_clock_is_no_state():
    tree = part().state()
    names = [".".join(path) for path, _ in trees.leaves(tree)]
    assert names == ["weights.w", "weights.steps.0", "weights.steps.1", "inside.mask"]


def test_what_is_collected_can_be_restored_and_copied():
    one, other = part(), part()
    one.weights["w"] += 1
    one.weights["steps"][0] += 2
    other.load(one.state())
    assert torch.equal(other.weights["w"], one.weights["w"]) and other.weights["name"] == "x"
    assert isinstance(other.weights["steps"], list) and (other.weights["steps"][0] == 2).all()
    twin = trees.copied(one.weights, {}, Optimizer)
    twin["w"] += 1
    assert not torch.equal(twin["w"], one.weights["w"])


def test_two_states_are_mixed_by_subject():
    new = {"a": {"t": torch.ones(2, 3), "none": {}}, "n": np.ones((2, 1, 2))}
    old = {"a": {"t": torch.zeros(2, 3), "none": {}}, "n": np.zeros((2, 1, 2))}
    mixed = trees.mixed(np.array([False, True]), new, old)
    assert mixed["a"]["t"].tolist() == [[0] * 3, [1] * 3] and mixed["a"]["none"] == {}
    assert mixed["n"].tolist() == [[[0, 0]], [[1, 1]]]


def test_what_a_part_holds_is_itself_not_a_copy_of_it():
    one = part()
    held = list(trees.held(one, without=Optimizer))
    assert len(held) == 4 and any(leaf is one.weights["w"] for leaf in held)
