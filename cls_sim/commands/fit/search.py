"""Fit up to four numbers of a model to people: all settings of a round live as one cohort."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cls_sim import people
from cls_sim.commands.choose.settings import Span, choices
from cls_sim.commands.fit.bench import Bench, Ground
from cls_sim.commands.fit.recovery import Recovery, recovered
from cls_sim.config import experiments
from cls_sim.core.arrays import Numbers
from cls_sim.core.errors import ConfigError, known, refuse_if, whole
from cls_sim.figures.people import people as drawn
from cls_sim.people import People
from cls_sim.statistics import spearman

MOST = 4  # free numbers
LIKELY = 3.84  # χ² above the least within which a setting belongs to the 95 % range of one number
TIMES = 40  # tables that are made and fitted again, for the recovery


@dataclass(frozen=True, repr=False)
class Fit:
    """A model fitted to people.

    numbers   key → the number with the largest likelihood
    ranges    key → [low, high], the numbers within 3.84 of the least χ²
    recovery  key → Spearman's correlation of true and fitted numbers, where the model itself made the table
    recovered  the tables of `recover=N` and the numbers fitted to them, or None
    fitted    the people it was fitted to; judged: those it is judged by (the same, if the table has means only)
    means     cell → [s], the model's values on fresh seeds
    """

    experiment: str
    arm: str
    numbers: Mapping[str, float]
    ranges: Mapping[str, tuple[float, float]]
    recovery: Mapping[str, float]
    table: str
    fitted: People
    judged: People
    means: Mapping[str, np.ndarray]
    least: float
    settings: int
    x: Sequence[float] | None = field(default=None)
    recovered: Recovery | None = None

    @property
    def distances(self) -> dict[str, float]:
        """cell → distance of the model's mean from that of the judged people, in standard errors."""
        means = [float(np.mean(self.means[cell])) for cell in self.judged.cells]
        off = (np.array(means) - self.judged.mean) / self.judged.sem
        return dict(zip(self.judged.cells, off.tolist(), strict=True))

    @property
    def overrides(self) -> list[str]:
        """The numbers as overrides of the experiment."""
        return [f"{key}={value:.4g}" for key, value in self.numbers.items()]

    def figure(self, **settings: Any) -> Any:
        """The judged people over the model; `x` is the number of each cell (see cls_sim.figures.people)."""
        values = [self.means[cell] for cell in self.judged.cells]
        half = "judged" if self.judged.halved else "all"
        return drawn(self.table, {"": {self.arm: (self.judged.cells, values)}}, half=half, **settings)

    def entries(self) -> dict[str, Any]:
        """The content of fit.json."""
        told = {"experiment": self.experiment, "arm": self.arm, "table": self.table, "settings": self.settings}
        told |= {"numbers": dict(self.numbers), "ranges": {k: list(v) for k, v in self.ranges.items()}}
        told |= {"recovery": dict(self.recovery), "chi_squared": self.least, "aic": self.least + 2 * len(self.numbers)}
        told |= {"recovered": self.recovered.entries()} if self.recovered else {}
        return told | {"held_out": self.judged.halved, "distances": self.distances}

    def __repr__(self) -> str:
        off = self.distances
        inside, who = sum(abs(one) <= 2 for one in off.values()), "held-out people" if self.judged.halved else "people"
        lines = []
        for key, value in self.numbers.items():
            low, high = self.ranges[key]
            lines.append(f"{key} = {value:.4g}  [{low:.4g}, {high:.4g}]  recovery {self.recovery[key]:.2f}")
        lines.append(f"χ² {self.least:.2f} in {len(off)} cells, AIC {self.least + 2 * len(self.numbers):.2f}")
        lines.append(f"{inside} of {len(off)} cells within 2 standard errors of {who}")
        worst = max(off, key=lambda cell: abs(off[cell]))
        lines.append(f"farthest: {worst}, {off[worst]:+.1f} standard errors")
        return "\n".join([*lines, *([repr(self.recovered)] if self.recovered else [])])


