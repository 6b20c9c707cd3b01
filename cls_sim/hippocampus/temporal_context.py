"""A memory of items in a context that drifts: replay is a cascade of retrievals."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from cls_sim.core.batch import DREAMED, STORED, Batch
from cls_sim.core.clock import Clock
from cls_sim.core.draws import Draws
from cls_sim.core.part import Spec, State, View
from cls_sim.core.settings import Settings, setting
from cls_sim.core.tensors import from_numpy
from cls_sim.hippocampus.base import Recall, Traces, nothing
from cls_sim.hippocampus.silent import Silent

MOST = 4096  # items


class TemporalContext(Settings, Silent):
    """Items are bound to a context that drifts; in sleep each retrieved item brings back the context of its own past.

        c ← ρ c + β c_in,  c_in = (M_fc f + f) / |M_fc f + f|,  ρ such that |c| = 1
        awake   M_fc f ← M_fc f + η (c - M_fc f),   M_cf of f ← M_cf of f + η (c - M_cf of f),
                η = min(1, rate · weight)
        replay  p(item) ∝ a^sharpness,  a = M_cf c,   and c drifts on with c_in of the retrieved item

    c is the context before the item.  A cascade finds its first item from the present context (here) or among all items
    (anywhere, p ∝ |M_cf|^(sharpness / 4)), and begins with the chance e^(-tired u) of this item, where
    u counts its experiences and fades: repetition suppresses.  It replays no item twice, and stops with the chance
    1 - max a / stop, or after `longest` items.  From anywhere, another cascade follows; here, none until the next night
    or pause.  The weight of a row (`Batch.weight`) is its salience.

    capacity   items a subject can keep: those with numbers (`Batch.item`) below it; others are not kept, and only move
               the context to that of elsewhere, in which a life begins
    drift      β in [0, 1], awake and in replay
    rate       of both matrices, in [0, 1]
    learning   rate of M_cf in replay, in [0, 1]
    sharpness  of retrieval, from 0
    tired      from 0, of repetition suppression; 0: experience does not matter
    fade       share of u that is lost at each experience, in [0, 1]
    stop       from 0; 0: a cascade stops after `longest` items only
    start      here or anywhere
    longest    items of a cascade

    Rows are generated one a step (`replay=dreamed`, `batch=1`); further rows of a batch are absent.  Recall of a cue is
    its own item if it has been met (cosine 1), else nothing.

    Source: Zhou, Kahana & Schapiro 2023 (CMR-replay); Howard & Kahana 2002.  The form of repetition suppression is
    an assumption here.

    >>> TemporalContext(start="anywhere").drift
    0.7
    """

    capacity: int = setting(100, 1, MOST)
    drift: float = setting(0.7, 0.0, 1.0)
    rate: float = setting(0.4, 0.0, 1.0)
    learning: float = setting(0.1, 0.0, 1.0)
    sharpness: float = setting(8.0, 0.0)
    tired: float = setting(0.8, 0.0)
    fade: float = setting(0.015, 0.0, 1.0)
    stop: float = setting(0.2, 0.0)
    start: str = setting("here", ("here", "anywhere"))
    longest: int = setting(8)

    def setup(self, spec: Spec) -> Spec:
        s, n, device = spec.subjects, self.capacity, spec.device

        def none(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.zeros(s, *shape, dtype=dtype, device=device)

        self.context, self.rest = none(n + 1), none(n + 1)  # cell n: the context before any item
        self.context[:, n] = 1.0
        self._own = torch.eye(n, n + 1, device=device)
        self.back = self._own.repeat(s, 1, 1)  # M_fc of each item [s, n, n + 1]
        self.out = none(n, n + 1)  # M_cf of each item
        self.visits, self.born = none(n), none(n, dtype=torch.int64) - 1
        self.task = none(n, dtype=torch.int64)  # Batch.context of each item
        self.x = none(n, *spec.inputs)
        self.y = none(n, spec.outputs) if spec.regression else none(n, dtype=torch.int64)
        self.met, self.used = none(n, dtype=torch.bool), none(n, dtype=torch.bool)
        self.night, self.length = none(dtype=torch.int64) - 1, none(dtype=torch.int64)
        self.over = none(dtype=torch.bool)
        self.replayed = none(n, dtype=torch.int64)
        self._silent: Tensor | None = None
        self._lots = Draws(spec.seeds, "hippocampus.cascade", (2,), device=device)
        self._rows = torch.arange(s, device=device)
        return super().setup(spec)

    # -- awake ------------------------------------------------------------------------------------------

    def encode(self, batch: Batch, view: View, clock: Clock, who: Tensor | None = None) -> None:
        there = batch.present() & (batch.item >= 0)
        there = there if who is None else there & who[:, None]
        for row in range(batch.rows):  # each row finds the context that the rows before it have left
            comes, number = there[:, row], batch.item[:, row].clamp(0, self.capacity)
            kept = comes & (number < self.capacity)
            item = number.clamp(max=self.capacity - 1)
            at, new = (self._rows, item), kept[:, None]
            own = one_hot(number, self.capacity + 1).to(self.context.dtype)  # elsewhere, of an item that is not kept
            brought = normalize(own + self.back[at] * new, dim=1)
            before, rate = self.context, (self.rate * batch.weights()[:, row]).clamp(max=1.0)[:, None] * new
            self.back[at] = self.back[at] + rate * (before - self.back[at])
            self.out[at] = self.out[at] + rate * (before - self.out[at])
            self.context = torch.where(comes[:, None], self._drifted(before, brought), before)
            self.visits = torch.where(comes[:, None], self.visits * (1.0 - self.fade), self.visits)
            self.visits[at] = self.visits[at] + kept
            self.x[at] = torch.where(kept.view(-1, *[1] * (self.x.dim() - 2)), batch.x[:, row], self.x[at])
            shown = new if self.y.dim() == 3 else kept
            self.y[at] = torch.where(shown, batch.y[:, row].to(self.y.dtype), self.y[at])
            self.born[at] = torch.where(kept, from_numpy(clock.experience).to(kept.device), self.born[at])
            self.task[at] = torch.where(kept, batch.context[:, row], self.task[at])
            self.met[at] = self.met[at] | kept
        self.changed += 1

    def _drifted(self, context: Tensor, brought: Tensor) -> Tensor:
        along = (context * brought).sum(1, keepdim=True)
        keeps = (1.0 + self.drift**2 * (along.square() - 1.0)).clamp(min=0.0).sqrt() - self.drift * along
        return keeps * context + self.drift * brought

    # -- asleep -----------------------------------------------------------------------------------------

    def _known(self) -> Tensor:
        return self.met if self._silent is None else self.met & ~self._silent

    def _now(self, clock: Clock) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The context of replay, the items used, the length of the cascade and whether the night is over, as of now."""
        fresh = from_numpy(clock.night).to(self.night.device) != self.night
        rest = torch.where(fresh[:, None], self.context, self.rest)
        return rest, self.used & ~fresh[:, None], torch.where(fresh, 0, self.length), self.over & ~fresh

    def _drives(self, rest: Tensor, used: Tensor, length: Tensor) -> Tensor:
        """The activation of each item [s, n]; 0 for items that cannot be retrieved."""
        drive = (self.out @ rest[..., None])[..., 0]
        if self.start == "anywhere":
            drive = torch.where((length == 0)[:, None], self.out.norm(dim=2), drive)
        return (drive * (self._known() & ~used)).clamp(min=0.0)

    def dream(self, n: int, clock: Clock, view: View) -> Batch:
        rest, used, length, over = self._now(clock)
        drive, lots = self._drives(rest, used, length), self._lots.at(clock.replay)
        power: float | Tensor = self.sharpness
        if self.start == "anywhere":
            power = torch.where(length == 0, self.sharpness / 4.0, self.sharpness)[:, None]
        chance = (drive / drive.amax(1, keepdim=True).clamp(min=1e-12)).double() ** power * (drive > 0)
        chances = chance.cumsum(1)
        slot = (chances <= lots[:, :1] * chances[:, -1:]).sum(1).clamp(max=self.capacity - 1)
        begins = (-self.tired * self.visits[self._rows, slot]).exp()
        goes_on = drive.amax(1) / max(self.stop, 1e-12)
        goes = (drive > 0).any(1) & ~over & (length < self.longest)
        goes = goes & (lots[:, 1] < torch.where(length == 0, begins, goes_on))
        slots = slot[:, None].expand(-1, n)
        first = torch.arange(n, device=slot.device) == 0
        batch = self.fetch(slots.contiguous())
        source = torch.full_like(batch.source, DREAMED)
        return batch.with_(source=source, weight=(goes[:, None] & first).float())

    def sleep(self, batch: Batch, clock: Clock, who: Tensor | None = None) -> None:
        rest, used, length, over = self._now(clock)
        asleep = torch.ones_like(over) if who is None else who
        slot = torch.full_like(length, -1) if batch.slot is None else batch.slot[:, 0]
        runs = asleep & batch.present()[:, 0] & (slot >= 0)
        at = (self._rows, slot.clamp(0, self.capacity - 1))
        brought = normalize(self.back[at] + self._own[at[1]], dim=1)
        begins = (length == 0) & (self.start == "anywhere")
        learns = self.learning * (runs & ~begins)[:, None]
        self.out[at] = self.out[at] + learns * (rest - self.out[at])
        moved = torch.where(begins[:, None], brought, self._drifted(rest, brought))
        used[at] = used[at] | runs
        self.replayed[at] += runs
        stops = asleep & ~runs
        again = stops & (self.start == "anywhere")
        self.rest = torch.where(asleep[:, None], torch.where(runs[:, None], moved, rest), self.rest)
        self.used = torch.where(asleep[:, None], used & ~again[:, None], self.used)
        self.length = torch.where(asleep, torch.where(again, 0, length + runs), self.length)
        self.over = torch.where(asleep, over | (stops & (self.start == "here")), self.over)
        self.night = torch.where(asleep, from_numpy(clock.night).to(self.night.device), self.night)
        self.changed += 1

    # -- what is stored ---------------------------------------------------------------------------------

    def follows(self) -> Tensor:
        """The strength with which each item brings back the item of the next number: [s, n - 1]."""
        brought = normalize(self.back + self._own, dim=2)[:, :-1]
        return (self.out[:, 1:] * brought).sum(2)

    def recall(self, x: Tensor) -> Recall:
        empty = nothing(x, self.spec.outputs)
        cue, known = (normalize(one.flatten(2), dim=2) for one in (x, self.x))
        match, slot = (cue @ known.mT).masked_fill(~self._known()[:, None], -2.0).max(2)
        found = match > 0.999
        at = (self._rows[:, None], slot)
        y = self.y[at]
        votes = y if y.dim() == 3 else one_hot(y.clamp(min=0), self.spec.outputs)
        there = found.view(*found.shape, *[1] * (x.dim() - 2))
        return Recall(votes * found[..., None] + empty.scores, self.x[at] * there, found.float(), slot.where(found, -1))

    def traces(self) -> Traces:
        slot = torch.arange(self.capacity, device=self.met.device).expand_as(self.born).contiguous()
        strength = torch.where(self.met, self.out.norm(dim=2), 0.0)
        return Traces(self._known(), self.y, self.task, self.born, slot, strength)

    def fetch(self, slot: Tensor) -> Batch:
        at = (self._rows[:, None], slot)
        weight = self._known().gather(1, slot).float()
        return Batch.lived(
            self.x[at],
            self.y[at],
            context=self.task[at],
            born=self.born[at],
            item=slot,
            source=torch.full(slot.shape, STORED, dtype=torch.uint8, device=slot.device),
            weight=weight,
            slot=slot,
        )

    def forget(self, slots: Tensor) -> None:
        gone = slots.to(self.met.device)
        self.met, self.used = self.met & ~gone, self.used & ~gone
        self.born, self.visits = self.born.masked_fill(gone, -1), self.visits.masked_fill(gone, 0.0)
        self.out = self.out.masked_fill(gone[..., None], 0.0)
        self.back = torch.where(gone[..., None], self._own, self.back)
        self.changed += 1

    def load(self, tree: State) -> None:
        super().load(tree)
        self.changed += 1

    def stored_bytes(self) -> Tensor:
        kept = (self.context, self.back, self.out, self.visits, self.born, self.x, self.y, self.task, self.met)
        return torch.full((self.spec.subjects,), sum(one[0].nbytes for one in kept), dtype=torch.int64)
