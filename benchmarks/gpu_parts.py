"""What `python -m benchmarks.gpu` measures on a device: each part checks or times one thing, beside the CPU."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

import cls_sim as cs
from benchmarks.__main__ import _processor
from benchmarks.limit import Loop, Prototype
from benchmarks.work import Work, at_hand, works
from cls_sim.config import experiments
from cls_sim.life import Life

WARM = 20  # steps before timing starts
ROUNDS = 5
LEARNT = 0.01  # agreement: the largest difference of what was learnt, as a share of it
DEEP = 0.05  # the same of a deep network after two steps: batch normalisation multiplies rounding by up to 1,000 a step
POINTS = 0.05  # agreement: the largest difference of a mean accuracy at the end of a life


@dataclass(frozen=True)
class Sizes:
    """How large the parts are.

    cohort       the network and the batches of the cohort, and its subjects
    images       width of slim ResNet-18, and the numbers of subjects
    most         steps of one round at most
    experiments  whose first arms live `ticks` ticks on both devices
    whole        the experiment that is lived to its end on both devices, arm by arm
    row          experiences per context of the published row, the first that fits in the time; the first is the paper's
    """

    w1: Work
    cohort: Work
    width: int
    images: tuple[int, ...]
    most: int
    experiments: tuple[str, ...]
    ticks: int
    whole: tuple[str, ...]
    row: tuple[int, ...]


def sizes_of(name: str) -> Sizes:
    """`full`, what `make gpu` measures; or `tiny`, the same parts in a few seconds."""
    small = works()["small"]
    if name == "tiny":
        few = replace(small, subjects=3, capacity=100)
        whole = ("experiment=digits", "size=small", "subjects=2", "days=1", "arms=[cls,sleepless]")
        return Sizes(replace(few, subjects=1), few, 2, (1,), 2, ("digits",), 6, whole, (4, 2))
    checked = ("digits", "replay_policies", "singh_2022_stages", "sun_2023_go_cls", "tononi_2006_homeostasis")
    whole = ("experiment=digits", "size=small")
    cohort = replace(small, subjects=1024)
    return Sizes(works()["w1"], cohort, 20, (1, 8), 100, checked, 120, whole, (2000, 1000, 500, 200, 100, 40))


@dataclass
class Bench:
    """Where a part measures: the device, the sizes, the time it has.

    Each row is on disk at once (`into`), with the names of the machine.
    """

    device: str
    sizes: Sizes
    seconds: float
    into: Path | None = None
    rows: list[dict[str, Any]] = field(default_factory=list)
    began: float = field(default_factory=time.perf_counter)

    def left(self) -> float:
        return self.seconds - (time.perf_counter() - self.began)

    def row(self, **row: Any) -> None:
        self.rows.append(row)
        if self.into is not None:
            self.into.write_text(json.dumps({"machine": machine(self.device), "rows": self.rows}))

    def timed(
        self, work: str, runs: Mapping[str, Callable[[], object]], note: str = "", **more: float
    ) -> dict[str, float]:
        """Milliseconds a step of `gpu`, `cpu` and `loop`, as far as given, in an equal share of a third of the time."""
        took, share = dict[str, float](), self.left() / 3 / len(runs)
        if self.device.startswith("cuda"):
            torch.cuda.reset_peak_memory_stats()
        for who, step in runs.items():
            took[who] = pace(step, "cpu" if who == "cpu" else self.device, share, self.sizes.most)
            if who == "gpu" and self.device.startswith("cuda"):
                more["memory_MB"] = torch.cuda.max_memory_allocated() / 1e6
        self.row(kind="speed", work=work, unit="ms", note=note, **(took | more))
        return took


def machine(device: str) -> dict[str, Any]:
    """The names of the device and the processor, and the versions of torch and CUDA."""
    gpu = torch.cuda.get_device_name(device) if device.startswith("cuda") else "no GPU: the CPU in its place"
    return {"device": gpu, "processor": _processor(), "torch": torch.__version__, "cuda": torch.version.cuda}


def synchronize(device: str) -> None:
    """Wait until the device has done what it was asked."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def pace(step: Callable[[], object], device: str, seconds: float, most: int, warm: int = WARM) -> float:
    """Milliseconds a step by the wall clock, the median of rounds; the device is waited for at both ends of a round."""
    began, done = time.perf_counter(), 0
    step()
    synchronize(device)
    each, then = time.perf_counter() - began, time.perf_counter()
    while done < min(warm, most) and time.perf_counter() - began < seconds / 3:
        step()
        done += 1
    synchronize(device)
    if done:  # the first step also allocates and compiles
        each = (time.perf_counter() - then) / done
    n, times = max(1, min(most, int(seconds / 2 / ROUNDS / max(each, 1e-6)))), list[float]()
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(n):
            step()
        synchronize(device)
        times.append((time.perf_counter() - start) / n * 1e3)
        if time.perf_counter() - began > seconds:
            break
    return median(times)


