"""A life: its order, its independence of company, its resumption, its twins."""

from __future__ import annotations

import copy
from functools import cache

import numpy as np
import pytest
import torch
from faults import few_or_many
from lives import live, small

import cls_sim as cs
from cls_sim.running.runs import fingerprint

PROBES = {
    "accuracy": lambda: cs.Accuracy().at("life.begin", "day.end", "night.end", "context.end", "life.end"),
    "both": lambda: cs.Accuracy(readout=cs.MostConfident()).at("day.end"),
    "memory": lambda: cs.Accuracy(readout=cs.HippocampusReadout()).at("day.end"),
    "dependence": lambda: cs.Dependence().at("night.end"),
    "gap": lambda: cs.RehearsalGap().at("night.end"),
    "content": lambda: cs.NightContent(of="entropy").at("day.end", "night.end"),
    "dose": lambda: cs.Dose().at("night.end"),
}


def leaves(tree: dict, prefix: str = "") -> dict[str, np.ndarray]:
    flat: dict[str, np.ndarray] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            flat |= leaves(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = np.asarray(value.cpu() if isinstance(value, torch.Tensor) else value)
    return flat


def test_a_day_a_night_and_the_next_day():
    life = small(1)
    names = [moment.name for moment in life.live()]
    assert names[0] == "life.begin" and names[-1] == "life.end"
    assert names.count("day.end") == names.count("night.end") == 10
    assert names.count("context.end") == 5
    first = names.index("context.end")
    assert names[first - 1] == "night.end", "a context ends after the night that follows it"
    assert life.clock.experience.tolist() == [60] and life.clock.replay.tolist() == [50]
    assert life.clock.night.tolist() == [10]


def test_learning_needs_sleep_and_a_hippocampus():
    """Direction and size: sleep with memories learns ten digits, the sleepless only the last two."""
    world = {"per_context": 60, "batch": 10}
    schedule = {
        "plasticity": cs.WakeNight(wake_rate=0.0, night_rate=0.005),
        "rhythm": cs.Nights(experiences_per_day=15, steps_per_night=60),
    }
    asleep = live(
        small(3, world=cs.Digits(**world), hippocampus=cs.Store(capacity=60, eviction="balanced"), **schedule)
    )
    awake = live(
        small(
            3,
            world=cs.Digits(per_context=240, batch=10),
            hippocampus=cs.NoHippocampus(),
            plasticity=cs.WakeNight(wake_rate=0.001, night_rate=0.0),
            rhythm=cs.Sleepless(experiences_per_day=60),
        )
    )
    probe = cs.Accuracy()
    with torch.no_grad():
        rested, tired = probe.measure(asleep).mean(1), probe.measure(awake)
    assert (rested > 0.6).all()
    assert (tired.mean(1) < 0.35).all() and (tired[:, -1] > 0.8).all()


def test_alone_or_in_company_the_same_draws_and_nearly_the_same_weights():
    """Sixteen in one cohort against sixteen alone: draws and data bit for bit, weights within 1e-5 over 50 steps."""
    ticks = 50
    together = live(small(16, seed=40), ticks)
    for i in range(16):
        alone = live(small(1, seed=40 + i), ticks)
        a, b = leaves(alone.hippocampus.state()), leaves(together.hippocampus.state())
        for name, value in a.items():
            if np.issubdtype(value.dtype, np.integer) and value.ndim and len(value) == 1:
                assert (value[0] == b[name][i]).all(), name
        assert (alone.world.next(alone.clock).x[0] == together.world.next(together.clock).x[i]).all()
        drawn = [
            life.replay.draw(life.hippocampus, life.neocortex, life.view, life.clock) for life in (alone, together)
        ]
        assert (drawn[0].item[0] == drawn[1].item[i]).all()
        for name, weight in alone.neocortex.weights.items():
            torch.testing.assert_close(weight[0], together.neocortex.weights[name][i], rtol=1e-5, atol=1e-6)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("times", few_or_many(2, 4, 40))
def test_alone_or_in_company_with_odd_sizes_on_one_thread_and_on_two(times: int, figure):
    """Layers, batches and memories of any size, on one thread and on two: weights within 1e-5 over 50 steps."""
    chance, furthest = np.random.default_rng(times), 0.0
    for turn in range(times):
        hidden, batch, capacity, replayed = (int(chance.integers(1, most)) for most in (70, 20, 40, 30))

        def lived(subjects: int, first: int, size=(hidden, batch, capacity, replayed)) -> cs.Life:
            hidden, batch, capacity, replayed = size
            parts = {"world": cs.Digits(per_context=12, batch=batch), "hippocampus": cs.Sparse(capacity=capacity)}
            parts |= {"neocortex": cs.Mlp(hidden=[hidden]), "replay": cs.Uniform(batch=replayed)}
            return live(small(subjects, first, **parts), 50)

        torch.set_num_threads(1 + turn % 2)
        try:
            together = lived(3, 40)
            for i in range(3):
                for name, weight in lived(1, 40 + i).neocortex.weights.items():
                    mine, same = weight[0].detach(), together.neocortex.weights[name][i].detach()
                    furthest = max(furthest, float((mine - same).abs().max() / same.abs().max()))
        finally:
            torch.set_num_threads(1)
    assert furthest <= 1e-5
    figure(f"{times} odd sizes on 1 and 2 threads: weights apart by at most {furthest:.1e} of the largest")


def test_measuring_changes_nothing():
    probed = small(2, probes={name: make() for name, make in PROBES.items()})
    trace = cs.run(probed, progress=False)
    assert set(trace.names()) == set(PROBES)
    assert fingerprint(probed.state()) == whole()


@cache
def whole() -> str:
    """What a life of two comes to if nobody stops it."""
    return fingerprint(live(small(2)).state())


@pytest.mark.parametrize("tick", [0, 1, 5, 6, 8, 11, 12, 37, 70])
def test_stopped_at_any_tick_it_goes_on_bit_for_bit(tick: int):
    first = live(small(2), tick)
    saved = copy.deepcopy(first.state())
    second = small(2)
    second.load(saved)
    assert fingerprint(live(second).state()) == whole()


def test_a_twin_shares_the_past_and_nothing_else():
    life = live(small(2), 40)
    before = fingerprint(life.state())
    twin = life.twin()
    assert fingerprint(twin.state()) == before
    live(twin)
    assert fingerprint(life.state()) == before, "the twin's future is its own"
    assert fingerprint(live(life).state()) == fingerprint(twin.state())


def test_a_lesion_spares_what_sleep_has_taught_and_prevents_the_new():
    life = small(
        3,
        world=cs.Digits(per_context=60, batch=10),
        hippocampus=cs.Store(capacity=60, eviction="balanced"),
        plasticity=cs.WakeNight(wake_rate=0.0, night_rate=0.005),
        rhythm=cs.Nights(experiences_per_day=15, steps_per_night=60),
    )
    cs.run(life, days=12, progress=False)
    probe = cs.Accuracy()
    with torch.no_grad():
        before = probe.measure(life)
        after = probe.measure(life.twin(hippocampus=cs.Lesion))
    torch.testing.assert_close(before, after)
    assert (after[:, :3].mean(1) > 0.6).all() and (after[:, 3:] < 0.2).all()


def test_global_random_state_is_left_alone():
    torch.manual_seed(1)
    before, numpy_before = torch.get_rng_state().clone(), np.random.get_state()[1].copy()
    live(small(1), 30)
    assert (torch.get_rng_state() == before).all()
    assert (np.random.get_state()[1] == numpy_before).all()


def test_a_life_goes_on_where_it_was_broken_off():
    life = small(1, probes={"accuracy": cs.Accuracy().at("day.end")})
    trace = cs.run(life, days=3, progress=False)
    cs.run(life, days=2, trace=trace, progress=False)
    days, _ = trace.reading("accuracy")
    assert np.allclose(np.asarray(days).reshape(len(trace.rows), -1)[:, 0], [1, 2, 3, 4, 5])


def test_days_are_counted_from_now_and_end_with_the_world():
    """In 0.1 `days` was an age: a second run(days=1) returned at once, with one more row of life.end."""
    life = small(2, probes={"accuracy": cs.Accuracy().at("day.end", "life.end")})  # a world of ten days
    trace = cs.run(life, days=2, progress=False)
    cs.run(life, days=1, trace=trace, progress=False)
    assert (life.clock.day == 3).all() and not life.over
    assert trace.moments() == ["day.end"] * 3 + ["life.end"]
    assert list(life.live(days=1))[-1].name == "life.end" and (life.clock.day == 4).all()
    assert life.step() == [] and (life.clock.experience == 25).all(), "a step goes on where a run has stopped"
    with pytest.raises(cs.ConfigError, match=r"days: 7 is more than this world has left; give up to 5\.8"):
        cs.run(life, days=7, progress=False)
    cs.run(life, progress=False)
    for more in (life.step, lambda: list(life.live()), lambda: cs.run(life, progress=False)):
        with pytest.raises(cs.ConfigError, match="life: is over at 10 days"):
            more()


def test_a_twin_lives_as_many_days_more_as_it_is_given():
    life = small(1, probes={"accuracy": cs.Accuracy().at("life.end")})
    cs.run(life, days=3, progress=False)
    twin = life.twin(hippocampus=cs.Lesion)
    cs.run(twin, days=2, progress=False)
    assert (twin.clock.day == 5).all() and (life.clock.day == 3).all()


def test_bad_settings_name_their_key():
    with pytest.raises(cs.ConfigError, match="per_context"):
        cs.Digits(per_context=7, order="recurring")
    with pytest.raises(cs.ConfigError, match="plasticity"):
        small(3, plasticity=cs.Constant(rate=[0.1, 0.2]))
    with pytest.raises(cs.ConfigError, match="days: 99"):
        cs.run(small(1), days=99)


def test_the_notebook_page_of_the_design_runs_as_written():
    life = cs.Life(
        subjects=16,
        seed=0,
        world=cs.Teacher(items=100, snr=4.0),
        hippocampus=cs.Store(capacity=100),
        neocortex=cs.Linear(),
        replay=cs.Uniform(),
        plasticity=cs.Exponential(start=0.1, tau_days=8),
        rhythm=cs.Nights(experiences_per_day=4, steps_per_night=20),
        probes={"gist": cs.Generalisation().at("night.end")},
    )
    trace = cs.run(life, days=3, progress=False)
    assert [moment.name for moment in life.live(days=1)][-2:] == ["night.end", "life.end"]
    assert life.twin(hippocampus=cs.Lesion).hippocampus is not life.hippocampus
    assert trace.last("gist").shape == (16,)
    assert cs.figures.over_days(trace, "gist").axes


def test_the_budget_counts_what_was_there():
    """Sixteen rows a replay step and eight a day's experience; an empty memory replays nothing."""
    life = live(small(2))
    totals = life.ledger.totals()
    assert totals["lived"].tolist() == [480, 480]
    assert totals["wake_passes"].tolist() == [480, 480] and totals["night_passes"].tolist() == [800, 800]
    assert totals["passes"].tolist() == [1280, 1280]
    nobody = live(small(2, hippocampus=cs.NoHippocampus()))
    assert nobody.ledger.totals()["night_passes"].tolist() == [0, 0]
    wake = 60 * 0.002
    ages = np.repeat(np.arange(1, 11), 5)
    assert totals["dose"] == pytest.approx(wake + (0.01 * np.exp(-ages / 10)).sum())
