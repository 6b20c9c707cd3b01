"""Parts of one's own: what breaks the contract is refused in one line that says what is wrong and what to do."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import cls_sim as cs
from cls_sim.core import contract
from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.draws import each
from cls_sim.core.errors import ConfigError
from cls_sim.core.part import Spec
from cls_sim.hippocampus.base import Recall, Traces, nothing
from cls_sim.readout.base import Answer
from cls_sim.running.runs import fingerprint
from tests.lives import live, small


class Scratch(cs.Hippocampus):
    """The last eight rows, as a user would write it; `breaks` names what it does wrong."""

    def __init__(self, breaks: str = ""):
        self.breaks = breaks

    def setup(self, spec: Spec) -> Spec:
        if self.breaks == "setup":
            self.mine = spec
        else:
            super().setup(spec)
            self.mine = self.spec
        s = spec.subjects
        self.x = torch.zeros(s, 8, *spec.inputs)
        self.y = torch.full((s, 8), -1)
        return None if self.breaks == "returns" else spec  # type: ignore[return-value]

    def encode(self, batch: Batch, view: Any, clock: Clock, who: Tensor | None = None) -> None:
        self.x, self.y = batch.x[:, :8].clone(), batch.y[:, :8].clone()
        self.changed += 1

    def recall(self, x: Tensor) -> Recall:
        empty = nothing(x, self.mine.outputs)
        if self.breaks == "scores":
            return replace(empty, scores=empty.scores[..., :-1])
        if self.breaks == "match":
            return replace(empty, match=empty.match + 7)
        return {"scores": empty.scores} if self.breaks == "recall" else empty  # type: ignore[return-value]

    def traces(self) -> Traces:
        alive, zero = self.y >= 0, torch.zeros_like(self.y)
        if self.breaks == "alive":
            alive = alive[0]
        return Traces(alive, self.y, zero, zero, zero, torch.ones(self.y.shape))

    def fetch(self, slot: Tensor) -> Batch:
        rows = torch.arange(len(slot))[:, None]
        x = self.x[0][slot] if self.breaks == "fetch" else self.x[rows, slot]
        x = x[:, 0] if self.breaks == "fetch" else x
        return Batch.lived(x, self.y[rows, slot], weight=(self.y[rows, slot] >= 0).float(), slot=slot)

    def stored_bytes(self) -> Tensor:
        return torch.full((self.mine.subjects,), 8)


class Mine(cs.Neocortex):
    """A linear cortex, as a user would write it."""

    def __init__(self, breaks: str = ""):
        self.breaks = breaks

    def setup(self, spec: Spec) -> Spec:
        self.width = int(np.prod(spec.inputs))
        drawn = each(spec.seeds, "mine", lambda g: g.standard_normal((spec.outputs, self.width), np.float32))
        self.weights = {"w": (0.01 * drawn).requires_grad_()}
        told = {} if self.breaks == "setup" else {"w": tuple(self.weights["w"].shape)}
        return replace(spec, features=self.width, weights=told)

    def features(self, x: Tensor, context: Tensor | None = None, weights: Any = None) -> Tensor:
        return x.flatten(1) if self.breaks == "features" else x.flatten(2)

    def answer(self, features: Tensor, weights: Any = None) -> Tensor:
        found = features @ (weights or self.weights)["w"].mT
        return found.mean(1) if self.breaks == "answer" else found


class Policy(cs.Replay):
    def __init__(self, breaks: str = ""):
        self.breaks = breaks

    def draw(self, hippocampus: Any, neocortex: Any, view: Any, clock: Clock) -> Batch:
        alive = hippocampus.traces().alive
        slot = alive.int().argsort(dim=1, descending=True, stable=True)[:, :4]
        if self.breaks == "axis":
            slot = slot[0]
        if self.breaks == "dead":
            slot = alive.int().argsort(dim=1)[:, :4]
        batch = hippocampus.fetch(slot)
        if self.breaks == "weights":
            return batch.with_(weight=-batch.weights())
        if self.breaks == "label":
            return batch.with_(y=batch.y + 10)
        return batch.x if self.breaks == "batch" else batch  # type: ignore[return-value]


class Schedule(cs.Plasticity):
    def __init__(self, rate: Any):
        self.value = rate

    def rate(self, clock: Clock) -> np.ndarray:
        return self.value


class Sleeper(cs.Rhythm):
    def __init__(self, asleep: Any):
        self.value = asleep

    def asleep(self, clock: Clock, view: Any) -> np.ndarray:
        return self.value


class Speaker(cs.Readout):
    def __init__(self, breaks: str):
        self.breaks = breaks

    def answer(self, x: Tensor, context: Any, hippocampus: Any, neocortex: Any) -> Answer:
        scores = neocortex.scores(x, context)
        novelty = scores.softmax(2).amax(2)
        scores = scores[:, :, 0] if self.breaks == "scores" else scores
        return Answer(
            scores, torch.zeros(x.shape[:2], dtype=torch.int64), novelty + (5 if self.breaks == "novelty" else 0)
        )


def said(**parts: Any) -> str:
    """What a short life with these parts is refused with: one line."""
    with pytest.raises(ConfigError) as refused:
        live(small(2, **parts), 12)
    line = str(refused.value)
    assert "\n" not in line and line.count(";") >= 1
    return line


def test_parts_of_ones_own_that_keep_the_contract_live():
    live(small(2, hippocampus=Scratch(), neocortex=Mine(), replay=Policy(), readout=Speaker("")), 20)


@pytest.mark.parametrize(
    ("parts", "line"),
    [
        (
            {"hippocampus": lambda: Scratch("setup")},
            "hippocampus.setup: Scratch does not call super().setup(spec); end it",
        ),
        (
            {"hippocampus": lambda: Scratch("returns")},
            "hippocampus.setup: Scratch returns NoneType, expected the Spec; end",
        ),
        (
            {"hippocampus": lambda: Scratch("scores")},
            "hippocampus.recall.scores: is of shape [2, 2, 9], expected [2, 2, 10]",
        ),
        ({"hippocampus": lambda: Scratch("match")}, "hippocampus.recall.match: is from 7 to 7, expected 0 to 1"),
        ({"hippocampus": lambda: Scratch("recall")}, "hippocampus.recall: gives a dict without x; give a Recall"),
        ({"hippocampus": lambda: Scratch("alive")}, "hippocampus.traces.alive: is of shape [8], expected [2, 8]"),
        ({"hippocampus": lambda: Scratch("fetch")}, "hippocampus.fetch.x: is of shape [2, 64], expected [2, 1, 64]"),
        ({"neocortex": lambda: Mine("setup")}, "neocortex.setup: Mine does not announce its features and the shapes"),
        ({"neocortex": lambda: Mine("features")}, "neocortex.features: is of shape [2, 128], expected [2, 2, 64]"),
        ({"neocortex": lambda: Mine("answer")}, "neocortex.answer: is of shape [2, 10], expected [2, 2, 10]"),
        ({"replay": lambda: Policy("axis")}, "replay.draw.slot: is of shape [4], expected [2, 4]"),
        (
            {"replay": lambda: Policy("dead")},
            "replay.draw.slot: gives subject 0 rows of empty slots; 48 of its 100 slots",
        ),
        ({"replay": lambda: Policy("weights")}, "replay.draw.weight: is from -1 to -1, expected 0 to inf"),
        ({"replay": lambda: Policy("label")}, "replay.draw.y: has labels from 10 to "),
        (
            {"replay": lambda: Policy("batch")},
            "replay.draw: gives a Tensor, expected a Batch; make one: Batch.lived(x, y)",
        ),
        (
            {"plasticity": lambda: Schedule(np.array([0.1, -0.001]))},
            "plasticity.rate: gives -0.001, expected finite numbers",
        ),
        (
            {"plasticity": lambda: Schedule(np.array([0.1, np.nan]))},
            "plasticity.rate: gives nan, expected finite numbers",
        ),
        (
            {"plasticity": lambda: Schedule(np.array([0.1]))},
            "plasticity.rate: is ndarray [1], expected a float array [2]",
        ),
        ({"plasticity": lambda: Schedule(0.1)}, "plasticity.rate: is float [], expected a float array [2]"),
        ({"rhythm": lambda: Sleeper(np.zeros(2))}, "rhythm.asleep: is ndarray float64 [2], expected a bool array [2]"),
        ({"readout": lambda: Speaker("scores")}, "readout.answer.scores: is of shape [2, 2], expected [2, 2, 10]"),
        ({"readout": lambda: Speaker("novelty")}, "readout.answer.novelty: is from "),
        (
            {"neocortex": lambda: nn.Sequential(nn.Linear(64, 10))},
            "neocortex: a network (Sequential) is not a Neocortex; wrap it: Module(module=...)",
        ),
        (
            {"hippocampus": lambda: cs.Sparse},
            "hippocampus: Sparse is a class, not a Hippocampus; make one: Sparse(...)",
        ),
        ({"hippocampus": lambda: None}, "hippocampus: is None; give NoHippocampus()"),
        (
            {"hippocampus": lambda: cs.Uniform()},
            "hippocampus: Uniform(batch=32) is not a Hippocampus; give a Hippocampus",
        ),
        ({"replay": lambda: "uniform"}, "replay: 'uniform' is not a Replay; give a Replay"),
        (
            {"plasticity": lambda: cs.Constant},
            "plasticity: Constant is a class, not a Plasticity; make one: Constant(...)",
        ),
        ({"plasticity": lambda: -0.1}, "plasticity: -0.1 is out of range; give a finite number from 0"),
        ({"plasticity": lambda: lambda day: 0.1 - day}, "plasticity: -0.0666"),
        ({"probes": lambda: [cs.Accuracy()]}, "probes: is a list, and each probe needs a name; write {"),
        (
            {"probes": lambda: {"a": cs.Accuracy}},
            "probes.a: Accuracy is a class, not a Probe; make one: Accuracy(...)",
        ),
        ({"probes": lambda: {"a": 3}}, "probes.a: 3 is not a Probe; give a Probe, or a function of the life"),
        ({"device": lambda: "tpu"}, "device: 'tpu' cannot be used; give device=cpu"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_breaks_the_contract_is_refused_in_one_line(parts: dict[str, Any], line: str):
    made = {key: make() for key, make in parts.items()}
    if parts.keys() == {"replay"} and made["replay"].__class__ is Policy and made["replay"].breaks == "dead":
        made["hippocampus"] = cs.Store(capacity=100)
    assert line in said(**made)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_a_device_that_is_not_there():
    assert said(device="cuda") == "device: this machine has no CUDA device; give device=cpu"


@pytest.mark.parametrize(
    ("probe", "line"),
    [
        (lambda life: life.neocortex.weights["weight0"].sum((1, 2)), None),
        (
            lambda life: next(iter(life.neocortex.weights.values()))[:, 0, 0].requires_grad_(),
            "returns a tensor with a gradient",
        ),
        (lambda life: torch.zeros(3), r"returns a tensor \[3\], expected \[2\] or \[2, k\]"),
        (lambda life: 0.5, r"returns a tensor \[\], expected \[2\]"),
        (lambda life: "much", "returns 'much'; return a tensor"),
    ],
)
def test_a_probe_of_ones_own(probe: Any, line: str | None):
    life = small(2, probes={"mine": probe})
    moment = next(life.live())
    moment = replace(moment, name="life.end")
    if line is None:
        assert life.measure(moment)["mine"].shape == (2,)
        return
    with torch.enable_grad(), pytest.raises(ConfigError, match=f"probes.mine: {line}"):
        life.measure(moment)


def test_a_number_or_a_function_is_a_plasticity():
    """A constant rate, and a function of the age in days, bit for bit as the schedules of that name."""
    for given, schedule in ((0.01, cs.Constant(rate=0.01)), (lambda day: 0.01, cs.Constant(rate=0.01))):
        lives = [live(small(2, plasticity=one), 12) for one in (given, schedule)]
        assert fingerprint(lives[0].neocortex.state()) == fingerprint(lives[1].neocortex.state())
    falling = live(small(2, plasticity=lambda day: 0.01 / (1 + day)), 12)
    assert falling.plasticity.rate(falling.clock).tolist() == [0.01 / (1 + falling.clock.day[0])] * 2
    both = live(small(2, plasticity=cs.WakeNight(wake_rate=lambda day: 0.002, night_rate=0.01)), 12)
    assert both.plasticity.rate(both.clock).max() > 0


def test_an_unfinished_part_is_refused_when_it_is_made():
    class Half(cs.Hippocampus):
        def encode(self, batch: Batch, view: Any, clock: Clock, who: Tensor | None = None) -> None: ...

        def traces(self) -> Any: ...

    with pytest.raises(
        ConfigError, match=r"^Half: has no method fetch, recall, stored_bytes; define it in your class$"
    ):
        Half()
    with pytest.raises(ConfigError, match=r"^Hippocampus: has no method encode, fetch, recall"):
        cs.Hippocampus()
    with pytest.raises(TypeError):
        cs.NoHippocampus(capacity=3)  # type: ignore[call-arg]  # what takes no settings still refuses some


def test_a_lesion_of_a_memory_that_cannot_lose_traces_says_what_it_lacks():
    life = live(small(2, hippocampus=Scratch()), 3)
    with pytest.raises(
        ConfigError, match=r"fraction: Scratch has no methods silence and revive.*; define both, or give 1.0"
    ):
        life.twin(hippocampus=lambda part: cs.Lesion(part, fraction=0.5))
    live(life.twin(hippocampus=cs.Lesion), 12)

    class Silenced(Scratch):
        def silence(self, slots: Tensor) -> None: ...

    life = live(small(2, hippocampus=Silenced()), 3)
    with pytest.raises(ConfigError, match="until: Silenced has no method revive"):
        life.twin(hippocampus=lambda part: cs.Lesion(part, fraction=0.5, until=3.0))


@pytest.mark.parametrize(
    ("room", "change", "line"),
    [
        ("hippocampus", 3, "hippocampus: 3 is not a part; give a Hippocampus, or a function part → part"),
        ("hippocampus", lambda part: cs.Uniform(), r"hippocampus: Uniform\(batch=32\) is not a Hippocampus"),
        ("neocortex", lambda part: None, "neocortex: is None"),
        ("hippocampus", None, r"^hippocampus: is None; give NoHippocampus\(\)$"),
        ("rhythm", None, "^rhythm: is None; give a Rhythm$"),
        ("readout", None, "^readout: is None; give a Readout$"),
        ("plasticity", None, "^plasticity: is None; give a schedule, a number, or a function of the age in days$"),
        (
            "neocortex",
            nn.Sequential(nn.Linear(64, 10)),
            r"^neocortex: a network \(Sequential\) is not a .*wrap it: Mod",
        ),
        ("neocortex", nn.Linear, "^neocortex: Linear is a class, not a Neocortex; give a Neocortex$"),
        ("hippocampus", cs.Store, r"^hippocampus: Store is a class, not a Hippocampus; make one: Store\(\.\.\.\)$"),
        ("hippocampus", cs.Indexed, "^hippocampus: Indexed is a class"),
        ("plasticity", cs.Constant, r"^plasticity: Constant is a class, .*make one: Constant\(\.\.\.\)$"),
        ("world", cs.Encoded, r"^world: Encoded cannot be called .*'encoder'\); write lambda part: Encoded\(\.\.\.\)$"),
        ("replay", lambda: cs.Uniform(), r"^replay: .* \(too many positional .*; give a function part → part$"),
        ("plasticity", lambda: 0.1, r"^plasticity: .* \(too many positional .*; give a function part → part$"),
        (
            "plasticity",
            lambda day: "x",
            "^plasticity: 'x' is not a Plast.*; give a function part → part, or one of the age",
        ),
        ("plasticity", lambda part: cs.Uniform(), r"^plasticity: Uniform\(batch=32\) is not a Plasticity"),
        ("plasticity", lambda part: cs.Modulated(part, factor=-1.0), "^factor: -1.0 is out of range"),
    ],
)
def test_a_branch_changes_a_part_into_one_of_its_kind(room: str, change: Any, line: str):
    with pytest.raises(ConfigError, match=line):
        small(2).twin(**{room: change})


def test_what_is_looked_at_costs_nothing_later_and_changes_nothing(monkeypatch: pytest.MonkeyPatch):
    """Each check is made once; a life without them is bit for bit the same."""
    counts: dict[str, int] = {}

    def counted(key: str, check: Any) -> Any:
        def run(*args: Any) -> None:
            counts[key] = counts.get(key, 0) + 1
            check(*args)

        return run

    checks = dict(contract.CHECKS)
    for key, check in checks.items():
        monkeypatch.setitem(contract.CHECKS, key, counted(key, check))
    looked = live(small(2), 40)
    assert counts == dict.fromkeys(checks, 1)
    for key in checks:
        monkeypatch.setitem(contract.CHECKS, key, lambda *_: None)
    assert fingerprint(live(small(2), 40).state()) == fingerprint(looked.state())
    counts.clear()
    for key, check in checks.items():
        monkeypatch.setitem(contract.CHECKS, key, counted(key, check))
    live(looked.twin(replay=cs.Recent(batch=8)), 60)
    assert set(counts) == {"replay.draw", "replay.training_batch", "awake"}


def test_on_the_command_line_as_in_a_notebook(tmp_path: Path, typed, monkeypatch: pytest.MonkeyPatch):
    """A class of an allowed package that breaks the contract ends the command with one line and exit code 2."""
    text = (
        "import numpy as np\nimport cls_sim as cs\n"
        "class Bad(cs.Plasticity):\n    def rate(self, clock):\n        return np.full(clock.subjects, -0.001)\n"
        "class Half(cs.Replay):\n    pass\n"
    )
    (tmp_path / "own_parts.py").write_text(text)
    command = ["experiment=digits", "size=small", "subjects=1", "arms=[cls]", "--allow", "own_parts"]
    monkeypatch.setenv("CLS_SIM_ALLOW", "")
    monkeypatch.setattr(sys, "path", sys.path.copy())  # the door appends this folder
    for change, line in (
        ("+plasticity._target_=own_parts.Bad", "plasticity.rate: gives -0.001, expected finite numbers from 0"),
        ("+replay._target_=own_parts.Half", "own_parts.Half lacks the methods draw; define them"),
    ):
        room = change[1:].split(".")[0]
        (tmp_path / room).mkdir(exist_ok=True)
        (tmp_path / room / "mine.yaml").write_text(f"_target_: {change.split('=')[1]}\n")
        code, _, err = typed(*command, f"{room}=mine", "--config-dir", str(tmp_path), f"out={room}/run", cwd=tmp_path)
        assert code == 2 and line in err and "Traceback" not in err, err


# -- networks whose rows depend on one another ----------------------------------------------------------------


def normed() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 4))


def spec_of(subjects: int = 2, inputs: tuple[int, ...] = (6,)) -> Spec:
    return Spec(seeds=tuple(range(subjects)), inputs=inputs, outputs=4)


def lesson(rows: int = 7, subjects: int = 2, weight: Tensor | None = None) -> Batch:
    gen = torch.Generator().manual_seed(5)
    y = torch.arange(rows).expand(subjects, -1) % 4
    return Batch.lived(
        torch.randn(subjects, rows, 6, generator=gen) + 1, y, **({} if weight is None else {"weight": weight})
    )


def normalising(subjects: int = 2, around: Any = lambda cortex: cortex) -> tuple[Any, Any]:
    cortex, rule = around(cs.Module(module=normed)), cs.Descent(optimizer=cs.Sgd())
    rule.setup(cortex.setup(spec_of(subjects)))
    return cortex, rule


def test_batch_normalisation_learns_and_answers_as_in_pytorch():
    """It was refused, or (without running averages) let the rows of an evaluation tell one another."""
    cortex, rule = normalising()
    nets = []
    for i in range(2):
        net = normed()
        net.load_state_dict({n: t.detach()[i].clone() for n, t in (cortex.weights | cortex.running).items()})
        nets.append((net, torch.optim.SGD(net.parameters(), lr=0.1)))
    for step in range(3):
        batch = lesson(7 + step)
        rule.step(cortex, batch, np.full(2, 0.1), None)
        for i, (net, optimiser) in enumerate(nets):
            net.train()
            optimiser.zero_grad()
            nn.functional.cross_entropy(net(batch.x[i]), batch.y[i]).backward()
            optimiser.step()
    x = lesson(5).x
    for i, (net, _) in enumerate(nets):
        net.eval()
        torch.testing.assert_close(cortex.scores(x)[i], net(x[i]))
        for name, t in (cortex.weights | cortex.running).items():
            torch.testing.assert_close(t[i], net.state_dict()[name])


def test_rows_together_are_answered_as_each_alone():
    cortex, rule = normalising()
    rule.step(cortex, lesson(), np.full(2, 0.1), None)
    before = {name: t.clone() for name, t in cortex.running.items()}
    x = lesson(6).x
    apart = torch.cat([cortex.scores(row) for row in x.split(1, 1)], 1)
    torch.testing.assert_close(cortex.scores(x), apart)
    loss = rule.loss(cortex, lesson())
    torch.testing.assert_close(loss[:, :3], rule.loss(cortex, Batch.lived(lesson().x[:, :3], lesson().y[:, :3])))
    with torch.enable_grad():
        cortex.scores(x).sum().backward()
    assert all(torch.equal(t, before[name]) for name, t in cortex.running.items()), "asking moves nothing"


def test_running_statistics_are_each_subjects_own_and_of_rows_that_are_there():
    weight = torch.ones(2, 7)
    weight[0, 4:], weight[1, :] = 0.0, 1.0
    batch = lesson(weight=weight)
    wild = batch.with_(x=torch.where(weight[..., None] > 0, batch.x, 1e6))
    lives = []
    for given, rate in ((batch, [0.1, 0.1]), (wild, [0.1, 0.1]), (batch, [0.1, 0.0])):
        cortex, rule = normalising()
        born = {name: t.clone() for name, t in cortex.running.items()}
        rule.step(cortex, given, np.array(rate), None)
        lives.append(cortex.running)
    for name in lives[0]:
        assert torch.equal(lives[0][name], lives[1][name]), "rows of weight 0 do not count"
        assert torch.equal(lives[2][name][0], lives[0][name][0])
        assert torch.equal(lives[2][name][1], born[name][1]), "who does not learn keeps its statistics"
    alone, rule = normalising(1)
    rule.step(alone, Batch.lived(batch.x[:1, :4], batch.y[:1, :4]), np.array([0.1]), None)
    for name, t in alone.running.items():
        torch.testing.assert_close(t[0], lives[0][name][0])


def test_a_single_row_is_normalised_by_the_running_statistics():
    """BatchNorm1d raised an uncaught ValueError."""
    cortex, rule = normalising()
    before = {name: t.clone() for name, t in cortex.running.items()}
    w = {name: t.detach().clone() for name, t in cortex.weights.items()}
    rule.step(cortex, lesson(1), np.full(2, 0.1), None)
    assert all(torch.equal(t, before[name]) for name, t in cortex.running.items())
    assert not torch.equal(cortex.weights["3.weight"], w["3.weight"])


@pytest.mark.parametrize(
    "rule",
    [cs.Projected, lambda: cs.Descent(objective=cs.Lwf()), lambda: cs.Retrain(), lambda: cs.Cascade(gain=50.0)],
)
@pytest.mark.parametrize(
    "around",
    [lambda c: c, lambda c: cs.CortexLesion(c, fraction=0.25), cs.Averaged],
    ids=["bare", "lesion", "averaged"],
)
def test_a_normalising_cortex_lives_is_saved_and_branches(rule: Any, around: Any):
    def net() -> nn.Module:
        return nn.Sequential(nn.Linear(64, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 10))

    def one() -> cs.Life:
        replay = cs.Interleaved(cs.Uniform(batch=4), share=0.5)
        return small(2, neocortex=around(cs.Module(module=net)), consolidation=rule(), replay=replay)

    whole, first = live(one(), 30), live(one(), 15)
    inner = whole.neocortex.running
    assert all((t != 0).any() for t in inner.values()) and (inner["1.num_batches_tracked"] > 0).all()
    heir = one()
    heir.load(first.state())
    assert fingerprint(live(heir, 30).state()) == fingerprint(whole.state())
    twin = first.twin()
    live(twin, 30)
    assert fingerprint(twin.state()) == fingerprint(whole.state())
    assert fingerprint(first.state()) != fingerprint(whole.state()), "a branch has statistics of its own"


class Crowd(nn.Module):
    """Attends to the other rows of its batch."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.out((x @ x.T).softmax(1) @ x)


