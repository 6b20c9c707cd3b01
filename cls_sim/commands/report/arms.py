"""The results of the arms, compared with published numbers, with expectations, and with each other."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import combinations

import numpy as np

from cls_sim import figures, statistics
from cls_sim.claims.bounds import VAGUE
from cls_sim.commands.report import expected
from cls_sim.commands.report.blocks import Blocks, Heading, Picture, Table, Terms, Text, text, without_empty
from cls_sim.commands.report.facts import Facts, Published
from cls_sim.figures.page import drawn, label_of
from cls_sim.sinks.console import interval, number, p_value

ALL_PAIRS = 6  # largest number of arms for which all pairs are compared
MANY = 14  # number of readings shown for an experiment without a main reading
LEVEL = 0.05


def verdict(ours: statistics.Estimate, known: Published, size: str = "paper") -> tuple[float, str]:
    """Half the width of the band in percentage points, and the verdict on our mean.

    Inside is |ours - published| <= max(1.5, 3 sqrt(SEM_published^2 + SEM_ours^2)).  The verdict is "not decided" if our
    SEM is above 3 points or unknown, "shown, not counted" without a published SEM, and "not at full size" for a run of
    another size.

    >>> verdict(statistics.estimate([0.195, 0.199, 0.2, 0.201, 0.203]), Published(19.89, 0.02, ""))
    (1.5, 'inside')
    """
    sem = 100 * ours.sem
    band = max(1.5, 3 * math.hypot(known.sem or 0.0, sem if math.isfinite(sem) else 0.0))
    if known.sem is None:
        return band, "shown, not counted"
    if size != "paper":
        return band, "not at full size"
    if not sem <= VAGUE:
        return band, "not decided"
    return band, "inside" if abs(100 * ours.mean - known.value) <= band else "outside"


def methods(run: Facts) -> Blocks:
    """The main reading of every arm, with published numbers; without a main reading, all readings."""
    if not run.main:
        return _every_reading(run)
    known = {arm: run.published[arm] for arm in run.arms if arm in run.published}
    beside = ["published", "band", "verdict"][: 3 if run.size == "paper" else 2] if known else []
    rows, bands, count, few = [], {}, Counter[str](), False
    for name, arm in run.arms.items():
        e = statistics.estimate(arm.values[run.main])
        few |= e.n < statistics.FEWEST
        cells = ["", "", ""]
        if name in known:
            value, sem = known[name].value, known[name].sem
            band, said = verdict(e, known[name], run.size)
            count[said] += 1
            low, high = bands[name] = (value - band) / 100, min(1.0, (value + band) / 100)
            cells = [
                f"{value / 100:.4f}" + ("" if sem is None else f" ± {sem / 100:.4f}"),
                f"{low:.3f} to {high:.3f}",
                said,
            ]
        rows.append([name, expected.family(arm.method), *_numbers(e), *cells[: len(beside)]])
    families = any(row[1] for row in rows)
    blocks: Blocks = [Heading("Methods" if families else "Arms")]
    if known:
        sources = "; ".join(dict.fromkeys(p.source for p in known.values() if p.source))
        decided, undecided = count["inside"] + count["outside"], count["not decided"]
        told = {"all": decided + undecided, "decided": decided, "inside": count["inside"], "undecided": undecided}
        kind = "decided" if run.size == "paper" else "smaller"
        blocks.append(Text(text(kind, vague=VAGUE, sources=sources, **told)))
    caption = text("methods", reading=label_of(run.main))
    caption += text("few", fewest=statistics.FEWEST) if few else ""
    caption += text("band") if known else ""
    heads = ["arm", "family", run.main, "SEM", "95 % interval", "n", *beside]
    blocks.append(Table(*without_empty(heads, rows), caption))
    values = {name: arm.values[run.main] for name, arm in run.arms.items()}
    figure = figures.arms(values, ylabel=label_of(run.main), bands=bands or None)
    said = text("dots") + ("; grey: published band." if bands else ".")
    return [*blocks, Picture("methods", drawn(figure), said)]


def _numbers(e: statistics.Estimate) -> list[str]:
    return [number(e.mean), number(e.sem), interval((e.low, e.high)), str(e.n)]


def _every_reading(run: Facts) -> Blocks:
    names = list(dict.fromkeys(name for arm in run.arms.values() for name in arm.values))
    if not names:
        return []
    rows = [
        [label_of(name), arm.name, *_numbers(statistics.estimate(arm.values[name]))]
        for name in names[:MANY]
        for arm in run.arms.values()
        if name in arm.values
    ]
    heads = ["reading", "arm", "mean", "SEM", "95 % interval", "n"]
    more = text("first", shown=MANY, all=len(names)) if len(names) > MANY else ""
    return [Heading("Readings"), Table(heads, rows, text("readings") + more)]


def expectations(run: Facts) -> Blocks:
    """One sentence for each method: the expected result in this scenario, and the result found."""
    if run.main != "accuracy" or not run.scenario:
        return []
    means = {arm.method: float(np.nanmean(arm.values["accuracy"])) for arm in run.arms.values() if arm.method}
    items = []
    for name, arm in run.arms.items():
        if said := expected.told(arm.method, run.scenario):
            mean = float(np.nanmean(arm.values["accuracy"]))
            ours = expected.found(arm.method, run.scenario, mean, means.get("none"), means.get("joint"))
            items.append((name, f"{said[0].upper()}{said[1:]}. {ours}"))
    if not items:
        return []
    note = Text(text("expected", scenario=run.scenario))
    return [Heading("What is expected of each method"), note, Terms(items)]


def tests(run: Facts, reference: str) -> Blocks:
    """Every arm against the reference, and all pairs of few arms, corrected for multiple comparisons."""
    if not run.main or reference not in run.arms or len(run.arms) < 2:
        return []
    others = [name for name in run.arms if name != reference]
    rows = _compared(run, [(other, reference) for other in others])
    caption = text("tests", pairs=len(rows), level=100 * (1 - LEVEL / max(1, len(rows))))
    fewest = min((n for n in (len(_common(run, reference, other)[0]) for other in others) if n), default=99)
    if (floor := 2.0 / 2**fewest) > LEVEL:
        caption += text("floor", fewest=fewest, floor=floor)
    heads = ["arm", f"difference to {reference}", "95 % interval", "pairs", "p", "p, corrected", "verdict"]
    table = Table(heads, [[pair[0], *cells] for pair, cells in rows], caption)
    blocks: Blocks = [Heading(f"Paired tests against {reference}"), table]
    if 2 < len(run.arms) <= ALL_PAIRS:
        every = [(b, a) for a, b in combinations(run.arms, 2)]
        cells = [[f"{a} - {b}", *told] for (a, b), told in _compared(run, every)]
        note = f"All {len(every)} pairs, corrected together."
        blocks += [Heading("All pairs", 3), Table(["pair", "difference", *heads[2:]], cells, note)]
    return blocks


def _common(run: Facts, a: str, b: str) -> tuple[np.ndarray, np.ndarray]:
    """The main readings of two arms, for the seeds that both have."""
    assert run.main is not None
    x, y = ({arm.seed + i: v for i, v in enumerate(arm.values[run.main])} for arm in (run.arms[a], run.arms[b]))
    seeds = [seed for seed in x if seed in y]
    return np.array([x[s] for s in seeds]), np.array([y[s] for s in seeds])


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
