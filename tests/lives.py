"""Small lives for tests: real parts, few steps."""

from __future__ import annotations

import inspect
from typing import Any

import cls_sim as cls


def wraps(name: str) -> bool:
    """Whether a name of the vocabulary is a wrap: it takes the part inside first (tests/test_interventions.py)."""
    first = next(iter(inspect.signature(getattr(cls, name)).parameters.values()), None)
    return first is not None and first.kind is first.POSITIONAL_OR_KEYWORD


def small(subjects: int = 2, seed: int = 0, **changes: Any) -> cls.Life:
    """A life on digits of five short contexts, one night a day."""
    parts: dict[str, Any] = {
        "world": cls.Digits(per_context=12, batch=8),
        "hippocampus": cls.Sparse(capacity=20),
        "neocortex": cls.Mlp(hidden=[32]),
        "plasticity": cls.WakeNight(wake=0.002, night=cls.Exponential(start=0.01, tau_days=10.0)),
        "rhythm": cls.Nights(wake=6, night=5),
        "replay": cls.Uniform(batch=16),
        "consolidation": cls.Descent(rule=cls.Adam()),
        "readout": cls.Cortex(),
    }
    return cls.Life(subjects=subjects, seed=seed, **parts | changes)


def live(life: cls.Life, ticks: int | None = None) -> cls.Life:
    """So many ticks, or to the end."""
    while not life.over and (ticks is None or life.clock.tick < ticks):
        life.step()
    return life
