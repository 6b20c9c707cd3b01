"""Theoretical curves in closed form, for figures and claims.  Numpy only.

A claim or a figure names one of them (`law: go_cls_train`).  The first argument of a law is x, the others are settings.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cls_sim.core.errors import ConfigError, suggest
from cls_sim.theory.amnesia import (
    branching_control,
    branching_lesion,
    chain_control,
    chain_lesion,
    compartment_both,
    compartment_cortex,
    relative_gradient,
)
from cls_sim.theory.attractor import notebook_error, overlap_after_winners
from cls_sim.theory.development import half_time, mode_strength
from cls_sim.theory.go_cls import (
    Limits,
    bayes_bound,
    best_dose,
    best_generalisation_score,
    best_memory_score,
    generalisation_score,
    go_cls_generalise,
    go_cls_limits,
    go_cls_train,
    spectrum,
    variances,
)
from cls_sim.theory.synapses import (
    benna_fusi_response,
    benna_fusi_snr,
    cascade_signal,
    cascade_snr,
    fading_snr,
    lifetime,
    partition_snr,
)

__all__ = [
    "Limits",
    "bayes_bound",
    "benna_fusi_response",
    "benna_fusi_snr",
    "best_dose",
    "best_generalisation_score",
    "best_memory_score",
    "branching_control",
    "branching_lesion",
    "cascade_signal",
    "cascade_snr",
    "chain_control",
    "chain_lesion",
    "compartment_both",
    "compartment_cortex",
    "fading_snr",
    "generalisation_score",
    "go_cls_generalise",
    "go_cls_limits",
    "go_cls_train",
    "half_time",
    "law",
    "lifetime",
    "mode_strength",
    "notebook_error",
    "overlap_after_winners",
    "partition_snr",
    "relative_gradient",
    "spectrum",
    "variances",
]


def law(key: str, name: Any) -> Callable[..., Any]:
    """The law of this name; raises ConfigError with `key` if there is none.

    >>> law("claims.x.law", "go_cls_train") is go_cls_train
    True
    """
    laws = {n: globals()[n] for n in __all__ if callable(globals()[n]) and n not in ("law", "lifetime", "Limits")}
    if name not in laws:
        raise ConfigError(key, f"there is no law {name!r}", suggest(str(name), laws))
    return laws[name]
