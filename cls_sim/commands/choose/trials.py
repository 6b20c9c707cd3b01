"""Trials: cohorts that live under one setting each, or several settings in one cohort."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cls_sim.commands.sweeps import done, job_name
from cls_sim.config import experiments
from cls_sim.config.experiments import Arm, key_of
from cls_sim.core.errors import ConfigError
from cls_sim.core.signals import Interrupted
from cls_sim.storage import summary

QUIET = ("figures=null", "claims=null", "ablation=null")
NUMBER = re.compile(r"-?\d+(\.\d*)?(e[+-]?\d+)?", re.I)
Setting = tuple[str, ...]


@dataclass(frozen=True)
class Bench:
    """Where trials live: an arm of an experiment, judged on validation data if its world has such data.

    given  the overrides of the experiment, and those that all trials share
    split  the overrides that evaluate on the validation part
    own    the overrides of the arm; a searched value wins over them
    """

    given: tuple[str, ...]
    arm: str
    split: tuple[str, ...]
    reading: str | None
    home: Path
    folders: tuple[str, ...]
    again: str
    own: tuple[str, ...] = ()

    def overrides(self, setting: Setting, seed: int, subjects: int, *, validating: bool) -> list[str]:
        cohort = [f"arms=[{self.arm}]", f"seed={seed}", f"subjects={subjects}", *QUIET]
        tried = [*(self.split if validating else ()), *setting]
        arm = Arm(self.arm, {}, own=self.own)
        late = [one for one in tried if not arm.reads(one)]  # an arm's overrides win over a user's: these join them
        told = [f"arm.{self.arm}=[{','.join(map(_quoted, [*without(self.own, late), *late]))}]"] if late else []
        return [*self.given, *cohort, *told, *(one for one in tried if one not in late)]

    def live(self, setting: Setting, seed: int, subjects: int, *, validating: bool = True) -> np.ndarray:
        """The reading of every subject [s] of these seeds under a setting; a trial that is done is only read."""
        from cls_sim.running.runs import perform

        overrides = self.overrides(setting, seed, subjects, validating=validating)
        experiment = experiments.read(overrides, self.folders)
        stage = "validation" if validating else "test"
        named = job_name([*setting, f"seed={seed}"], {one.split("=")[0] for one in setting} | {"seed"})
        folder = self.home / stage / named
        if not done(experiment, folder):
            experiment.cfg["resume" if (folder / "run.json").is_file() else "out"] = str(folder)
            try:
                perform(experiment, quiet=True)
            except Interrupted as stop:
                raise Stopped(stop.name, self.again) from None
        return self._read(folder)

    def _read(self, folder: Path) -> np.ndarray:
        told = summary.read(folder).arms[self.arm]
        name = self.reading or told.main
        if name is None or name not in told.readings:
            known = ", ".join(told.readings)
            raise ConfigError("reading", f"{name or 'accuracy'} is not measured", f"give reading=, one of {known}")
        return np.array(told.readings[name].per_subject, np.float64)

    def together(self, settings: Sequence[Setting], seed: int, subjects: int) -> list[np.ndarray] | None:
        """The same for several settings as one cohort, if all of them are numbers per subject; else None."""
        joined = joint(settings, subjects)
        if joined is None or seed + len(settings) * subjects > 1000:
            return None
        overrides = self.overrides(joined, seed, subjects * len(settings), validating=True)
        try:
            cfg = experiments.read(overrides, self.folders).arms[self.arm].cfg
            experiments.make_life(cfg)
        except ConfigError:
            return None
        values = self.live(joined, seed, subjects * len(settings))
        return list(values.reshape(len(settings), subjects))


class Stopped(Interrupted):
    """A search was stopped; the same command continues it."""

    def __str__(self) -> str:
        return f"stopped by {self.name}; to continue, repeat the command with {shlex.quote(f'out={self.folder}')}"


def without(own: Sequence[str], setting: Sequence[str]) -> list[str]:
    """The overrides of an arm whose keys a setting does not set.

    >>> without(["hippocampus=store", "hippocampus.capacity=50"], ["hippocampus.capacity=20"])
    ['hippocampus=store']
    """
    keys = {key_of(one) for one in setting}
    return [one for one in own if key_of(one) not in keys]


def _quoted(override: str) -> str:
    r"""An override as a string of Hydra's: a quote is escaped, and so are the backslashes before a quote.

    >>> print(_quoted("title=it's"), _quoted("a=[1,2]"))
    'title=it\'s' 'a=[1,2]'
    """
    escaped = re.sub(r"(\\*)'", r"\1\1\'", override)
    return "'" + re.sub(r"(\\+)$", r"\1\1", escaped) + "'"


def joint(settings: Sequence[Setting], subjects: int) -> Setting | None:
    """One setting in which each subject has a number of its own: those of the first setting come first.

    >>> joint([("a=1", "b=x"), ("a=2", "b=x")], 2), joint([("a=1",), ("a=2",)], 2)
    (None, ('a=[1,1,2,2]',))
    """
    if len(settings) < 2:
        return None
    found = []
    for column in zip(*settings, strict=True):
        key = column[0].partition("=")[0]
        values = [one.partition("=")[2] for one in column]
        if not all(map(NUMBER.fullmatch, values)):
            return None
        found.append(f"{key}=[{','.join(value for value in values for _ in range(subjects))}]")
    return tuple(found)


def split_of(cfg: Any, way: tuple[str, ...] = ("world",)) -> tuple[str, ...]:
    """The overrides that make a world evaluate on its validation part; empty if it has none."""
    if not isinstance(cfg, dict):
        return ()
    if "eval_split" in cfg and "validation" in cfg:
        path = ".".join(way)
        share = [f"{path}.validation=0.1"] if not cfg["validation"] else []
        return (f"{path}.eval_split=validation", *share)
    return next((found for key, value in cfg.items() if (found := split_of(value, (*way, key)))), ())
