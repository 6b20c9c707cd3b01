"""A row of a trace as W&B curves: means over subjects and their intervals, under wake/, sleep/ and evaluation/."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np

from cls_sim import statistics
from cls_sim.statistics.curves import mean_where

COSTS = {  # name in the ledger → name of the curve
    "lived": "wake/lived",
    "wake_passes": "wake/passes",
    "revisited": "wake/revisited",
    "wake_dose": "wake/dose",
    "wake_rate": "wake/rate",
    "night": "sleep/night",
    "night_passes": "sleep/passes",
    "night_dose": "sleep/dose",
    "night_rate": "sleep/rate",
}


def costs(life: Any) -> dict[str, np.ndarray]:
    """The cost of a life so far, and its present learning rates awake and asleep: name → [s]."""
    clock = copy.copy(life.clock)
    rates = {}
    for name, asleep in (("wake_rate", False), ("night_rate", True)):
        clock.asleep = np.full(clock.subjects, asleep)
        rates[name] = np.asarray(life.plasticity.rate(clock), np.float64)
    totals = {name: count.copy() for name, count in life.ledger.totals().items() if name in COSTS}
    return {**totals, **rates, "night": life.clock.night.astype(np.float64)}


def curves(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of a trace as a flat dict: evaluation/NAME, .low and .high (the t interval), .context.K.

    Its "costs" are added, if there are any.  NaN is left out.

    >>> row = {"moment": "day.end", "day": np.array([1.0, 1.0]), "tick": 9, "readings": {"r2": np.array([0.5, 0.75])}}
    >>> curves(row)
    {'moment': 'day.end', 'tick': 9, 'day': 1.0, 'evaluation/r2': 0.625}
    """
    who = row.get("who", np.ones(len(row["day"]), bool))
    numbers = {"day": float(np.mean(row["day"][who]))}
    for name, values in row["readings"].items():
        values = np.asarray(values, np.float64)
        numbers |= _spread(f"evaluation/{name}", values if values.ndim == 1 else mean_where(values))
        if values.ndim == 2:
            numbers |= {
                f"evaluation/{name}.context.{k + 1}": float(mean) for k, mean in enumerate(mean_where(values, axis=0))
            }
    for name, values in row.get("costs", {}).items():
        numbers[COSTS[name]] = float(np.mean(values))
    return {"moment": row["moment"], "tick": int(row["tick"])} | {k: v for k, v in numbers.items() if v == v}


def _spread(key: str, values: np.ndarray) -> dict[str, float]:
    """The mean and its interval over subjects [s]; no interval below 5 subjects.

    Live curves have Student's interval, because a bootstrap at every row is too slow; the summary has the bootstrap
    interval.
    """
    values = values[~np.isnan(values)]
    n = len(values)
    if n == 0:
        return {}
    mean = float(values.mean())
    if n < statistics.FEWEST or not np.isfinite(values).all():
        return {key: mean}
    half = statistics.expanded(n, 0.95) * float(values.std()) / n**0.5  # t · SD / sqrt n
    return {key: mean, f"{key}.low": mean - half, f"{key}.high": mean + half}
