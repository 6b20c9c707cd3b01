"""A hippocampus that learns within an experience, from the difference between recall and what came."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.draws import each
from cls_sim.core.errors import choice, refuse_if, whole
from cls_sim.core.part import Spec, View
from cls_sim.core.settings import Settings, setting
from cls_sim.hippocampus.base import Recall, Stages, nothing
from cls_sim.hippocampus.dentate import active, largest
from cls_sim.hippocampus.slotless import Slotless

STAGES = ("dg", "ca3", "ca1")
TILT = 1e-3  # size of the fixed drive that decides between cells that synapses do not drive
BIAS = 2.0  # of the cells of the output layer


class Theta(Settings, Slotless):
    """Each experience passes through phases of theta: the memory recalls from the cue, then hears the whole event.

        first quarter  the cue x drives CA1 directly:  CA1_q = k winners of  direct · x W_x1
        recall         the cue drives CA3, which completes it:  q = k winners of x through dentate gyrus and perforant
                       path,  CA3_r = k winners of q W_33,  CA1_r = k winners of  CA3_r W_31 + direct · x W_x1
        plus           the event e = (x, code of y) drives CA3_+, through the dentate gyrus, and CA1_+
        error          W_33 += η q (CA3_+ - CA3_r),   W_31 += η CA3_r (CA1_+ - CA1_r),   W_x1 += η x (CA1_+ - CA1_q)
                       W_1e += η CA1_+ (e - output),   output = logistic(CA1_+ W_1e - 2)
        hebbian        W += η pre (post - W)  in each of them, with the activity of the plus phase as post

    Recall decodes CA1_r into a cue and an answer.  CA1 compares: the match is the cosine of the recalled cue and x, and
    there is an answer only if it reaches the criterion.

    units      cells of the dentate gyrus, CA3 and CA1
    winners    active cells of each
    target     cells of the code of an answer, of which a quarter is active
    mossy      strength of the dentate gyrus relative to the perforant path in CA3, from 0
    direct     strength of the direct path from the cue to CA1 relative to CA3, from 0
    rate       η, from 0
    learning   error or hebbian
    criterion  least match of an answer, in [0, 1]

    Inputs are from 0 to 1.  Paths into the dentate gyrus, CA3 and, in the plus phase, CA1 are drawn for each subject
    and fixed.  It stores no episodes.  Classification only: raises ConfigError in regression.

    Source: Ketz, Morkonda & O'Reilly 2013; errors in CA3, Zheng, Liu, Nishiyama, Ranganath & O'Reilly 2022; the
    comparison in CA1, Lisman & Grace 2005.  Reduced: one cycle of k winners in the place of a relaxation of rates.

    >>> memory = Theta(units=[50, 40, 40], winners=[2, 4, 4])
    >>> _ = memory.setup(Spec(seeds=(0,), inputs=(6,), outputs=3))
    >>> memory.recall(torch.ones(1, 1, 6)).scores.tolist()
    [[[0.0, 0.0, 0.0]]]
    """

    units: list[int] = setting((1500, 800, 400), check=lambda key, value: _three(key, value))
    winners: list[int] = setting((4, 24, 40), check=lambda key, value: _three(key, value))
    target: int = setting(40, 4)
    mossy: float = setting(2.0, 0.0)
    direct: float = setting(0.1, 0.0)
    rate: float = setting(0.1, 0.0)
    learning: str = setting("error", ("error", "hebbian"))
    criterion: float = setting(0.85, 0.0, 1.0)

    def _ready(self) -> None:
        for stage, units, winners in zip(STAGES, self.units, self.winners, strict=True):
            refuse_if(winners >= units, "winners", f"of {stage} are {winners} of {units} cells", "give fewer")

    def setup(self, spec: Spec) -> Spec:
        refuse_if(spec.regression, "", "learns labels, and this world is a regression", "use hippocampus=store")
        (dg, ca3, ca1), s = self.units, spec.subjects
        self._width, self._active = int(torch.Size(spec.inputs).numel()), max(1, self.target // 4)
        event = self._width + self.target

        def wired(name: str, rows: int, columns: int) -> Tensor:
            def draw(source: np.random.Generator) -> np.ndarray:
                weights = source.standard_normal((rows, columns), np.float32)
                return weights - weights.mean(0)

            return each(spec.seeds, f"theta.{name}", draw).to(spec.device)

        def codes(source: np.random.Generator) -> np.ndarray:
            plain = np.zeros((spec.outputs, self.target), np.float32)
            plain[:, : self._active] = 1.0
            return source.permuted(plain, axis=1)

        self._codes = each(spec.seeds, "theta.codes", codes).to(spec.device)
        self._into = {"dg": wired("dg", event, dg), "ca3": wired("ca3", event, ca3), "ca1": wired("ca1", event, ca1)}
        self._mossy = wired("mossy", dg, ca3)
        self._tilt = {"ca3": TILT * wired("tilt.ca3", 2, ca3)[:, :1], "ca1": TILT * wired("tilt.ca1", 2, ca1)[:, :1]}
        self._lost: dict[str, Tensor | None] = dict.fromkeys(STAGES)
        device = spec.device
        self.recurrent = torch.zeros(s, ca3, ca3, device=device)  # W_33
        self.schaffer = torch.zeros(s, ca3, ca1, device=device)  # W_31
        self.ahead = torch.zeros(s, self._width, ca1, device=device)  # W_x1
        self.outward = torch.zeros(s, ca1, event, device=device)  # W_1e
        return super().setup(spec)

    def _winners(self, stage: str, drive: Tensor) -> Tensor:
        """The activity of a stage [s, b, n], 0 or 1, for this drive."""
        place, lost = STAGES.index(stage), self._lost[stage]
        drive = drive + self._tilt[stage] if stage in self._tilt else drive
        if lost is not None:
            drive = drive.masked_fill(lost[:, None], -torch.inf)
        z = active(largest(drive, self.winners[place]), self.units[place])
        return z if lost is None else z.masked_fill(lost[:, None], 0.0)

    def _driven(self, e: Tensor) -> tuple[Tensor, Tensor]:
        """The activity of the dentate gyrus and of CA3 that an event, or a cue alone, drives [s, b, n]."""
        dentate = self._winners("dg", e @ self._into["dg"])
        perforant = e @ self._into["ca3"] / e.square().sum(2, keepdim=True).sqrt().clamp(min=1e-6)
        return dentate, self._winners("ca3", perforant + self.mossy * (dentate @ self._mossy) / self.winners[0] ** 0.5)

    def _recalled(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """From cues [s, b, x]: dentate gyrus, q, CA3 and CA1 in the recall phase."""
        dentate, q = self._driven(torch.cat((x, x.new_zeros(*x.shape[:2], self.target)), 2))
        ca3 = self._winners("ca3", q @ self.recurrent)
        return dentate, q, ca3, self._winners("ca1", ca3 @ self.schaffer + self.direct * (x @ self.ahead))

    def _output(self, ca1: Tensor) -> Tensor:
        """The event that CA1 [s, b, n] speaks of: [s, b, x + target]."""
        drive = ca1 @ self.outward
        return torch.sigmoid(drive - BIAS) if self.learning == "error" else drive / self.winners[2]

    def layers(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        """The activity of each layer [s, b, n] that the events (x [s, b, …], y [s, b]) drive: ec, dg, ca3, ca1."""
        rows = torch.arange(len(y), device=y.device)[:, None]
        e = torch.cat((x.flatten(2), self._codes[rows, y.clamp(min=0)]), 2)
        dentate, ca3 = self._driven(e)
        return {"ec": e, "dg": dentate, "ca3": ca3, "ca1": self._winners("ca1", e @ self._into["ca1"])}

    def encode(self, batch: Batch, view: View, clock: Clock, who: Tensor | None = None) -> None:
        there = batch.present() & (batch.y >= 0)
        there = there if who is None else there & who[:, None]
        for row in range(batch.rows):  # each row finds what the rows before it have left
            one = slice(row, row + 1)
            self._learn(batch.x[:, one].flatten(2), batch.y[:, one], self.rate * there[:, one, None].float())
        self.changed += 1

    def _learn(self, x: Tensor, y: Tensor, rate: Tensor) -> None:
        plus = self.layers(x, y)
        _, q, ca3, ca1 = self._recalled(x)
        if self.learning == "error":
            quarter = self._winners("ca1", self.direct * (x @ self.ahead))
            self.recurrent = torch.baddbmm(self.recurrent, rate * q.mT, plus["ca3"] - ca3)
            self.schaffer = torch.baddbmm(self.schaffer, rate * ca3.mT, plus["ca1"] - ca1)
            self.ahead = torch.baddbmm(self.ahead, rate * x.mT, plus["ca1"] - quarter)
            wrong = plus["ec"] - self._output(plus["ca1"])
            self.outward = torch.baddbmm(self.outward, rate * plus["ca1"].mT, wrong)
            return
        self.recurrent = _toward(self.recurrent, rate, q, plus["ca3"])
        self.schaffer = _toward(self.schaffer, rate, plus["ca3"], plus["ca1"])
        self.ahead = _toward(self.ahead, rate, x, plus["ca1"])
        self.outward = _toward(self.outward, rate, plus["ca1"], plus["ec"])

    def recall(self, x: Tensor) -> Recall:
        cue, empty = x.flatten(2), nothing(x, self.spec.outputs)
        said = self._output(self._recalled(cue)[3])
        back, answer = said[..., : self._width], said[..., self._width :]
        known = (self.outward != 0).flatten(1).any(1)[:, None]
        match = torch.cosine_similarity(back, cue, dim=2).clamp(0, 1) * known
        answers = (match >= self.criterion) & known
        scores = (answer @ self._codes.mT) / self._active * answers[..., None]
        return Recall(scores, back.reshape(x.shape), match, empty.slot)

    def stages(self, x: Tensor) -> Stages:
        dentate, _, ca3, ca1 = self._recalled(x.flatten(2))
        return Stages(dentate, ca3, self._output(ca1)[..., : self._width].reshape(x.shape))

    def impair(self, stage: str, fraction: np.ndarray) -> None:
        n = self.units[STAGES.index(choice("stage", stage, STAGES))]
        order = each(self.spec.seeds, f"hippocampus.lesion.{stage}", lambda g: g.permutation(n))
        lost = (order < torch.from_numpy(np.round(fraction * n))[:, None]).to(self.spec.device)
        self._lost[stage] = lost if bool(lost.any()) else None
        self.changed += 1

    def stored_bytes(self) -> Tensor:
        learnt = (self.recurrent, self.schaffer, self.ahead, self.outward)
        return torch.full((self.spec.subjects,), sum(one[0].nbytes for one in learnt), dtype=torch.int64)


def _toward(weights: Tensor, rate: Tensor, pre: Tensor, post: Tensor) -> Tensor:
    """Weights [s, m, n] after one step of Hebbian learning, W += η pre (post - W), for one row [s, 1, …]."""
    return weights + (rate * pre.mT) * (post - weights)


def _three(key: str, value: object) -> list[int]:
    """Three whole numbers, one for each stage."""
    several = isinstance(value, (list, tuple)) or (hasattr(value, "__iter__") and not isinstance(value, str))
    numbers = list(value) if several else []  # pyright: ignore[reportArgumentType]
    refuse_if(len(numbers) != 3, key, f"{value!r} is not a list of three numbers", "write [1500, 800, 400]")
    return [whole(f"{key}[{i}]", one) for i, one in enumerate(numbers)]
