"""`cls-sim choose`: choose settings on validation data and seeds below 1000, and report the choice on fresh seeds.

cls-sim choose experiment=NAME over='KEY=a,b,c'            try each value; out=FOLDER: where (and continue there)
cls-sim choose … over='KEY=a,b' over='KEY2=c,d'            all combinations
cls-sim choose … over='KEY=0.001..0.1' how=random trials=20    values drawn from a range
cls-sim choose … how=halving                               the better half goes on to new seeds until one is left

arm=NAME        the arm whose settings are chosen (default: the first)
reading=NAME    what is judged (default: accuracy or r2); goal=least if less is better
subjects=N      subjects of a trial (default 4), with seeds from seed=0; fresh=N subjects of the report (default 8)
first=SEED      the first fresh seed (default 1000); use an unused block each time
preset=NAME     name of the preset (default: chosen)

Settings that are numbers per subject live as one cohort (together=false: one cohort each, with the same seeds).  The
folder has every trial, choice.json, and the choice as a method: cls-sim --config-dir FOLDER/conf method=chosen.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from cls_sim.commands.door import Parser, entered, whole_of
from cls_sim.core.errors import ConfigError, choice, known, refuse_if

HOWS = ("grid", "random", "halving")
OWN = {
    "over": [],
    "how": "grid",
    "trials": "20",
    "arm": None,
    "reading": None,
    "goal": "most",
    "together": "true",
    "subjects": "4",
    "seed": "0",
    "fresh": "8",
    "first": "1000",
    "preset": "chosen",
    "out": None,
}


def main(argv: Sequence[str] | None = None, folders: Sequence[str] = ()) -> int:
    """The command `cls-sim choose`."""
    run = partial(_choose, folders=folders)
    return entered(Parser("cls-sim choose", __doc__, OWN), run, argv or [], needs="an experiment")


def _choose(args: argparse.Namespace, folders: Sequence[str]) -> None:
    from cls_sim.commands.choose import settings
    from cls_sim.commands.choose.trials import Bench, split_of
    from cls_sim.config import validation
    from cls_sim.config.experiments import PART_KINDS, make, read
    from cls_sim.storage.disk import made, plain_below

    how, goal = choice("how", args.how, HOWS), choice("goal", args.goal, ("most", "least"))
    sizes = {name: whole_of(name, getattr(args, name)) for name in ("trials", "subjects", "fresh", "first")}
    seed = whole_of("seed", args.seed, 0)
    validation.name("preset", args.preset)
    refuse_if(not args.over, "over", "is missing", "write over='KEY=a,b,c'")
    if seed >= 1000 or sizes["first"] < 1000:
        raise ConfigError("seed", "must be below 1000, and first from 1000", "choose and report on different seeds")
    tried = settings.some(args.over, sizes["trials"]) if how == "random" else settings.grid(args.over)
    experiment = read(args.given, folders)
    name = args.arm or next(iter(experiment.arms))
    known("arm", name, experiment.arms, f"{name[:100]!r} is none of its arms")
    arm = experiment.arms[name]
    refuse_if(arm.origin is not None, "arm", f"{name} is a branch of {arm.origin}", f"choose settings of {arm.origin}")
    split = split_of(arm.cfg["world"])
    bench = Bench(tuple(args.given), name, split, args.reading, Path(), tuple(folders), "", arm.own)
    for setting in dict.fromkeys(one for chosen in tried for one in chosen):
        asked = bench.overrides((setting,), seed, sizes["subjects"], validating=False)
        cfg, kind = read(asked, folders).arms[name].cfg, setting.partition(".")[0]
        if kind in PART_KINDS:
            make(kind, cfg[kind], wrapping=True)
    default = Path("outputs") / "choose" / experiment.name / f"{datetime.now():%Y-%m-%d_%H-%M-%S}"
    home = Path(validation.path("out", args.out)) if args.out else default
    if home.exists() and not (home / "choice.json").is_file() and any(home.iterdir()):
        raise ConfigError("out", f"{home} exists and is not empty", "name a new folder, or that of a search")
    made(home)
    plain_below(home)
    bench = replace(bench, home=home, again=str(home))
    book = Book(bench, tried, goal, {"how": how, "seed": seed, "subjects": sizes["subjects"], "split": list(split)})
    together = choice("together", args.together, ("true", "false")) == "true"
    best = book.search(halving=how == "halving", together=together)
    book.report(best, sizes["first"], sizes["fresh"])
    book.preset(args.preset, best, [one for one in arm.own if "=" in one])


class Book:
    """The record of a search: choice.json, written after every trial."""

    def __init__(self, bench: Any, tried: Sequence[tuple[str, ...]], goal: str, about: Mapping[str, Any]):
        self.bench, self.tried, self.sign, self.about = bench, list(tried), 1 if goal == "most" else -1, about
        self.found: dict[tuple[str, ...], list[float]] = {setting: [] for setting in tried}
        self.fresh: dict[str, Any] = {}
        self.best: tuple[str, ...] | None = None
        self.write()

    def search(self, *, halving: bool, together: bool) -> tuple[str, ...]:
        """The best setting on validation."""
        seed, n = self.about["seed"], self.about["subjects"]
        left = list(self.tried)
        while True:
            refuse_if(seed + n > 1000, "subjects", "needs seeds from 1000", "give fewer subjects, or a smaller seed")
            joined = self.bench.together(left, seed, n) if together else None
            for i, setting in enumerate(left):
                values = joined[i] if joined is not None else self.bench.live(setting, seed, n)
                self.found[setting] += [float(value) for value in values]
                self.write()
            left.sort(key=self._rank)
            for setting in left:
                many = len(self.found[setting])
                print(f"{self.mean(setting):8.4f}  {many} subjects  {' '.join(setting)}", flush=True)
            seed += n * (len(left) if joined is not None else 1)
            left = left[: max(1, len(left) // 2)] if halving else left[:1]
            if len(left) == 1:
                self.best = left[0]
                return left[0]

    def _rank(self, setting: tuple[str, ...]) -> float:
        mean = self.mean(setting)
        return math.inf if math.isnan(mean) else -self.sign * mean

    def mean(self, setting: tuple[str, ...]) -> float:
        values = self.found[setting]
        return sum(values) / len(values) if values else float("nan")

    def report(self, best: tuple[str, ...], first: int, n: int) -> None:
        """The choice and the experiment's own setting on fresh seeds and test data, paired by subject."""
        from cls_sim import statistics

        chosen, own = (self.bench.live(one, first, n, validating=False) for one in (best, ()))
        e, d = statistics.estimate(chosen), statistics.paired(chosen, own)
        before = statistics.estimate(own)
        self.fresh = {"seeds": [first, first + n - 1], "mean": e.mean, "ci95": [e.low, e.high], "own": before.mean}
        self.fresh |= {"difference": d.mean, "difference_ci95": [d.low, d.high], "p": d.p}
        self.write()
        where = "validation data" if self.bench.split else "seeds below 1000 (this world has no validation data)"
        print(f"chosen on {where}: {' '.join(best)}")
        print(
            f"on fresh seeds {first} to {first + n - 1}: {e.mean:.4f} [{e.low:.4f}, {e.high:.4f}]; without the choice "
            f"{before.mean:.4f}; difference {d.mean:+.4f} [{d.low:+.4f}, {d.high:+.4f}]"
        )

    def preset(self, name: str, best: tuple[str, ...], own: Sequence[str]) -> None:
        """Write the choice as a method, in FOLDER/conf/method."""
        import shlex

        import yaml

        from cls_sim.commands.choose.trials import without
        from cls_sim.storage.disk import made, put

        folder = made(self.bench.home / "conf" / "method", below=self.bench.home)
        made(self.bench.home / "conf" / "experiment", below=self.bench.home)
        told = {"name": name, "overrides": [*without(own, best), *best]}
        head = f"# Chosen by cls-sim choose {shlex.join(self.bench.given)}; see choice.json\n"
        put(folder / f"{name}.yaml", (head + yaml.safe_dump(told, sort_keys=False, allow_unicode=True)).encode())
        place = shlex.quote(str(self.bench.home / "conf"))
        print(f"preset: cls-sim --config-dir {place} {shlex.join(self.bench.given)} method={name}")
        print(f"choice: {self.bench.home / 'choice.json'}", flush=True)

    def write(self) -> None:
        from cls_sim.storage.disk import write

        trials = [
            {"setting": list(setting), "mean": self.mean(setting), "subjects": len(values), "values": values}
            for setting, values in self.found.items()
        ]
        told = {"given": list(self.bench.given), "arm": self.bench.arm, "reading": self.bench.reading, **self.about}
        told |= {"trials": trials, "chosen": None if self.best is None else list(self.best), "fresh": self.fresh}
        write(self.bench.home / "choice.json", told, lasts=True)
