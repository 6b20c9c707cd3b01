"""What nights give to weak and to strong memories: by hand, and by the policy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_replay import VIEW
from torch import Tensor

import cls_sim as cs
from cls_sim.consolidation.base import Consolidation
from cls_sim.core.batch import Batch
from cls_sim.core.errors import ConfigError
from cls_sim.core.part import Spec
from cls_sim.probes.priority import correlation, strengths
from cls_sim.replay.base import Replay


def hebb() -> Consolidation:
    return cs.Descent(optimizer=cs.Sgd(), objective=cs.Hebb(), reduction="sum")


def studied(replay: Replay | None = None, *, night: int = 30, rule: Consolidation | None = None) -> cs.Life:
    """Four lists that were studied one to four times, at the end of the day: a subject's bit adds 0.05 each time."""
    life = cs.Life(
        world=cs.Associations(
            lists=4,
            items=5,
            features=200,
            active=0.1,
            visits=[0, 1, 1, 2, 2, 2, 3, 3, 3, 3],
            per_visit=1,
            boundaries_known=False,
        ),
        hippocampus=cs.Sparse(capacity=20, units=200, winners=10, eviction="ring"),
        neocortex=cs.Linear(),
        rhythm=cs.Nights(experiences_per_day=10, steps_per_night=night),
        plasticity=cs.WakeNight(wake_rate=0.1, night_rate=0.02),
        replay=replay or cs.Preferred(cs.Weakness(), batch=5),
        consolidation=rule or hebb(),
        subjects=12,
    )
    moments = life.live(days=1)
    while next(moments).name != "day.end":
        pass
    return life


def read(life: cs.Life, probe: cs.Probe) -> Tensor:
    with torch.no_grad():
        return probe.measure(life)


def test_strength_is_what_exposures_have_added():
    life = studied()
    stored = life.view.stored()
    assert bool(stored.present().all())  # one trace for each pair, however often it was met
    assert torch.allclose(strengths(life, stored), 2.0 * (stored.item // 5 + 1).double(), atol=1e-4)
    means = read(life, cs.SleepGain(of="strength", groups=4))
    assert torch.allclose(means, torch.tensor([2.0, 4, 6, 8], dtype=torch.float64).expand(12, -1), atol=1e-4)


def test_the_gain_is_the_dose_of_each_replay_and_comes_true():
    life = studied()
    before = strengths(life, life.view.stored())
    told, r = read(life, cs.SleepGain(of="gain", groups=20)), read(life, cs.SleepGain())
    assert life.clock.asleep.all() and torch.equal(before, strengths(life, life.view.stored()))  # it does not notice
    counts = (told / 0.4).round()
    assert torch.allclose(told, 0.4 * counts, atol=1e-4) and counts.sum(1).eq(150).all()
    while life.clock.asleep.all():
        life.step()
    gain = strengths(life, life.view.stored()) - before
    assert torch.allclose(correlation(before, gain, torch.ones_like(gain, dtype=torch.bool)), r)


def test_the_weak_gain_by_preference_or_by_their_error_but_not_by_uniform_replay():
    r = {
        "weak": studied(),
        "uniform": studied(cs.Uniform(batch=5)),
        "error": studied(cs.Uniform(batch=5), rule=cs.Descent(optimizer=cs.Sgd(), reduction="sum")),
    }
    mean = {name: float(read(life, cs.SleepGain()).mean()) for name, life in r.items()}
    assert mean["weak"] < -0.5 and mean["error"] < -0.3 and abs(mean["uniform"]) < 0.25


@pytest.mark.parametrize("power", [0.5, 1.0])
def test_priority_knows_the_chances_from_others(power: float):
    life = studied(cs.Preferred(cs.Weakness(), batch=20, power=power))
    right, wrong = (float(read(life, cs.Priority(power=p)).mean()) for p in (power, power + 0.5))
    assert abs(right - 1) < 0.35 < 2 < wrong


def test_a_sleepless_day_gains_nothing_that_can_be_told():
    life = studied(night=0)
    assert read(life, cs.SleepGain()).isnan().all() and not read(life, cs.SleepGain(of="strength")).isnan().any()


def test_both_are_refused_without_labels():
    for probe in (cs.SleepGain(), cs.Priority()):
        with pytest.raises(ConfigError, match="labels"):
            probe.setup(Spec(regression=True))


def test_a_hebbian_cortex_is_as_wrong_as_its_answers():
    spec = Spec(inputs=(2,), outputs=3)
    cortex, rule = cs.Linear(), hebb()
    rule.setup(cortex.setup(spec))
    batch = Batch.lived(torch.ones(1, 1, 2), torch.tensor([[1]]))
    assert torch.allclose(rule.loss(cortex, batch), torch.log(torch.tensor(3.0)))
    rule.step(cortex, batch, np.ones(1), VIEW)
    assert torch.allclose(cortex.weights["weight0"].detach(), torch.tensor([[[0.0, 0], [1, 1], [0, 0]]]))
    assert float(rule.loss(cortex, batch)) > 0
