"""Small lives for tests: real parts, few steps."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest

import cls_sim as cs
from cls_sim.config import experiments


def wraps(name: str) -> bool:
    """Whether a name of the vocabulary is a wrap: it takes the part inside first (tests/test_interventions.py)."""
    first = next(iter(inspect.signature(getattr(cs, name)).parameters.values()), None)
    return first is not None and first.kind is first.POSITIONAL_OR_KEYWORD


DATA_SETS = re.compile(
    r"override /world: (mnist|cifar\w+|encoded|omniglot|clinc|chatbot|bank|abalone|species)|experiment=split|table: beukers"
)


def needs_data(experiment: str, request: pytest.FixtureRequest) -> None:
    """Skip, or in CI fail, where an experiment needs data sets that are not there."""
    if DATA_SETS.search((experiments.conf_dir() / "experiment" / f"{experiment}.yaml").read_text()):
        request.getfixturevalue("data_dir")


def small(subjects: int = 2, seed: int = 0, **changes: Any) -> cs.Life:
    """A life on digits of five short contexts, one night a day."""
    parts: dict[str, Any] = {
        "world": cs.Digits(per_context=12, batch=8),
        "hippocampus": cs.Sparse(capacity=20),
        "neocortex": cs.Mlp(hidden=[32]),
        "plasticity": cs.WakeNight(wake_rate=0.002, night_rate=cs.Exponential(start=0.01, tau_days=10.0)),
        "rhythm": cs.Nights(experiences_per_day=6, steps_per_night=5),
        "replay": cs.Uniform(batch=16),
        "consolidation": cs.Descent(optimizer=cs.Adam()),
        "readout": cs.CortexReadout(),
    }
    return cs.Life(subjects=subjects, seed=seed, **parts | changes)


def live(life: cs.Life, ticks: int | None = None) -> cs.Life:
    """So many ticks, or to the end."""
    while not life.over and (ticks is None or life.clock.tick < ticks):
        life.step()
    return life
