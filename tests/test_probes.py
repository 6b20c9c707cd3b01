"""Probes: numbers by hand, undefined where they must be, and a life that does not notice being measured."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from lives import live, small
from torch import Tensor

import cls_sim as cs
from cls_sim.config import builder
from cls_sim.core.batch import Batch
from cls_sim.core.clock import Moment
from cls_sim.core.errors import ConfigError
from cls_sim.probes import accuracy, evaluations
from cls_sim.probes.base import MOMENTS
from cls_sim.probes.content import OF
from cls_sim.readout.base import Answer, Readout
from cls_sim.replay.base import Replay

TENANTS = [n for n, module in cs.VOCABULARY.items() if module.startswith("probes.") and n not in ("Probe", "at")]
CHOICES: dict[str, list[dict[str, Any]]] = {
    "Accuracy": [{}, {"readout": cs.MostConfident(threshold=0.5)}, {"readout": cs.HippocampusReadout()}],
    "Dependence": [{}, {"control": cs.MostConfident(threshold=0.5)}],
    "Generalisation": [{}],
    "Memorisation": [{}],
    "ConsolidationScore": [{"of": of} for of in ("memory", "generalisation")],
    "RepresentationalDrift": [{"of": of} for of in ("cka", "procrustes", "rsa")],
    "Dreams": [{"draws": 8}],
    "Imagery": [
        *({"of": of, "system": "hippocampus"} for of in ("restored", "spread", "strange", "kept")),
        {"of": "strange", "system": "hippocampus", "relative": True, "novel": cs.Digits(contexts=1)},
    ],
    "MemoryStrength": [{"of": of} for of in ("cortex", "both")],
    "RecalledShare": [{"of": of} for of in ("cortex", "both")],
    "Discriminability": [{"of": of} for of in ("cortex", "both")],
    "Predictability": [{"by": by} for by in ("likelihood", "validation", "speed")],
    "NightContent": [{"of": of} for of in ("entropy", "age_days", "old_share")],
    "Content": [{"of": of} for of in OF.split()],
    "Amnesia": [{"of": of} for of in ("control", "lesion", "retained", "rr")],
    "NoveltyGate": [{}, {"readout": cs.HippocampusReadout()}],
    "Savings": [{"passes": 3}],
    "PlasticityState": [
        {"of": of, "rows": 4} for of in ("rate", "fisher", "dormant", "rank", "norm", "size", "spread")
    ],
    "Interference": [{"of": of, "passes": 3} for of in ("retroactive", "proactive")],
}
EVERY = [(name, settings) for name in TENANTS for settings in CHOICES.get(name, [{}])]


def leaves(tree: dict, prefix: str = "") -> dict[str, bytes]:
    """A state tree as name → bytes."""
    flat: dict[str, bytes] = {}
    for name, value in tree.items():
        more = leaves(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: _bytes(value)}
        flat |= more
    return flat


def _bytes(value: Tensor | np.ndarray) -> bytes:
    return (value.cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)).tobytes()


def lessons(subjects: int = 2, **changes: Any) -> cs.Life:
    """A life with a linear teacher: regression."""
    parts: dict[str, Any] = {
        "world": cs.Teacher(items=20, features=10, snr=4.0, test=50),
        "hippocampus": cs.Store(capacity=20, eviction="ring"),
        "neocortex": cs.Linear(),
        "plasticity": cs.Constant(rate=0.05),
        "rhythm": cs.Nights(experiences_per_day=1, steps_per_night=3),
        "replay": cs.FullBatch(),
        "consolidation": cs.Descent(optimizer=cs.Sgd(), reduction="sum"),
    }
    life = small(subjects, **parts | changes)
    life.horizon = 5
    return life


def synapses(world: cs.World, subjects: int = 2, **changes: Any) -> cs.Life:
    """A life of memories in synapses."""
    hebb = cs.Descent(optimizer=cs.Sgd(), objective=cs.Hebb(), reduction="sum")
    parts: dict[str, Any] = {
        "world": world,
        "hippocampus": cs.NoHippocampus(),
        "neocortex": cs.Linear(init=0.1),
        "plasticity": cs.Constant(rate=1.0),
        "rhythm": cs.Sleepless(experiences_per_day=5),
        "consolidation": cs.BennaFusi(consolidation=hebb, variables=4),
    }
    life = small(subjects, **parts | changes)
    life.horizon = 20
    return life


def patterns(subjects: int = 2, **changes: Any) -> cs.Life:
    return synapses(cs.Patterns(synapses=30), subjects, **changes)


def cohorts(subjects: int = 2, **changes: Any) -> cs.Life:
    return synapses(cs.Cohorts(times=[0, [3, 7]], items=20), subjects, **changes)


def lures(subjects: int = 2, **changes: Any) -> cs.Life:
    """Cohorts of which one is never learned."""
    return synapses(cs.Cohorts(times=[0, [3, 7], []], items=20), subjects, **changes)


def things(subjects: int = 2, **changes: Any) -> cs.Life:
    """A life with Rumelhart & Todd's living things."""
    parts: dict[str, Any] = {
        "world": cs.Semantic(epochs_before=6, epochs_with=4),
        "hippocampus": cs.NoHippocampus(),
        "neocortex": cs.Relational(),
        "plasticity": cs.Constant(rate=0.1),
        "rhythm": cs.Sleepless(experiences_per_day=2),
        "consolidation": cs.Descent(optimizer=cs.Sgd(), reduction="sum"),
    }
    return small(subjects, **parts | changes)


def paths(subjects: int = 2, **changes: Any) -> cs.Life:
    """A life with two paths through the hippocampus."""
    return small(subjects, **{"hippocampus": cs.TwoPaths(cs.Sparse(capacity=20))} | changes)


