"""The answers to the next experience, and raw answers that are kept for later readings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.settings import setting
from cls_sim.core.tensors import from_numpy
from cls_sim.probes.base import Measured, Probe
from cls_sim.probes.evaluations import answered, shared
from cls_sim.probes.sampled import ClassProbe, Look, Sampled, right
from cls_sim.readout.base import Readout


@dataclass(frozen=True)
class Coming:
    """The next experience, which the subject has not met yet: y, said [s, b]; -1: no row."""

    y: Tensor
    said: Tensor


@shared
def coming(life: Measured, readout: Readout | None) -> Coming:
    """The answers of a readout (None: that of the life) to the rows of the next experience; none after the last one.

    In a world that asks for actions the next experience depends on an action that is not yet taken: none.
    """
    if life.world.observe(life.clock) is not None:
        nothing = torch.full((life.spec.subjects, life.spec.batch), -1, dtype=torch.int64, device=life.spec.device)
        return Coming(nothing, nothing)
    batch, who = life.world.next(life.clock), readout or life.readout
    scores = answered(life, batch, lambda x, told: who.answer(x, told, life.hippocampus, life.neocortex).scores)
    there = batch.present()
    if life.world.length is not None:
        there = there & from_numpy(life.clock.experience < life.world.length).to(there.device)[:, None]
    return Coming(torch.where(there, batch.y, -1), torch.where(there, scores.argmax(2), -1))


class Prequential(ClassProbe):
    """Prequential accuracy [s]: that of the answers to the next experience, before the subject has met it.

    NaN after the last experience.  Attach it to `every N`; its mean over all moments is the reading NAME.mean.

    readout  the readout that answers; None: that of the life
    since    experiences before the first one that is asked about, from 0; NaN before

    Source: test-then-train, Gama, Sebastião & Rodrigues 2013; Cai, Sener & Koltun 2021.

    >>> Prequential().at("every 1").moments
    ('every 1',)
    """

    moments = ("day.end",)

    since: int = setting(0, 0)

    def measure(self, life: Measured) -> Tensor:
        self.setup(life.spec)
        early = life.clock.experience < self.since
        if early.all():
            return torch.full((len(early),), torch.nan, dtype=torch.float64)
        found = coming(life, self.readout)
        accuracy = right(found.y[:, None], found.said[:, None])[:, 0]
        return accuracy.masked_fill(from_numpy(early).to(accuracy.device), torch.nan)


class Answers(Sampled):
    """Raw answers [s, n]: sampled questions and the next experience, with what readings need; see `looked`.

    `answers=kept` keeps them in the run directory, so that readings can be computed later (`cls-sim measure`).
    Settings as in Sampled.

    >>> Answers(questions=5).contexts
    10
    """

    axis = "column"
    moments = ("life.begin", "day.end", "context.end", "life.end")

    def measure(self, life: Measured) -> Tensor:
        found, following = self._asked(life), coming(life, self.readout)
        c, q = min(self.contexts, life.spec.contexts) + 1, self.questions  # the same at every moment
        s, free = len(found.y), c - found.y.shape[1]
        contexts = np.pad(found.contexts, ((0, 0), (0, free)), constant_values=-1)
        drawn = np.pad(found.drawn, ((0, 0), (0, free)))
        head = np.broadcast_to([c, q, following.y.shape[1], life.spec.outputs], (s, 4))
        numbers = [head, found.newest[:, None], contexts, drawn, found.its]
        pad = torch.nn.functional.pad
        tensors = [pad(part, (0, 0, 0, free), value=-1) for part in (found.y, found.said)]
        tensors += [following.y, following.said]
        flat = [np.asarray(n).reshape(s, -1) for n in numbers] + [t.reshape(s, -1).cpu().numpy() for t in tensors]
        return from_numpy(np.concatenate(flat, 1, dtype=np.float64))


def looked(row: np.ndarray) -> Look:
    """The parts of a reading [s, n] of Answers.

    Columns: c, q, b, o; the newest context; contexts [c]; drawn [c]; classes of the newest context [o]; y [c · q];
    said [c · q]; coming y [b]; coming said [b].

    Raises ValueError if the numbers do not fit together.
    """
    row = np.asarray(row).astype(np.int64)
    (c, q, b, o), s = row[0, :4].tolist(), len(row)
    if (row[:, :4] != row[0, :4]).any() or row.shape[1] != 5 + 2 * c + o + 2 * c * q + 2 * b or min(c, q, b, o) < 0:
        raise ValueError("answers do not fit together")
    parts = np.split(row[:, 5:], np.cumsum([c, c, o, c * q, c * q, b]), 1)
    shaped = [part.reshape(s, c, q) for part in parts[3:5]]
    return Look(parts[0], parts[1] > 0, row[:, 4], parts[2] > 0, *shaped, *parts[5:])


def kept_probe(probes: Mapping[str, Any]) -> Probe:
    """The probe of `answers=kept`: attached to its own moments, and to `every N` of these probes."""
    often = {moment for probe in probes.values() for moment in probe.moments if moment.startswith("every ")}
    return Answers().at(*Answers.moments, *sorted(often))
