"""Probes: numbers by hand, undefined where they must be, and a life that does not notice being measured."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from lives import live, small
from torch import Tensor

import cls_sim as cls
from cls_sim.config import builder
from cls_sim.core.batch import Batch
from cls_sim.core.clock import Moment
from cls_sim.core.errors import Refused
from cls_sim.probes import accuracy, evaluations
from cls_sim.probes.base import MOMENTS
from cls_sim.probes.content import OF
from cls_sim.readout.base import Answer, Readout
from cls_sim.replay.base import Replay

TENANTS = [n for n, module in cls.VOCABULARY.items() if module.startswith("probes.") and n not in ("Probe", "at")]
CHOICES: dict[str, list[dict[str, Any]]] = {
    "Accuracy": [{}, {"readout": cls.Both(threshold=0.5)}, {"readout": cls.Memory()}],
    "Dependence": [{}, {"control": cls.Both(threshold=0.5)}],
    "Generalisation": [{}],
    "Memorisation": [{}],
    "Score": [{"of": of} for of in ("memory", "generalisation")],
    "RepresentationalDrift": [{"of": of} for of in ("cka", "procrustes", "rsa")],
    "Dreams": [{"draws": 8}],
    "Imagery": [
        *({"of": of, "system": "hippocampus"} for of in ("restored", "spread", "strange", "kept")),
        {"of": "strange", "system": "hippocampus", "relative": True, "novel": cls.Digits(contexts=1)},
    ],
    "Strength": [{"of": of} for of in ("cortex", "both")],
    "Recalled": [{"of": of} for of in ("cortex", "both")],
    "Discriminability": [{"of": of} for of in ("cortex", "both")],
    "Predictability": [{"by": by} for by in ("likelihood", "validation", "speed")],
    "NightContent": [{"of": of} for of in ("entropy", "age_days", "old_share")],
    "Content": [{"of": of} for of in OF.split()],
    "Amnesia": [{"of": of} for of in ("control", "lesion", "retained", "rr")],
    "NoveltyGate": [{}, {"readout": cls.Memory()}],
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


def lessons(subjects: int = 2, **changes: Any) -> cls.Life:
    """A life with a linear teacher: regression."""
    parts: dict[str, Any] = {
        "world": cls.Teacher(items=20, features=10, snr=4.0, test=50),
        "hippocampus": cls.Store(capacity=20, keep="ring"),
        "neocortex": cls.Linear(),
        "plasticity": cls.Constant(rate=0.05),
        "rhythm": cls.Nights(wake=1, night=3),
        "replay": cls.Everything(),
        "consolidation": cls.Descent(rule=cls.Sgd(), reduction="sum"),
    }
    life = small(subjects, **parts | changes)
    life.horizon = 5
    return life


def synapses(world: cls.World, subjects: int = 2, **changes: Any) -> cls.Life:
    """A life of memories in synapses."""
    hebb = cls.Descent(rule=cls.Sgd(), objective=cls.Hebb(), reduction="sum")
    parts: dict[str, Any] = {
        "world": world,
        "hippocampus": cls.NoHippocampus(),
        "neocortex": cls.Linear(init=0.1),
        "plasticity": cls.Constant(rate=1.0),
        "rhythm": cls.Sleepless(wake=5),
        "consolidation": cls.BennaFusi(rule=hebb, variables=4),
    }
    life = small(subjects, **parts | changes)
    life.horizon = 20
    return life


def patterns(subjects: int = 2, **changes: Any) -> cls.Life:
    return synapses(cls.Patterns(synapses=30), subjects, **changes)


def cohorts(subjects: int = 2, **changes: Any) -> cls.Life:
    return synapses(cls.Cohorts(times=[0, [3, 7]], items=20), subjects, **changes)


def lures(subjects: int = 2, **changes: Any) -> cls.Life:
    """Cohorts of which one is never learned."""
    return synapses(cls.Cohorts(times=[0, [3, 7], []], items=20), subjects, **changes)


def things(subjects: int = 2, **changes: Any) -> cls.Life:
    """A life with Rumelhart & Todd's living things."""
    parts: dict[str, Any] = {
        "world": cls.Semantic(first=6, then=4),
        "hippocampus": cls.NoHippocampus(),
        "neocortex": cls.Relational(),
        "plasticity": cls.Constant(rate=0.1),
        "rhythm": cls.Sleepless(wake=2),
        "consolidation": cls.Descent(rule=cls.Sgd(), reduction="sum"),
    }
    return small(subjects, **parts | changes)


