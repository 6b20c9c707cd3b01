"""Theoretical curves in closed form, for figures and claims.  Numpy only.

A claim or a figure names one of them (`law: go_cls_train`).  The first argument of a law is x, the others are settings.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cls_sim.core.errors import ConfigError, suggest
from cls_sim.theory.amnesia import branching_control as branching_control
from cls_sim.theory.amnesia import branching_lesion as branching_lesion
from cls_sim.theory.amnesia import chain_control as chain_control
from cls_sim.theory.amnesia import chain_lesion as chain_lesion
from cls_sim.theory.amnesia import compartment_both as compartment_both
from cls_sim.theory.amnesia import compartment_cortex as compartment_cortex
from cls_sim.theory.amnesia import relative_gradient as relative_gradient
from cls_sim.theory.attractor import attractor_capacity as attractor_capacity
from cls_sim.theory.attractor import notebook_error as notebook_error
from cls_sim.theory.attractor import overlap_after_winners as overlap_after_winners
from cls_sim.theory.development import half_time as half_time
from cls_sim.theory.development import mode_strength as mode_strength
from cls_sim.theory.energy import best_interval as best_interval
from cls_sim.theory.energy import caching_energy as caching_energy
from cls_sim.theory.energy import nightly_energy as nightly_energy
from cls_sim.theory.energy import perceptron_energy as perceptron_energy
from cls_sim.theory.energy import perceptron_updates as perceptron_updates
from cls_sim.theory.go_cls import Limits as Limits
from cls_sim.theory.go_cls import bayes_bound as bayes_bound
from cls_sim.theory.go_cls import best_dose as best_dose
from cls_sim.theory.go_cls import best_generalisation_score as best_generalisation_score
from cls_sim.theory.go_cls import best_memory_score as best_memory_score
from cls_sim.theory.go_cls import generalisation_score as generalisation_score
from cls_sim.theory.go_cls import go_cls_generalise as go_cls_generalise
from cls_sim.theory.go_cls import go_cls_limits as go_cls_limits
from cls_sim.theory.go_cls import go_cls_sources as go_cls_sources
from cls_sim.theory.go_cls import go_cls_train as go_cls_train
from cls_sim.theory.go_cls import spectrum as spectrum
from cls_sim.theory.go_cls import variances as variances
from cls_sim.theory.synapses import benna_fusi_response as benna_fusi_response
from cls_sim.theory.synapses import benna_fusi_snr as benna_fusi_snr
from cls_sim.theory.synapses import cascade_signal as cascade_signal
from cls_sim.theory.synapses import cascade_snr as cascade_snr
from cls_sim.theory.synapses import fading_snr as fading_snr
from cls_sim.theory.synapses import lifetime as lifetime
from cls_sim.theory.synapses import partition_snr as partition_snr


def law(key: str, name: Any) -> Callable[..., Any]:
    """The law of this name; raises ConfigError with `key` if there is none.

    >>> law("claims.x.law", "go_cls_train") is go_cls_train
    True
    """
    there = {n: value for n, value in globals().items() if n not in ("law", "lifetime", "Limits")}
    laws = {n: f for n, f in there.items() if str(getattr(f, "__module__", "")).startswith(__name__)}
    if name not in laws:
        raise ConfigError(key, f"there is no law {name!r}", suggest(str(name), laws))
    return laws[name]