def fit(
    *overrides: str,
    data: str | Path,
    over: Sequence[str] | str,
    arm: str | None = None,
    points: Mapping[str, str] | None = None,
    trials: int = 200,
    rounds: int = 6,
    subjects: int = 1,
    seed: int = 0,
    fresh: int = 8,
    first: int = 1000,
    recover: int = 0,
    folders: Sequence[str] = (),
) -> Fit:
    """Fit up to four numbers of an arm of an experiment to a table of people, by the likelihood of its means.

        χ² = Σ_k ((m_k - people_k) / SEM_k)²

    data      a published table by its name, or a .csv file: cell,mean,sem or subject,cell,value (then the numbers are
              fitted to the first, third, … person and judged by the others)
    over      up to four of KEY=low..high, numbers that a part takes one per subject
    points    cell → reading of the arm; None: those of the experiment's claim about this table, else the cells are
              readings, such as accuracy or strength[3]@5
    trials    settings of a round: they live as one cohort of `subjects` subjects each, with seeds from `seed`
    rounds    each round after the first draws near the best tenth of all settings found so far
    fresh     subjects of the report, with seeds from `first`
    recover   tables that the model makes with known numbers, and that are fitted as people were; 0: none

    Raises ConfigError for a bad table, an unknown cell or reading, and a number that cannot differ between subjects.

    >>> found = fit("experiment=ebbinghaus_1885", data="ebbinghaus_1885", trials=20, rounds=1, fresh=1,
    ...             over="hippocampus.early=0.3..0.8")
    >>> list(found.numbers)
    ['hippocampus.early']
    """
    over = [over] if isinstance(over, str) else list(over)
    spans = _spans(over)
    whole("trials", trials, 10)
    if whole("recover", recover, 0) and recover < 4:
        raise ConfigError("recover", f"{recover} tables give no correlation", "give 20, or 0 for none")
    if whole("seed", seed, 0) + trials * whole("subjects", subjects) > 1000 or first < 1000:
        raise ConfigError("trials", "needs seeds from 1000, or first is below", "give fewer trials or subjects")
    experiment = experiments.read(list(overrides), list(folders))
    name = arm or next(iter(experiment.arms))
    known("arm", name, experiment.arms, f"{name[:100]!r} is none of its arms")
    for key in spans:
        free = experiment.reads(name, key)
        refuse_if(not free, key, f"is set by the arm {name}, or by its origin", "fit an arm that leaves it free")
    fitted, judged, points = _people(data, points, experiment.cfg.get("claims") or {})
    bench = Bench((*overrides, f"arms=[{name}]"), name, points, tuple(folders))
    found, tried = np.zeros((0, len(points))), np.zeros((0, len(spans)))
    ground = Ground.over(list(spans.values()))
    for turn in range(whole("rounds", rounds)):
        near = tried[np.argsort(people.chi_squared(fitted, found), kind="stable")[: max(8, trials // 10)]]
        new = ground.drawn(trials, turn, near)
        tried = np.concatenate([tried, new])
        found = np.concatenate([found, bench.together(dict(zip(spans, new.T, strict=True)), subjects, seed)])
    again = None
    if recover:
        search = {"trials": trials, "rounds": rounds, "subjects": subjects, "seed": seed}
        pool = (tried, found)
        again = recovered(bench, ground, list(spans), fitted, pool, recover, fresh=fresh, first=first, **search)
    off = people.chi_squared(fitted, found)
    best, likely = int(np.argmin(off)), off <= off.min() + LIKELY
    numbers = {key: float(tried[best, i]) for i, key in enumerate(spans)}
    at = [f"{key}={value:.6g}" for key, value in numbers.items()]
    return Fit(
        experiment=experiment.name,
        arm=name,
        numbers=numbers,
        ranges={key: (float(tried[likely, i].min()), float(tried[likely, i].max())) for i, key in enumerate(spans)},
        recovery=again.correlation if again else _recovery(fitted, tried, found, list(spans), trials),
        table=str(data),
        fitted=fitted,
        judged=judged,
        means=bench.live([*at, f"subjects={fresh}", f"seed={first}"]),
        least=float(off[best]),
        settings=len(tried),
        recovered=again,
    )


def _spans(over: Sequence[str]) -> dict[str, Span]:
    found: dict[str, Span] = {}
    for key, span in map(choices, over):
        if not isinstance(span, Span):
            raise ConfigError(key, "has no range", "write over='KEY=low..high'")
        found[key] = span
    if not 0 < len(found) <= MOST:
        raise ConfigError("over", f"names {len(found)} numbers", f"fit one to {MOST}: over='KEY=low..high'")
    return found


def _people(
    data: str | Path, points: Mapping[str, str] | None, claims: Mapping[str, Any]
) -> tuple[People, People, Mapping[str, str]]:
    """The people of the fit, the people of the judgement, and cell → reading."""
    table = people.read(data)
    told = [claim for claim in claims.values() if claim.get("table") == str(data) and "points" in claim]
    cells: Mapping[str, str] = points or (told[0]["points"] if told else {cell: cell for cell in table.cells})
    fitted, judged = people.halves(data)
    return fitted.of(list(cells)), judged.of(list(cells)), cells


def _recovery(fitted: People, tried: Numbers, found: Numbers, keys: Sequence[str], first: int) -> dict[str, float]:
    """Tables made by settings of the first round, with the standard errors of people, fitted by all other settings."""
    lot = np.random.Generator(np.random.Philox(7))
    true = lot.permutation(first)[:TIMES]
    noisy = found[true] + fitted.sem * lot.standard_normal((len(true), found.shape[1]))
    off = (((found[None] - noisy[:, None]) / fitted.sem) ** 2).sum(2)  # [table, setting]
    off[np.arange(len(true)), true] = math.inf
    again = tried[off.argmin(1)]
    return {key: spearman(tried[true, i], again[:, i]) for i, key in enumerate(keys)}
