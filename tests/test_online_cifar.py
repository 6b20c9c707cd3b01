"""experiment=caccia_2022_online_cifar: each arm learns from the rows that its paper says, in a short life."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import cls_sim as cs
from cls_sim.claims.arms import published
from cls_sim.commands.campaign.plan import pieces
from cls_sim.config import experiments
from cls_sim.core.batch import LIVED, STORED, Batch
from cls_sim.storage.case import Case

NAME = "caccia_2022_online_cifar"
SHORT = ("world.per_context=4", "world.train_images=400", "world.test_images=100", "subjects=1")
TINY = (*SHORT, "neocortex=cnn4", "neocortex.channels=[2,2,2,2]")
pytestmark = pytest.mark.usefixtures("data_dir")


def lived(arm: str, *do: str) -> tuple[cs.Life, list[Batch], list[dict[str, torch.Tensor]]]:
    """A life of five contexts of four experiences: every batch that the cortex learned, and its weights before it.

    do  overrides of the arm
    """
    changed = [] if not do else [f"arm.{arm}={list(do)}"]
    life = experiments.build(f"experiment={NAME}", f"arms=[{arm}]", *TINY, *changed)
    lessons, before, step = list[Batch](), [], life.consolidation.step

    def noted(neocortex: Any, batch: Batch, *rest: Any) -> None:
        lessons.append(batch)
        before.append({name: w.detach().clone() for name, w in neocortex.weights.items()})
        step(neocortex, batch, *rest)

    life.consolidation.step = noted  # pyright: ignore[reportAttributeAccessIssue]
    while not life.over:
        life.step()
    return life, lessons, before


def replayed(batch: Batch) -> torch.Tensor:
    return (batch.source[0] == STORED) & batch.present()[0]


@pytest.mark.parametrize("arm", ["er_200", "er_ace_200"])
def test_er_replays_ten_rows_of_all_that_is_stored_from_the_second_step_on(arm):
    """Task-free: rows of the present context, too; the loss is the mean of the new rows plus that of the old ones."""
    life, lessons, _ = lived(arm)
    assert len(lessons) == 20 and not replayed(lessons[0]).any()
    for batch in lessons[1:]:
        assert int((batch.source == LIVED).sum()) == 10 == int(replayed(batch).sum())
        assert (batch.weights() == 1).all()
    now = [bool((b.context[0][replayed(b)] == b.context[0, 0]).any()) for b in lessons[5:]]
    old = [bool((b.context[0][replayed(b)] < b.context[0, 0]).any()) for b in lessons[5:]]
    assert any(now) and sum(old) > len(old) / 2
    assert isinstance(life.hippocampus, cs.Store) and life.hippocampus.eviction == "reservoir"
    assert life.consolidation.reduction == "sum"  # pyright: ignore[reportAttributeAccessIssue]
    assert isinstance(life.consolidation.objective, cs.AsymmetricLoss) == (arm == "er_ace_200")  # pyright: ignore
    assert life.ledger.totals()["passes"][0] == 20 * 20 - 10


def test_mir_begins_with_the_second_context_and_takes_the_most_interfered_of_fifty():
    life, lessons, _ = lived("mir_200")
    policy = life.replay.policy.policy  # pyright: ignore[reportAttributeAccessIssue]
    assert (policy.candidates, policy.batch, policy.first) == (50, 10, True)
    assert policy.preference.step == pytest.approx(10 * life.plasticity.rate(life.clock)[0])  # the rate of a mean
    assert not any(replayed(batch).any() for batch in lessons[:4])
    for batch in lessons[4:]:
        mine = replayed(batch)
        assert int(mine.sum()) == 10 and (batch.context[0][mine] < batch.context[0, 0]).all()
        assert len(set(batch.item[0][mine].tolist())) == 10


def test_derpp_replays_twenty_rows_with_their_scores():
    _, lessons, _ = lived("derpp_200")
    batch = lessons[-1]
    assert int(replayed(batch).sum()) == 20 and batch.scores is not None
    assert batch.scores[0][replayed(batch)].isfinite().all()
    new, old = batch.weights()[0][batch.source[0] == LIVED], batch.weights()[0][replayed(batch)]
    assert new.sum().item() == pytest.approx(old.sum().item()) and new.sum().item() == pytest.approx(15)
    rates = [experiments.build(f"experiment={NAME}", f"arms=[{arm}]", *TINY) for arm in ("er_200", "derpp_200")]
    er, dark = (float(one.plasticity.rate(one.clock)[0]) for one in rates)
    assert 10 * er == pytest.approx(15 * dark, rel=1e-3)  # the same rate of the mean of the new rows


def test_gdumb_learns_in_the_end_only_from_its_balanced_memory():
    """By day nothing changes; in the one night a cortex at its first weights learns from stored rows alone."""
    mine = experiments.read([f"experiment={NAME}", "arms=[gdumb_200]"]).arms["gdumb_200"].own
    short = {"rhythm.experiences_per_day": 20, "rhythm.steps_per_night": 8}
    do = [one for one in mine if one.partition("=")[0] not in short] + [f"{key}={n}" for key, n in short.items()]
    life, lessons, before = lived("gdumb_200", *do, "hippocampus.capacity=50")
    assert len(lessons) == 8 and all((batch.source == STORED).all() and batch.rows == 20 for batch in lessons)
    first = experiments.build(f"experiment={NAME}", "arms=[gdumb_200]", *TINY).neocortex.weights
    assert all(torch.equal(before[0][name], w.detach()) for name, w in first.items())
    traces = life.hippocampus.traces()
    assert traces.y[0][traces.alive[0]].bincount(minlength=10).tolist() == [5] * 10
    seen = torch.cat([batch.context[0] for batch in lessons]).unique()
    assert seen.tolist() == [0, 1, 2, 3, 4]


def test_iid_mixes_all_classes_and_replays_nothing():
    life, lessons, _ = lived("iid")
    assert len(lessons) == 20 and not any(replayed(batch).any() for batch in lessons)
    assert len(lessons[0].context.unique()) > 1 and life.ledger.totals()["passes"][0] == 200


def test_all_arms_see_augmented_images_and_normalise_kinds_of_rows_apart():
    for arm in experiments.read([f"experiment={NAME}"]).arms.values():
        assert arm.cfg["replay"]["_target_"] == "cls_sim.CropFlip" and arm.cfg["replay"]["lived"]
        assert arm.cfg["neocortex"]["apart"] and arm.cfg["neocortex"]["_target_"] == "cls_sim.SlimResNet18"
        assert arm.cfg["consolidation"]["optimizer"]["_target_"] == "cls_sim.Sgd"
        images = arm.cfg["world"]["per_context"] * arm.cfg["world"]["contexts"] * arm.cfg["world"]["batch"]
        assert images == 50_000


def test_each_cell_of_the_table_is_a_piece_of_its_own():
    mine = pieces(named=[NAME])
    assert len(mine) == 11 and all(len(piece.arms) == 1 == len(piece.claims) for piece in mine)
    subjects = {piece.arms[0]: experiments.read(piece.overrides).cfg["subjects"] for piece in mine}
    assert {n for arm, n in subjects.items() if arm.endswith("1000")} == {2} and subjects["er_200"] == 3


@pytest.mark.parametrize("within, passed", [(1.5, False), (3, True)])
def test_a_claim_may_widen_the_band(within, passed):
    case = Case({}, {"er": {"accuracy": np.array([0.42, 0.421, 0.419])}})
    assert published(case, "er", 40.0, 0.1, within=within).passed is passed
