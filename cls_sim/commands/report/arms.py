"""The results of the arms, compared with published numbers, with expectations, and with each other."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from cls_sim import figures, statistics
from cls_sim.claims.bounds import VAGUE
from cls_sim.commands.compare import common_subjects
from cls_sim.commands.report import expected
from cls_sim.commands.report.facts import Facts, Published
from cls_sim.figures.page import drawn, label_of
from cls_sim.sinks.console import interval, number, p_value

ALL_PAIRS = 6  # largest number of arms for which all pairs are compared
MANY = 14  # number of readings shown for an experiment without a main reading
LEVEL = 0.05


def verdict(ours: statistics.Estimate, known: Published, size: str = "paper") -> tuple[float, str]:
    """Half the width of the band in percentage points, and the verdict on our mean.

    Inside is |ours - published| <= max(within, 3 sqrt(SEM_published^2 + SEM_ours^2)), where a claim says nothing else
    with within = 1.5.  The verdict is "not decided" if our
    SEM is above 3 points or unknown, "shown, not counted" without a published SEM, and "not at full size" for a run of
    another size.

    >>> verdict(statistics.estimate([0.195, 0.199, 0.2, 0.201, 0.203]), Published(19.89, 0.02, ""))
    (1.5, 'inside')
    """
    sem = 100 * ours.sem
    band = max(known.within, 3 * math.hypot(known.sem or 0.0, sem if math.isfinite(sem) else 0.0))
    if known.sem is None:
        return band, "shown, not counted"
    if size != "paper":
        return band, "not at full size"
    if not sem <= VAGUE:
        return band, "not decided"
    return band, "inside" if abs(100 * ours.mean - known.value) <= band else "outside"


def methods(run: Facts) -> dict[str, Any]:
    """The main reading of every arm, beside the published numbers.

    heads, rows  a table
    families     whether the arms are methods
    few          whether an arm has too few subjects for an interval
    verdicts     number of published numbers with each verdict, and their `sources`; empty if there are none
    png          the picture
    """
    known = {arm: run.published[arm] for arm in run.arms if arm in run.published}
    beside = ["published", "band", "verdict"][: 3 if run.size == "paper" else 2] if known else []
    rows, bands, verdicts, few = [], {}, Counter[str](), False
    for name, arm in run.arms.items():
        e = statistics.estimate(arm.values[run.main])
        few |= e.n < statistics.FEWEST
        cells = ["", "", ""]
        if name in known:
            value, sem = known[name].value, known[name].sem
            band, said = verdict(e, known[name], run.size)
            verdicts[said] += 1
            low, high = bands[name] = (value - band) / 100, min(1.0, (value + band) / 100)
            published = f"{value / 100:.4f}" + ("" if sem is None else f" ± {sem / 100:.4f}")
            cells = [published, f"{low:.3f} to {high:.3f}", said]
        rows.append([name, expected.family(arm.method), *_numbers(e), *cells[: len(beside)]])
    values = {name: arm.values[run.main] for name, arm in run.arms.items()}
    return {
        "heads": ["arm", "family", run.main, "SEM", "95 % interval", "n", *beside],
        "rows": rows,
        "families": any(row[1] for row in rows),
        "few": few,
        "verdicts": verdicts,
        "sources": "; ".join(dict.fromkeys(p.source for p in known.values() if p.source)),
        "png": drawn(figures.arms(values, ylabel=label_of(run.main), bands=bands or None)),
    }


def _numbers(e: statistics.Estimate) -> list[str]:
    return [number(e.mean), number(e.sem), interval((e.low, e.high)), str(e.n)]


def readings(run: Facts) -> list[list[str]]:
    """Every reading of every arm, as rows of a table, for an experiment without a main reading."""
    return [
        [label_of(name), arm.name, *_numbers(statistics.estimate(arm.values[name]))]
        for name in run.readings[:MANY]
        for arm in run.arms.values()
        if name in arm.values
    ]


def expectations(run: Facts) -> list[tuple[str, str]]:
    """One sentence for each method: the expected result in this scenario, and the result found."""
    if run.main != "accuracy":
        return []
    means = {name: float(np.nanmean(arm.values["accuracy"])) for name, arm in run.arms.items()}
    ends = {arm.method: means[name] for name, arm in run.arms.items()}
    items = []
    for name, arm in run.arms.items():
        if said := expected.told(arm.method, run.scenario):
            ours = expected.found(arm.method, run.scenario, means[name], ends.get("none"), ends.get("joint"))
            items.append((name, f"{said[0].upper()}{said[1:]}. {ours}"))
    return items


def against(run: Facts, reference: str) -> list[list[str]]:
    """Every arm against the reference, corrected for multiple comparisons, as rows of a table."""
    return [
        [a, *told] for (a, _), told in _compared(run, [(name, reference) for name in run.arms if name != reference])
    ]


def pairs(run: Facts) -> list[list[str]]:
    """All pairs of a few arms, corrected together, as rows of a table."""
    every = [(b, a) for a, b in combinations(run.arms, 2)] if 2 < len(run.arms) <= ALL_PAIRS else []
    return [[f"{a} - {b}", *told] for (a, b), told in _compared(run, every)]


def floor(run: Facts, reference: str) -> tuple[int, float]:
    """The smallest number of subjects in these comparisons, and the smallest p-value that it allows."""
    common = [len(_common(run, reference, name)[0]) for name in run.arms if name != reference]
    fewest = min(filter(None, common), default=99)
    return fewest, 2.0 / 2**fewest


def _common(run: Facts, *arms: str) -> list[np.ndarray]:
    """The main readings of arms, for the seeds that all have."""
    return common_subjects(*((run.arms[arm].seed, run.arms[arm].values[run.main]) for arm in arms))


def _compared(run: Facts, pairs: Sequence[tuple[str, str]]) -> list[tuple[tuple[str, str], list[str]]]:
    found = []
    for a, b in pairs:
        x, y = _common(run, a, b)
        if len(x):
            found.append(((a, b), statistics.paired(x, y), x - y))
    corrected = statistics.holm([e.p for _, e, _ in found])
    rows = []
    for (pair, e, difference), q in zip(found, corrected, strict=True):
        wide = statistics.estimate(difference, level=1 - LEVEL / len(found))
        said = "higher" if wide.low > 0 else "lower" if wide.high < 0 else "no difference found"
        cells = [number(e.mean, "+"), interval((e.low, e.high), "+"), str(e.n), p_value(e.p), p_value(float(q))]
        rows.append((pair, [*cells, "" if math.isnan(wide.low) else said]))
    return rows