@pytest.mark.parametrize(
    ("module", "line"),
    [
        (
            lambda: nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5, track_running_stats=False), nn.Linear(5, 4)),
            "depends on other rows of the batch in '1'; keep running statistics",
        ),
        (Crowd, "has an output that depends on other rows of the batch; keep running statistics"),
        (lambda: nn.Sequential(nn.Conv1d(1, 2, 2), nn.Linear(5, 4)), "module: "),
    ],
)
def test_a_network_that_answers_a_row_by_other_rows_is_refused(module: Any, line: str):
    """The evaluation of one context was told apart by its own statistics: 1.0 where .5 is right."""
    with pytest.raises(ConfigError) as refused:
        cs.Module(module=module).setup(spec_of())
    assert line in str(refused.value) and "\n" not in str(refused.value)


def test_images_without_a_channel_axis_are_named():
    net = lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 4))  # noqa: E731
    with pytest.raises(ConfigError, match=r"without a channel axis: begin with nn.Unflatten\(1, \(1, 4\)\)"):
        cs.Module(module=net).setup(spec_of(inputs=(4, 4)))
    fine = lambda: nn.Sequential(nn.Unflatten(1, (1, 4)), net())  # noqa: E731
    assert cs.Module(module=fine).setup(spec_of(inputs=(4, 4))).features == 8


def test_other_normalisations_are_as_they_are():
    for layer in (nn.LayerNorm(5), nn.GroupNorm(1, 5)):
        net = lambda layer=layer: nn.Sequential(nn.Linear(6, 5), layer, nn.Linear(5, 4))  # noqa: E731
        cortex = cs.Module(module=net)
        assert cortex.setup(spec_of()).features == 5 and not cortex.running


def test_a_trace_of_a_life_with_batch_normalisation_is_that_of_each_alone():
    def net() -> nn.Module:
        return nn.Sequential(nn.Linear(64, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 10))

    together, alone = (
        live(small(s, seed, neocortex=cs.Module(module=net), consolidation=cs.Descent(optimizer=cs.Sgd())), 20)
        for s, seed in ((2, 7), (1, 8))
    )
    for name, w in alone.neocortex.weights.items():
        torch.testing.assert_close(w[0], together.neocortex.weights[name][1], rtol=1e-4, atol=1e-5)
