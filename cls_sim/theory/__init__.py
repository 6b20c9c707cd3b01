"""Curves that theory has in closed form, to be drawn and tested beside simulations.  Numpy only.

A claim or a figure names one of them (`law: go_cls_train`): a function of x first, then of its settings.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cls_sim.errors import Refused, suggest
from cls_sim.theory.attractor import notebook_error, overlap_after_winners
from cls_sim.theory.go_cls import (
    Limits,
    bayes_bound,
    best_dose,
    go_cls_generalise,
    go_cls_limits,
    go_cls_train,
    spectrum,
    variances,
)

__all__ = [
    "Limits",
    "bayes_bound",
    "best_dose",
    "go_cls_generalise",
    "go_cls_limits",
    "go_cls_train",
    "law",
    "notebook_error",
    "overlap_after_winners",
    "spectrum",
    "variances",
]


def law(key: str, name: Any) -> Callable[..., Any]:
    """The function of this package that a claim or a figure names; refused under `key` where there is none.

    >>> law("claims.x.law", "go_cls_train") is go_cls_train
    True
    """
    laws = {n: globals()[n] for n in __all__ if callable(globals()[n]) and n not in ("law", "Limits")}
    if name not in laws:
        raise Refused(key, f"there is no law {name!r}", suggest(str(name), laws))
    return laws[name]
