"""The lifetime of single memories in synapses."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.errors import ConfigError, refuse_if, several, whole
from cls_sim.core.part import Spec, per_subject
from cls_sim.core.settings import Settings, setting
from cls_sim.core.tensors import from_numpy
from cls_sim.probes.base import Measured, Probe, of_world

SYSTEMS = ("cortex", "both")


class MemorySignal(Settings, Probe):
    """Signal-to-noise ratio of a memory by its age, for an ideal observer: SNR(t) = √N y·w / (|y| |w|) [s, k].

    y is the pattern of t experiences ago (0: the last one), w are the N synapses; |y| = √N for a pattern of ±1. For a
    random pattern this has mean 0 and standard deviation 1; a memory is alive while its SNR is above 1. The value at
    each age is the mean over at most `window` memories of ages in [age · (1 - width), age · (1 + width)].

    ages    of the profile, from 0, in experiences
    window  number of memories that are averaged at each age, from 1
    width   largest relative distance from the age, in [0, 1)
    region  the inner variable of the synapses that is observed (0 … m - 1); None: the weights

    NaN for ages that no memory has.  Raises ConfigError for worlds whose experience is not one row of ±1 per synapse.

    Source: Fusi, Drew & Abbott 2005.

    >>> MemorySignal(ages=[0, 10, 100]).ages
    (0, 10, 100)
    """

    axis = "age"
    moments = ("life.end",)

    ages: Sequence[int] = setting((0, 1, 3, 10, 30, 100), "whole numbers", "[0, 1, 3, 10]", whole, 0, check=several)
    window: int = setting(16)
    width: float = setting(0.1, 0.0, 0.99)
    region: int | None = setting(None, 0)

    def setup(self, spec: Spec) -> Spec:
        if not spec.regression or spec.inputs != (1,) or spec.batch != 1:
            raise ConfigError("", "needs a world that stores patterns in synapses", "use world=patterns")
        return spec

    def measure(self, life: Measured) -> Tensor:
        self.setup(life.spec)
        weights = self._synapses(life).double()  # [s, N]
        length = weights.square().sum(1).sqrt()
        oldest = int(life.clock.experience.min())
        lags = {age: self._lags(age, oldest) for age in self.ages}
        clock, seen = copy.deepcopy(life.clock), dict[int, Tensor]()
        for lag in sorted({lag for some in lags.values() for lag in some}):
            clock.experience = life.clock.experience - 1 - lag
            y = life.world.next(clock).y[:, 0].double()
            size = (y.square().sum(1) / y.shape[1]).sqrt().clamp_min(1e-12)  # 1 for ±1
            seen[lag] = (y * weights).sum(1) / (size * length)
        nothing = torch.full_like(length, torch.nan)
        columns = [torch.stack([seen[lag] for lag in some]).mean(0) if some else nothing for some in lags.values()]
        return torch.stack(columns, 1)

    def _lags(self, age: int, oldest: int) -> list[int]:
        """The ages that are averaged for this age."""
        if age >= oldest:
            return []
        reach = int(age * self.width)
        low, high = age - reach, min(age + reach, oldest - 1)
        return sorted({round(lag) for lag in np.linspace(low, high, min(self.window, high - low + 1))})

    def _synapses(self, life: Measured) -> Tensor:
        """The observed synapses: [s, N]."""
        name, weights = next(iter(life.neocortex.weights.items()))
        if self.region is None:
            return weights.detach().flatten(1)
        inner = getattr(life.consolidation, "inner", {}).get(name)
        if inner is None or self.region >= inner.shape[-1]:
            reason = f"there is no inner variable {self.region}"
            raise ConfigError("region", reason, "use synapses that have one, or null")
        return inner[..., self.region].flatten(1)


class OfCohorts(Settings, Probe):
    """A measure of each cohort of items of the world, in the cortex or in both systems: [s, K]."""

    axis = "cohort"
    moments = ("life.end",)

    of: str = setting("cortex", SYSTEMS)

    def cohorts(self, life: Measured) -> tuple[Tensor, Tensor]:
        """The patterns of the cohorts, and the strengths in the cortex or in both systems: [s, K, items] each."""
        patterns: Tensor = of_world(life, "cohorts", "needs cohorts", "use world=cohorts")()
        there = next(iter(life.neocortex.weights.values())).detach().reshape(patterns.shape)
        if self.of == "both":
            cue = torch.ones(len(patterns), 1, 1, device=patterns.device)
            there = there + life.hippocampus.recall(cue).scores.reshape(patterns.shape)
        return patterns, there


class MemoryStrength(OfCohorts):
    """Memory strength of each cohort: the mean of y·w over its items, [s, K].

    1 is a memory learned in one exposure, 0 a pattern that was never learned.

    of  cortex: w are the cortical weights, as after a hippocampal lesion; both: plus the recall of the hippocampus

    >>> MemoryStrength().moments
    ('life.end',)
    """

    def measure(self, life: Measured) -> Tensor:
        patterns, there = self.cohorts(life)
        return (patterns * there).double().mean(2)


class RecalledShare(OfCohorts):
    """The share of each cohort's items with at least one copy, [s, K]; the chance level is 0.

    of  cortex (as after a hippocampal lesion) or both

    Source: recall of the Memory Chain Model, Murre, Chessa & Meeter 2013.

    >>> RecalledShare(of="cortex").of
    'cortex'
    """

    of: str = setting("both", SYSTEMS)

    def measure(self, life: Measured) -> Tensor:
        patterns, there = self.cohorts(life)
        return (patterns * there >= 0.5).double().mean(2)


class DetailsAndGist(Settings, Probe):
    """Memory for pairs in detail, or for their gist only: [s, 2 · conditions].

        detailed = d + (1 - d) g · guess,   coarse = (1 - d) g (1 - guess),   averaged over the pairs

    The cohorts come in twos: cohort 2j has the details of the pairs of condition j, and cohort 2j + 1 their gist, item
    by item.  d is 1 if the hippocampus has a copy of the details, g is 1 if hippocampus or cortex has a copy of the
    gist: the cortex answers with the gist only.

    guess  0 to 1, the chance to pick the right one of several things of the same gist; one number, or one per subject

    The reading is [s, detailed and coarse of each condition].  Raises ConfigError for an odd number of cohorts.

    Source: a schema tells the gist and not the details, Audrain & McAndrews 2022.

    >>> DetailsAndGist(guess=0.5).guess
    0.5
    """

    axis = "kind of memory"
    moments = ("day.end",)

    guess: float | list[float] = setting(1 / 3, 0.0, 1.0)

    def measure(self, life: Measured) -> Tensor:
        patterns: Tensor = of_world(life, "cohorts", "needs cohorts", "use world=cohorts")()
        refuse_if(patterns.shape[1] % 2, "", "needs cohorts in twos, details and gist", "give an even number of times")
        cue = torch.ones(len(patterns), 1, 1, device=patterns.device)
        fast = patterns * life.hippocampus.recall(cue).scores.reshape(patterns.shape)
        slow = patterns * next(iter(life.neocortex.weights.values())).detach().reshape(patterns.shape)
        detail = (fast[:, 0::2] >= 0.5).double()  # [s, condition, items]
        gist_only = (1.0 - detail) * ((fast + slow)[:, 1::2] >= 0.5)
        guess = from_numpy(per_subject("guess", self.guess, life.spec)).to(detail.device)[:, None, None]
        found = torch.stack([detail + guess * gist_only, (1.0 - guess) * gist_only], 2)
        return found.mean(3).flatten(1)


class Discriminability(OfCohorts):
    """Discriminability d' of each learned cohort from items that were never learned, [s, learned cohorts].

        d'_k = (mean_k - mean_0) / sqrt((var_k + var_0) / 2)   of y·w; 0: all items of cohorts that are never learned

    It does not depend on a common factor of all weights.  Raises ConfigError for worlds without cohorts that are never
    learned.

    of  cortex (as after a hippocampal lesion) or both

    Source: d_a of signal detection with unequal variances, Simpson & Fitter 1973.

    >>> Discriminability(of="cortex").of
    'cortex'
    """

    def measure(self, life: Measured) -> Tensor:
        patterns, there = self.cohorts(life)
        times = of_world(life, "times", "needs cohorts", "use world=cohorts")
        learned = torch.tensor([len(some) > 0 for some in times], device=patterns.device)
        if learned.all():
            raise ConfigError("", "needs cohorts that are never learned", "add cohorts without times ([]) to the world")
        signal = (patterns * there).double()  # [s, K, items]
        lures, signal = signal[:, ~learned].flatten(1), signal[:, learned]
        noise = (signal.var(2) + lures.var(1, keepdim=True)) / 2
        return (signal.mean(2) - lures.mean(1, keepdim=True)) / noise.sqrt()
