"""Arms whose lives are the same, bit for bit: the setting in which they differ changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cls_sim.config.experiments import Experiment
from cls_sim.storage.trace import Trace

COSTS = ("cls_sim.Dose", "cls_sim.Passes", "cls_sim.ExtraBytes")


def identical(
    experiment: Experiment, traces: Mapping[str, Trace], learnt: Mapping[str, list[Any]]
) -> list[dict[str, Any]]:
    """Arms that are bit-equal in all subjects, in what was learnt at the end and in every reading but costs.

    learnt  arm → what each of its chunks had learnt (see `jobs.after_step`), None where that was not written down

    Each arm is named beside its origin where that is one of them, else beside the first of them.
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
    """The readings that count what a life costs, which differ where a step at rate 0 is a step without rows."""
    probes = {name: cfg for arm in experiment.arms.values() for name, cfg in (arm.cfg["probes"] or {}).items() if cfg}
    return {name for name, cfg in probes.items() if cfg["_target_"] in COSTS}
