"""The base class of worlds that ask for actions."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.part import Spec, State
from cls_sim.core.tensors import from_numpy
from cls_sim.world.base import Endless


class Acting(Endless):
    """A world in which each experience is one step: a subject sees x, acts, gets a reward and sees what follows.

    The state of such a world is where its subjects are, so its future depends on what they do.  A class defines

    setup(spec)       ends with `return self.ready(replace(spec, inputs=…, actions=…))`
    observe(clock)    what each subject sees now, [s, 1, *inputs]
    move(action, who, clock)  the actions [s] of the subjects `who` (bool [s]) take place; it changes the state of these
                      subjects only and returns what followed, [s, 1, *inputs], the reward [s], and whether the episode
                      ended, bool [s]
    turn(who, clock)  places the subjects `who` (bool [s]), whose episode has ended, at the start of the next one
    evaluation(0)     questions: x [s, n, …] and the right action y [s, n]

    An experience is a batch with one row: x, y and `action` (the action taken), `reward`, `after` (what followed) and
    `steps` (1, or 0 if the episode ended).  `next(clock)` without actions is the most recent experience; before any it
    is a row without action (-1) at the start.
    """

    latest: dict[str, Tensor]

    def ready(self, spec: Spec) -> Spec:
        """Make the state of the most recent experience; returns the spec."""
        s, device = spec.subjects, spec.device
        self.spec, self._now = spec, None
        none = torch.full((s, 1), -1, dtype=torch.int64, device=device)
        self.latest = {
            "x": torch.zeros(s, 1, *spec.inputs, device=device),
            "after": torch.zeros(s, 1, *spec.inputs, device=device),
            "reward": torch.zeros(s, 1, device=device),
            "action": none,
            "born": none,
            "item": none,
            "steps": none + 2,
            "there": torch.zeros(s, 1, dtype=torch.bool, device=device),
        }
        return spec

    derived = frozenset({"spec", "_now"})
    spec: Spec
    _now: Batch | None  # the most recent experience, made from `latest` when first asked for

    @abstractmethod
    def observe(self, clock: Clock) -> Tensor: ...

    @abstractmethod
    def move(self, action: Tensor, who: Tensor, clock: Clock) -> tuple[Tensor, Tensor, Tensor]:
        """Let actions [s] take place for the subjects `who`: (what followed, reward [s], ended bool [s])."""

    @abstractmethod
    def turn(self, who: Tensor, clock: Clock) -> None:
        """Begin the next episode of the subjects `who` (bool [s])."""

    def guided(self, action: Tensor, clock: Clock) -> Tensor:
        """The actions that take place if subjects choose these: the same, unless the world guides them."""
        return action

    def at_work(self, clock: Clock) -> Tensor | None:
        """The subjects that still act: bool [s]; None: all.  The experiences of others are absent rows."""
        return None

    def item(self, clock: Clock) -> Tensor:
        """The number of what each subject sees now, int64 [s]; -1: none."""
        return torch.full((self.spec.subjects,), -1, dtype=torch.int64, device=self.spec.device)

    def contexts_at(self, clock: Clock) -> Tensor:
        """0: this world has one context, at every age, whatever subjects did."""
        return torch.zeros(self.spec.subjects, 1, dtype=torch.int64, device=self.spec.device)

    def next(self, clock: Clock, actions: Tensor | None = None) -> Batch:
        if actions is not None:
            self._step(clock, actions)
            self._now = None
        if self._now is None:
            self._now = self._made(clock)
        return self._now

    def _made(self, clock: Clock) -> Batch:
        """The most recent experience of each subject."""
        now: dict[str, Any] = dict(self.latest)
        there, x, action = now.pop("there"), now.pop("x"), now.pop("action")
        new = now["born"] < 0  # before any experience: where the subject is
        x, there = torch.where(_like(new, x), self.observe(clock), x), there | new
        return Batch.lived(x, action, context=torch.zeros_like(action), action=action, weight=there.float(), **now)

    def _step(self, clock: Clock, actions: Tensor) -> None:
        who = actions >= 0
        if (working := self.at_work(clock)) is not None:
            who = who & working
        seen, item = self.observe(clock), self.item(clock)
        action = torch.where(who, self.guided(actions, clock), -1)
        after, reward, ended = self.move(action, who, clock)
        found = {
            "x": seen,
            "after": after,
            "reward": reward[:, None].float(),
            "action": action[:, None],
            "born": from_numpy(clock.experience).to(seen.device)[:, None],
            "item": item[:, None],
            "steps": 1 - ended.long()[:, None],
        }
        moved = actions >= 0  # those who rest keep their most recent experience; those who are done have an absent one
        for name, column in found.items():
            self.latest[name] = torch.where(_like(moved[:, None], column), column, self.latest[name])
        self.latest["there"] = torch.where(moved[:, None], who[:, None], self.latest["there"])
        self.turn(ended & who, clock)

    def load(self, tree: State) -> None:
        super().load(tree)
        self._now = None


def _like(flags: Tensor, column: Tensor) -> Tensor:
    """Flags [s, 1] that broadcast over a column [s, 1, …]."""
    return flags.view(*flags.shape, *[1] * (column.dim() - 2))
