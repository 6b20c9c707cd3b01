"""Lists of paired associates, as in memory experiments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.random import Generator

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.draws import generator
from cls_sim.core.errors import ConfigError, refuse_if, several, whole
from cls_sim.core.part import Spec
from cls_sim.core.settings import Settings, setting
from cls_sim.world.listed import Listed
from cls_sim.world.plan import epochs


class Associations(Settings, Listed):
    """Lists of arbitrary pairs, cue → response, studied one after another; every list is a context.

    lists             k, number of lists; a list that is never studied serves as foils
    items             n, pairs in a list
    answers           number of responses, assigned evenly and at random; None: a different one for every pair (k · n)
    features          bits of a cue
    place             additional bits that code the list, equal in all its cues (0: none)
    active            0 to 1, share of these bits that is 1
    same_cues         whether all lists have the same cues: A-B, A-C
    foils             the last so many lists are lures: their cues are their own, also if the others have the same
                      cues, and their places those of the first lists; leave them out of `visits`
    visits            the list studied in each stretch; None: 0, 1, … k-1
    per_visit         experiences in each stretch
    batch             rows in each experience, up to n; None: the whole list; a list is presented epoch by epoch
    boundaries_known  whether subjects know when a stretch ends

    An evaluation has the pairs of a list as studied: x [s, n, features + place] of 0 and 1, y [s, n].  Cues, responses
    and order are drawn for each subject.  For cohorts of items that are learned on day d and tested on day T, as in
    lesion studies, use lists with one visit each.

    Source: Barnes & Underwood (1959); McCloskey & Cohen (1989); McClelland, McNaughton & O'Reilly (1995).

    >>> world = Associations(lists=2, items=4, features=10)
    >>> spec = world.setup(Spec(seeds=(0, 1)))
    >>> spec.outputs, world.evaluation(1).y[0].tolist()
    (8, [4, 5, 6, 7])
    """

    lists: int = setting(2)
    items: int = setting(10)
    answers: int | None = setting(None, 2)
    features: int = setting(25)
    place: int = setting(0, 0)
    active: float = setting(0.25, 0.0, 1.0, open_low=True)
    same_cues: bool = setting(False)
    foils: int = setting(0, 0)
    visits: Sequence[int] | None = setting(None)
    per_visit: int = setting(10)
    batch: int | None = setting(None)
    boundaries_known: bool = setting(True)

    def _ready(self) -> None:
        shown = ("numbers", "[0, 1, 0]", whole, 0, self.lists - 1)
        self.visits = None if self.visits is None else several("visits", self.visits, *shown, least=1)
        self._batch = self.items if self.batch is None else whole("batch", self.batch, 1, self.items)
        refuse_if(self.foils >= self.lists, "foils", f"are {self.foils} of {self.lists} lists", "give fewer")
        if self.same_cues and not self.place and self.lists > 1:
            raise ConfigError("place", "is 0 and all lists have the same cues", "give bits that code the list")

    def setup(self, spec: Spec) -> Spec:
        self._visits = np.array(range(self.lists) if self.visits is None else self.visits)
        self.length = len(self._visits) * self.per_visit
        self.ends = tuple(range(self.per_visit, self.length + 1, self.per_visit))
        drawn = [self._lists(generator(seed, "associations.lists")) for seed in spec.seeds]
        cues, responses = (torch.from_numpy(np.stack(column)).flatten(1, 2) for column in zip(*drawn, strict=True))
        self._plan = torch.from_numpy(np.stack([self._order(seed) for seed in spec.seeds])).to(spec.device)
        return self._keep(
            spec,
            cues,
            responses,
            torch.arange(self.lists).repeat_interleave(self.items),
            outputs=self.lists * self.items if self.answers is None else self.answers,
            batch=self._batch,
            contexts=self.lists,
            ends=self.ends if self.boundaries_known else (),
            visits=tuple(self._visits.tolist()) if self.boundaries_known else (),
            quantum=1.0,
        )

    def _lists(self, source: Generator) -> tuple[np.ndarray, np.ndarray]:
        """One subject's cues [k, n, x] of 0 and 1, and the response to each [k, n]."""
        k, n = self.lists, self.items
        cues = _bits(source, k * n, self.features, self.active).reshape(k, n, -1)
        places = _bits(source, k, self.place, self.active)[:, None].repeat(n, 1)
        responses = np.arange(k * n)
        if self.answers is not None:
            responses = source.permutation(responses % self.answers)
        studied = k - self.foils
        if self.same_cues:
            cues[:studied] = cues[:1]
        places[studied:] = places[np.arange(self.foils) % studied]
        return np.concatenate((cues, places), 2), responses.reshape(k, n)

    def _order(self, seed: int) -> np.ndarray:
        """The item of each row in the life of a subject: int [experiences, b]."""
        rows, pools = self.per_visit * self._batch, self._visits[:, None] * self.items + np.arange(self.items)
        sources = (generator(seed, "associations.order", visit) for visit in range(len(pools)))
        found = [epochs(source, pool, rows) for source, pool in zip(sources, pools, strict=True)]
        return np.concatenate(found).reshape(-1, self._batch).astype(np.int64)

    def revisit(self, clock: Clock, size: int) -> Iterator[Batch]:
        """The pairs of the list studied last, each once, in batches of `size`, in an order drawn for each subject."""
        ended = np.minimum(clock.experience, self.ends[-1]) // self.per_visit
        studied = self._visits[np.maximum(ended - 1, 0)]
        return self._again(ended, studied, np.maximum(ended * self.per_visit - 1, 0), size)


def _bits(source: Generator, rows: int, width: int, active: float) -> np.ndarray:
    """Patterns [rows, width] with a share `active` of the bits equal to 1, and at least one: float32.

    >>> _bits(np.random.default_rng(0), 2, 8, 0.25).sum(1).tolist()
    [2.0, 2.0]
    """
    patterns = np.zeros((rows, width), np.float32)
    patterns[:, : max(1, round(active * width))] = 1.0
    return source.permuted(patterns, axis=1)
