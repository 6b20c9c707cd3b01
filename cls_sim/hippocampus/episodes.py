"""The base class of hippocampi that store episodes: the columns that hold the traces."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from cls_sim.core.arrays import Counts
from cls_sim.core.batch import STORED, Batch, Bytes, Columns
from cls_sim.core.clock import Clock
from cls_sim.core.errors import ConfigError
from cls_sim.core.part import Spec, View
from cls_sim.hippocampus.base import Recall, Traces
from cls_sim.hippocampus.codes import Code, Levels, Plain
from cls_sim.hippocampus.search import NEVER, Logits, nearest
from cls_sim.hippocampus.slots import BY_CLASS, BY_TURN, BY_WORTH, Slots
from cls_sim.hippocampus.standing import LABELLED, UNLABELLED, Ranks, Standing, newest_of
from cls_sim.hippocampus.worth import Worth

WORK = 2**24  # limit of the numbers in memory while cues are compared with traces


class Episodic(Worth):
    """`capacity` slots for each subject; a slot holds the input, answer, context and time of one episode.

    content  [s, n + 1, x]  inputs in the format of `code`; default: bytes if inputs have a quantum, else float32
    what     [s, n + 1, 2]  int16: label, context
    mark     [s, n + 1, 3]  int32: born (-1: empty slot), item, key (see Slots)
    target   [s, n + 1, o]  float32, in regression
    answer   [s, n + 1, o]  float32, scores of the neocortex when the episode was stored, if `keep_scores`
    deed     [s, n + 1, 2]  int16: action, steps until `after`, in a world that asks for actions
    gained   [s, n + 1]     float32, the reward, in such a world
    after    [s, n + 1, x]  what followed, in the format of `code`, in such a world

    Row n + 1 receives the rows that are not stored, so that writing needs no selection; it is not state.
    """

    derived = frozenset({"changed", "spec", "_slots", "_rows", "_first", "_flats", "_silent", "_lot"})
    columns = ("content", "what", "mark", "target", "answer", "deed", "gained", "after")

    keep_scores = False
    _limit: Tensor | None = None  # [s], the number of slots that each subject can use; None: all

    def _format(self) -> Code | None:
        """The format of the content; None: the default."""
        return None

    def setup(self, spec: Spec) -> Spec:
        if max(spec.outputs, spec.contexts) > 2**15:
            raise ConfigError("capacity", "this world has more than 32768 labels or contexts", "use a smaller world")
        self._slots = Slots(self.capacity, self.eviction)
        self._slots.setup(spec)
        lots = (spec.subjects, self.capacity + 1)
        self._form = self._format() or (Levels() if self._exact(spec) else Plain())
        self._form.setup(spec)
        self._make_room(spec, lots)
        self.what = torch.full((*lots, 2), -1, dtype=torch.int16, device=spec.device)
        self.mark = torch.full((*lots, 3), -1, dtype=torch.int32, device=spec.device)
        if spec.regression:
            self.target = torch.zeros(*lots, spec.outputs, device=spec.device)
        if self.keep_scores:
            self.answer = torch.zeros(*lots, spec.outputs, device=spec.device)
        if spec.actions:
            self.deed = torch.full((*lots, 2), -1, dtype=torch.int16, device=spec.device)
            self.gained, self.after = torch.zeros(lots, device=spec.device), torch.zeros_like(self.content)
        if self.eviction == "herding":  # the sum and the number of all rows of each class so far
            width = int(torch.Size(spec.inputs).numel())
            self.summed = torch.zeros(spec.subjects, spec.outputs, width, device=spec.device)
            self.met = torch.zeros(spec.subjects, spec.outputs, device=spec.device)
        self._rows = torch.arange(spec.subjects, device=spec.device)[:, None]
        least = LABELLED if self.eviction in BY_CLASS else UNLABELLED
        large = spec.device.type == "cpu" and self.eviction in BY_TURN and self.capacity >= least
        self._standing = Standing(self.capacity) if large else None
        self._first = self._rows * (self.capacity + 1)
        self._flats: dict[str, tuple[Tensor, Tensor]] = {}
        return super().setup(spec)

    def _make_room(self, spec: Spec, lots: tuple[int, int]) -> None:
        """Make the column of contents, for so many subjects and rows."""
        self.content = torch.zeros(*lots, self._form.width, dtype=self._form.kind, device=spec.device)

    def _exact(self, spec: Spec) -> bool:
        """Whether the content can be stored as multiples of a quantum."""
        return spec.quantum is not None

    # -- what is stored ---------------------------------------------------------------------------------

    def traces(self) -> Traces:
        n = self.capacity
        what, mark = self.what[:, :n], self.mark[:, :n]  # without conversion, because this runs at every tick
        return Traces(self._heard(), self._y()[:, :n], what[..., 1], mark[..., 0], mark[..., 1], self._strength())

    def fetch(self, slot: Tensor) -> Batch:
        rows = self._at(slot)  # of the shape of the slots; of others too, so that the contract can refuse their shape
        at, shape = rows.flatten(), rows.shape
        what = self._flat("what").index_select(0, at).view(*shape, 2)  # copies, which stay as they are
        mark = self._flat("mark").index_select(0, at).view(*shape, 3)
        strengths = self._strengths()
        heard = None if strengths is None else _rows_of(strengths, at, rows) > 0
        if self._silent is not None:
            heard = (mark[..., 0] >= 0 if heard is None else heard) & ~self._silent.gather(1, slot)
        later: dict[str, Callable[[], Tensor]] = {
            "weight": lambda: (mark[..., 0] >= 0 if heard is None else heard).float(),
            "context": lambda: what[..., 1].long(),
            "born": lambda: mark[..., 0].long(),
            "item": lambda: mark[..., 1].long(),
            "source": lambda: torch.full(shape, STORED, dtype=torch.uint8, device=slot.device),
        }
        raw, x = self._held(rows)
        y = _rows_of(self.target, at, rows) if self.spec.regression else what[..., 0].long()
        scores = _rows_of(self.answer, at, rows) if self.keep_scores else None
        others: dict[str, Any] = {} if x is None else {"x": x}
        others |= self._deeds(at, slot) if self.spec.actions else {}
        return Batch.made(later, raw, y=y, slot=slot, scores=scores, **others)

    def _held(self, rows: Tensor) -> tuple[Bytes | None, Tensor | None]:
        """The inputs of these rows of the flattened columns [s, b]: as bytes, or as floats [s, b, *inputs]."""
        content = self._flat("content").index_select(0, rows.flatten()).unflatten(0, rows.shape)
        if type(self._form) is Levels:
            return Bytes(content, self.spec.quantum or 1.0, self.spec.inputs), None
        return None, self._input(content)

    def _deeds(self, at: Tensor, slot: Tensor) -> Columns:
        """What was done in these episodes, and what followed."""
        action, steps = _rows_of(self.deed, at, slot).long().unbind(-1)
        after = self._input(_rows_of(self.after, at, slot))
        return {"action": action, "reward": _rows_of(self.gained, at, slot), "after": after, "steps": steps}

    def coded(self, x: Tensor) -> Tensor:
        return self._form.through(x.flatten(2)).view_as(x)

    def stored_bytes(self) -> Tensor:
        contents = ("content", "after") if self.spec.actions else ("content",)
        marks = sum(column[0, 0].nbytes for name, column in self._columns().items() if name not in contents)
        episode = marks + len(contents) * self._form.episode_bytes()
        classes = self.summed[0].nbytes + self.met[0].nbytes if self.eviction == "herding" else 0
        all_ = torch.as_tensor(episode * self.capacity + classes + self._form.common_bytes(), dtype=torch.int64)
        return all_.expand(self.spec.subjects).clone()

    def forget(self, slots: Tensor) -> None:
        if slots.shape != (self.spec.subjects, self.capacity) or slots.dtype != torch.bool:
            wanted = f"expected bool [{self.spec.subjects}, {self.capacity}]"
            raise ConfigError("forget", f"gets {slots.dtype} {list(slots.shape)}, {wanted}", "give one bool a slot")
        n, strengths = self.capacity, self._strengths()
        self.mark[:, :n].masked_fill_(slots[..., None], -1)  # an index of the marks (see Standing) notices it
        self.what[:, :n].masked_fill_(slots[..., None], -1)
        if strengths is not None:
            strengths[:, :n].masked_fill_(slots, 0.0)
        self.changed += 1

    def _strengths(self) -> Tensor | None:
        """The strengths [s, n + 1], of which 0 is an empty slot; None: a mark tells whether its slot is empty."""
        return None

    def _alive(self) -> Tensor:
        """Which slots hold a trace, lesioned or not: bool [s, n]."""
        strengths = self._strengths()
        return (self.mark[..., 0] >= 0 if strengths is None else strengths > 0)[:, : self.capacity]

    def _heard(self) -> Tensor:
        """Which slots hold a trace that is not lesioned: bool [s, n]."""
        return self._alive() if self._silent is None else self._alive() & ~self._silent

    def _strength(self) -> Tensor:
        """The strength of each trace: float [s, n]."""
        strengths = self._strengths()
        return self._alive().float() if strengths is None else strengths[:, : self.capacity]

    # -- writing and reading ----------------------------------------------------------------------------

    def _fresh(self, batch: Batch, who: Tensor | None) -> Tensor:
        """The present rows of the subjects that encode: bool [s, b]."""
        return batch.present() if who is None else batch.present() & who[:, None]

    def _choose(
        self, batch: Batch, fresh: Tensor, clock: Clock, view: View, key: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The slot and the key of each row [s, b]; key: those that the rows have already."""
        if (ranks := self._ranks()) is not None and self._standing is not None:
            key = self._slots.keys(batch.rows, lambda: newest_of(ranks), clock) if key is None else key
            return self._standing.choose(ranks, fresh, key, batch.y if self.eviction in BY_CLASS else None), key
        n, alive = self.capacity, self._alive()
        by_class = self.eviction in BY_CLASS  # else labels are not used; in regression there are none
        label, kept = (batch.y, self._y()[:, :n].long()) if by_class else (fresh, alive)
        worth = self._worth(batch, fresh, view, clock) if self.eviction in BY_WORTH else None
        keys = self.mark[:, :n, 2].long()
        return self._slots.choose(label, fresh, kept, alive, keys, clock, worth, key, self._limit)

    # -- the index of a large memory on a CPU (see Standing) ---------------------------------------------

    def _watched(self) -> list[Tensor]:
        """The columns that decide which slot is used next."""
        return [column for column in (self.mark, self.what, self._strengths()) if column is not None]

    def _ranks(self, at_once: bool = False) -> list[Ranks] | None:
        """The index of slots, or None: slots are to be chosen by looking at all of them."""
        if self._standing is None:
            return None
        n = self.capacity

        def facts() -> tuple[Tensor, Tensor | None, Tensor]:
            return self.mark[:, :n, 2], self._y()[:, :n] if self.eviction in BY_CLASS else None, self._alive()

        return self._standing.ready(self._watched(), facts, at_once)

    def filled(self) -> Counts | None:
        if self._standing is None or self._silent is not None:
            return None
        return self._standing.filled(self._watched())

    def _write(self, slot: Tensor, key: Tensor, x: Tensor, batch: Batch, clock: Clock) -> None:
        """Write the rows of a batch, with contents x [s, b, x], to their slots; slot `capacity` discards a row."""
        now = torch.from_numpy(clock.experience).to(slot.device)[:, None].expand_as(slot)
        label = torch.full_like(batch.context, -1) if self.spec.regression else batch.y
        if self._standing is not None:
            old_key, old_label = self.mark[self._rows, slot, 2], self.what[self._rows, slot, 0]
            self._standing.write(slot, key, label if self.eviction in BY_CLASS else None, old_key, old_label)
        self._keep(slot, x)
        self.what[self._rows, slot] = torch.stack((label, batch.context), -1).to(torch.int16)
        self.mark[self._rows, slot] = torch.stack((now, batch.item, key), -1).to(torch.int32)
        if self.spec.regression:
            self.target[self._rows, slot] = batch.y.to(self.target.dtype)
        if self.keep_scores and batch.scores is not None:
            self.answer[self._rows, slot] = batch.scores
        if batch.action is not None and batch.reward is not None and batch.after is not None and self.spec.actions:
            steps = torch.ones_like(batch.action) if batch.steps is None else batch.steps
            self.deed[self._rows, slot] = torch.stack((batch.action, steps), -1).to(torch.int16)
            self.gained[self._rows, slot] = batch.reward
            self.after[self._rows, slot] = self._form.write(batch.after.flatten(2))
        if self._standing is not None:
            self._standing.seen(self._watched())
        self.changed += 1

    def _keep(self, slot: Tensor, x: Tensor) -> None:
        """Write inputs [s, b, x] to the column of contents."""
        self._form.meet(x, slot < self.capacity)
        self.content[self._rows, slot] = self._form.write(x)

    def _inputs_in(self, chunk: slice) -> Tensor:
        """The inputs in these slots, [s, c, x] float32."""
        return self._plain(self.content[:, chunk])

    def _input(self, content: Tensor) -> Tensor:
        """Contents [s, b, x] as inputs [s, b, *inputs]."""
        return self._plain(content).view(*content.shape[:2], *self.spec.inputs)

    def _plain(self, content: Tensor) -> Tensor:
        """Contents as inputs, float32."""
        return self._form.read(content)

    def _flat(self, name: str) -> Tensor:
        """A column [s, n + 1, …] as rows [s · (n + 1), …]: the same memory."""
        column = getattr(self, name)
        if name not in self._flats or self._flats[name][0] is not column:
            self._flats[name] = column, column.flatten(0, 1)
        return self._flats[name][1]

    def _at(self, slot: Tensor) -> Tensor:
        """Slots [s, b] as row indices of the flattened columns."""
        return slot + self._first

    def _chunks(self, rows: int, width: int) -> Iterator[slice]:
        """The slots in chunks, so that comparing `rows` cues of this width takes bounded memory."""
        size = max(64, WORK // (self.spec.subjects * max(rows, width, 1)))
        return (slice(i, min(i + size, self.capacity)) for i in range(0, self.capacity, size))

    def _nearest(self, x: Tensor, y: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Cosine (-2: none) and slot (-1) of the trace most similar to each cue [s, b, …], with label y if given."""
        cue, label, heard = normalize(x.flatten(2), dim=2), self._y(), self._heard()
        silent = torch.where(heard, 0.0, NEVER)

        def adjust(like: Tensor, trace: Tensor, chunk: slice, cues: Any) -> None:
            like.div_(torch.linalg.vector_norm(trace, dim=2).clamp_(min=1e-12)[:, None])
            like.add_(silent[:, None, chunk])
            if y is not None:
                like.masked_fill_(label[:, None, chunk] != y[:, cues, None], NEVER)

        match, slot = nearest(Logits(cue, self._inputs_in, self.capacity, adjust))
        return match.clamp_(min=-2.0), slot

    def _votes(self, y: Tensor) -> Tensor:
        """The answer of traces with these labels [s, c] (one-hot), or these targets: float [s, c, o]."""
        if self.spec.regression:
            return y
        return (y[..., None] == torch.arange(self.spec.outputs, device=y.device)).float()

    def _recalled(self, x: Tensor, match: Tensor, slot: Tensor, scores: Tensor | None = None) -> Recall:
        """The recall of these traces [s, b] (nothing where slot is -1), with their answer if no scores are given."""
        found, at = slot >= 0, self._at(slot.clamp(min=0))
        if scores is None:
            scores = self._votes(_rows_of(self._y(), at.flatten(), at))
        raw, best = self._held(at)
        if best is None:
            assert raw is not None
            best = raw.floats()
        there = found.view(*found.shape, *[1] * (x.ndim - 2))
        return Recall(scores * found[..., None], best * there, match * found, slot)

    def _y(self) -> Tensor:
        """The label int16 [s, n + 1], or target, of each slot."""
        return self.target if self.spec.regression else self.what[..., 0]


def _rows_of(column: Tensor, at: Tensor, like: Tensor) -> Tensor:
    """The rows `at` [s · b] of a flattened column [s, n, …]: [s, b, …], for b slots of each subject as in `like`."""
    return column.flatten(0, 1).index_select(0, at).view(*like.shape, *column.shape[2:])