def paths(subjects: int = 2, **changes: Any) -> cls.Life:
    """A life with two paths through the hippocampus."""
    return small(subjects, **{"hippocampus": cls.TwoPaths(cls.Sparse(capacity=20))} | changes)


def development(subjects: int = 2, **changes: Any) -> cls.Life:
    """A deep linear network that learns a tree."""
    parts: dict[str, Any] = {
        "world": cls.Hierarchy(levels=2),
        "hippocampus": cls.NoHippocampus(),
        "neocortex": cls.Mlp(hidden=[6], activation="linear", bias=False),
        "plasticity": cls.Constant(rate=0.1),
        "rhythm": cls.Sleepless(wake=5),
        "consolidation": cls.Descent(rule=cls.Sgd()),
    }
    life = small(subjects, **parts | changes)
    life.horizon = 20
    return life


def indexed(subjects: int = 2, **changes: Any) -> cls.Life:
    """Digits with an index in cortical terms, kept valid by night."""
    parts: dict[str, Any] = {
        "hippocampus": cls.Indexed(cls.Store(capacity=20)),
        "replay": cls.Settled(cls.Uniform(batch=4)),
    }
    return small(subjects, **parts | changes)


def dreaming(subjects: int = 2, **changes: Any) -> cls.Life:
    """Digits in an attractor that dreams."""
    path = cls.Trisynaptic(capacity=20, dentate=cls.Winners(units=100), ca3=cls.Attractor())
    return small(subjects, **{"hippocampus": path} | changes)


def nightly(subjects: int = 2, **changes: Any) -> cls.Life:
    """Nights of stored and dreamt digits."""
    path = cls.Trisynaptic(capacity=20, dentate=cls.Index(units=400, activity=0.05), ca3=cls.Attractor())
    replay = cls.Mixed(cls.Uniform(batch=8), cls.Dreamed(batch=4))
    return small(subjects, **{"hippocampus": path, "replay": replay} | changes)


def questions(subjects: int = 2, **changes: Any) -> cls.Life:
    """Queries in words, some of which belong to no context."""
    from tests.test_texts import world

    return small(subjects, **{"world": world(), "hippocampus": cls.Store(capacity=20)} | changes)


KINDS: dict[str, Any] = {
    "AbsoluteError": lessons,
    "Desk": questions,
    "OutOfScope": questions,
    "Dreams": dreaming,
    "Content": nightly,
    "Recollection": lessons,
    "IndexValidity": indexed,
    "RepresentationalDrift": indexed,
    "Modes": development,
    "Differentiation": development,
    "Generalisation": lessons,
    "Memorisation": lessons,
    "Score": lessons,
    "BayesExcess": lessons,
    "Regret": lessons,
    "Predictability": lessons,
    "MemorySignal": patterns,
    "Strength": cohorts,
    "DoubleDissociation": paths,
    **dict.fromkeys(("Belief", "Distance", "Distinctions", "Residual", "SchemaConsistency"), things),
    "Recalled": cohorts,
    "Discriminability": lures,
}


def of_kind(name: str, subjects: int = 2, **changes: Any) -> cls.Life:
    return KINDS.get(name, small)(subjects, **changes)


def read(probe: cls.Probe, life: cls.Life) -> Tensor:
    with torch.no_grad():
        return probe.measure(life)


def show(life: cls.Life, ticks: int) -> cls.Life:
    """So many experiences into memory, and nothing else."""
    for _ in range(ticks):
        life.hippocampus.encode(life.world.next(life.clock), life.view, life.clock)
        life.clock.advance(np.ones(life.spec.subjects, bool), np.zeros(life.spec.subjects, bool))
    return life


# -- the contract, for every tenant ---------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "settings"), EVERY, ids=str)
def test_a_number_a_subject_or_one_a_context(name: str, settings: dict):
    life = live(of_kind(name, 3), 40)
    numbers = read(getattr(cls, name)(**settings), life)
    assert numbers.is_floating_point() and not numbers.requires_grad
    own = hasattr(getattr(cls, name), "axis")  # a profile over an axis of the probe's own
    assert tuple(numbers.shape) in ((3,), (3, life.spec.contexts)) or (own and len(numbers) == 3)


@pytest.mark.parametrize(("name", "settings"), EVERY, ids=str)
def test_measuring_never_changes_the_measured(name: str, settings: dict):
    """At every tick of a life, awake or asleep: state as before, and the same future."""
    probe, probed, plain = getattr(cls, name)(**settings), of_kind(name), of_kind(name)
    while not plain.over:
        before = leaves(probed.state())
        read(probe, probed)
        assert leaves(probed.state()) == before
        plain.step()
        probed.step()
    assert leaves(probed.state()) == leaves(plain.state())
    assert probe.state() == {}, "a probe keeps no state"


