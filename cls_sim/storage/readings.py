"""What follows from a trace: every probe's last reading, and from a reading by context forgetting and transfer."""

from __future__ import annotations

import numpy as np

from cls_sim import statistics
from cls_sim.core.errors import ConfigError
from cls_sim.storage.trace import Trace


def readings(trace: Trace) -> dict[str, np.ndarray]:
    """The last reading of every probe [s], contexts averaged, and what follows from a reading by context.

    From a matrix [s, k] taken at context ends (its k are contexts): NAME.forgetting, NAME.backward, NAME.forward, and
    where it was also taken within contexts NAME.stability_gap and NAME.min_old.
    """
    found: dict[str, np.ndarray] = {}
    for name in trace.names():
        last = trace.last(name)
        found[name] = last if last.ndim == 1 else np.nanmean(last, 1)
        if last.ndim == 2 and trace.is_taken(name, "context.end"):
            found |= {f"{name}.{k}": v for k, v in statistics.transfer(trace.matrix(name)).items() if k != "final"}
            if trace.is_taken(name, "day.end") or trace.is_taken(name, "night.end"):
                found |= {f"{name}.{k}": v for k, v in _dips(trace, name).items()}
    return found


def _dips(trace: Trace, name: str) -> dict[str, np.ndarray]:
    """The `dips` of every subject [s], each in its own order of rows."""
    rows = [row for row in trace.rows if name in row["readings"]]
    values = np.stack([row["readings"][name] for row in rows])  # [t, s, k]
    who = np.stack([row.get("who", np.ones(trace.subjects, bool)) for row in rows])  # [t, s]
    ends = np.array([row["moment"] == "context.end" for row in rows])
    found = [dips(values[who[:, i], i], ends[who[:, i]]) for i in range(trace.subjects)]
    return {key: np.array([one[key] for one in found]) for key in ("stability_gap", "min_old")}


def dips(values: np.ndarray, ends: np.ndarray) -> dict[str, float]:
    """How far one subject's old contexts fall on the way, from their readings [t, k]; contexts are learnt in order.

    ends  bool [t]: the rows taken at context ends

    stability_gap  what is lost for a while and won back: within each later context, the lower of the readings at its
                   two ends less the least in between, at least 0; mean over old contexts and later ones
    min_old        the least reading of an old context since it was learnt, mean over old contexts (min-ACC)

    Both after De Lange, van de Ven & Tuytelaars 2023.  NaN where there is no old context, or nothing in between.

    >>> values = np.array([[0.9, 0.1], [0.3, 0.5], [0.4, 0.8], [0.7, 0.9]])
    >>> found = dips(values, np.array([True, False, False, True]))
    >>> {name: round(value, 3) for name, value in found.items()}
    {'stability_gap': 0.4, 'min_old': 0.3}
    """
    values, at = np.asarray(values, np.float64), np.flatnonzero(ends)
    if values.ndim != 2 or len(values) != len(ends):
        raise ConfigError("dips", f"has shape {values.shape} and {len(ends)} ends", "give [t, k] and [t]")
    gaps, least = [], []
    for context in range(min(values.shape[1], len(at) - 1)):
        since = values[at[context] :, context]
        least.append(np.nanmin(since) if np.isfinite(since).any() else np.nan)
        for start, end in zip(at[context:-1], at[context + 1 :], strict=True):
            between = values[start + 1 : end, context]
            if np.isfinite(between).any():
                gaps.append(max(0.0, min(values[start, context], values[end, context]) - np.nanmin(between)))
    mean = {"stability_gap": gaps, "min_old": least}
    return {name: float(np.mean(found)) if found else float("nan") for name, found in mean.items()}
