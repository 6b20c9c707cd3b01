"""The choice of slots: where a new episode is stored, and which old one it replaces."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from cls_sim.core.clock import Clock
from cls_sim.core.draws import Draws
from cls_sim.core.errors import LARGEST, ConfigError, refuse_if
from cls_sim.core.part import Spec, State
from cls_sim.hippocampus.silent import Silent

EVICTION = ("reservoir", "ring", "balanced", "herding", "surprise", "coverage", "gradients")
BY_CLASS = ("balanced", "herding")  # balance the classes
BY_WORTH = ("herding", "surprise", "coverage", "gradients")  # use a retention priority that the memory computes
BY_TURN = ("reservoir", "ring", "balanced")  # keys that depend on nothing learned
MOST = 2**28  # largest capacity
TICKS = 64  # experiences planned at once, for rules that need no draws
EMPTY, ABSENT = 2**61, 2**62  # priorities above those of any row: an empty slot, an absent row


class Slotted(Silent):
    """The base class of hippocampi with `capacity` slots for each subject, which hold the traces.

    columns  the tensors [s, n + 1, …] that hold them; row n + 1 receives what is not stored, and is not state
    """

    sized = "capacity"
    columns: tuple[str, ...]
    capacity: int

    def setup(self, spec: Spec) -> Spec:
        self._silent = None
        return super().setup(spec)

    def _columns(self) -> dict[str, Tensor]:
        return {name: getattr(self, name)[:, : self.capacity] for name in self.columns if name in vars(self)}

    def state(self) -> State:
        return super().state() | {name: column.contiguous() for name, column in self._columns().items()}

    def load(self, tree: State) -> None:
        mine = self._columns()
        for name in mine:
            if name in tree and tree[name].shape[1] != self.capacity:
                held = tree[name].shape[1]
                raise ConfigError("capacity", f"is {self.capacity}, and the saved memory has {held}", f"give {held}")
        super().load(tree)
        for name in mine:
            column = getattr(self, name)
            setattr(self, name, torch.cat((column, column[:, -1:]), 1))
        self.changed += 1


class Slots:
    """Chooses which episodes stay in a memory of `capacity` slots when `b` rows are added.

    Every row gets a key.  Among the stored and the new rows, those with the lowest keys stay:

    reservoir  random keys: the memory is a uniform sample of all rows so far (Vitter 1985, in the bottom-k form,
               which allows batches of any size)
    ring       the negative number of the row: the newest rows stay
    balanced   first the rank of a random key within its class, then the key: all classes have the same number of
               slots, or all of their rows if they have fewer; all slots are used; and each class is a uniform sample
               of its rows (greedy balancing, Prabhu et al. 2020; reservoirs within classes, Chrysakis & Moens 2020).
               Only classes of the subject's past count, so nothing needs to be known in advance
    herding    balanced, where the key within a class is the distance of the row at its arrival from the mean of all
               rows of its class so far: typical rows stay (herding, Rebuffi et al. 2017, in a stream)
    surprise   the likelihood e^-loss that the neocortex gave to the right answer at arrival: unexpected rows stay
    coverage   the largest cosine similarity, at arrival, to stored rows and earlier rows of the batch: rows unlike the
               others stay, and together they cover the past
    gradients  the same for the gradients of the rows' losses in the output weights of the neocortex, compared with a
               random sample of stored episodes: rows with different gradients stay (gradient-based sample selection,
               Aljundi et al. 2019)

    Empty slots are used first, in order; a slot freed by forgetting counts as empty.  `choose` looks at all slots;
    large memories make the same choices of the first three rules with an index (see Standing).  This class has no
    state: keys are stored with the episodes.

    >>> slots = Slots(3, "ring")
    >>> slots.setup(Spec(batch=2, outputs=2))
    >>> one = torch.ones(1, 2, dtype=torch.int64)
    >>> empty = torch.zeros(1, 3, dtype=torch.int64)
    >>> slots.choose(one, one > 0, empty, empty > 0, empty, Clock(1, 1))[0].tolist()
    [[0, 1]]
    """

    def __init__(self, capacity: int, eviction: str):
        self.capacity, self.eviction = capacity, eviction

    def setup(self, spec: Spec) -> None:
        reason = "balances classes, and in regression there are none"
        refuse_if(self.eviction in BY_CLASS and spec.regression, "eviction", reason, "choose reservoir or ring")
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
        key: Tensor | None = None,
        limit: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The slot [s, b] of each new row (`capacity` for rows not stored) and its key [s, b].

        y, fresh                     [s, b]  labels of the new rows, and which rows are present
        stored_y, alive, stored_key  [s, n]  labels of the slots, which slots hold a trace, and their keys
        worth                        [s, b]  retention priority in [0, 1], for the rules that use one: the lowest stay
        key                          [s, b]  int64, the keys of the new rows; None: those of the rule
        limit                        [s]     number of slots that each subject can use; None: all

        Different rows of a subject get different slots.
        """
        rows, given = y.shape[1], key is not None
        if worth is not None:
            key = (worth.double() * LARGEST).long()
        elif key is None:
            key = self.keys(rows, lambda: newest(stored_key, alive), clock)
        priority = torch.cat((stored_key, key), 1)  # [s, n + b]
        if self.eviction in BY_CLASS:
            class_of = torch.where(torch.cat((alive, fresh), 1), torch.cat((stored_y, y), 1), 2**16)
            priority = (_rank_within(class_of, priority) << 32) + priority
        elif given:  # two rows may have one key: then the later place leaves, as in the ranks of Standing
            priority = (priority << 29) + torch.arange(priority.shape[1], device=y.device)
        priority[:, : self.capacity] = torch.where(alive, priority[:, : self.capacity], self._empty)
        if limit is not None:
            beyond = torch.arange(self.capacity, device=y.device) >= limit[:, None]
            priority[:, : self.capacity].masked_fill_(beyond, -ABSENT)
        priority[:, self.capacity :].masked_fill_(~fresh, ABSENT)

        # b of the n + b rows are removed: stored ones leave their slots, new ones are not stored.
        out = priority.topk(rows, sorted=False).indices.sort().values  # [s, b]
        stays = torch.ones_like(priority, dtype=torch.bool).scatter_(1, out, False)[:, self.capacity :] & fresh
        slot = out.gather(1, stays.cumsum(1).sub_(1).clamp_(min=0))  # the i-th row that stays takes the i-th free slot
        return torch.where(stays, slot, self.capacity), key

    def upcoming(self, rows: int, newest: Callable[[], Tensor], experience: int) -> Tensor | None:
        """The keys of the next experiences of a cohort in step, int64 [s, t, b]; None: they depend on the rows.

        newest  gives the lowest key of each subject, at most 0: [s]
        """
        if self.eviction == "ring":
            turn = torch.arange(1, TICKS * rows + 1, device=self._spec.device)
            return newest()[:, None, None] - turn.view(1, TICKS, rows)
        if self.eviction == "reservoir":
            return (self._of(rows).rest(experience) * 2**31).long()
        return None

    def _of(self, rows: int) -> Draws:
        if self._draws.shape != (rows,):
            self._draws = Draws(self._spec.seeds, "hippocampus.slots", (rows,), device=self._spec.device)
        return self._draws

    def keys(self, rows: int, newest: Callable[[], Tensor], clock: Clock) -> Tensor:
        """The keys of new rows: int64 [s, b], within 32 bits; `newest` as in `upcoming`."""
        if self.eviction == "ring":
            return newest()[:, None] - torch.arange(1, rows + 1, device=self._spec.device)
        return (self._of(rows).at(clock.experience) * 2**31).long()


def newest(key: Tensor, alive: Tensor) -> Tensor:
    """The lowest key [s] of the traces, at most 0: that of the newest row of a ring; keys and alive are [s, n]."""
    return torch.where(alive, key, 0).amin(1)


def _rank_within(group: Tensor, key: Tensor) -> Tensor:
    """The rank of each key within its group, from 0: int64 [s, m]; equal keys keep their order.

    >>> _rank_within(torch.tensor([[1, 0, 1, 1]]), torch.tensor([[5, 9, 2, 5]])).tolist()
    [[1, 0, 0, 2]]
    """
    sorted_, order = ((group << 32) + key).sort(dim=1, stable=True)
    place = torch.arange(key.shape[1], device=key.device).expand_as(key)
    starts = torch.ones_like(sorted_, dtype=torch.bool)
    starts[:, 1:] = (sorted_[:, 1:] >> 32) != (sorted_[:, :-1] >> 32)
    first = torch.where(starts, place, 0).cummax(1).values
    return torch.empty_like(order).scatter_(1, order, place - first)
