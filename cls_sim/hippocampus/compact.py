"""A hippocampus whose capacity is counted in bytes, and that stores nothing twice."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.batch import Batch, Bytes
from cls_sim.core.clock import Clock
from cls_sim.core.draws import each
from cls_sim.core.errors import ConfigError, refuse_if, whole
from cls_sim.core.part import Spec, State, View
from cls_sim.core.settings import Settings, setting
from cls_sim.core.tensors import from_numpy
from cls_sim.hippocampus.base import Recall, nothing
from cls_sim.hippocampus.bits import Bits
from cls_sim.hippocampus.episodes import WORK, Episodic
from cls_sim.hippocampus.near import Near
from cls_sim.hippocampus.search import NEVER, Logits, attend
from cls_sim.hippocampus.slots import MOST

EPISODES, MARKS = 500, 16  # without a number of bytes: so many episodes of Store, of one byte a number with its marks
MIXERS = (0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64)  # of a splitmix64 generator
PIECE = 512  # slots whose mean is computed at once, whatever the cohort


class Compact(Settings, Episodic):
    """Stores episodes at a few bits a number, in as many slots as fit into a number of bytes, and nothing twice.

        slots = ⌊(bytes - shared) / (content + label)⌋

    content is ⌈b · x / 8⌉ bytes (see Bits), label 1 byte up to 256 classes, else 2 (4 a number in regression), and
    shared the bytes of the statistics of features.  A subject's b, and so its slots, are known at its first experience.

    bytes      of a subject; None: what the life has left for the hippocampus (`budget`), and without a budget the bytes
               of 500 episodes of one byte a number (see Store)
    bits       1, 2, 4 or 8 bits a number; None: the fewest that keep `fidelity`
    fidelity   in (0, 1], least correlation of the rows of the first experience with their reconstruction (see Bits);
               inputs that are not within 0 … 1 are kept exactly if the bytes hold 500 of them
    repeats    which experiences are not stored: exact (the content and the label equal those of a stored episode),
               sparse (their codes overlap by `merge`, with the same label), none (all are stored)
    units, winners, merge   of the sparse code (see Sparse): cells, active cells, and overlap as a share of these
    sharpness  of the vote, above 0, to 80
    eviction   balanced (by class) or reservoir (a uniform sample of all episodes so far; always in regression)

    Recall: the completed input is the content t that is most similar to the cue x, by the cosine of x - μ and t - μ,
    where μ is the mean of all contents and of one of zeros, so that a single content is not its own mean; match is that
    similarity, at least 0.  The answer is the vote of all traces (labels one-hot, or targets) with weights
    exp(sharpness · similarity) / Σ exp(sharpness · similarity).

    Only content and label count as bytes.  Eviction needs a random key: here it is a hash of the stored content, the
    label and the subject's seed (31 bits), so it needs no byte.  With repeats=none equal episodes would then stay or
    leave together, so keys are random numbers as in Store, and they do not count.  Context, experience and item of an
    episode are kept for measurements only.  The sparse codes are a function of the contents and are made again where
    they are needed.

    Raises ConfigError in worlds that ask for actions, and if the bytes hold no episode.

    Source: O'Reilly & McClelland 1994 (separation finds repeats); Broder 1997 (sampling by hashes).

    >>> memory = Compact(bytes=100)
    >>> spec = memory.setup(Spec(inputs=(6,), outputs=2, batch=2))
    >>> x = torch.tensor([[[0.0, 1, 1, 0, 1, 0], [0.0, 1, 1, 0, 1, 0]]])
    >>> memory.encode(Batch.lived(x, torch.tensor([[1, 1]])), None, Clock(1, 1))
    >>> memory.slots().tolist(), memory.traces().alive.sum().item(), memory.recall(x).scores[0, 0].tolist()
    ([50], 1, [0.0, 1.0])
    """

    columns = ("what", "mark", "target")
    sized = ""  # it takes what the budget leaves by itself

    bytes: int | None = setting(None)
    bits: int | None = setting(None, 1, 8)
    fidelity: float = setting(0.93, 0.0, 1.0, open_low=True)
    repeats: str = setting("exact", ("exact", "sparse", "none"))
    units: int = setting(1000, 1, 2**15)
    winners: int = setting(50, 1, lambda memory: memory.units)
    merge: float = setting(0.9, 0.0, 1.0, open_low=True)
    sharpness: float = setting(30.0, 0.0, 80.0, open_low=True)
    eviction: str = setting("balanced", ("balanced", "reservoir"))

    def _ready(self) -> None:
        self.code = Bits(bits=self.bits, fidelity=self.fidelity)

    def _format(self) -> Bits:
        return self.code

    def setup(self, spec: Spec) -> Spec:
        refuse_if(bool(spec.actions), "", "stores no actions, and this world asks for them", "use hippocampus=store")
        if spec.regression:
            self.eviction = "reservoir"
        code, size = self.code, int(torch.Size(spec.inputs).numel())
        sparse = self.repeats == "sparse"
        refuse_if(size < 2 and sparse, "repeats", "is sparse, and inputs have one number", "give exact")
        given = spec.budget if self.bytes is None else self.bytes
        self._total = EPISODES * (size + MARKS) if given is None else given
        self._label = 4 * spec.outputs if spec.regression else 1 if spec.outputs <= 256 else 2
        code.exact = self._total >= EPISODES * (4 * size + self._label) and code.bits is None
        code.setup(spec)
        slots = [self._count(depth, shared) for depth in code.depths() for shared in (True, False)]
        if max(slots) < 1:
            self._too_few(min(code.size(depth) for depth in code.depths()) + self._label)
        code.within(self._total - self._label)
        self.capacity = whole("capacity", max(slots), 1, MOST)
        spec = super().setup(spec)
        mix = each(spec.seeds, "hippocampus.hash", lambda g: g.integers(-(2**63), 2**63, code.width + 1, np.int64))
        self._mix = mix.to(spec.device)
        self._near = Near(spec, self.capacity, self.units, self.winners, self.merge) if sparse else None
        self._middle: tuple[Compact, int, Tensor, Tensor] | None = None
        self._settle()
        return spec

    def _too_few(self, least: int) -> None:
        if self.bytes is None:
            reason = f"leaves {self._total:,} bytes to the hippocampus, which hold no episode"
            raise ConfigError("budget", reason, f"it needs {least:,} or more")
        raise ConfigError("bytes", f"{self._total} hold no episode", f"give {least} or more")

    def _count(self, depth: int, unit: bool) -> int:
        """The slots of a subject with these contents."""
        shared = self.code.shared(depth, unit)
        return (self._total - shared) // (self.code.size(depth) + self._label)

    def slots(self) -> Tensor:
        """The number of slots that each subject can use, int64 [s]; 0 before its first experience."""
        assert self._limit is not None
        return self._limit.clone()

    def stored_bytes(self) -> Tensor:
        used = self._limits * (self.code.episode_bytes() + self._label) + self.code.common_bytes()
        return torch.from_numpy(np.where(self.code.depth > 0, used, self._total))

    # -- contents: those of a subject lie side by side, in as many bytes as they take ----------------------------

    def _make_room(self, spec: Spec, lots: tuple[int, int]) -> None:
        room = self._total + 2 * self.code.width  # the end receives the rows that are not stored; it is not state
        self.content = torch.zeros(lots[0], room, dtype=torch.uint8, device=spec.device)

    def _settle(self) -> None:
        """The number of slots of each subject, after its code is known."""
        each_ = zip(self.code.depth.tolist(), self.code.unit.tolist(), strict=True)
        limits = [self._count(depth, unit) if depth else 0 for depth, unit in each_]
        if any(depth and limit < 1 for depth, limit in zip(self.code.depth, limits, strict=True)):
            self._too_few(int((self.code.episode_bytes() + self.code.common_bytes()).max()) + self._label)
        self._limits = np.array(limits, np.int64)
        self._limit = from_numpy(self._limits).to(self._rows.device)
        self._used = int(self._limits.max())
        if self._standing is not None:
            self._standing.limit(self._limits)

    def _lanes(self, size: int) -> Tensor:
        """The contents of this size as [s, n, size]; the last one is beyond the bytes of a subject."""
        shape = (len(self.content), -(-self._total // size) + 1, size)
        return self.content.as_strided(shape, (self.content.stride(0), size, 1))

    def _keep(self, slot: Tensor, x: Tensor) -> None:
        assert self._limit is not None
        for (depth, _), who in self.code.ways():  # x is the content already
            lanes = self._lanes(size := self.code.size(depth))
            at = torch.where(slot[who] < self._limit[who, None], slot[who], lanes.shape[1] - 1)
            lanes[self._rows[who], at] = x[who][..., :size]

    def _at_slots(self, slot: Tensor, depth: int, who: Any) -> Tensor:
        """The contents in slots [s, b] of some subjects: [g, b, size]."""
        assert self._limit is not None
        at = torch.minimum(slot[who], self._limit[who, None] - 1)
        return self._lanes(self.code.size(depth))[self._rows[who], at]

    def _held(self, rows: Tensor) -> tuple[Bytes | None, Tensor | None]:
        slot = rows - self._first
        x = torch.zeros(*slot.shape, int(np.prod(self.spec.inputs)), device=slot.device)
        for way, who in self.code.ways():
            x[who] = self.code.unpack(way, self._at_slots(slot, way[0], who), who)
        return None, x.view(*slot.shape, *self.spec.inputs)

    def _inputs_in(self, chunk: slice) -> Tensor:
        return self._all_in(chunk, lambda way, content, who: self.code.unpack(way, content, who))

    def _levels_in(self, chunk: slice) -> Tensor:
        return self._all_in(chunk, lambda way, content, _: self.code.levels(way[0], content))

    def _all_in(self, chunk: slice, read: Any) -> Tensor:
        """What `read` makes of the contents in these slots: [s, c, x]; zeros where a subject has fewer."""
        x = torch.zeros(len(self.content), chunk.stop - chunk.start, int(np.prod(self.spec.inputs)))
        x = x.to(self.content.device)
        for way, who in self.code.ways():
            some = self._lanes(self.code.size(way[0]))[who, chunk]
            found = read(way, some.contiguous(), who)
            if isinstance(who, slice) and found.shape == x.shape:
                return found
            x[who, : found.shape[1]] = found
        return x

    # -- encoding ---------------------------------------------------------------------------------------------

    def encode(self, batch: Batch, view: View, clock: Clock, who: Tensor | None = None) -> None:
        fresh, x = self._fresh(batch, who), batch.x.flatten(2)
        known = self.code.depth
        self.code.meet(x, fresh)
        if self.code.depth is not known:
            self._settle()
        content = self.code.write(x)
        key, code = self._hashed(content, batch), None
        if self.repeats == "exact":
            fresh = fresh & ~self._equal(content, key, batch, fresh)
        elif self._near is not None:
            code = self._near.code(self._levels_of(content))
            fresh = fresh & ~self._alike_already(self._near, code, batch, fresh)
        slot, key = self._choose(batch, fresh, clock, view, None if self.repeats == "none" else key)
        self._write(slot, key, content, batch, clock)
        if self._near is not None and code is not None:
            self._near.wrote(code, slot)

    def _levels_of(self, content: Tensor) -> Tensor:
        """The levels of contents [s, b, width]: [s, b, x]."""
        levels = torch.zeros(*content.shape[:2], int(np.prod(self.spec.inputs)), device=content.device)
        for (depth, _), who in self.code.ways():
            levels[who] = self.code.levels(depth, content[who][..., : self.code.size(depth)])
        return levels

    def _hashed(self, content: Tensor, batch: Batch) -> Tensor:
        """The key of each row: int64 [s, b] of 31 bits, a function of the seed, the content and the label."""
        number = (content.long() * self._mix[:, None, :-1]).sum(2)
        if not self.spec.regression:
            number += (batch.y + 1) * self._mix[:, -1:]
        for shift, mixer in zip((30, 27), MIXERS, strict=True):
            number = (number ^ ((number >> shift) & (2 ** (64 - shift) - 1))) * mixer
        return (number ^ (number >> 31)) & (2**31 - 1)

    def _answers_equal(self, batch: Batch, place: Tensor, others: Tensor) -> Tensor:
        """Whether the answers of rows equal others [s, n] or [s, n, o] at these places [s, b]."""
        rows = others[self._rows, place]
        return (rows == batch.y).all(2) if self.spec.regression else rows == batch.y

    def _equal(self, content: Tensor, key: Tensor, batch: Batch, fresh: Tensor) -> Tensor:
        """The rows whose content and answer equal those of a stored episode, or of an earlier row: bool [s, b]."""
        n, rows = max(self._used, 1), batch.rows
        stored = self.mark[:, :n, 2]
        same, slot = ((stored[:, None] == key[..., None].to(stored.dtype)) & self._heard()[:, None, :n]).max(2)
        for (depth, _), who in self.code.ways():
            held = self._at_slots(slot, depth, who)
            same[who] &= (held == content[who][..., : held.shape[2]]).all(2)
        same &= self._answers_equal(batch, slot, self._y())
        before = torch.ones(rows, rows, dtype=torch.bool, device=key.device).tril(-1)
        early, first = ((key[:, None] == key[..., None]) & before & fresh[:, None]).max(2)
        early &= (content[self._rows, first] == content).all(2) & self._answers_equal(batch, first, batch.y)
        return same | early

    def _alike_already(self, near: Near, code: Tensor, batch: Batch, fresh: Tensor) -> Tensor:
        """The rows whose code overlaps enough with that of a stored episode, or of an earlier row: bool [s, b]."""
        n, labels = max(self._used, 1), not self.spec.regression
        y, stored_y = (batch.y, self.what[:, :n, 0]) if labels else (None, None)
        known = near.known(code, y, stored_y, self._heard()[:, :n], near.made(self._levels_in, self._used))
        alike = near.together(code).tril(-1) & (fresh & ~known)[:, None]
        if labels:
            alike &= batch.y[:, :, None] == batch.y[:, None]
        return known | alike.any(2)

    # -- recall -----------------------------------------------------------------------------------------------

    def recall(self, x: Tensor) -> Recall:
        if not self._used:
            return nothing(x, self.spec.outputs)
        middle, norm = self._centred()
        cue = torch.nn.functional.normalize(x.flatten(2) - middle, dim=2)
        away, scale = (cue * middle).sum(2), self.sharpness / norm  # z·(t - μ) = z·t - z·μ
        silent = torch.where(self._heard()[:, : self._used], 0.0, NEVER)

        def adjust(like: Tensor, _: Tensor, chunk: slice, cues: Any) -> None:
            like.sub_(away[:, cues, None]).mul_(scale[:, None, chunk]).add_(silent[:, None, chunk])

        most = max(64, WORK // (len(x) * cue.shape[2]))
        logits = Logits(cue, self._inputs_in, self._used, adjust, most)
        votes = lambda chunk: self._votes(self._y()[:, chunk])  # noqa: E731
        (scores,), slot, _ = attend(logits, [votes], [self.spec.outputs])
        found = self._recalled(x, torch.ones(slot.shape, device=x.device), slot, scores)
        best = torch.nn.functional.normalize(found.x.flatten(2) - middle, dim=2)
        match = (best * cue).sum(2).clamp(0, 1) * (slot >= 0)
        return Recall(found.scores, found.x, match, slot)

    def _centred(self) -> tuple[Tensor, Tensor]:
        """The mean of all contents and of one of zeros [s, 1, x], and the distance of each from it [s, n]."""
        known, timed = self._middle, self.spec.input_weights is not None  # weights of n-grams change with time
        if known is None or timed or known[0] is not self or known[1] != self.changed:
            heard, pieces = self._heard().float(), [slice(i, i + PIECE) for i in range(0, self._used, PIECE)]
            pieces[-1] = slice(pieces[-1].start, self._used)
            total = torch.stack([heard[:, None, some] @ self._inputs_in(some) for some in pieces]).sum(0)
            middle = total / (heard.sum(1) + 1)[:, None, None]
            apart = [torch.linalg.vector_norm(self._inputs_in(some) - middle, dim=2) for some in pieces]
            self._middle = known = self, self.changed, middle, torch.cat(apart, 1).clamp_(min=1e-6)
        return known[2:]

    # -- state ------------------------------------------------------------------------------------------------

    def state(self) -> State:
        return super().state() | {"content": self.content[:, : self._total].contiguous()}

    def load(self, tree: State) -> None:
        held = tree["content"].shape[1] if "content" in tree else self._total
        if held != self._total:
            raise ConfigError("bytes", f"are {self._total}, and the saved memory has {held}", f"give {held}")
        super().load(tree)
        room = self.content.new_zeros(len(self.content), 2 * self.code.width)
        self.content = torch.cat((self.content, room), 1)
        self._near = None if self._near is None else self._near.__deepcopy__({})
        self._settle()
