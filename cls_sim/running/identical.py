"""Arms whose lives are identical, bit for bit: the setting in which they differ has no effect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cls_sim.config.experiments import Experiment
from cls_sim.storage.trace import Trace

COSTS = ("cls_sim.Dose", "cls_sim.Passes", "cls_sim.ExtraBytes")


def identical(
    experiment: Experiment, traces: Mapping[str, Trace], learnt: Mapping[str, list[Any]]
) -> list[dict[str, Any]]:
    """Arms that are bit-equal in all subjects, in the learnt state at the end and in every reading except costs.

    learnt  arm → the hash of the learnt state of each of its chunks (see `jobs.learnt`), None if it was not recorded

    Each arm is paired with its origin if the origin is identical, else with the first identical arm.
    """
    costs, groups = _costs(experiment), dict[Any, list[str]]()
    for name, trace in traces.items():
        if len(traces) > 1 and None not in learnt[name]:
            groups.setdefault((trace.digest(costs), *learnt[name]), []).append(name)
    found = []
    for first, *others in groups.values():
        for name in others:
            origin = experiment.arms[name].origin
            than = origin if origin in (first, *others) else first
            found.append({"arm": name, "than": than, "subjects": traces[name].subjects})
    return found


def _costs(experiment: Experiment) -> set[str]:
    """The names of readings of costs; they may differ although the learnt states are equal (steps at rate 0)."""
    probes = {name: cfg for arm in experiment.arms.values() for name, cfg in (arm.cfg["probes"] or {}).items() if cfg}
    return {name for name, cfg in probes.items() if cfg["_target_"] in COSTS}