# -- agreement ------------------------------------------------------------------------------------------------


def agreement(bench: Bench) -> None:
    """The same lives on the CPU and on the device: the same episodes, and the same learning within a tolerance."""
    exact = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False  # convolutions in float32, as on the CPU
    try:
        lives = {name: _first_arm(name) for name in bench.sizes.experiments}
        for name, make in lives.items():
            if bench.left() > 0:
                _beside(bench, name, make, bench.sizes.ticks, LEARNT)
        sgd = {"consolidation": cs.Descent(optimizer=cs.Sgd()), "plasticity": 0.01}
        for ticks in (1, 2):
            if bench.left() > 0:
                _beside(bench, "slim ResNet-18", lambda at: image_life(bench.sizes.width, 2, at, **sgd), ticks, DEEP)
    finally:
        torch.backends.cudnn.allow_tf32 = exact
    for name, arm in experiments.read(bench.sizes.whole).arms.items():
        if arm.origin is None and bench.left() > 0:
            scores = [_lived(arm.cfg | {"device": device}) for device in ("cpu", bench.device)]
            apart = abs(scores[0] - scores[1])
            what = f"{bench.sizes.whole[0].partition('=')[2]}, arm {name}: mean accuracy at the end of the life"
            bench.row(kind="agreement", what=what, difference=apart, at_most=POINTS, agrees=apart <= POINTS)


def _first_arm(experiment: str) -> Callable[[str], Life]:
    def make(device: str) -> Life:
        return experiments.build(f"experiment={experiment}", "size=small", "subjects=2", f"device={device}")

    return make


def _beside(bench: Bench, name: str, make: Callable[[str], Life], ticks: int, at_most: float) -> None:
    """Two rows: whether both lives had and stored the same items, and how far apart their weights are."""
    lives = [make(device) for device in ("cpu", bench.device)]
    first = {key: weight.detach().clone() for key, weight in lives[0].neocortex.weights.items()}
    for life in lives:
        while not life.over and life.clock.tick < ticks:
            life.step()
    here, there = ({k: w.detach().cpu() for k, w in life.neocortex.weights.items()} for life in lives)
    learnt = _length([here[key] - first[key] for key in here])
    apart = _length([here[key] - there[key] for key in here])
    share = apart / learnt if learnt else apart
    told = f"{name}, {lives[0].clock.tick} tick{'s' * (lives[0].clock.tick > 1)}"
    kept = [life.hippocampus.traces() for life in lives]
    alive = [traces.alive.cpu() for traces in kept]
    same = [torch.where(there, traces.item.cpu(), -1) for there, traces in zip(alive, kept, strict=True)]
    differ = float((same[0] != same[1]).sum())
    bench.row(
        kind="agreement", what=f"{told}: stored episodes that differ", difference=differ, at_most=0, agrees=not differ
    )
    what = f"{told}: weights apart, as a share of what was learnt"
    bench.row(kind="agreement", what=what, difference=share, at_most=at_most, agrees=share <= at_most)


def _length(tensors: list[Tensor]) -> float:
    return sum(float(t.double().square().sum()) for t in tensors) ** 0.5


def _lived(cfg: dict[str, Any]) -> float:
    """The mean accuracy of a cohort at the end of its life."""
    life = experiments.make_life(cfg, cfg["subjects"], cfg["seed"])
    for _ in live_of(life, cfg):
        pass
    with torch.no_grad():
        return float(cs.Accuracy().measure(life).mean())


def live_of(life: Life, cfg: dict[str, Any]) -> Any:
    return life.live(days=cfg["days"])


# -- speed ----------------------------------------------------------------------------------------------------


def w1(bench: Bench) -> None:
    """A step of Split MNIST with replay, against the CPU and against a plain loop on the same device."""
    _steps(bench, bench.sizes.w1)


def cohort(bench: Bench) -> None:
    """A step of many small subjects at once; the loops are one subject after another, and all by hand."""
    work = bench.sizes.cohort
    took = _steps(bench, work)
    per_context = _longest(bench.sizes.most)
    stacked = pace(Prototype(work, per_context, device=bench.device).step, bench.device, bench.left() / 3, 100)
    note = "the loop is a prototype by hand that stacks the subjects"
    bench.row(kind="speed", work=f"{_named(work)}, stacked", unit="ms", note=note, gpu=took["gpu"], loop=stacked)


def _steps(bench: Bench, work: Work) -> dict[str, float]:
    per_context = _longest(bench.sizes.most)
    loop = Loop(replace(work, subjects=1), per_context, device=bench.device)
    runs: dict[str, Callable[[], object]] = {"gpu": work.life(per_context, device=bench.device).step}
    runs["cpu"] = work.life(per_context).step
    if work.subjects == 1:
        return bench.timed(_named(work), runs | {"loop": loop.step})
    one = pace(loop.step, bench.device, bench.left() / 6, bench.sizes.most)
    note = "the loop is one subject, times the subjects"
    return bench.timed(_named(work), runs, note, loop=one * work.subjects)