@pytest.mark.parametrize(("name", "settings"), EVERY, ids=str)
def test_company_does_not_matter(name: str, settings: dict):
    """Measured on memories and first weights, which are the same alone and in company."""
    ticks = 7 if KINDS.get(name) in (lessons, things) else 30
    probe, together = getattr(cls, name)(**settings), show(of_kind(name, 3, seed=5), ticks)
    company = read(probe, together)
    for i in range(3):
        alone = read(probe, show(of_kind(name, 1, seed=5 + i), ticks))
        k = alone[0].numel()  # who is alone may have met fewer contexts, never more
        torch.testing.assert_close(
            alone[0], company[i].reshape(-1)[:k].reshape(alone[0].shape), equal_nan=True, rtol=1e-5, atol=1e-6
        )


# -- moments --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TENANTS)
def test_the_caller_attaches_the_moments(name: str):
    """The class has moments of its own; `at` gives a copy that is attached to others, and keeps the settings."""
    probe = getattr(cls, name)()
    assert probe.moments == type(probe).moments and set(probe.moments) <= set(MOMENTS)
    attached = probe.at("day.end", "life.end")
    assert type(attached) is type(probe) and attached.moments == ("day.end", "life.end")
    assert probe.moments == type(probe).moments, "the first is as it was"
    assert {k: v for k, v in vars(attached).items() if k != "moments"} == vars(probe)
    with pytest.raises(TypeError, match=r"'at'|takes no arguments"):
        getattr(cls, name)(at="day.end")


def test_what_is_no_moment_is_refused():
    with pytest.raises(Refused, match=r"^at: 'day.ends' is none of .*; did you mean day.end\?$"):
        cls.Accuracy().at("day.ends")
    with pytest.raises(Refused, match=r"^at: \['day.end'\] is none of"):
        cls.Accuracy().at(["day.end"])  # type: ignore[arg-type]
    with pytest.raises(Refused, match=r"^at: names no moment"):
        cls.Accuracy().at()
    with pytest.raises(Refused, match=r"^at: 'dawn' is none of"):
        type("Mine", (cls.Accuracy,), {"moments": ("dawn",)})
    assert type("Mine", (cls.Accuracy,), {"moments": "day.end"}).moments == ("day.end",)


def test_a_plain_function_is_attached_like_a_probe():
    def day(life: cls.Life) -> np.ndarray:
        return life.clock.day

    life = small(2, probes={"plain": day, "often": cls.at(day, "day.end"), "probe": cls.at(cls.Dose(), "life.begin")})
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
    for wrong in (3, cls.Accuracy):
        with pytest.raises(Refused, match=r"^probes.mine.probe: .* is no probe"):
            small(2, probes={"mine": wrong})  # type: ignore[dict-item]


def test_in_yaml_the_moments_stand_beside_the_class():
    """The builder takes `at` out, so that a probe's settings are those of its constructor."""
    made = builder.make("probes.a", {"_target_": "cls_sim.Accuracy", "at": ["day.end", "life.end"]}, kind="Probe")
    assert made.moments == ("day.end", "life.end")
    assert builder.make("probes.a", {"_target_": "cls_sim.Dose", "at": "day.end"}, kind="Probe").moments == ("day.end",)
    assert builder.make("probes.a", {"_target_": "cls_sim.Dose"}, kind="Probe").moments == ("context.end", "life.end")
    for wrong in ("days.end", ["day.end", 1], None, []):
        with pytest.raises(Refused, match=r"^probes.a.at: "):
            builder.make("probes.a", {"_target_": "cls_sim.Dose", "at": wrong}, kind="Probe")
    with pytest.raises(Refused, match=r"^probes.a.att: is no setting of Dose; did you mean at\?$"):
        builder.make("probes.a", {"_target_": "cls_sim.Dose", "att": "day.end"}, kind="Probe")
    with pytest.raises(Refused, match=r"^rhythm.at: is no setting of Nights"):
        builder.make("rhythm", {"_target_": "cls_sim.Nights", "at": "day.end"})


