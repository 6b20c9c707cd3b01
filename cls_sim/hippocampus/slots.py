"""Which slot does an episode take, and which old one gives way?"""

from __future__ import annotations

import torch
from torch import Tensor

from cls_sim.core.clock import Clock
from cls_sim.core.draws import Draws
from cls_sim.core.errors import LARGEST, ConfigError, choice, whole
from cls_sim.core.part import Spec

EVICTION = ("reservoir", "ring", "balanced", "herding", "surprise", "coverage", "gradients")
BY_CLASS = ("balanced", "herding")  # each class for itself
BY_WORTH = ("herding", "surprise", "coverage", "gradients")  # by a number that the memory gives to each row
EMPTY, ABSENT = 2**61, 2**62  # priorities beyond those of any row: an empty slot, a row that is not there


class Slots:
    """What stays in a memory of `capacity` episodes when `b` more are lived.

    Every row gets a key, and of the stored and the new ones together those of lowest priority number stay:

    reservoir  the key is random: at any time a uniform sample of all rows lived (Vitter 1985, in its
               bottom-k form, where rows may come in batches of any size)
    ring       the key is minus the row's number: the newest
    balanced   first the rank of a random key among the keys of its class, then the key: every class has the
               same number of slots, or all of its rows if it has fewer, no slot is ever idle, and within a class
               the sample is uniform (greedy balancing, Prabhu et al. 2020; reservoirs within classes, Chrysakis &
               Moens 2020).  Classes of the subject's past only: nothing has to be told in advance.

    herding    the same balance, and within a class the key is the distance of the row, when it came, from the mean of
               all rows of its class so far: the typical stay (herding of exemplars, Rebuffi et al. 2017, in a stream)
    surprise   the key is the likelihood e^-loss that the cortex gave to the right answer when the row came: the
               unexpected stay
    coverage   the key is the likeness (cosine) of the row, when it came, to what was then stored and to the rows that
               came with it: the unlike stay, and together they cover what was lived
    gradients  the same of the gradients of their losses in the cortex' output weights, beside those of some stored
               episodes drawn by lot: what teaches something else stays (gradient-based sample selection, Aljundi et
               al. 2019)

    Empty slots are taken first, in order; a slot freed by forgetting is taken like an empty one.  Nothing here
    is state: the keys are kept with the episodes.

    >>> slots = Slots(3, "ring")
    >>> slots.setup(Spec(batch=2, outputs=2))
    >>> one = torch.ones(1, 2, dtype=torch.int64)
    >>> empty = torch.zeros(1, 3, dtype=torch.int64)
    >>> slots.choose(one, one > 0, empty, empty > 0, empty, Clock(1, 1))[0].tolist()
    [[0, 1]]
    """

    def __init__(self, capacity: int, eviction: str):
        self.capacity = whole("capacity", capacity, 1, 2**28)
        self.eviction = choice("eviction", eviction, EVICTION)

    def setup(self, spec: Spec) -> None:
        if self.eviction in BY_CLASS and spec.regression:
            raise ConfigError(
                "eviction", "balances classes, and in regression there are none", "choose reservoir or ring"
            )
        self._spec = spec
        self._draws = Draws(spec.seeds, "hippocampus.slots", (spec.batch,), device=spec.device)
        self._empty = EMPTY + self.capacity - torch.arange(self.capacity, device=spec.device)

    def choose(
        self,
        y: Tensor,
        fresh: Tensor,
        stored_y: Tensor,
        alive: Tensor,
        stored_key: Tensor,
        clock: Clock,
        worth: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The slot [s, b] of each new row, `capacity` for those not stored, and its key [s, b].

        y, fresh                     [s, b]  the new rows' labels, and which of them there are
        stored_y, alive, stored_key  [s, n]  the same of the slots, and their keys
        worth                        [s, b]  in [0, 1], of who keeps by it: what is lowest stays

        No two rows of a subject get the same slot.
        """
        rows = y.shape[1]
        key = self._keys(rows, alive, stored_key, clock) if worth is None else (worth.double() * LARGEST).long()
        priority = torch.cat((stored_key, key), 1)  # [s, n + b]
        if self.eviction in BY_CLASS:
            class_of = torch.where(torch.cat((alive, fresh), 1), torch.cat((stored_y, y), 1), 2**16)
            priority = (_rank_within(class_of, priority) << 32) + priority
        priority[:, : self.capacity] = torch.where(alive, priority[:, : self.capacity], self._empty)
        priority[:, self.capacity :].masked_fill_(~fresh, ABSENT)

        # b of the n + b give way: stored ones leave their slots, new ones are not stored.
        out = priority.topk(rows, sorted=False).indices.sort().values  # [s, b]
        stays = torch.ones_like(priority, dtype=torch.bool).scatter_(1, out, False)[:, self.capacity :] & fresh
        slot = out.gather(1, stays.cumsum(1).sub_(1).clamp_(min=0))  # the i-th that stays takes the i-th slot left
        return torch.where(stays, slot, self.capacity), key

    def _keys(self, rows: int, alive: Tensor, stored_key: Tensor, clock: Clock) -> Tensor:
        """The keys of new rows: int64 [s, b], within 32 bits."""
        if self.eviction == "ring":
            newest = torch.where(alive, stored_key, 0).amin(1, keepdim=True)
            return newest - torch.arange(1, rows + 1, device=newest.device)
        if self._draws.shape != (rows,):
            self._draws = Draws(self._spec.seeds, "hippocampus.slots", (rows,), device=self._spec.device)
        return (self._draws.at(clock.experience) * 2**31).long()


def _rank_within(group: Tensor, key: Tensor) -> Tensor:
    """The rank of each key within its group, from 0: int64 [s, m]; of equal keys the first comes first.

    >>> _rank_within(torch.tensor([[1, 0, 1, 1]]), torch.tensor([[5, 9, 2, 5]])).tolist()
    [[1, 0, 0, 2]]
    """
    sorted_, order = ((group << 32) + key).sort(dim=1, stable=True)
    place = torch.arange(key.shape[1], device=key.device).expand_as(key)
    starts = torch.ones_like(sorted_, dtype=torch.bool)
    starts[:, 1:] = (sorted_[:, 1:] >> 32) != (sorted_[:, :-1] >> 32)
    first = torch.where(starts, place, 0).cummax(1).values
    return torch.empty_like(order).scatter_(1, order, place - first)
