"""A code of a few bits for each number of any vector."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from cls_sim.core.arrays import Counts
from cls_sim.core.clock import Clock
from cls_sim.core.errors import ConfigError, real, whole
from cls_sim.core.part import Spec, State
from cls_sim.core.tensors import from_numpy
from cls_sim.hippocampus.codes import Code, NGrams

STEP = {1: 1.596, 2: 0.9957, 4: 0.3352, 8: 0.03087}  # bits → best distance of levels, in deviations (Max 1960)
FIRST = 500  # rows of a subject that determine mean and deviation
INDEX = 16  # bits of a place: the depth of an index code
EXACT = 32  # bits of a number that is kept as it is (float32)
SHARE = 32  # an index holds up to a 32nd of the places
LEAST, MOST = 256, 2**16 - 1  # widths of inputs for which an index saves bytes, and has 16 bits a place
FLAT = 1e-12  # variance of a row that counts as constant

Way = tuple[int, bool]  # depth, and whether levels are from 0 to 1


class Bits(Code):
    """Store any vector at b bits a number, b = 1, 2, 4 or 8: the fewest that keep it similar enough.

        inputs within 0 … 1     level k = round((2^b - 1) x),  x' = k / (2^b - 1)
        others                  level k = ⌊(x - μ) / (σ Δ_b) + 2^(b - 1)⌋,  x' = μ + σ Δ_b (k - (2^b - 1) / 2)
        few non-zeros           an index: the places of the non-zeros, 16 bits each, with one value for all
        exact                   x itself, 32 bits a number, if the inputs are not within 0 … 1

    μ and σ [s, x] are the mean and deviation of each number over the first 500 rows that the subject stores, with one
    more row that has the mean and the deviation of all numbers, so that a single row suffices.  They do not change
    later, so stored contents keep their meaning.  Δ_b = 1.596, .9957, .3352 and .03087 is best for a normal
    distribution; one bit is μ ± .8 σ.

    bits      b; None: the fewest with which the rows of the subject's first experience are reconstructed with at least
              the correlation `fidelity` (mean over rows minus two standard errors, so that the choice does not depend
              on which rows come first; constant rows are skipped; 8 if all are constant)
    fidelity  in (0, 1], with bits None
    exact     whether there is room for exact numbers, with bits None (False; set it before setup)

    A subject keeps its b for life, and whether its inputs are within 0 … 1 (later inputs are then clipped).  An index
    is possible for at least 256 inputs that are not bytes, if the first rows have at most a 32nd of non-zeros; it keeps
    the largest of later rows.  In a world of weighted n-grams (see Texts) this is the code NGrams.

    State: depth [s], b (0: nothing stored; 16: an index; 32: exact), unit [s], whether levels are from 0 to 1, met [s],
    the rows in the statistics, mean and spread [s, x] (the sum of squared deviations), and value [s], that of an index.
    Bytes that a subject's episodes share: 8 for each number (μ and σ), 4 with an index, none with levels from 0 to 1 or
    exact numbers.

    Source: uniform quantisation, Max 1960, Quantizing for minimum distortion.

    >>> code = Bits(fidelity=0.9)
    >>> _ = code.setup(Spec(inputs=(8,)))
    >>> x = torch.tensor([[[0.0, 0, 0.9, 1, 0, 0.1, 1, 1]]])
    >>> code.meet(x, torch.ones(1, 1, dtype=torch.bool))
    >>> code.depth.tolist(), code.write(x)[0, 0, 0].item(), code.through(x)[0, 0].tolist()
    ([1], 204, [0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0])
    """

    kind = torch.uint8
    learns = True

    def __init__(self, *, bits: int | None = None, fidelity: float = 0.93):
        if bits is not None and (whole("bits", bits, 1, 8) not in STEP):
            raise ConfigError("bits", f"{bits} does not divide 8", "give 1, 2, 4 or 8, or None")
        self.bits, self.fidelity = bits, real("fidelity", fidelity, 0.0, 1.0, open_low=True)
        self.exact = False

    def setup(self, spec: Spec) -> Spec:
        s, self._size = spec.subjects, int(torch.Size(spec.inputs).numel())
        self._grams: NGrams | None = None
        if spec.input_weights is not None:
            self._grams = NGrams()
            self._grams.setup(spec)
        self._most = self._size // SHARE  # places of an index
        self._sparse = spec.quantum is None and LEAST <= self._size <= MOST
        self._tables = {b: _table(b).to(spec.device) for b in STEP}  # byte → its levels
        self._greys = {b: table / (2**b - 1) for b, table in self._tables.items()}
        self._places = {b: (2 ** torch.arange(0, 8, b)).to(torch.uint8).to(spec.device) for b in STEP}
        self._scaled: tuple[Tensor, Tensor] | None = None
        self._room: int | None = None
        self._ways: tuple[np.ndarray, np.ndarray, list[tuple[Way, Any]]] | None = None
        self.depth, self.unit = np.zeros(s, np.int64), np.zeros(s, bool)
        self.met, self.value = torch.zeros(2, s, device=spec.device).unbind()
        self.mean, self.spread = torch.zeros(2, s, self._size, device=spec.device).unbind()
        self.width = max(self.size(depth) for depth in self.depths())
        return super().setup(spec)

    def load(self, tree: State) -> None:
        super().load(tree)
        self._scaled = None

    # -- bytes ------------------------------------------------------------------------------------------

    def depths(self) -> list[int]:
        """The depths that a subject may get, the fewest bytes first."""
        if self._grams is not None:
            return [1]
        if self.bits is not None:
            return [self.bits]
        return [INDEX] * self._sparse + list(STEP) + [EXACT] * self.exact

    def size(self, depth: int) -> int:
        """Bytes of an episode at this depth."""
        return 2 * self._most if depth == INDEX else -(-self._size * depth // 8)

    def shared(self, depth: int, unit: bool) -> int:
        """Bytes that all episodes of a subject share."""
        return 4 if depth == INDEX else 0 if unit or depth == EXACT or self._grams is not None else 8 * self._size

    def episode_bytes(self) -> Counts:
        return np.array([self.size(int(depth)) if depth else self.width for depth in self.depth], np.int64)

    def common_bytes(self) -> Counts:
        each = zip(self.depth.tolist(), self.unit.tolist(), strict=True)
        return np.array([self.shared(depth or 8, unit) for depth, unit in each], np.int64)

    def within(self, room: int) -> None:
        """Choose only depths at which an episode and what is shared take at most so many bytes, if there are any."""
        self._room = room

    # -- what the first rows determine --------------------------------------------------------------------

    def meet(self, x: Tensor, stored: Tensor) -> None:
        new = self.depth == 0
        if new.any():  # the only read from the device: until every subject has stored something
            new &= stored.any(1).cpu().numpy()
        if new.any() and self._grams is not None:
            self.depth = np.where(new, 1, self.depth)
        elif new.any():
            inside = (((x >= 0) & (x <= 1)).all(2) | ~stored).all(1)
            self.unit = np.where(new, inside.cpu().numpy(), self.unit)
        if not self.unit.all() and self._grams is None:
            self._count(x, stored & from_numpy(~self.unit).to(x.device)[:, None])
        if new.any() and self._grams is None:
            who = np.flatnonzero(new)
            depth = self.depth.copy()
            depth[who] = self._chosen(x, stored, who)
            self.depth = depth

    def _count(self, x: Tensor, there: Tensor) -> None:
        """Add rows to the statistics, as far as they are among the first."""
        there = there & (self.met[:, None] + there.cumsum(1) <= FIRST)
        count, known = there.sum(1).to(self.met.dtype), self.met
        total = (known + count).clamp(min=1)[:, None]
        rows = there[..., None].to(x.dtype)
        mean = (x * rows).sum(1) / count.clamp(min=1)[:, None]
        away = (mean - self.mean) * (count > 0)[:, None]
        apart = ((x - mean[:, None]).square() * rows).sum(1)
        self.spread = self.spread + apart + away.square() * (known * count)[:, None] / total
        self.mean = self.mean + away * count[:, None] / total
        self.met = known + count
        self._scaled = None

    def _chosen(self, x: Tensor, stored: Tensor, who: np.ndarray) -> np.ndarray:
        """The depth of each of these subjects: int [g]."""
        found = np.zeros(len(who), np.int64)
        for unit in (False, True):
            place, depths = np.flatnonzero(self.unit[who] == unit), self.depths()
            if self.exact:
                depths = depths[:-1] if unit else depths[-1:]
            if self._room is not None:
                depths = [d for d in depths if self.size(d) + self.shared(d, unit) <= self._room] or depths[:1]
            found[place] = depths[-1]
            if not len(place) or len(depths) == 1:
                continue
            some = from_numpy(who[place]).to(x.device)
            rows, there = x[some], stored[some]
            if self._sparse:
                held = (rows != 0) & there[..., None]
                total = (rows * held).double().sum((1, 2)) / held.sum((1, 2)).clamp(min=1)
                few = ((held.sum(2) <= self._most).all(1) & (total != 0)).cpu().numpy()
                value = self.value.clone()
                value[some] = total.to(value.dtype)
                self.value = value
            for depth in reversed(depths):
                back = self._unpack((depth, unit), self._pack((depth, unit), rows, some), some)
                good = (_alike(rows, back, there) >= self.fidelity).cpu().numpy()
                found[place] = np.where(good & (few if depth == INDEX else True), depth, found[place])
            if self._sparse:
                unused = from_numpy(found[place] != INDEX).to(x.device)
                self.value = self.value.index_fill(0, some[unused], 0.0)
        return found

    # -- writing and reading ------------------------------------------------------------------------------

    def ways(self) -> list[tuple[Way, Any]]:
        """The depths and kinds of levels in use, with the subjects that use them: an index of the first axis."""
        if self._ways is None or self._ways[0] is not self.depth or self._ways[1] is not self.unit:
            number, found = 2 * self.depth + self.unit, list[tuple[Way, Any]]()
            for one in np.unique(number[number > 1]).tolist():
                mine = number == one
                who = slice(None) if mine.all() else from_numpy(np.flatnonzero(mine)).to(self.spec.device)
                found.append(((one // 2, bool(one % 2)), who))
            self._ways = self.depth, self.unit, found
        return self._ways[2]

    def write(self, x: Tensor) -> Tensor:
        content = torch.zeros(*x.shape[:2], self.width, dtype=torch.uint8, device=x.device)
        for way, who in self.ways():
            packed = self._pack(way, x[who], who)
            if isinstance(who, slice) and packed.shape[2] == self.width:
                return packed
            content[who, :, : packed.shape[2]] = packed
        return content

    def read(self, content: Tensor) -> Tensor:
        x = torch.zeros(*content.shape[:2], self._size, device=content.device)
        for way, who in self.ways():
            read = self.unpack(way, content[who][..., : self.size(way[0])], who)
            if isinstance(who, slice):
                return read
            x[who] = read
        return x

    def through(self, x: Tensor) -> Tensor:
        known = from_numpy(self.depth > 0).to(x.device)
        return torch.where(known[:, None, None], self.read(self.write(x)), x)

    def unpack(self, way: Way, content: Tensor, who: Any) -> Tensor:
        """Contents [g, c, size] of these subjects as inputs [g, c, x]."""
        if self._grams is not None:
            return self._grams.weighed(content, who)
        return self._unpack(way, content, who)

    def levels(self, depth: int, content: Tensor) -> Tensor:
        """The levels k of contents [g, c, size], a function of nothing else: [g, c, x], whole numbers if not exact."""
        if depth == EXACT:
            return content.contiguous().view(torch.float32)
        if depth == INDEX:
            place = self._place(content)
            return torch.zeros(*place.shape[:2], self._size + 1, device=place.device).scatter_(2, place, 1.0)[..., :-1]
        return self._looked_up(self._tables[depth], content)

    def _looked_up(self, table: Tensor, content: Tensor) -> Tensor:
        return table.index_select(0, content.flatten().int()).unflatten(0, content.shape).flatten(2)[..., : self._size]

    def _pack(self, way: Way, x: Tensor, who: Any) -> Tensor:
        depth, unit = way
        if self._grams is not None:
            return self._grams.write(x)
        if depth == EXACT:
            return (x + 0.0).contiguous().view(torch.uint8)  # -0 becomes 0
        if depth == INDEX:
            size, place = x.abs().topk(self._most, 2)
            place = place.masked_fill(size == 0, self._size).sort(2).values
            return torch.stack((place & 255, place >> 8), 3).flatten(2).to(torch.uint8)
        if unit:
            level = (x * (2**depth - 1)).round_()
        else:
            mean, step = self._scale()
            level = ((x - mean[who][:, None]) / (step[who] * STEP[depth])[:, None] + 2 ** (depth - 1)).floor_()
        level = level.nan_to_num_().clamp_(0, 2**depth - 1).to(torch.uint8)
        width = self.size(depth)
        level = pad(level, (0, width * 8 // depth - self._size)).unflatten(2, (width, 8 // depth))
        return (level * self._places[depth]).sum(3, dtype=torch.uint8)

    def _unpack(self, way: Way, content: Tensor, who: Any) -> Tensor:
        depth, unit = way
        if unit and depth != INDEX:
            return self._looked_up(self._greys[depth], content)
        level = self.levels(depth, content)
        if depth == INDEX:
            return level.mul_(self.value[who][:, None, None])
        if depth == EXACT:
            return level
        mean, step = self._scale()
        middle = (2**depth - 1) / 2
        return (level - middle).mul_((step[who] * STEP[depth])[:, None]).add_(mean[who][:, None])

    def _place(self, content: Tensor) -> Tensor:
        """The places of an index: int64 [g, c, most], the width of the input where there are fewer."""
        pair = content.view(*content.shape[:2], -1, 2).long()
        return pair[..., 0] + 256 * pair[..., 1]

    def _scale(self) -> tuple[Tensor, Tensor]:
        """μ and σ: [s, x] each."""
        if self._scaled is None:
            met = self.met[:, None]
            middle = self.mean.mean(1, keepdim=True)
            wide = (self.spread / met.clamp(min=1) + (self.mean - middle).square()).mean(1, keepdim=True)
            deviation = ((self.spread + wide) / (met + 1)).sqrt_().clamp_(min=1e-12)
            self._scaled = (self.mean * met + middle) / (met + 1), deviation
        return self._scaled

    def attach(self, spec: Spec, clock: Clock) -> None:
        if self._grams is not None:
            self._grams.attach(spec, clock)


def _table(bits: int) -> Tensor:
    """The levels in each byte: float [256, 8 / bits].

    >>> _table(4)[0x53].tolist()
    [3.0, 5.0]
    """
    return ((torch.arange(256)[:, None] >> torch.arange(0, 8, bits)) & (2**bits - 1)).float()


def _alike(x: Tensor, back: Tensor, there: Tensor) -> Tensor:
    """The correlation of rows [g, b, x] with their reconstruction, without absent and constant rows: [g].

    It is the mean over rows minus two standard errors (none for a single row), and NaN if no row counts.
    """
    x, back = x.double(), back.double()
    x, back = x - x.mean(2, keepdim=True), back - back.mean(2, keepdim=True)
    own, its = x.square().mean(2), back.square().mean(2)
    counts = there & (own > FLAT)
    like = (x * back).mean(2) / (own * its).sqrt().clamp(min=FLAT)
    n = counts.sum(1)
    mean = (like * counts).sum(1) / n
    spread = ((like - mean[:, None]).square() * counts).sum(1) / (n - 1).clamp(min=1)
    return mean - 2 * (spread / n).sqrt()