def development(subjects: int = 2, **changes: Any) -> cs.Life:
    """A deep linear network that learns a tree."""
    parts: dict[str, Any] = {
        "world": cs.Hierarchy(levels=2),
        "hippocampus": cs.NoHippocampus(),
        "neocortex": cs.Mlp(hidden=[6], activation="linear", bias=False),
        "plasticity": cs.Constant(rate=0.1),
        "rhythm": cs.Sleepless(experiences_per_day=5),
        "consolidation": cs.Descent(optimizer=cs.Sgd()),
    }
    life = small(subjects, **parts | changes)
    life.horizon = 20
    return life


def cached(subjects: int = 2, **changes: Any) -> cs.Life:
    """Digits in a cortex whose changes stay labile until the night."""
    return small(subjects, **{"consolidation": cs.Caching()} | changes)


def indexed(subjects: int = 2, **changes: Any) -> cs.Life:
    """Digits with an index in cortical terms, renewed by night."""
    parts: dict[str, Any] = {
        "hippocampus": cs.Indexed(capacity=20),
        "neocortex": cs.Feedback(hidden=[8], latent=4, renew_every=100),
        "replay": cs.Reencoded(cs.Uniform(batch=4)),
    }
    return small(subjects, **parts | changes)


def dreaming(subjects: int = 2, **changes: Any) -> cs.Life:
    """Digits in an attractor that dreams."""
    path = cs.Trisynaptic(capacity=20, dentate=cs.KWinners(units=100), ca3=cs.Attractor())
    return small(subjects, **{"hippocampus": path} | changes)


def nightly(subjects: int = 2, **changes: Any) -> cs.Life:
    """Nights of stored and dreamt digits."""
    path = cs.Trisynaptic(capacity=20, dentate=cs.Index(units=400, activity=0.05), ca3=cs.Attractor())
    replay = cs.Mixed(cs.Uniform(batch=8), cs.Dreamed(batch=4))
    return small(subjects, **{"hippocampus": path, "replay": replay} | changes)


def running(subjects: int = 2, **changes: Any) -> cs.Life:
    """Runs to and fro on a short track, with replay at both ends."""
    parts: dict[str, Any] = {
        "world": cs.Maze(plan=("a..B", "####", "A..b"), episodes=8, explored=False),
        "neocortex": cs.Linear(),
        "hippocampus": cs.CognitiveMap(capacity=8),
        "rhythm": cs.Pauses(experiences_per_day=20, steps=4),
        "plasticity": cs.Constant(rate=1.0),
        "replay": cs.Ordered(cs.GainNeed(longest=6), cells=3),
        "consolidation": cs.Descent(optimizer=cs.Sgd(), objective=cs.TemporalDifference(), reduction="sum"),
        "readout": cs.Softmax(),
    }
    life = small(subjects, **parts | changes)
    life.horizon = 60
    return life


def studied(subjects: int = 2, **changes: Any) -> cs.Life:
    """Two lists with the same cues, and lures, in a hippocampus that learns in phases of theta."""
    lists: dict[str, Any] = {"lists": 3, "foils": 1, "items": 3, "features": 16, "place": 8, "visits": [0, 1]}
    parts: dict[str, Any] = {
        "world": cs.Associations(**lists, same_cues=True, per_visit=6, batch=1),
        "hippocampus": cs.Theta(units=[60, 40, 40], winners=[3, 5, 6], target=12),
        "rhythm": cs.Sleepless(experiences_per_day=6),
    }
    return small(subjects, **parts | changes)


def conceived(subjects: int = 2, **changes: Any) -> cs.Life:
    """Examples of concepts, in two codes."""
    parts: dict[str, Any] = {
        "world": cs.Concepts(concepts=3, examples=4, features=60, batch=3),
        "hippocampus": cs.TwoCodes(capacity=12, dentate=cs.KWinners(units=60, activity=0.1)),
        "rhythm": cs.Sleepless(experiences_per_day=2),
    }
    return small(subjects, **parts | changes)


def cascaded(subjects: int = 2, **changes: Any) -> cs.Life:
    """Sequences that are replayed as cascades of retrievals."""
    parts: dict[str, Any] = {
        "world": cs.Sequences(sequences=2, items=4, runs=4),
        "hippocampus": cs.TemporalContext(capacity=8, tired=0.0),
        "rhythm": cs.Nights(experiences_per_day=4, steps_per_night=4),
        "replay": cs.Events(cs.Dreamed(batch=1), cells=3, longest=4),
    }
    return small(subjects, **parts | changes)


def eventful(subjects: int = 2, **changes: Any) -> cs.Life:
    """Runs whose steps are replayed in order."""
    memory = cs.Follows(cs.Store(capacity=20, eviction="ring"), steps=True)
    world = cs.Maze(plan=("a...B", "#####", "A...b"), episodes=8, explored=False, features=60)
    replay = cs.Events(cs.Unfolded(), cells=3, longest=4)
    return running(subjects, **{"hippocampus": memory, "world": world, "replay": replay, "plasticity": 0.01} | changes)


def followed(subjects: int = 2, **changes: Any) -> cs.Life:
    """Digits in a memory of order."""
    return small(subjects, **{"hippocampus": cs.Follows(cs.Store(capacity=20, eviction="ring"))} | changes)


def gated(subjects: int = 2, **changes: Any) -> cs.Life:
    """Bursts of a pattern, of which the cortex learns what the hippocampus recalls."""
    parts: dict[str, Any] = {
        "world": cs.Bursts(features=40, rate=0.2, experiences=60),
        "neocortex": cs.Linear(),
        "hippocampus": cs.FastWeights(),
        "rhythm": cs.Sleepless(experiences_per_day=20),
        "plasticity": cs.Constant(rate=1.0),
        "consolidation": cs.RecallGated(cs.Descent(optimizer=cs.Sgd(), objective=cs.Hebb()), threshold=0.5),
    }
    return small(subjects, **parts | changes)


def questions(subjects: int = 2, **changes: Any) -> cs.Life:
    """Queries in words, some of which belong to no context."""
    from tests.test_texts import world

    return small(subjects, **{"world": world(), "hippocampus": cs.Store(capacity=20)} | changes)