def _longest(most: int) -> int:
    """Experiences per context, so that a life outlasts its timing."""
    return (2 + WARM + ROUNDS * most) // 5 + 1


def _named(work: Work) -> str:
    company = "1 subject" if work.subjects == 1 else f"{work.subjects:,} subjects"
    return f"a step of {work.name}, {company}"


def images(bench: Bench) -> None:
    """A step of slim ResNet-18 on 10 new and 10 replayed images; the loop is one subject, times the subjects."""
    width, most = bench.sizes.width, bench.sizes.most
    for subjects in bench.sizes.images:
        lives = {"gpu": image_life(width, subjects, bench.device), "cpu": image_life(width, subjects, "cpu")}
        loop = pace(_plain(lives["cpu"], bench.device), bench.device, bench.left() / 8, most)
        name = f"a step of slim ResNet-18 (width {width}), 10 + 10 images, {subjects} subject{'s' * (subjects > 1)}"
        note = "torch's own settings: convolutions may use TF32"
        bench.timed(name, {who: life.step for who, life in lives.items()}, note, loop=loop * subjects)


def image_life(width: int, subjects: int, device: str, **others: Any) -> Life:
    """Experience replay on random images of 3 x 32 x 32."""
    source = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (500, 3, 32, 32), generator=source, dtype=torch.uint8).numpy()
    parts: dict[str, Any] = {"plasticity": 0.001} | others
    return cs.Life(
        subjects=subjects,
        device=device,
        world=cs.Arrays(x=x, y=torch.arange(500).numpy() % 10, contexts=1, per_context=1000, batch=10),
        neocortex=cs.SlimResNet18(width=width),
        hippocampus=cs.Store(capacity=200),
        rhythm=cs.Sleepless(experiences_per_day=100),
        replay=cs.Interleaved(cs.Uniform(batch=10), share=0.5, only_old=False),
        **parts,
    )


def _plain(life: Life, device: str) -> Callable[[], None]:
    """A step of the same network in plain PyTorch, on images that are on the device."""
    net = life.neocortex.to_module().to(device).train()
    learner = torch.optim.Adam(net.parameters(), 0.001)
    x, y = torch.rand(20, 3, 32, 32, device=device), torch.arange(20, device=device) % 10

    def step() -> None:
        learner.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        learner.step()

    return step


def row(bench: Bench) -> None:
    """The row `er` of van de Ven's table, with as many experiences per context as fit."""
    mnist = at_hand() and bench.sizes.row[0] >= 1000
    found = ["experiment=vandeven_2022_table", "arms=[er]", *([] if mnist else ["world=digits"])]

    def make(per_context: int, device: str) -> tuple[Life, dict[str, Any]]:
        cfg = experiments.read([*found, f"world.per_context={per_context}"], one=True).arms["er"].cfg
        return experiments.make_life(cfg | {"device": device}, cfg["subjects"], cfg["seed"]), cfg

    probe = _longest(bench.sizes.most)
    took = {who: make(probe, at)[0].step for who, at in (("gpu", bench.device), ("cpu", "cpu"))}
    data = "" if mnist else ", on the digits of the package (MNIST is not at hand)"
    step = bench.timed(f"a step of ER in vandeven_2022_table, 5 subjects{data}", took)
    fits = [n for n in bench.sizes.row if 5 * n * step["gpu"] * 1.3e-3 < bench.left()] or [bench.sizes.row[-1]]
    life, cfg = make(fits[0], bench.device)
    began, read = time.perf_counter(), float("nan")
    for moment in live_of(life, cfg):
        readings = life.measure(moment)
        if moment.name == "life.end":
            read = float(readings["accuracy"].mean())
    synchronize(bench.device)
    seconds = time.perf_counter() - began
    published = ", published 88.8 %" if mnist and fits[0] == bench.sizes.row[0] else ""
    note = f"with its exams; accuracy {100 * read:.1f} %{published}; the CPU's time is that of its steps alone"
    whole, cpu = f"the row ER, 5 contexts of {fits[0]:,} steps{data}", 5 * fits[0] * step["cpu"] / 1e3
    bench.row(kind="speed", work=whole, unit="s", note=note, gpu=seconds, cpu=cpu, accuracy=read)


PARTS: dict[str, tuple[Callable[[Bench], None], float]] = {  # what is measured, and its seconds
    "agreement": (agreement, 110.0),
    "w1": (w1, 40.0),
    "cohort": (cohort, 60.0),
    "images": (images, 60.0),
    "row": (row, 130.0),
}