# -- sharing --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "settings"), EVERY, ids=str)
def test_what_is_shared_reads_the_same(name: str, settings: dict):
    """In a moment with all probes of its kind, in both orders, each reads bit for bit what it reads alone."""
    life = live(of_kind(name), 40)
    alone = read(getattr(cls, name)(**settings), life)
    others = {
        f"{n}{i}": getattr(cls, n)(**s).at("day.end")
        for i, (n, s) in enumerate(EVERY)
        if KINDS.get(n) is KINDS.get(name)
    }
    for probes in (others, dict(reversed(others.items()))):
        life.probes = {**probes, "last": getattr(cls, name)(**settings).at("day.end")}
        assert _bytes(life.measure(Moment("day.end", np.ones(2, bool)))["last"]) == _bytes(alone)
    assert not evaluations._OPEN, "nothing is kept after the moment"


def test_each_evaluation_is_answered_once_a_moment(monkeypatch: pytest.MonkeyPatch):
    """Five probes of two systems: in version 0.1 the cortex answered each exam five times, and it was made seven times."""
    life = live(small(2), 40)
    life.probes = {
        "accuracy": cls.Accuracy(),
        "cortex": cls.Accuracy(readout=cls.Cortex()),
        "hippocampus": cls.Accuracy(readout=cls.Memory()),
        "both": cls.Accuracy(readout=cls.Both()),
        "dependence": cls.Dependence(control=cls.Both()),
        "amnesia": cls.Amnesia(),
        "novelty": cls.NoveltyGate(readout=cls.Summed()),
        "routed": cls.Routed(readout=cls.Memory()),
    }
    life.probes = {name: cls.at(probe, "day.end") for name, probe in life.probes.items()}
    count: dict[str, int] = {}

    def counted(own: Any, name: str) -> Any:
        def counting(*args: Any) -> Any:
            count[name] = count.get(name, 0) + 1
            return own(*args)

        return counting

    for part, name in ((life.world, "exam"), (life.neocortex, "scores"), (life.hippocampus, "recall")):
        monkeypatch.setattr(part, name, counted(getattr(part, name), name))
    for moments in (1, 2):
        life.measure(Moment("day.end", np.ones(2, bool)))
        assert count == dict.fromkeys(("exam", "scores", "recall"), 5 * moments), "five contexts, and nothing is kept"
    monkeypatch.setattr(evaluations, "BYTES", 0)  # a memory that has room for nothing
    before = {name: read(probe, life) for name, probe in life.probes.items()}
    for name, numbers in life.measure(Moment("day.end", np.ones(2, bool))).items():
        assert _bytes(numbers) == _bytes(before[name]), name


def test_the_coming_night_is_lived_ahead_once_a_moment(monkeypatch: pytest.MonkeyPatch):
    """All readings of its content look at one twin, all gains at another; when the moment is over neither is kept."""
    life = live(nightly(2), 6)
    life.probes = {of: cls.Content(of=of) for of in OF.split()}
    life.probes |= {of: cls.SleepGain(of=of) for of in ("correlation", "gain", "strength")}
    twins: list[cls.Life] = []
    make = cls.Life.twin
    monkeypatch.setattr(cls.Life, "twin", lambda self, **changes: twins.append(make(self, **changes)) or twins[-1])
    life.measure(Moment("day.end", np.ones(2, bool)))
    assert len(twins) == 2
    life.measure(Moment("day.end", np.ones(2, bool)))
    assert len(twins) == 4


def test_what_is_shared_is_of_one_tick():
    """A life that goes on inside `sharing` is asked again."""
    life, alone = live(small(2), 40), live(small(2), 66)
    with evaluations.sharing(life):
        read(cls.Accuracy(), life)
        assert torch.equal(read(cls.Accuracy(), live(life, 66)), read(cls.Accuracy(), alone))


def test_a_moment_ends_when_a_probe_fails():
    life = small(2, probes={"bad": cls.at(lambda life: life.nothing, "day.end")})
    with pytest.raises(AttributeError):
        life.measure(Moment("day.end", np.ones(2, bool)))
    assert not evaluations._OPEN


def test_a_readout_of_ones_own_may_ask_the_systems_anything():
    """It gets the systems of the life in all but name; what it asks beside the question is answered anew."""
    seen: list[Any] = []

    class Curious(Readout):
        def answer(self, x, context, hippocampus, neocortex) -> Answer:
            seen.append((isinstance(hippocampus, cls.Hippocampus), isinstance(neocortex, cls.Neocortex)))
            twice = neocortex.scores(x, context) + neocortex.scores(0 * x, context, neocortex.weights)
            return Answer(twice, hippocampus.recall(0 * x).slot, hippocampus.traces().strength)

    life = live(small(2), 40)
    life.probes = {"own": cls.Accuracy(readout=Curious()).at("day.end"), "cortex": cls.Accuracy().at("day.end")}
    found = life.measure(Moment("day.end", np.ones(2, bool)))
    assert set(seen) == {(True, True)}
    assert torch.equal(found["own"], read(cls.Accuracy(readout=Curious()), life))