KINDS: dict[str, Any] = {
    "AbsoluteError": lessons,
    "TriageRates": questions,
    "OutOfScope": questions,
    "Dreams": dreaming,
    "Capacity": dreaming,
    "Energy": cached,
    **dict.fromkeys(("ReplayOrder", "EpisodeSteps"), running),
    "SequenceLength": followed,
    "ReplayEvents": eventful,
    **dict.fromkeys(("CuedRecall", "LayerOverlap"), studied),
    "ConceptOverlap": conceived,
    **dict.fromkeys(("ReplayedItems", "SequenceStrength"), cascaded),
    **dict.fromkeys(("Selectivity", "GateShare"), gated),
    "Content": nightly,
    "Recollection": lessons,
    "IndexValidity": indexed,
    "RepresentationalDrift": indexed,
    "SingularModes": development,
    "Differentiation": development,
    "Generalisation": lessons,
    "Memorisation": lessons,
    "ConsolidationScore": lessons,
    "BayesExcess": lessons,
    "Regret": lessons,
    "Predictability": lessons,
    "MemorySignal": patterns,
    "MemoryStrength": cohorts,
    "DoubleDissociation": paths,
    **dict.fromkeys(("Belief", "Distance", "Distinctions", "Residual", "SchemaConsistency"), things),
    "RecalledShare": cohorts,
    "DetailsAndGist": cohorts,
    "Discriminability": lures,
}


def of_kind(name: str, subjects: int = 2, **changes: Any) -> cs.Life:
    return KINDS.get(name, small)(subjects, **changes)


def read(probe: cs.Probe, life: cs.Life) -> Tensor:
    with torch.no_grad():
        return probe.measure(life)


def show(life: cs.Life, ticks: int) -> cs.Life:
    """So many experiences into memory, and nothing else."""
    for _ in range(ticks):
        life.hippocampus.encode(life.world.next(life.clock), life.view, life.clock)
        life.clock.advance(np.ones(life.spec.subjects, bool), np.zeros(life.spec.subjects, bool))
    return life


# -- the contract, for every option ---------------------------------------------------------------------------


IN_DIGITS = (small, paths, indexed, dreaming, nightly, cached, followed)


@cache
def shared(kind: Any, ticks: int) -> cs.Life:
    """A life of three subjects in its middle, for probes that only look."""
    return live(kind(3), ticks)


@cache
def shown(kind: Any, subjects: int, seed: int) -> cs.Life:
    """Subjects who only remember, for probes that only look."""
    return show(kind(subjects, seed=seed), 7 if kind in (lessons, things) else 30)


def brief(kind: Any) -> cs.Life:
    """A life to be lived to its end: in digits, five contexts in three days, of which some end together with a day."""
    return kind(2, world=cs.Digits(per_context=3, batch=8)) if kind in IN_DIGITS else kind(2)


@cache
def unmeasured(kind: Any) -> dict[str, bytes]:
    """The state at the end of a life in which nothing was measured."""
    return leaves(live(brief(kind)).state())


@pytest.mark.parametrize(("name", "settings"), EVERY, ids=str)
def test_a_number_a_subject_or_one_a_context(name: str, settings: dict):
    life = shared(KINDS.get(name, small), 40)
    numbers = read(getattr(cs, name)(**settings), life)
    assert numbers.is_floating_point() and not numbers.requires_grad
    own = hasattr(getattr(cs, name), "axis")  # a profile over an axis of the probe's own
    assert tuple(numbers.shape) in ((3,), (3, life.spec.contexts)) or (own and len(numbers) == 3)


@pytest.mark.parametrize("name", TENANTS)
def test_measuring_never_changes_the_measured(name: str):
    """At every tick of a life, awake or asleep, whatever the settings: state as before, and the same future."""
    kind = KINDS.get(name, small)
    probes, life = [getattr(cs, name)(**settings) for settings in CHOICES.get(name, [{}])], brief(kind)
    while not life.over:
        before = leaves(life.state())
        with evaluations.sharing(life):  # as the probes of a moment do
            for probe in probes:
                read(probe, life)
                assert leaves(life.state()) == before, probe
        life.step()
    assert leaves(life.state()) == unmeasured(kind)
    assert all(probe.state() == {} for probe in probes), "a probe keeps no state"


@pytest.mark.parametrize(("name", "settings"), EVERY, ids=str)
def test_company_does_not_matter(name: str, settings: dict):
    """Measured on memories and first weights, which are the same alone and in company."""
    probe, kind = getattr(cs, name)(**settings), KINDS.get(name, small)
    company = read(probe, shown(kind, 3, 5))
    for i in range(3):
        alone = read(probe, shown(kind, 1, 5 + i))
        k = alone[0].numel()  # who is alone may have met fewer contexts, never more
        torch.testing.assert_close(
            alone[0], company[i].reshape(-1)[:k].reshape(alone[0].shape), equal_nan=True, rtol=1e-5, atol=1e-6
        )


# -- moments --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TENANTS)
def test_the_caller_attaches_the_moments(name: str):
    """The class has moments of its own; `at` gives a copy that is attached to others, and keeps the settings."""
    probe = getattr(cs, name)()
    assert probe.moments == type(probe).moments and set(probe.moments) <= set(MOMENTS)
    attached = probe.at("day.end", "life.end")
    assert type(attached) is type(probe) and attached.moments == ("day.end", "life.end")
    assert probe.moments == type(probe).moments, "the first is as it was"
    assert {k: v for k, v in vars(attached).items() if k != "moments"} == vars(probe)
    with pytest.raises(ConfigError, match=rf"^at: .* write {name}\(…\)\.at\(…\)$"):
        getattr(cs, name)(at="day.end")


