"""Two sources of different predictability: each is consolidated to a dose of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import cls_sim as cs
from cls_sim.core.errors import ConfigError
from cls_sim.core.part import Spec

REGRESSION = Spec(seeds=(0, 1), outputs=1, regression=True, contexts=2)


def lived(replay: Any, nights: int = 1, subjects: int = 12, size: int = 100, steps: int = 300) -> cs.Life:
    """A life after its nights of `steps` steps at the rate .02, with an SNR of .1 and of 8."""
    life = cs.Life(
        world=cs.Sources(snr=[0.1, 8.0], items=size, features=size, test=1000),
        neocortex=cs.Linear(),
        hippocampus=cs.Store(capacity=2 * size, eviction="ring"),
        rhythm=cs.Nights(experiences_per_day=1, steps_per_night=steps),
        plasticity=cs.WakeNight(wake_rate=0.0, night_rate=0.02),
        replay=replay,
        consolidation=cs.Descent(optimizer=cs.Sgd(), reduction="sum"),
        subjects=subjects,
    )
    for _ in life.live(days=nights):
        pass
    return life


def error(life: cs.Life, context: int | None = None) -> float:
    return float(cs.Generalisation(context=context).measure(life).detach().mean())


def test_a_row_has_inputs_of_its_source_alone():
    world = cs.Sources(snr=[0.5, 2.0, np.inf], items=400, features=50)
    spec = world.setup(Spec(seeds=(0, 1)))
    assert (spec.inputs, spec.contexts, spec.batch, spec.regression, spec.ends) == ((150,), 3, 1200, True, ())
    for context in range(3):
        for batch in (world.evaluation(context), world.train(context)):
            assert (batch.context == context).all()
            x = batch.x.unflatten(2, (3, 50))
            assert (x[:, :, [k for k in range(3) if k != context]] == 0).all()
            assert x[:, :, context].square().sum(2).mean().item() == pytest.approx(1.0, abs=0.02)
            assert batch.y.square().mean().item() == pytest.approx(1.0, abs=0.3)
    assert not torch.equal(world.train(0).x[..., :50], world.train(1).x[..., 50:100])


def test_a_subject_of_sources_is_the_same_alone_and_in_company():
    together, alone = cs.Sources(items=5, features=4), cs.Sources(items=5, features=4)
    together.setup(Spec(seeds=(7, 8, 9)))
    alone.setup(Spec(seeds=(8,)))
    assert torch.equal(together.train(1).y[1], alone.train(1).y[0])
    assert torch.equal(together.evaluation(0).x[1], alone.evaluation(0).x[0])


@pytest.mark.parametrize("snr", [3.0, [], "loud", [1.0, -1.0]], ids=str)
def test_sources_need_a_number_each(snr: Any):
    with pytest.raises(ConfigError, match="snr"):
        cs.Sources(snr=snr)


@pytest.mark.parametrize(("shape", "tolerance"), [("stop", 1e-9), ("fade", 0.003)])
def test_the_weights_sum_to_the_dose(shape: str, tolerance: float):
    policy = cs.Rationed(cs.FullBatch(), doses=[0.033, 0.5], shape=shape, rate=0.001)
    policy.setup(REGRESSION)
    steps = np.stack([policy.weights(np.array([r, r])) for r in range(6000)])
    assert (steps >= 0).all() and (steps <= 1).all()
    assert 0.001 * steps.sum(0) == pytest.approx(np.array([[0.033, 0.5]] * 2), rel=tolerance + (shape == "fade") * 0.02)


def test_rations_are_refused_where_they_mean_nothing():
    with pytest.raises(ConfigError, match="one for each"):
        cs.Rationed(cs.FullBatch(), doses=[1.0]).setup(REGRESSION)
    with pytest.raises(ConfigError, match="regression"):
        cs.Rationed(cs.FullBatch()).setup(Spec(outputs=10))
    with pytest.raises(ConfigError, match="doses"):
        cs.Rationed(cs.FullBatch(), doses="guess")


def test_each_source_is_consolidated_to_its_own_dose():
    """Closed form: .992 and .382; to a common dose of 6, 2.00 and .385."""
    life = lived(cs.Rationed(cs.FullBatch(), doses=[0.0918, 4.876], rate=0.02))
    assert error(life, 0) == pytest.approx(0.992, abs=0.05) and error(life, 1) == pytest.approx(0.382, abs=0.05)
    assert error(life) == pytest.approx((error(life, 0) + error(life, 1)) / 2)
    assert float(cs.Regret().measure(life).detach().mean()) < 0.03
    common = lived(cs.FullBatch())
    wanted = [float(cs.theory.go_cls_generalise(6.0, snr, 1.0)) for snr in (0.1, 8.0)]
    assert error(common, 0) == pytest.approx(wanted[0], rel=0.1) and error(common, 1) == pytest.approx(
        wanted[1], rel=0.1
    )
    assert float(cs.Regret().measure(common).detach().mean()) > 0.5
    with pytest.raises(ConfigError, match="only 2 contexts"):
        cs.Generalisation(context=2).measure(life)


def test_the_store_tells_how_far_each_source_can_be_consolidated():
    policy = cs.Rationed(cs.FullBatch(), rate=0.02)
    life = lived(policy, nights=2)
    doses = np.stack([life.replay._doses[:, k] for k in range(2)])  # type: ignore[attr-defined]
    assert (doses[0] < doses[1]).all()
    assert np.median(doses[0]) < 0.4 and 2.5 < np.median(doses[1]) < 9.0
    assert float(cs.Regret().measure(life).detach().mean()) < 0.06


def test_a_source_of_which_nothing_is_stored_is_not_replayed():
    life = lived(cs.Rationed(cs.FullBatch(), rate=0.02), subjects=2, size=10, steps=3)
    assert (life.replay._doses > 0).all()  # type: ignore[attr-defined]
    empty = cs.Store(capacity=20)
    empty.setup(life.spec)
    batch = life.replay.draw(empty, life.neocortex, life.twin(hippocampus=empty).view, life.clock)
    assert (batch.weights() == 0).all()