# -- accuracy -------------------------------------------------------------------------------------------------


def tokens(classes: int = 6, **changes: Any) -> cls.Life:
    """A world of one-hot inputs, each its own class, for a cortex without hidden layer."""
    y = np.tile(np.arange(classes), 20)
    x = np.eye(classes, dtype=np.float32)[y]
    settings: dict[str, Any] = {"contexts": classes // 2, "per_context": 5, "batch": 4}
    world = cls.Arrays(x=x, y=y, x_test=x, y_test=y, **settings | changes.pop("world", {}))
    parts: dict[str, Any] = {"neocortex": cls.Linear(), "hippocampus": cls.Store(capacity=30)}
    return small(2, world=world, **parts | changes)


def knows(life: cls.Life, table: np.ndarray) -> None:
    """Set every cortex' weights to this table input → score."""
    life.neocortex.weights["weight0"] = torch.from_numpy(table.T).float().repeat(life.spec.subjects, 1, 1)


def test_right_wrong_and_half_right():
    life = tokens()
    knows(life, np.eye(6))
    assert read(cls.Accuracy(), life).tolist() == [[1.0] * 3] * 2
    knows(life, np.roll(np.eye(6), 1, axis=1))
    assert read(cls.Accuracy(), life).tolist() == [[0.0] * 3] * 2
    knows(life, np.eye(6)[[0, 0, 2, 3, 5, 4]])
    assert read(cls.Accuracy(), life).tolist() == [[0.5, 1.0, 0.0]] * 2


def test_accuracy_is_the_share_of_right_answers_counted_one_by_one():
    life = live(small(2), 40)
    measured = read(cls.Accuracy(), life)
    for k in range(5):
        exam = life.world.exam(k)
        for i in range(2):
            right = [
                int(life.neocortex.scores(exam.x[:, j : j + 1])[i, 0].argmax() == exam.y[i, j])
                for j in range(exam.rows)
                if exam.weights()[i, j] > 0
            ]
            assert measured[i, k].item() == pytest.approx(np.mean(right))


def test_the_size_of_the_pieces_does_not_matter(monkeypatch: pytest.MonkeyPatch):
    life = live(small(2), 40)
    probes = [cls.Accuracy(), cls.Accuracy(readout=cls.Memory()), cls.RehearsalGap()]
    whole = [read(probe, life) for probe in probes]
    monkeypatch.setattr(evaluations, "BUDGET", 5000)
    for probe, expected in zip(probes, whole, strict=True):
        torch.testing.assert_close(read(probe, life), expected, equal_nan=True)


def test_questions_that_are_not_there_do_not_count(monkeypatch: pytest.MonkeyPatch):
    life = tokens()
    knows(life, np.eye(6)[[0, 0, 2, 3, 4, 5]])
    exam = life.world.exam

    def shortened(context: int) -> Batch:
        batch = exam(context)
        weight = torch.ones(batch.x.shape[:2])
        weight[0] = (batch.y[0] != 1).float() if context == 0 else 1.0
        weight[1] = 0.0 if context == 2 else 1.0
        return batch.with_(weight=weight)

    monkeypatch.setattr(life.world, "exam", shortened)
    measured = read(cls.Accuracy(), life)
    assert measured[0].tolist() == [1.0, 1.0, 1.0]
    assert measured[1, :2].tolist() == [0.5, 1.0] and measured[1, 2].isnan()


def test_a_readout_of_its_own():
    """The memory answers what it has seen; a cortex that knows nothing does not."""
    life = show(tokens(), 5)
    assert read(cls.Accuracy(readout=cls.Memory()), life)[:, 0].tolist() == [1.0, 1.0]
    assert read(cls.Accuracy(readout=cls.Cortex()), life).mean() == pytest.approx(1 / 6), "the first class always"
    assert (read(cls.Accuracy(), life) == read(cls.Accuracy(readout=cls.Cortex()), life)).all(), "the life's own"
    with pytest.raises(Refused, match=r"^readout: .* is no readout"):
        cls.Accuracy(readout="cortex")  # type: ignore[arg-type]


@pytest.mark.parametrize("scenario", ["task", "class"])
def test_told_contexts_are_told_to_whoever_answers(scenario: str):
    asked: list[Tensor | None] = []

    class Eavesdropper(Readout):
        def answer(self, x, context, hippocampus, neocortex) -> Answer:
            asked.append(context)
            return Answer(neocortex.scores(x, context), torch.empty(0), torch.empty(0))

    life = small(20, world=cls.Digits(per_context=12, batch=8, scenario=scenario))
    guessed = read(cls.Accuracy(readout=Eavesdropper()), life).mean().item()
    assert asked and all((context is not None) == (scenario == "task") for context in asked)
    assert guessed == pytest.approx(0.5 if scenario == "task" else 0.1, abs=0.08), "one of two, or one of ten"


def test_in_regression_it_is_the_explained_variance():
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((300, 4)), rng.standard_normal((4, 2))
    y = x @ w + 0.5 * rng.standard_normal((300, 2)) + [1.0, -2.0]
    life = small(
        2,
        world=cls.Arrays(x=x, y=y, x_test=x[:50], y_test=y[:50], contexts=1, batch=4),
        neocortex=cls.Linear(bias=True),
        hippocampus=cls.Store(capacity=9, keep="ring"),
    )
    life.neocortex.weights["weight0"] = torch.from_numpy(w.T).float().repeat(2, 1, 1)
    life.neocortex.weights["bias0"] = torch.tensor([[[0.5], [-2.0]], [[1.0], [-2.0]]])
    measured = read(cls.Accuracy(), life)[:, 0].tolist()
    for i, bias in enumerate(([0.5, -2.0], [1.0, -2.0])):
        rest, spread = y[:50] - x[:50] @ w - bias, y[:50] - y[:50].mean(0)
        assert measured[i] == pytest.approx(1 - (rest**2).sum() / (spread**2).sum(), rel=1e-5)
    life.neocortex.weights["weight0"] *= 0
    life.neocortex.weights["bias0"] = torch.from_numpy(y[:50].mean(0)[:, None]).float().repeat(2, 1, 1)
    assert read(cls.Accuracy(), life) == pytest.approx(np.zeros((2, 1)), abs=1e-5), "the mean explains nothing"


def test_answers_that_do_not_vary_have_no_explained_variance():
    y = torch.ones(1, 3, 1)
    assert evaluations.grade(torch.zeros(1, 3, 1), y, torch.ones(1, 3), regression=True).isnan().all()


# -- dependence on the hippocampus ----------------------------------------------------------------------------


def test_all_hippocampal_then_all_cortical():
    life = tokens()
    probe = cls.Dependence(control=cls.Memory())
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
    probe = cls.Dependence(control=cls.Memory())
    assert read(probe, show(life, 5)).tolist() == [0.0, 0.0]
    assert (read(probe, show(life, 5)) > 0.4).all()


@pytest.mark.parametrize("order", ["sharp", "recurring", "iid"])
def test_lived_contexts(order: str):
    life = small(2, world=cls.Digits(per_context=12, batch=32, order=order))
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
    """In 0.1 one batch a stretch was looked at: of iid rows one by one, whose contexts are all met soon, two of four."""
    world = cls.Arrays(
        x=np.arange(80.0)[:, None], y=np.arange(80) % 8, contexts=4, order=order, per_context=20, batch=1
    )
    life, met = small(2, world=world, hippocampus=cls.NoHippocampus()), np.zeros((2, 4), bool)
    for experience in range(80):
        assert np.array_equal(accuracy.lived_contexts(life).numpy(), met), experience
        context = world.next(life.clock).context[:, 0].numpy()
        met[[0, 1], context] = True
        life.clock.experience += 1
    assert met.all()
    life.clock.experience[:] = [80, 1]
    assert accuracy.lived_contexts(life).sum(1).tolist() == [4, 1], "each subject at its own time"


def test_rows_that_are_not_there_are_not_met():
    world = cls.Tree()
    life = small(1, world=world, hippocampus=cls.NoHippocampus(), rhythm=cls.Sleepless(wake=1), replay=cls.Uniform())
    life.clock.experience[:] = 1
    assert accuracy.lived_contexts(life).tolist() == [[True, False]]


def test_where_the_context_is_told_chance_is_that_of_its_head():
    grades = torch.tensor([[0.5, 0.75, 1.0, 0.5, 0.5]])
    task = small(1, world=cls.Digits(per_context=12, batch=8, scenario="task"))
    assert evaluations.above_chance(task, grades).tolist() == [[0.0, 0.5, 1.0, 0.0, 0.0]]
    together = evaluations.above_chance(small(1), torch.full((1, 5), 0.55, dtype=torch.float64))
    assert together == pytest.approx(np.full((1, 5), 0.5))
    assert evaluations.above_chance(lessons(1), torch.tensor([[0.3]])).tolist() == [[pytest.approx(0.3)]]


def test_without_a_hippocampus_there_is_nothing_to_lose():
    life = live(small(2, hippocampus=cls.NoHippocampus(), plasticity=cls.Constant(rate=0.01)), 66)
    measured = read(cls.Dependence(control=cls.Both()), life)
    assert (measured == 0).all()


# -- overfitting to what is rehearsed -------------------------------------------------------------------------


def test_learning_noise_by_heart_is_a_gap_and_knowing_the_rule_is_none():
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((400, 40)).astype(np.float32), np.tile([0, 1], 200)
    life = small(
        2,
        world=cls.Arrays(x=x, y=y, contexts=1, per_context=10, batch=6, label_noise=0.0),
        neocortex=cls.Linear(),
        hippocampus=cls.Store(capacity=30, keep="ring"),
    )
    assert read(cls.RehearsalGap(), life).isnan().all(), "nothing is stored"
    show(life, 5)
    traces = life.hippocampus.traces()
    stored = life.hippocampus.fetch(torch.arange(30).expand(2, -1)).x
    answers = torch.nn.functional.one_hot(traces.y.long(), 2).float()
    life.neocortex.weights["weight0"] = (torch.linalg.pinv(stored) @ answers).mT  # 30 episodes, 40 inputs: all by heart
    gap = read(cls.RehearsalGap(), life)
    unseen = read(cls.Accuracy(), life)[:, 0]
    assert gap == pytest.approx(1 - unseen.numpy()) and (gap > 0.2).all()
    oracle = show(tokens(), 15)
    knows(oracle, np.eye(6))
    assert read(cls.RehearsalGap(), oracle).tolist() == [0.0, 0.0]


def test_contexts_with_memories_count_alike_and_others_not_at_all():
    """Right on stored and wrong on asked items of context 0; the few memories of context 1 weigh as much."""
    life = show(tokens(hippocampus=cls.Store(capacity=24, keep="ring")), 6)
    stored = life.hippocampus.traces()
    counts = [(stored.context[0] == k).sum().item() for k in range(3)]
    assert counts == [20, 4, 0]
    knows(life, np.eye(6))
    life.world.exam = lambda k: _asked(life, k)  # type: ignore[method-assign]
    assert read(cls.RehearsalGap(), life) == pytest.approx([0.5, 0.5])


def _asked(life: cls.Life, context: int) -> Batch:
    """An exam of context 0 that calls everything wrong; context 1 right; context 2 not counted."""
    x = torch.eye(6).repeat(2, 1, 1)
    y = torch.arange(6).repeat(2, 1)
    return Batch.lived(x, (y + 1) % 6 if context == 0 else y, context=torch.full_like(y, context))


def test_no_hippocampus_no_gap():
    assert read(cls.RehearsalGap(), live(small(2, hippocampus=cls.NoHippocampus()), 20)).isnan().all()


# -- error and dose -------------------------------------------------------------------------------------------


def test_errors_by_hand():
    life = live(lessons(3), 9)
    w = life.neocortex.weights["weight0"].detach().mT
    for of, batch in (("exam", life.world.exam(0)), ("train", life.world.train())):
        by_hand = ((batch.x @ w - batch.y) ** 2).mean((1, 2))
        torch.testing.assert_close(
            read((cls.Generalisation if of == "exam" else cls.Memorisation)(), life).float(), by_hand
        )
    fresh = lessons(3)
    assert read(cls.Memorisation(), fresh).numpy() == pytest.approx(
        fresh.world.train().y.square().mean((1, 2)).numpy(), rel=1e-5
    )


def test_consolidation_lowers_the_training_error_more_than_the_other():
    life = lessons(20, world=cls.Teacher(items=20, features=20, snr=0.5, test=200), plasticity=cls.Constant(rate=0.1))
    life.horizon = 40
    before = [
        read((cls.Generalisation if of == "exam" else cls.Memorisation)(), life).mean() for of in ("train", "exam")
    ]
    live(life)
    after = [
        read((cls.Generalisation if of == "exam" else cls.Memorisation)(), life).mean() for of in ("train", "exam")
    ]
    assert after[0] < 0.5 * before[0] and after[1] > after[0] + 0.3


def test_an_error_needs_numbers():
    with pytest.raises(Refused, match="asks for labels"):
        read(cls.Generalisation(), small(1))


def test_the_dose_is_the_sum_of_the_rates():
    life = lessons(2, plasticity=cls.WakeNight(wake=[0.0, 0.01], night=cls.Exponential(start=0.05, tau_days=2.0)))
    live(life)
    nights = sum(3 * 0.05 * np.exp(-day / 2) for day in range(1, 6))
    assert read(cls.Dose(), life) == pytest.approx([nights, nights + 5 * 0.01])
    measured = read(cls.Dose(), life)
    measured += 1
    assert read(cls.Dose(), life) == pytest.approx([nights, nights + 0.05]), "a copy, not the ledger's own"


# -- the content of nights ------------------------------------------------------------------------------------


class Obsession(Replay):
    """The same trace in every row of every step."""

    def draw(self, hippocampus, neocortex, view, clock) -> Batch:
        return hippocampus.fetch(torch.full((view.neocortex.weights["weight0"].shape[0], 8), 3))


def contents(life: cls.Life, of: str, **settings: Any) -> list[float]:
    return read(cls.NightContent(of=of, **settings), life).tolist()


def test_evenness_of_a_night():
    life = show(small(2, hippocampus=cls.Store(capacity=40)), 30)
    assert min(contents(life, "entropy")) > 0.97
    assert contents(show(small(2, replay=cls.Everything()), 30), "entropy") == [1.0, 1.0]
    assert contents(show(small(2, replay=Obsession()), 30), "entropy") == [0.0, 0.0]
    recent = show(small(2, hippocampus=cls.Store(capacity=40), replay=cls.Recent(half_life_days=0.2)), 30)
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
    life = show(small(2, hippocampus=cls.Store(capacity=40)), 60)
    traces = life.hippocampus.traces()
    mean = ((60 - traces.born.double()) / 6).mean(1)
    assert contents(life, "age_days", draws=100) == pytest.approx(mean.tolist(), rel=0.05)
    everything = show(small(2, hippocampus=cls.Store(capacity=40), replay=cls.Everything()), 60)
    assert contents(everything, "age_days", draws=1) == pytest.approx(mean.tolist())
    recent = show(small(2, hippocampus=cls.Store(capacity=40), replay=cls.Recent()), 60)
    assert max(contents(recent, "age_days")) < 0.6 * mean.min()


def test_the_share_of_old_contexts():
    life = show(small(2, hippocampus=cls.Store(capacity=40), replay=cls.Everything()), 30)
    context = life.hippocampus.traces().context
    expected = (context != 2).double().mean(1).tolist()
    assert contents(life, "old_share", draws=1) == pytest.approx(expected)
    assert contents(show(small(2), 12), "old_share") == [0.0, 0.0], "there is one context so far"
    split = show(small(2, hippocampus=cls.Store(capacity=40), replay=cls.OldNew(batch=16, old=0.75)), 30)
    assert contents(split, "old_share") == [0.75, 0.75], "old by day, and here the day began with the context"


def test_a_night_without_memories_has_no_content():
    for life in (small(2), live(small(2, hippocampus=cls.NoHippocampus()), 30)):
        for of in ("entropy", "age_days", "old_share"):
            assert np.isnan(contents(life, of)).all()
    with pytest.raises(Refused, match=r"^of: "):
        cls.NightContent(of="dreams")
    with pytest.raises(Refused, match=r"^draws: "):
        cls.NightContent(draws=0)


def test_a_night_is_foreseen():
    """What is sampled at bedtime is what is then replayed."""
    life = live(small(2, hippocampus=cls.Store(capacity=40)), 66 - 5)  # the sixth day is over
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
    life = small(2, world=cls.Mnist(per_context=2, batch=8), hippocampus=cls.NoHippocampus())
    measured = read(cls.Accuracy(), life)
    total = 0
    for k in range(5):
        exam = life.world.exam(k)
        with torch.no_grad():
            right = (life.neocortex.scores(exam.x).argmax(-1) == exam.y).double().mean(1)
        torch.testing.assert_close(measured[:, k], right)
        total += exam.rows
    assert total == 10_000


def test_extra_bytes_are_the_memories_and_what_a_cortex_keeps_beside_a_plain_one():
    plain, store = cls.Mlp(hidden=[6]), cls.Store(capacity=7)
    life = small(2, neocortex=plain, hippocampus=store)
    assert read(cls.ExtraBytes(hidden=[6]), life).tolist() == store.stored_bytes().tolist()
    averaged = small(2, neocortex=cls.Averaged(cls.Mlp(hidden=[6])), hippocampus=cls.Store(capacity=7))
    own = 4 * sum(int(np.prod(shape[1:])) for shape in life.spec.weights.values())
    assert (read(cls.ExtraBytes(hidden=[6]), averaged) - store.stored_bytes()).tolist() == [2 * own] * 2
    assert (read(cls.ExtraBytes(hidden=[400, 400]), life) == store.stored_bytes()).all()  # less than plain is not paid