def test_what_is_no_moment_is_refused():
    with pytest.raises(ConfigError, match=r"^at: 'day.ends' is none of .*; did you mean day.end\?$"):
        cs.Accuracy().at("day.ends")
    with pytest.raises(ConfigError, match=r"^at: \['day.end'\] is none of"):
        cs.Accuracy().at(["day.end"])  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"^at: has no moment"):
        cs.Accuracy().at()
    with pytest.raises(ConfigError, match=r"^at: 'dawn' is none of"):
        type("Mine", (cs.Accuracy,), {"moments": ("dawn",)})
    assert type("Mine", (cs.Accuracy,), {"moments": "day.end"}).moments == ("day.end",)


def test_a_plain_function_is_attached_like_a_probe():
    def day(life: cs.Life) -> np.ndarray:
        return life.clock.day

    life = small(2, probes={"plain": day, "often": cs.at(day, "day.end"), "probe": cs.at(cs.Dose(), "life.begin")})
    everybody = np.ones(2, bool)
    read_at = {name: set(life.measure(Moment(name, everybody))) for name in MOMENTS}
    assert read_at == {
        "life.begin": {"probe"},
        "day.end": {"often"},
        "night.end": {"plain"},
        "context.end": set(),
        "life.end": {"plain"},
    }
    assert life.measure(Moment("day.end", everybody))["often"].tolist() == life.clock.day.tolist()
    for wrong in (3, cs.Accuracy):
        with pytest.raises(ConfigError, match=r"^probes.mine: .* Probe; "):
            small(2, probes={"mine": wrong})  # type: ignore[dict-item]


def test_in_yaml_the_moments_stand_beside_the_class():
    """The builder takes `at` out, so that a probe's settings are those of its constructor."""
    made = builder.make("probes.a", {"_target_": "cls_sim.Accuracy", "at": ["day.end", "life.end"]}, kind="Probe")
    assert made.moments == ("day.end", "life.end")
    assert builder.make("probes.a", {"_target_": "cls_sim.Dose", "at": "day.end"}, kind="Probe").moments == ("day.end",)
    assert builder.make("probes.a", {"_target_": "cls_sim.Dose"}, kind="Probe").moments == ("context.end", "life.end")
    for wrong in ("days.end", ["day.end", 1], None, []):
        with pytest.raises(ConfigError, match=r"^probes.a.at: "):
            builder.make("probes.a", {"_target_": "cls_sim.Dose", "at": wrong}, kind="Probe")
    with pytest.raises(ConfigError, match=r"^probes.a.att: is not a setting of Dose; did you mean at\?$"):
        builder.make("probes.a", {"_target_": "cls_sim.Dose", "att": "day.end"}, kind="Probe")
    with pytest.raises(ConfigError, match=r"^rhythm.at: is not a setting of Nights"):
        builder.make("rhythm", {"_target_": "cls_sim.Nights", "at": "day.end"})


# -- sharing --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", dict.fromkeys(KINDS.get(name, small) for name, _ in EVERY), ids=lambda it: it.__name__)
def test_what_is_shared_reads_the_same(kind: Any):
    """In a moment with all probes of its kind, in both orders and once more after all of them, each reads bit for bit
    what it reads alone.
    """
    life = live(kind(2), 40)
    named = [(name, settings) for name, settings in EVERY if KINDS.get(name, small) is kind]
    alone = [_bytes(read(getattr(cs, name)(**settings), life)) for name, settings in named]
    for order in (1, -1):
        life.probes = {
            f"{turn}-{i}": getattr(cs, name)(**settings).at("day.end")
            for turn in ("first", "again")
            for i, (name, settings) in list(enumerate(named))[::order]
        }
        found = life.measure(Moment("day.end", np.ones(2, bool)))
        assert found.keys() == life.probes.keys()
        for key, value in found.items():
            turn, _, i = key.partition("-")
            assert _bytes(value) == alone[int(i)], (named[int(i)], turn, order)
    assert not evaluations._OPEN, "nothing is kept after the moment"


def test_each_evaluation_is_answered_once_a_moment(monkeypatch: pytest.MonkeyPatch):
    """Five probes of two systems: in version 0.1 the cortex answered each exam five times, and it was made seven
    times."""
    life = live(small(2), 40)
    life.probes = {
        "accuracy": cs.Accuracy(),
        "cortex": cs.Accuracy(readout=cs.CortexReadout()),
        "hippocampus": cs.Accuracy(readout=cs.HippocampusReadout()),
        "both": cs.Accuracy(readout=cs.MostConfident()),
        "dependence": cs.Dependence(control=cs.MostConfident()),
        "amnesia": cs.Amnesia(),
        "novelty": cs.NoveltyGate(readout=cs.LogitSum()),
        "routed": cs.HippocampalShare(readout=cs.HippocampusReadout()),
    }
    life.probes = {name: cs.at(probe, "day.end") for name, probe in life.probes.items()}
    count: dict[str, int] = {}

    def counted(own: Any, name: str) -> Any:
        def counting(*args: Any) -> Any:
            count[name] = count.get(name, 0) + 1
            return own(*args)

        return counting

    for part, name in ((life.world, "evaluation"), (life.neocortex, "scores"), (life.hippocampus, "recall")):
        monkeypatch.setattr(part, name, counted(getattr(part, name), name))
    for moments in (1, 2):
        life.measure(Moment("day.end", np.ones(2, bool)))
        assert count == dict.fromkeys(("evaluation", "scores", "recall"), 5 * moments), (
            "five contexts, and nothing is kept"
        )
    monkeypatch.setattr(evaluations, "BYTES", 0)  # a memory that has room for nothing
    before = {name: read(probe, life) for name, probe in life.probes.items()}
    for name, numbers in life.measure(Moment("day.end", np.ones(2, bool))).items():
        assert _bytes(numbers) == _bytes(before[name]), name


