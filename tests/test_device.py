"""Between moments a life neither reads from the device nor writes to it, but for the parts listed in docs/gpu.md."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import cls_sim as cs
from cls_sim.core.optimizers import Optimizer
from cls_sim.core.part import Part
from tests.device import Device
from tests.test_wraps import INSIDE, NEVER_INSIDE, QUERIES, TRACK, complete, kind_of, life

PAGE = Path(__file__).parent.parent / "docs" / "gpu.md"
WARM, END = 6, 13  # ticks: after the first day and night, through another day, night and end of a context
WRITES = 9  # in one tick: what numbers a wrap or a rule sends, one transfer each
PLANS = 9  # reads of a tick at a moment, when a day or a night is planned or a context's end is worked through
REGRESSION: dict[str, Any] = {"world": lambda: cs.Sources(items=12, features=5, test=8), "neocortex": cs.Linear}
FEEDBACK: dict[str, Any] = {"neocortex": lambda: cs.Feedback(hidden=[6], latent=3), "readout": cs.CortexReadout}
TEXTS: dict[str, Any] = {"world": lambda: cs.Queries(queries=QUERIES, per_context=3, batch=4, width=32)}
FULL: dict[str, Any] = {"replay": cs.FullBatch}

# Wraps with settings that do something, and the parts inside of parts; a name before the comma is the part's.
MORE: dict[str, dict[str, tuple[Any, dict[str, Any]]]] = {
    "world": {
        "Encoded": (
            lambda: cs.Encoded(
                cs.Digits(per_context=3, batch=4), encoder=cs.Pretrained(module=lambda: nn.Linear(64, 8))
            ),
            {},
        ),
        "NoisyWorld": (lambda: cs.NoisyWorld(cs.Digits(per_context=3, batch=4)), {}),
        "Mislabelled": (lambda: cs.Mislabelled(cs.Digits(per_context=3, batch=4), fraction=0.5), {}),
        "Deficit": (lambda: cs.Deficit(cs.Digits(per_context=3, batch=4), until=9.0), {}),
        "RealTime": (lambda: cs.RealTime(cs.Digits(per_context=9, batch=4), replayed=2), {}),
        "Maze, by lot": (
            lambda: cs.Maze(plan=["a..A"], explored=False, rewards=cs.ByLot()),
            {part: make for part, make in TRACK.items() if part != "world"},
        ),
        "Maze, at goals": (
            lambda: cs.Maze(plan=["a..A"], explored=False, rewards=cs.AtGoals(sizes=[1.0])),
            {part: make for part, make in TRACK.items() if part != "world"},
        ),
    },
    "rhythm": {
        "Estimated": (lambda: cs.Estimated(experiences_per_day=3, steps_per_night=3, rate=0.01), REGRESSION | FULL),
        "Deprived": (lambda: cs.Deprived(cs.Nights(experiences_per_day=3, steps_per_night=3), until=1.0), {}),
    },
    "plasticity": {"Modulated": (lambda: cs.Modulated(cs.Constant(rate=0.01), factor=0.5), {})},
    "neocortex": {
        "LayerPeriods": (lambda: cs.LayerPeriods(cs.Mlp(hidden=[6]), close=[1.0, 9.0], rates=[1.0, 0.5]), {}),
        "Cnn4, apart": (lambda: cs.Cnn4(channels=[2, 2, 2, 2], apart=True), {}),
        "CortexLesion": (lambda: cs.CortexLesion(cs.Mlp(hidden=[6]), fraction=0.5), {}),
        "CortexLesion, weights": (lambda: cs.CortexLesion(cs.Mlp(hidden=[6]), fraction=0.5, of="weights"), {}),
    },
    "hippocampus": {
        "Compact": (lambda: cs.Compact(bytes=1000, units=40, winners=4), {}),
        "Operator": (lambda: cs.Operator(cs.Store(capacity=12), threshold=0.1), {}),
        "Lesion": (lambda: cs.Lesion(cs.Store(capacity=12), fraction=0.5), {}),
        "TwoPaths": (lambda: cs.TwoPaths(cs.Sparse(capacity=12, units=40, winners=4)), {}),
        "Frozen": (lambda: cs.Frozen(cs.Store(capacity=12)), {}),
        "Follows": (lambda: cs.Follows(cs.Store(capacity=12, eviction="ring")), {}),
        "Store, balanced": (lambda: cs.Store(capacity=12, eviction="balanced"), {}),
        "Trisynaptic, attractor": (
            lambda: cs.Trisynaptic(capacity=12, dentate=cs.Index(units=60, activity=0.1), ca3=cs.Attractor()),
            {},
        ),
        "Trisynaptic, relay": (
            lambda: cs.Trisynaptic(capacity=12, dentate=cs.Relay(units=64, activity=0.1), ca3=cs.Attractor()),
            {},
        ),
        "Trisynaptic, winners": (lambda: cs.Trisynaptic(capacity=12, dentate=cs.KWinners(units=60)), {}),
        "ModernHopfield": (lambda: cs.Trisynaptic(capacity=12, dentate=None, ca3=cs.ModernHopfield()), {}),
        "DreamingHopfield": (lambda: cs.Trisynaptic(capacity=12, dentate=None, ca3=cs.DreamingHopfield()), {}),
        "Coarse": (lambda: cs.Store(capacity=12, code=cs.Coarse()), {}),
        "Product": (lambda: cs.Store(capacity=12, code=cs.Product(bytes=4, prototypes=4)), {}),
        "NGrams": (lambda: cs.Store(capacity=12, code=cs.NGrams()), TEXTS),
    },
    "replay": {
        "Reencoded": (
            lambda: cs.Reencoded(cs.Uniform(batch=4)),
            FEEDBACK | {"hippocampus": lambda: cs.Indexed(capacity=12)},
        ),
        "ThroughCode": (
            lambda: cs.ThroughCode(cs.Uniform(batch=4)),
            {"hippocampus": lambda: cs.Store(capacity=12, code=cs.Product(bytes=4, prototypes=4))},
        ),
        "Edited": (lambda: cs.Edited(cs.Uniform(batch=4), neighbours=3, rare=0.0), {}),
        "UniformPerRow": (lambda: cs.Interleaved(cs.UniformPerRow(per_row=0.5), share=0.5, only_old=False), {}),
        "Shuffled": (lambda: cs.Shuffled(cs.Uniform(batch=4)), {}),
        "Rationed": (lambda: cs.Rationed(cs.FullBatch()), REGRESSION),
        "Inferred": (
            lambda: cs.Inferred(cs.Uniform(batch=4)),
            {"consolidation": lambda: cs.Descent(objective=cs.DistillationLoss(temperature=1.0))},
        ),
        "Disrupted": (lambda: cs.Disrupted(cs.Uniform(batch=4), fraction=0.5), {}),
        "NoisyReplay": (lambda: cs.NoisyReplay(cs.Uniform(batch=4)), {}),
        "Augmented": (lambda: cs.Augmented(cs.Uniform(batch=4)), {}),
        "Jittered": (lambda: cs.Jittered(cs.Uniform(batch=4)), {}),
        "CropFlip": (lambda: cs.CropFlip(cs.Uniform(batch=4), crop=1, colour=0.1), {}),
        "Mixup": (
            lambda: cs.Mixup(cs.Uniform(batch=4)),
            {"consolidation": lambda: cs.Descent(objective=cs.DistillationLoss(temperature=1.0))},
        ),
        "Events": (lambda: cs.Events(cs.GainNeed(longest=3), cells=3), TRACK),
        "Ordered": (lambda: cs.Ordered(cs.GainNeed(longest=3), cells=3), TRACK),
        **{
            f"Preferred, {by.__name__}": ((lambda by=by: cs.Preferred(by(), batch=4)), {})
            for by in (cs.Surprise, cs.Weakness, cs.Novelty, cs.Balanced, cs.RecencyShare, cs.Similar)
        },
        "Preferred, MaximallyInterfered": (
            lambda: cs.Interleaved(
                cs.Preferred(cs.MaximallyInterfered(step=0.1), batch=4, candidates=6), only_old=False
            ),
            {},
        ),
    },
    "readout": {"Softmax": (lambda: cs.Softmax(beta=2.0), {k: make for k, make in TRACK.items() if k != "readout"})},
    "consolidation": {
        **{
            f"Descent, {objective.__name__}": ((lambda objective=objective: cs.Descent(objective=objective())), {})
            for objective in (cs.AsymmetricLoss, cs.DarkExperienceLoss, cs.FeatureDistillation)
        },
        "Descent, Fromp": (lambda: cs.Descent(objective=cs.Fromp(points=4, jitter=0.1)), {}),
        "Descent, Hebb": (lambda: _summed(cs.Hebb()), {"neocortex": cs.Linear}),
        "Descent, PerceptronLoss": (lambda: _summed(cs.PerceptronLoss()), {"neocortex": cs.Linear}),
        "Descent, scaled": (lambda: cs.Descent(penalty=cs.ImportanceScaledRate()), {}),
        **{
            f"Descent, {by.__name__}": (
                (lambda by=by: cs.Descent(penalty=cs.QuadraticPenalty(importance=by(), strength=1.0))),
                {},
            )
            for by in (cs.PathIntegral, cs.OutputSensitivity, cs.UniformImportance, cs.RiemannianWalk)
        },
        "Drift": (lambda: cs.Drift(cs.Descent()), {}),
        "Homeostasis, protected": (lambda: cs.Homeostasis(protection=2.0), {}),
    },
}
CASES = [(kind, name) for kind in cs.PART_KINDS for name in {**INSIDE[kind], **MORE[kind]}]


def _summed(objective: Any) -> Any:
    return cs.Descent(optimizer=cs.Sgd(), objective=objective, reduction="sum")


def made(part_kind: str, name: str) -> dict[str, Any]:
    """The part, and the other parts that it needs."""
    make, others = {**INSIDE[part_kind], **MORE[part_kind]}[name]
    return {key: one() for key, one in others.items()} | {part_kind: make()}


def listed() -> dict[str, int]:
    """The table of docs/gpu.md: the part → its reads in a tick."""
    rows = re.findall(r"^\| (`[^|]+) \| (\d+) \| [^|]+ \|$", PAGE.read_text(), re.M)
    return {name: int(reads) for names, reads in rows for name in re.findall(r"`(\w+)`", names)}


def within(value: Any) -> list[Part]:
    """All parts in a part, a list or a dict."""
    if isinstance(value, Part):
        return [value, *(one for inner in vars(value).values() for one in within(inner))]
    if isinstance(value, (dict, list, tuple)):
        return [one for inner in (value.values() if isinstance(value, dict) else value) for one in within(inner)]
    return []


@pytest.mark.parametrize(("part_kind", "name"), CASES, ids=[f"{kind}-{name}" for kind, name in CASES])
def test_a_life_waits_for_the_device_at_moments_only(part_kind: str, name: str):
    """A tick that neither follows nor reaches a moment reads nothing but what the page lists for its parts."""
    parts = made(part_kind, name)
    names = {type(part).__name__ for part in within(parts)}
    most = sum(reads for part, reads in listed().items() if part in names)
    with Device() as device:
        one = life(device=device.name, **parts)
        between = False
        while not one.over and one.clock.tick < END:
            device.clear()
            reached = bool(one.step())
            if one.clock.tick > WARM:
                bound = most if between and not reached else most + PLANS
                assert device.reads.total() <= bound, device.reads
                assert device.writes.total() <= (WRITES if between and not reached else WRITES + PLANS), device.writes
            between = not reached


def test_every_part_lives_on_the_device():
    """A part that is new in the vocabulary is missing here until it is listed in MORE (or in INSIDE of test_wraps)."""
    lived = {type(one).__name__ for kind, name in CASES for one in within(made(kind, name))}
    for name in cs.VOCABULARY:
        kind = getattr(cs, name)
        if complete(kind) and not issubclass(kind, (cs.Probe, Optimizer)) and kind_of(kind).__name__ != "Encoder":
            assert name in lived | NEVER_INSIDE, f"add {name} to MORE"


def test_the_page_lists_parts_that_exist():
    assert listed() and all(inspect.isclass(getattr(cs, name)) for name in listed())


# -- the device that is not there -----------------------------------------------------------------------------

READS: dict[str, Callable[[Any], Any]] = {
    "item": lambda x: x.sum().item(),
    "bool": lambda x: bool((x > 0).any()),
    "tolist": lambda x: x.tolist(),
    "cpu": lambda x: x.cpu(),
    "rows of unknown number": lambda x: x[x > 0],
    "nonzero": lambda x: x.nonzero(),
    "equal": lambda x: torch.equal(x, x),
    "copy": lambda x: torch.zeros(2).copy_(x),
}


@pytest.mark.parametrize("way", READS)
def test_every_way_to_read_is_counted(way: str):
    with Device() as device:
        x = torch.ones(2, device=device.name)
        device.clear()
        READS[way](x)
        assert device.reads.total() == 1 and device.writes.total() == 0


def test_writes_are_counted_and_other_work_is_not():
    with Device() as device:
        sent = [torch.tensor([1.0], device=device.name), torch.from_numpy(torch.zeros(2).numpy()).to(device.name)]
        sent[0].copy_(torch.ones(1))
        assert device.writes.total() == 3
        w = torch.ones(2, device=device.name).requires_grad_()
        (slope,) = torch.autograd.grad((w * 3).sum(), [w])
        assert device.reads.total() == 0 and device.writes.total() == 3
        assert slope.tolist() == [3.0, 3.0]


def test_what_a_gpu_would_refuse_is_refused():
    with Device() as device:
        x = torch.ones(2, device=device.name)
        with pytest.raises(RuntimeError, match="same device"):
            x + torch.ones(2)
        with pytest.raises((RuntimeError, TypeError)):
            x.numpy()
        assert (x + torch.tensor(1.0)).cpu().tolist() == [2.0, 2.0]  # a single number may come from the host


def test_a_life_on_the_device_is_the_life_on_the_host():
    with Device() as device:
        there = life(device=device.name)
        for _ in range(20):
            there.step()
        weights = {name: w.detach().cpu() for name, w in there.neocortex.weights.items()}
    here = life()
    for _ in range(20):
        here.step()
    assert all(torch.equal(w.detach(), weights[name]) for name, w in here.neocortex.weights.items())
