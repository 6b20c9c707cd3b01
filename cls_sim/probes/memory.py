"""How long single memories last in the synapses."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.errors import ConfigError, choice, real, whole
from cls_sim.core.part import Spec
from cls_sim.probes.base import Measured, Probe, of_world

SYSTEMS = ("cortex", "both")


class MemorySignal(Probe):
    """What an ideal observer sees of a memory of each age: SNR(t) = y·w / |w| [s, k] (Fusi, Drew & Abbott 2005).

    y is the pattern that was lived t experiences ago (0: the last one), w the synapses; against a random pattern of
    ±1 this has mean 0 and standard deviation 1, so its reference is 0, and a memory is alive while it is above 1.
    At each age the mean over memories from age · (1 - width) to age · (1 + width), at most `window` of them.

    ages    of the profile, from 0, in experiences
    window  from 1, memories that are averaged at each age
    width   in [0, 1), how far from the age they may be, as a share of it
    region  which inner variable of the synapses is observed (0 … m - 1); None: the weights

    NaN for ages that no memory has.  Refused in worlds whose experience is not one row of ±1 a synapse.

    >>> MemorySignal(ages=[0, 10, 100]).ages
    (0, 10, 100)
    """

    axis = "age"
    moments = ("life.end",)

    def __init__(
        self,
        *,
        ages: Sequence[int] = (0, 1, 3, 10, 30, 100),
        window: int = 16,
        width: float = 0.1,
        region: int | None = None,
    ):
        self.ages = tuple(whole(f"ages[{i}]", age, 0) for i, age in enumerate(ages))
        self.window, self.width = whole("window", window), real("width", width, 0.0, 0.99)
        self.region = None if region is None else whole("region", region, 0)

    def setup(self, spec: Spec) -> Spec:
        if not spec.regression or spec.inputs != (1,) or spec.batch != 1:
            raise ConfigError("", "sees memories in synapses, and this world sends none", "use world=patterns")
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
            seen[lag] = (life.world.next(clock).y[:, 0].double() * weights).sum(1) / length
        nothing = torch.full_like(length, torch.nan)
        columns = [torch.stack([seen[lag] for lag in some]).mean(0) if some else nothing for some in lags.values()]
        return torch.stack(columns, 1)

    def _lags(self, age: int, oldest: int) -> list[int]:
        """The ages that are averaged for this one."""
        if age >= oldest:
            return []
        reach = int(age * self.width)
        low, high = age - reach, min(age + reach, oldest - 1)
        return sorted({round(lag) for lag in np.linspace(low, high, min(self.window, high - low + 1))})

    def _synapses(self, life: Measured) -> Tensor:
        """What is observed: [s, N]."""
        name, weights = next(iter(life.neocortex.weights.items()))
        if self.region is None:
            return weights.detach().flatten(1)
        inner = getattr(life.consolidation, "inner", {}).get(name)
        if inner is None or self.region >= inner.shape[-1]:
            raise ConfigError(
                "region", f"there is no inner variable {self.region}", "use synapses that have one, or null"
            )
        return inner[..., self.region].flatten(1)


class OfCohorts(Probe):
    """What is left of each cohort that a world teaches, in the cortex or in both systems: [s, K]."""

    axis = "cohort"
    moments = ("life.end",)

    def __init__(self, *, of: str = "cortex"):
        self.of = choice("of", of, SYSTEMS)

    def cohorts(self, life: Measured) -> tuple[Tensor, Tensor]:
        """The cohorts' patterns, and what there is of them in the cortex or in both systems: [s, K, items]."""
        patterns: Tensor = of_world(life, "cohorts", "asks for cohorts", "use world=cohorts")()
        there = next(iter(life.neocortex.weights.values())).detach().reshape(patterns.shape)
        if self.of == "both":
            cue = torch.ones(len(patterns), 1, 1, device=patterns.device)
            there = there + life.hippocampus.recall(cue).scores.reshape(patterns.shape)
        return patterns, there


class MemoryStrength(OfCohorts):
    """How strong each cohort's memory is: the mean over its items of y·w, [s, K].

    1 is a memory as it was learned in one exposure; its reference, of a pattern that was never learned, is 0.

    of  cortex (w are the weights: what a lesion of the hippocampus leaves) or both (and what the hippocampus recalls)

    >>> MemoryStrength().moments
    ('life.end',)
    """

    def measure(self, life: Measured) -> Tensor:
        patterns, there = self.cohorts(life)
        return (patterns * there).double().mean(2)


class RecalledShare(OfCohorts):
    """The share of each cohort's items of which there is at least one copy, [s, K]; its chance level is 0.

    of  cortex (what a lesion of the hippocampus leaves) or both

    Source: recall of the Memory Chain Model, Murre, Chessa & Meeter 2013.

    >>> RecalledShare(of="cortex").of
    'cortex'
    """

    def __init__(self, *, of: str = "both"):
        super().__init__(of=of)

    def measure(self, life: Measured) -> Tensor:
        patterns, there = self.cohorts(life)
        return (patterns * there >= 0.5).double().mean(2)


class Discriminability(OfCohorts):
    """How well each learned cohort is told from what was never learned: d' of y·w over items, [s, learned cohorts].

        d'_k = (mean_k - mean_0) / sqrt((var_k + var_0) / 2),  0: all items of the cohorts that are learned at no time

    A factor on all weights changes nothing.  Refused in worlds without cohorts that are never learned.

    of  cortex (what a lesion of the hippocampus leaves) or both

    Source: d_a of signal detection with unequal variances, Simpson & Fitter 1973.

    >>> Discriminability(of="cortex").of
    'cortex'
    """

    def measure(self, life: Measured) -> Tensor:
        patterns, there = self.cohorts(life)
        learned = torch.tensor(
            [len(times) > 0 for times in of_world(life, "times", "asks for cohorts", "use world=cohorts")],
            device=patterns.device,
        )
        if learned.all():
            raise ConfigError(
                "", "compares with cohorts that are never learned", "add some with no times ([]) to the world"
            )
        signal = (patterns * there).double()  # [s, K, items]
        lures, signal = signal[:, ~learned].flatten(1), signal[:, learned]
        noise = (signal.var(2) + lures.var(1, keepdim=True)) / 2
        return (signal.mean(2) - lures.mean(1, keepdim=True)) / noise.sqrt()
