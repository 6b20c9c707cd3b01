"""Kinds of claims that judge a model by data of people."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from cls_sim import people, statistics
from cls_sim.claims.verdict import Verdict, bounded, of_curves
from cls_sim.core.errors import ConfigError
from cls_sim.people import People
from cls_sim.storage.case import Case

NORMAL = 1.959964  # 95 %


def data(
    case: Case,
    table: str,
    arm: str | None = None,
    points: dict[str, str] | None = None,
    arms: dict[str, str] | None = None,
    than: str | None = None,
    reading: str = "accuracy",
    half: str = "all",
    sems: float = 2.0,
    share: float = 1.0,
) -> Verdict:
    """The model's means lie within `sems` standard errors of the means of people, in a share of the cells or more.

    table   a published table of cls_sim.people, or the path of a .csv file
    points  cell → reading of `arm`;  or arms: arm → cell, with one `reading` of all of them
    than    an arm whose values are subtracted, where the cells are effects
    half    the people it is judged by: all, fitted, or judged (those that it has not been fitted to)

    The value is the distance of the last cell that is needed, in standard errors.  The entry `cells` has the distance
    of each cell, `means` the model's means, `chi_squared` the sum of squares.
    """
    there, values = _both(case, table, half, arm, points, arms, reading)
    if than is not None and points:
        values = [ours - case.values(than, name) for ours, name in zip(values, points.values(), strict=True)]
    means = np.array([np.nanmean(one) for one in values])
    off = (means - there.mean) / there.sem
    needed = max(1, math.ceil(share * len(off) - 1e-9))
    farthest = float(np.sort(np.abs(off))[needed - 1])
    cells = dict(zip(there.cells, off.tolist(), strict=True))
    expected = f"{needed} of {len(off)} cells within {sems:g} SEM of people"
    chi_squared = float(people.chi_squared(there, means))
    found = dict(zip(there.cells, means.tolist(), strict=True))
    return Verdict(expected, farthest, farthest <= sems, cells=cells, means=found, chi_squared=chi_squared)


def data_better(
    case: Case,
    table: str,
    arm: str,
    points: dict[str, str],
    free: int,
    than: str | None = None,
    than_free: int = 0,
    law: str | None = None,
    x: list[float] | None = None,
    half: str = "all",
    by: float = 0.0,
) -> Verdict:
    """A model of people is better than another arm, or than a law fitted to them: ΔAIC = AIC(other) - AIC(arm) > by.

        AIC = χ² + 2 · free,  χ² = Σ_k ((m_k - people_k) / SEM_k)²

    free, than_free  free numbers of the two models; 0 on the `judged` half, if they were fitted to the other one
    law              exponential, logarithm, power, savings or compartments, fitted at x to the same people (on the
                     judged half: to the other one, and its free numbers do not count)

    The interval is that of the ΔAIC for other people with the same standard errors, the models held fixed.
    """
    there, ours = _both(case, table, half, arm, points, None, "")
    mine = np.array([np.nanmean(one) for one in ours])
    if law is not None and x is not None:
        base = people.read(table, "fitted").of(there.cells) if half == "judged" else there
        other, numbers = people.fitted(base, x, law)[1], 0 if half == "judged" else people.FREE[law]
    elif than is not None:
        other = np.array([np.nanmean(one) for one in _both(case, table, half, than, points, None, "")[1]])
        numbers = than_free
    else:
        raise ConfigError("claims", "data_better has nothing to compare with", "give than, or law and x")
    found = people.aic(there, other, numbers) - people.aic(there, mine, free)
    wide = NORMAL * 2 * float(np.sqrt((((other - mine) / there.sem) ** 2).sum()))
    against = than if law is None else law
    return Verdict(f"ΔAIC({against} - {arm}) > {by:g}", found, found > by, interval=[found - wide, found + wide])


def data_order(
    case: Case,
    table: str,
    arm: str | None = None,
    points: dict[str, str] | None = None,
    arms: dict[str, str] | None = None,
    reading: str = "accuracy",
    half: str = "all",
    at_least: float | None = None,
    at_most: float | None = None,
) -> Verdict:
    """Spearman's correlation of the model's means with those of people, over the cells, lies within bounds."""
    there, values = _both(case, table, half, arm, points, arms, reading)

    def order(*means: float) -> float:
        found = statistics.spearman(there.mean, means)
        return found if math.isfinite(found) else 0.0  # all means are equal

    found, interval = of_curves(order, *values)
    verdict = bounded(found, at_least, at_most)
    verdict.more = {
        "interval": interval,
        "cells": {c: float(v.mean()) for c, v in zip(there.cells, values, strict=True)},
    }
    return verdict


def _both(
    case: Case,
    table: str,
    half: str,
    arm: str | None,
    points: Mapping[str, str] | None,
    arms: Mapping[str, str] | None,
    reading: str,
) -> tuple[People, list[np.ndarray]]:
    """The people in these cells, and the model's values [s] in each."""
    if arm is not None and points:
        cells, values = list(points), [case.values(arm, name) for name in points.values()]
    elif arms:
        cells, values = list(arms.values()), [case.values(name, reading) for name in arms]
    else:
        raise ConfigError("claims", "no cells of the table are named", "give arm and points, or arms: {arm: cell}")
    return people.read(table, half).of(cells), values
