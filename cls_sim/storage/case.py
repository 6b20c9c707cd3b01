"""The measurements of an experiment, as claims and figures read them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cls_sim.core.errors import ConfigError, known, refuse_if

if TYPE_CHECKING:
    from cls_sim.storage.trace import Trace

PLACE = re.compile(r"(?P<name>[^\[@]+)(?:\[(?P<place>-?\d+)\])?(?:@(?:(?P<start>[\d.]+?)\.\.)?(?P<day>[\d.]+))?")


@dataclass(frozen=True)
class Case:
    """The measurements of an experiment.

    traces    arm → Trace
    readings  arm → name → [s], the last reading of each probe
    key       what reads them, in the messages of errors
    """

    traces: Mapping[str, Trace]
    readings: Mapping[str, Mapping[str, np.ndarray]]
    key: str = "claims"

    def values(self, arm: str, reading: str) -> np.ndarray:
        """The last reading of an arm [s]; `name[3]` is one entry of a profile.

        `name@5`, `name[3]@5`: the last reading up to day 5 (of a profile without an index, its mean); `name@4..5`: its
        change since the last reading up to day 4.
        """
        said = PLACE.fullmatch(reading)
        if said and said["day"]:
            found = self._on(arm, said["name"], said["place"], float(said["day"]))
            return found - self._on(arm, said["name"], said["place"], float(said["start"])) if said["start"] else found
        if said and said["place"]:
            return self.profile(arm, said["name"])[:, int(said["place"])]
        known(f"{self.key}: {arm}.{reading}", reading, self.readings[arm], "is not measured")
        return self.readings[arm][reading]

    def has(self, arm: str, reading: str) -> bool:
        """Whether an arm has a reading."""
        said = PLACE.fullmatch(reading)
        return (said["name"] if said else reading) in self.readings[arm]

    def _on(self, arm: str, name: str, place: str | None, day: float) -> np.ndarray:
        """A reading at the last moment up to this day [s]."""
        days, found = self.traces[arm].reading(name)
        count = int((days <= day + 1e-9).sum())
        reason = f"is measured only from day {days[0]:g} on"
        refuse_if(not count, f"{self.key}: {arm}.{name}@{day:g}", reason, "give a later day")
        look = found[count - 1]
        if place is not None:
            return look[:, int(place)]
        return look if look.ndim == 1 else np.nanmean(look, 1)

    def mean(self, arm: str, reading: str) -> float:
        """The mean of `values` over subjects."""
        return float(np.nanmean(self.values(arm, reading)))

    def profile(self, arm: str, reading: str, places: Sequence[int] | None = None) -> np.ndarray:
        """The last profile of an arm [s, k]; with `places`, only the entries places[0] to places[1] - 1."""
        found = np.asarray(self.traces[arm].last(reading), np.float64)
        if found.ndim != 2:
            raise self.no_profile(arm, reading)
        return found[:, slice(*(places or (None, None)))]

    def mean_profile(self, arm: str, reading: str) -> np.ndarray:
        """The mean of `profile` over subjects [k]."""
        return np.nanmean(self.profile(arm, reading), 0)

    def over(self, cells: Mapping[str, float], reading: str) -> tuple[np.ndarray, np.ndarray]:
        """The numbers of some arms (arm: number), and the means of a reading over subjects."""
        means = [self.mean(arm, reading) for arm in cells]
        return np.array(list(cells.values()), np.float64), np.array(means)

    def over_dose(self, arm: str, reading: str) -> tuple[np.ndarray, np.ndarray]:
        """The mean dose over subjects [t], and a reading [t, s]."""
        return self.traces[arm].reading("dose")[1].mean(1), self.traces[arm].reading(reading)[1]

    def over_days(self, arm: str, reading: str, moment: str | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The days [t], and the mean of a reading over subjects and profile entries [t]."""
        days, found = self.traces[arm].reading(reading, moment)
        return days, np.nanmean(found.reshape(len(found), -1), 1)

    def no_profile(self, arm: str, reading: str) -> ConfigError:
        """The error for a reading [s] where a profile is needed."""
        where, remedy = f"{self.key}: {arm}.{reading}", "name a reading with a profile [s, k]"
        return ConfigError(where, "is one number per subject", remedy)