def test_the_coming_night_is_lived_ahead_once_a_moment(monkeypatch: pytest.MonkeyPatch):
    """All readings of its content look at one twin, all gains at another; when the moment is over neither is kept."""
    life = live(nightly(2), 6)
    life.probes = {of: cs.Content(of=of) for of in OF.split()}
    life.probes |= {of: cs.SleepGain(of=of) for of in ("correlation", "gain", "strength")}
    twins: list[cs.Life] = []
    make = cs.Life.twin
    monkeypatch.setattr(cs.Life, "twin", lambda self, **changes: twins.append(make(self, **changes)) or twins[-1])
    life.measure(Moment("day.end", np.ones(2, bool)))
    assert len(twins) == 2
    life.measure(Moment("day.end", np.ones(2, bool)))
    assert len(twins) == 4


def test_what_is_shared_is_of_one_tick():
    """A life that goes on inside `sharing` is asked again."""
    life, alone = live(small(2), 40), live(small(2), 66)
    with evaluations.sharing(life):
        read(cs.Accuracy(), life)
        assert torch.equal(read(cs.Accuracy(), live(life, 66)), read(cs.Accuracy(), alone))


def test_a_moment_ends_when_a_probe_fails():
    life = small(2, probes={"bad": cs.at(lambda life: life.nothing, "day.end")})
    with pytest.raises(AttributeError):
        life.measure(Moment("day.end", np.ones(2, bool)))
    assert not evaluations._OPEN


def test_a_readout_of_ones_own_may_ask_the_systems_anything():
    """It gets the systems of the life in all but name; what it asks beside the question is answered anew."""
    seen: list[Any] = []

    class Curious(Readout):
        def answer(self, x, context, hippocampus, neocortex) -> Answer:
            seen.append((isinstance(hippocampus, cs.Hippocampus), isinstance(neocortex, cs.Neocortex)))
            twice = neocortex.scores(x, context) + neocortex.scores(0 * x, context, neocortex.weights)
            return Answer(twice, hippocampus.recall(0 * x).slot, hippocampus.traces().strength)

    life = live(small(2), 40)
    life.probes = {"own": cs.Accuracy(readout=Curious()).at("day.end"), "cortex": cs.Accuracy().at("day.end")}
    found = life.measure(Moment("day.end", np.ones(2, bool)))
    assert set(seen) == {(True, True)}
    assert torch.equal(found["own"], read(cs.Accuracy(readout=Curious()), life))


# -- accuracy -------------------------------------------------------------------------------------------------


def tokens(classes: int = 6, **changes: Any) -> cs.Life:
    """A world of one-hot inputs, each its own class, for a cortex without hidden layer."""
    y = np.tile(np.arange(classes), 20)
    x = np.eye(classes, dtype=np.float32)[y]
    settings: dict[str, Any] = {"contexts": classes // 2, "per_context": 5, "batch": 4}
    world = cs.Arrays(x=x, y=y, x_test=x, y_test=y, **settings | changes.pop("world", {}))
    parts: dict[str, Any] = {"neocortex": cs.Linear(), "hippocampus": cs.Store(capacity=30)}
    return small(2, world=world, **parts | changes)


def knows(life: cs.Life, table: np.ndarray) -> None:
    """Set every cortex' weights to this table input → score."""
    life.neocortex.weights["weight0"] = torch.from_numpy(table.T).float().repeat(life.spec.subjects, 1, 1)


def test_right_wrong_and_half_right():
    life = tokens()
    knows(life, np.eye(6))
    assert read(cs.Accuracy(), life).tolist() == [[1.0] * 3] * 2
    knows(life, np.roll(np.eye(6), 1, axis=1))
    assert read(cs.Accuracy(), life).tolist() == [[0.0] * 3] * 2
    knows(life, np.eye(6)[[0, 0, 2, 3, 5, 4]])
    assert read(cs.Accuracy(), life).tolist() == [[0.5, 1.0, 0.0]] * 2


def test_accuracy_is_the_share_of_right_answers_counted_one_by_one():
    life = live(small(2), 40)
    measured = read(cs.Accuracy(), life)
    for k in range(5):
        exam = life.world.evaluation(k)
        for i in range(2):
            right = [
                int(life.neocortex.scores(exam.x[:, j : j + 1])[i, 0].argmax() == exam.y[i, j])
                for j in range(exam.rows)
                if exam.weights()[i, j] > 0
            ]
            assert measured[i, k].item() == pytest.approx(np.mean(right))


def test_the_size_of_the_pieces_does_not_matter(monkeypatch: pytest.MonkeyPatch):
    life = live(small(2), 40)
    probes = [cs.Accuracy(), cs.Accuracy(readout=cs.HippocampusReadout()), cs.RehearsalGap()]
    whole = [read(probe, life) for probe in probes]
    monkeypatch.setattr(evaluations, "BUDGET", 5000)
    for probe, expected in zip(probes, whole, strict=True):
        torch.testing.assert_close(read(probe, life), expected, equal_nan=True)


def test_questions_that_are_not_there_do_not_count(monkeypatch: pytest.MonkeyPatch):
    life = tokens()
    knows(life, np.eye(6)[[0, 0, 2, 3, 4, 5]])
    exam = life.world.evaluation

    def shortened(context: int) -> Batch:
        batch = exam(context)
        weight = torch.ones(batch.x.shape[:2])
        weight[0] = (batch.y[0] != 1).float() if context == 0 else 1.0
        weight[1] = 0.0 if context == 2 else 1.0
        return batch.with_(weight=weight)

    monkeypatch.setattr(life.world, "evaluation", shortened)
    measured = read(cs.Accuracy(), life)
    assert measured[0].tolist() == [1.0, 1.0, 1.0]
    assert measured[1, :2].tolist() == [0.5, 1.0] and measured[1, 2].isnan()


def test_a_readout_of_its_own():
    """The memory answers what it has seen; a cortex that knows nothing does not."""
    life = show(tokens(), 5)
    assert read(cs.Accuracy(readout=cs.HippocampusReadout()), life)[:, 0].tolist() == [1.0, 1.0]
    assert read(cs.Accuracy(readout=cs.CortexReadout()), life).mean() == pytest.approx(1 / 6), "the first class always"
    assert (read(cs.Accuracy(), life) == read(cs.Accuracy(readout=cs.CortexReadout()), life)).all(), "the life's own"
    with pytest.raises(ConfigError, match=r"^readout: .* is not a Readout"):
        cs.Accuracy(readout="cortex")  # type: ignore[arg-type]


@pytest.mark.parametrize("scenario", ["task", "class"])
def test_told_contexts_are_told_to_whoever_answers(scenario: str):
    asked: list[Tensor | None] = []

    class Eavesdropper(Readout):
        def answer(self, x, context, hippocampus, neocortex) -> Answer:
            asked.append(context)
            return Answer(neocortex.scores(x, context), torch.empty(0), torch.empty(0))

    life = small(20, world=cs.Digits(per_context=12, batch=8, scenario=scenario))
    guessed = read(cs.Accuracy(readout=Eavesdropper()), life).mean().item()
    assert asked and all((context is not None) == (scenario == "task") for context in asked)
    assert guessed == pytest.approx(0.5 if scenario == "task" else 0.1, abs=0.08), "one of two, or one of ten"


def test_in_regression_it_is_the_explained_variance():
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((300, 4)), rng.standard_normal((4, 2))
    y = x @ w + 0.5 * rng.standard_normal((300, 2)) + [1.0, -2.0]
    life = small(
        2,
        world=cs.Arrays(x=x, y=y, x_test=x[:50], y_test=y[:50], contexts=1, batch=4),
        neocortex=cs.Linear(bias=True),
        hippocampus=cs.Store(capacity=9, eviction="ring"),
    )
    life.neocortex.weights["weight0"] = torch.from_numpy(w.T).float().repeat(2, 1, 1)
    life.neocortex.weights["bias0"] = torch.tensor([[[0.5], [-2.0]], [[1.0], [-2.0]]])
    measured = read(cs.Accuracy(), life)[:, 0].tolist()
    for i, bias in enumerate(([0.5, -2.0], [1.0, -2.0])):
        rest, spread = y[:50] - x[:50] @ w - bias, y[:50] - y[:50].mean(0)
        assert measured[i] == pytest.approx(1 - (rest**2).sum() / (spread**2).sum(), rel=1e-5)
    life.neocortex.weights["weight0"] *= 0
    life.neocortex.weights["bias0"] = torch.from_numpy(y[:50].mean(0)[:, None]).float().repeat(2, 1, 1)
    assert read(cs.Accuracy(), life) == pytest.approx(np.zeros((2, 1)), abs=1e-5), "the mean explains nothing"


def test_answers_that_do_not_vary_have_no_explained_variance():
    y = torch.ones(1, 3, 1)
    assert evaluations.grade(torch.zeros(1, 3, 1), y, torch.ones(1, 3), regression=True).isnan().all()


# -- dependence on the hippocampus ----------------------------------------------------------------------------


def test_all_hippocampal_then_all_cortical():
    life = tokens()
    probe = cs.Dependence(control=cs.HippocampusReadout())
    assert read(probe, life).isnan().all(), "nothing lived yet"
    show(life, 5)
    knows(life, np.full((6, 6), 1.0) + np.eye(6)[[2] * 6])  # always the third class: chance over the six
    first = read(probe, life)
    assert first == pytest.approx([1.2, 1.2]), "below chance (0 right of context 0): more than all of it is lost"
    knows(life, np.eye(6))
    assert read(probe, life).tolist() == [0.0, 0.0]
    knows(life, np.eye(6)[[0, 0, 2, 3, 4, 5]])
    halfway = 1 - (0.5 - 1 / 6) / (1 - 1 / 6)
    assert read(probe, life) == pytest.approx([halfway] * 2)


def test_only_contexts_lived_so_far_count():
    life = tokens()
    knows(life, np.eye(6)[[0, 1, 3, 2, 4, 5]])  # wrong on context 1 alone
    probe = cs.Dependence(control=cs.HippocampusReadout())
    assert read(probe, show(life, 5)).tolist() == [0.0, 0.0]
    assert (read(probe, show(life, 5)) > 0.4).all()


@pytest.mark.parametrize("order", ["sharp", "recurring", "iid"])
def test_lived_contexts(order: str):
    life = small(2, world=cs.Digits(per_context=12, batch=32, order=order))
    for experience in (0, 1, 6, 12, 13, 60):
        life.clock.experience[:] = [experience, 0]
        met = {
            "sharp": -(-experience // 12),
            "recurring": min(5, -(-experience // 6)),
            "iid": 5 if experience else 0,
        }[order]
        lived = accuracy.lived_contexts(life)
        assert lived.tolist() == [[k < met for k in range(5)], [False] * 5], experience


@pytest.mark.parametrize("order", ["sharp", "fuzzy", "recurring", "cumulative", "iid"])
def test_a_context_is_met_with_the_first_of_its_rows(order: str):
    """In 0.1 one batch a stretch was looked at: of iid rows one by one, whose contexts are all met soon, two of
    four."""
    world = cs.Arrays(x=np.arange(80.0)[:, None], y=np.arange(80) % 8, contexts=4, order=order, per_context=20, batch=1)
    life, met = small(2, world=world, hippocampus=cs.NoHippocampus()), np.zeros((2, 4), bool)
    for experience in range(80):
        assert np.array_equal(accuracy.lived_contexts(life).numpy(), met), experience
        context = world.next(life.clock).context[:, 0].numpy()
        met[[0, 1], context] = True
        life.clock.experience += 1
    assert met.all()
    life.clock.experience[:] = [80, 1]
    assert accuracy.lived_contexts(life).sum(1).tolist() == [4, 1], "each subject at its own time"


def test_rows_that_are_not_there_are_not_met():
    world = cs.Tree()
    life = small(
        1, world=world, hippocampus=cs.NoHippocampus(), rhythm=cs.Sleepless(experiences_per_day=1), replay=cs.Uniform()
    )
    life.clock.experience[:] = 1
    assert accuracy.lived_contexts(life).tolist() == [[True, False]]


def test_where_the_context_is_told_chance_is_that_of_its_head():
    grades = torch.tensor([[0.5, 0.75, 1.0, 0.5, 0.5]])
    task = small(1, world=cs.Digits(per_context=12, batch=8, scenario="task"))
    assert evaluations.above_chance(task, grades).tolist() == [[0.0, 0.5, 1.0, 0.0, 0.0]]
    together = evaluations.above_chance(small(1), torch.full((1, 5), 0.55, dtype=torch.float64))
    assert together == pytest.approx(np.full((1, 5), 0.5))
    assert evaluations.above_chance(lessons(1), torch.tensor([[0.3]])).tolist() == [[pytest.approx(0.3)]]


def test_without_a_hippocampus_there_is_nothing_to_lose():
    life = live(small(2, hippocampus=cs.NoHippocampus(), plasticity=cs.Constant(rate=0.01)), 66)
    measured = read(cs.Dependence(control=cs.MostConfident()), life)
    assert (measured == 0).all()


# -- overfitting to what is rehearsed -------------------------------------------------------------------------


def test_learning_noise_by_heart_is_a_gap_and_knowing_the_rule_is_none():
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((400, 40)).astype(np.float32), np.tile([0, 1], 200)
    life = small(
        2,
        world=cs.Arrays(x=x, y=y, contexts=1, per_context=10, batch=6, label_noise=0.0),
        neocortex=cs.Linear(),
        hippocampus=cs.Store(capacity=30, eviction="ring"),
    )
    assert read(cs.RehearsalGap(), life).isnan().all(), "nothing is stored"
    show(life, 5)
    traces = life.hippocampus.traces()
    stored = life.hippocampus.fetch(torch.arange(30).expand(2, -1)).x
    answers = torch.nn.functional.one_hot(traces.y.long(), 2).float()
    life.neocortex.weights["weight0"] = (torch.linalg.pinv(stored) @ answers).mT  # 30 episodes, 40 inputs: all by heart
    gap = read(cs.RehearsalGap(), life)
    unseen = read(cs.Accuracy(), life)[:, 0]
    assert gap == pytest.approx(1 - unseen.numpy()) and (gap > 0.2).all()
    oracle = show(tokens(), 15)
    knows(oracle, np.eye(6))
    assert read(cs.RehearsalGap(), oracle).tolist() == [0.0, 0.0]


def test_contexts_with_memories_count_alike_and_others_not_at_all():
    """Right on stored and wrong on asked items of context 0; the few memories of context 1 weigh as much."""
    life = show(tokens(hippocampus=cs.Store(capacity=24, eviction="ring")), 6)
    stored = life.hippocampus.traces()
    counts = [(stored.context[0] == k).sum().item() for k in range(3)]
    assert counts == [20, 4, 0]
    knows(life, np.eye(6))
    life.world.evaluation = lambda k: _asked(life, k)  # type: ignore[method-assign]
    assert read(cs.RehearsalGap(), life) == pytest.approx([0.5, 0.5])


def _asked(life: cs.Life, context: int) -> Batch:
    """An exam of context 0 that calls everything wrong; context 1 right; context 2 not counted."""
    x = torch.eye(6).repeat(2, 1, 1)
    y = torch.arange(6).repeat(2, 1)
    return Batch.lived(x, (y + 1) % 6 if context == 0 else y, context=torch.full_like(y, context))


def test_no_hippocampus_no_gap():
    assert read(cs.RehearsalGap(), live(small(2, hippocampus=cs.NoHippocampus()), 20)).isnan().all()


# -- error and dose -------------------------------------------------------------------------------------------


def test_errors_by_hand():
    life = live(lessons(3), 9)
    w = life.neocortex.weights["weight0"].detach().mT
    for of, batch in (("evaluation", life.world.evaluation(0)), ("train", life.world.train())):
        by_hand = ((batch.x @ w - batch.y) ** 2).mean((1, 2))
        torch.testing.assert_close(
            read((cs.Generalisation if of == "evaluation" else cs.Memorisation)(), life).float(), by_hand
        )
    fresh = lessons(3)
    assert read(cs.Memorisation(), fresh).numpy() == pytest.approx(
        fresh.world.train().y.square().mean((1, 2)).numpy(), rel=1e-5
    )


def test_consolidation_lowers_the_training_error_more_than_the_other():
    life = lessons(20, world=cs.Teacher(items=20, features=20, snr=0.5, test=200), plasticity=cs.Constant(rate=0.1))
    life.horizon = 40
    before = [
        read((cs.Generalisation if of == "evaluation" else cs.Memorisation)(), life).mean()
        for of in ("train", "evaluation")
    ]
    live(life)
    after = [
        read((cs.Generalisation if of == "evaluation" else cs.Memorisation)(), life).mean()
        for of in ("train", "evaluation")
    ]
    assert after[0] < 0.5 * before[0] and after[1] > after[0] + 0.3


def test_an_error_needs_numbers():
    with pytest.raises(ConfigError, match="this world has labels"):
        read(cs.Generalisation(), small(1))


def test_the_dose_is_the_sum_of_the_rates():
    life = lessons(
        2, plasticity=cs.WakeNight(wake_rate=[0.0, 0.01], night_rate=cs.Exponential(start=0.05, tau_days=2.0))
    )
    live(life)
    nights = sum(3 * 0.05 * np.exp(-day / 2) for day in range(1, 6))
    assert read(cs.Dose(), life) == pytest.approx([nights, nights + 5 * 0.01])
    measured = read(cs.Dose(), life)
    measured += 1
    assert read(cs.Dose(), life) == pytest.approx([nights, nights + 0.05]), "a copy, not the ledger's own"


# -- the content of nights ------------------------------------------------------------------------------------


class Obsession(Replay):
    """The same trace in every row of every step."""

    def draw(self, hippocampus, neocortex, view, clock) -> Batch:
        return hippocampus.fetch(torch.full((view.neocortex.weights["weight0"].shape[0], 8), 3))


def contents(life: cs.Life, of: str, **settings: Any) -> list[float]:
    return read(cs.NightContent(of=of, **settings), life).tolist()


def test_evenness_of_a_night():
    life = show(small(2, hippocampus=cs.Store(capacity=40)), 30)
    assert min(contents(life, "entropy")) > 0.97
    assert contents(show(small(2, replay=cs.FullBatch()), 30), "entropy") == [1.0, 1.0]
    assert contents(show(small(2, replay=Obsession()), 30), "entropy") == [0.0, 0.0]
    recent = show(small(2, hippocampus=cs.Store(capacity=40), replay=cs.Recent(half_life_days=0.2)), 30)
    assert max(contents(recent, "entropy")) < 0.9


def test_evenness_by_hand():
    from cls_sim.probes.night import evenness

    names = torch.tensor([[0, 0, 0, 0, 7, 7, 7, 7], [1, 1, 1, 2, 9, 9, 9, 9]])
    there = torch.ones(2, 8, dtype=torch.bool)
    there[1, 4:] = False
    episodes = torch.tensor([8, 4])
    by_hand = [(np.log(2) + 1 / 16) / np.log(8), (0.75 * np.log(4 / 3) + 0.25 * np.log(4) + 1 / 8) / np.log(4)]
    assert evenness(names, there, episodes) == pytest.approx(by_hand)
    assert evenness(names, there, torch.tensor([1, 0])).isnan().all(), "one episode has no entropy"
    assert evenness(names, there & False, episodes).isnan().all()


def test_the_age_of_what_is_replayed():
    """Uniform replay is as old as memory is; recency-weighted replay is younger."""
    life = show(small(2, hippocampus=cs.Store(capacity=40)), 60)
    traces = life.hippocampus.traces()
    mean = ((60 - traces.born.double()) / 6).mean(1)
    assert contents(life, "age_days", draws=100) == pytest.approx(mean.tolist(), rel=0.05)
    everything = show(small(2, hippocampus=cs.Store(capacity=40), replay=cs.FullBatch()), 60)
    assert contents(everything, "age_days", draws=1) == pytest.approx(mean.tolist())
    recent = show(small(2, hippocampus=cs.Store(capacity=40), replay=cs.Recent()), 60)
    assert max(contents(recent, "age_days")) < 0.6 * mean.min()


def test_the_share_of_old_contexts():
    life = show(small(2, hippocampus=cs.Store(capacity=40), replay=cs.FullBatch()), 30)
    context = life.hippocampus.traces().context
    expected = (context != 2).double().mean(1).tolist()
    assert contents(life, "old_share", draws=1) == pytest.approx(expected)
    assert contents(show(small(2), 12), "old_share") == [0.0, 0.0], "there is one context so far"
    split = show(small(2, hippocampus=cs.Store(capacity=40), replay=cs.OldNew(batch=16, old=0.75)), 30)
    assert contents(split, "old_share") == [0.75, 0.75], "old by day, and here the day began with the context"


def test_a_night_without_memories_has_no_content():
    for life in (small(2), live(small(2, hippocampus=cs.NoHippocampus()), 30)):
        for of in ("entropy", "age_days", "old_share"):
            assert np.isnan(contents(life, of)).all()
    with pytest.raises(ConfigError, match=r"^of: "):
        cs.NightContent(of="dreams")
    with pytest.raises(ConfigError, match=r"^draws: "):
        cs.NightContent(draws=0)


def test_a_night_is_foreseen():
    """What is sampled at bedtime is what is then replayed."""
    life = live(small(2, hippocampus=cs.Store(capacity=40)), 66 - 5)  # the sixth day is over
    assert life.clock.asleep.all()
    foreseen = contents(life, "age_days", draws=5)
    ages = []
    while life.clock.asleep.all():
        batch = life.replay.draw(life.hippocampus, life.neocortex, life.view, life.clock)
        ages.append((torch.from_numpy(life.clock.experience)[:, None] - batch.born) / life.clock.per_day)
        life.step()
    assert foreseen == pytest.approx(torch.cat(ages, 1).double().mean(1).tolist())


# -- a real data set ------------------------------------------------------------------------------------------


def test_large_exams(data_dir):
    """Ten thousand images in five exams for two subjects, as one would count them in one piece."""
    life = small(2, world=cs.Mnist(per_context=2, batch=8), hippocampus=cs.NoHippocampus())
    measured = read(cs.Accuracy(), life)
    total = 0
    for k in range(5):
        exam = life.world.evaluation(k)
        with torch.no_grad():
            right = (life.neocortex.scores(exam.x).argmax(-1) == exam.y).double().mean(1)
        torch.testing.assert_close(measured[:, k], right)
        total += exam.rows
    assert total == 10_000


def test_extra_bytes_are_the_memories_and_what_a_cortex_keeps_beside_a_plain_one():
    plain, store = cs.Mlp(hidden=[6]), cs.Store(capacity=7)
    life = small(2, neocortex=plain, hippocampus=store)
    assert read(cs.ExtraBytes(hidden=[6]), life).tolist() == store.stored_bytes().tolist()
    averaged = small(2, neocortex=cs.Averaged(cs.Mlp(hidden=[6])), hippocampus=cs.Store(capacity=7))
    own = 4 * sum(int(np.prod(shape[1:])) for shape in life.spec.weights.values())
    assert (read(cs.ExtraBytes(hidden=[6]), averaged) - store.stored_bytes()).tolist() == [2 * own] * 2
    assert (read(cs.ExtraBytes(hidden=[400, 400]), life) == store.stored_bytes()).all()  # less than plain is not paid
