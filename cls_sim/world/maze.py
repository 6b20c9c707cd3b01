"""Tracks and mazes: a subject runs from a start to a goal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.draws import Draws, each
from cls_sim.core.errors import refuse_if, whole
from cls_sim.core.part import Spec
from cls_sim.core.settings import Settings, part, setting
from cls_sim.core.tensors import from_numpy
from cls_sim.world.acting import Acting
from cls_sim.world.rewards import ByLot, Rewards

MOVES = ((-1, 0), (1, 0), (0, 1), (0, -1))  # up, down, right, left: (rows, columns)
WALL, FLOOR = "#", "."
TRACK = ("a........B", "##########", "A........b")


def _plan(key: str, plan: Sequence[str]) -> tuple[str, ...]:
    wrong = isinstance(plan, str) or not len(plan) or len({len(row) for row in plan}) != 1
    refuse_if(wrong, key, "is not a list of rows of equal length", 'write ["a...A"]')
    rows = tuple(str(row) for row in plan)
    letters = sorted({*"".join(rows)} - {WALL, FLOOR})
    for letter in letters:
        refuse_if(not "a" <= letter.lower() <= "z", key, f"has {letter!r}", "use # (wall), . (floor) and letters")
    refuse_if(not any(map(str.islower, letters)), key, "has no start", "write a small letter where subjects start")
    refuse_if(not any(map(str.isupper, letters)), key, "has no goal", "write a capital letter at the goal")
    return rows


class Maze(Settings, Acting):
    """A track or a maze of cells: a subject moves up, down, left or right until it reaches a goal, again and again.

    plan      the maze, one string for each row: `#` wall, `.` floor, a small letter a start, a capital letter a goal.
              A goal leads to the start with the same letter; without such a start, to one of all starts, by lot.  A
              life begins at the first start in the order of letters
    rewards   what is found at a goal; default ByLot(): 1 ± 0.1
    episodes  the number of episodes (runs from a start to a goal), after which a subject rests, and its experiences are
              absent rows; None: it runs on and on
    explored  whether a life begins with an exploration without reward: each action in each cell once, one a step; then
              from each goal to the start where it leads, without an action (-1)
    counted   the steps of the first so many episodes are counted
    features  entries ±1 of the code of a cell, drawn at random for each subject; None: cells are one-hot

    Inputs are the codes of cells, x [s, 1, cells or features]; actions are 0 up, 1 down, 2 right, 3 left.  A move into
    a wall leads nowhere.  The label y of an experience is the action taken; an evaluation asks for an action of a
    shortest path to the nearest goal, in each cell that is no goal.  The world never ends.

    State: `place` [s] the cell, `episode` [s] the episodes finished, `step` [s] the steps of the present one, `taken`
    [s, counted] the steps of each episode (-1: not finished).  Raises ConfigError for a plan without a start or a goal.

    Source: the track and its exploration, Mattar & Daw 2018.

    >>> world, clock = Maze(plan=["a.A"], explored=False), Clock(subjects=1, per_day=10)
    >>> spec = world.setup(Spec())
    >>> spec.inputs, spec.actions
    ((3,), 4)
    >>> right = torch.tensor([2])
    >>> [world.next(clock, right).after.argmax(2).item() for _ in range(2)], world.place.item()
    ([1, 2], 0)
    """

    derived = Acting.derived | frozenset(
        {"_leads", "_best", "_goal", "_starts", "_start_of", "_cells", "_lot", "_tried", "_tour"}
    )

    plan: Sequence[str] = setting(TRACK, check=_plan)
    rewards: Rewards = part(Rewards, "give one, such as ByLot(), or None", default_factory=ByLot)
    episodes: int | None = setting(None)
    explored: bool = setting(True)
    counted: int = setting(50)
    features: int | None = setting(None, 2)

    def setup(self, spec: Spec) -> Spec:
        grid = np.array([list(row) for row in self.plan])
        cells = np.argwhere(grid != WALL)
        number = np.full(grid.shape, -1)
        number[tuple(cells.T)] = np.arange(len(cells))
        leads = np.empty((len(cells), len(MOVES)), np.int64)
        for action, (down, right) in enumerate(MOVES):
            to = cells + (down, right)
            inside = ((to >= 0) & (to < grid.shape)).all(1)
            landed = np.where(inside, number[tuple(np.clip(to, 0, np.array(grid.shape) - 1).T)], -1)
            leads[:, action] = np.where(landed >= 0, landed, np.arange(len(cells)))
        letters = grid[tuple(cells.T)]
        named = sorted((letter, i) for i, letter in enumerate(letters.tolist()) if letter != FLOOR)
        starts = {letter: i for letter, i in named if letter.islower()}
        goals = [(letter, i) for letter, i in named if letter.isupper()]
        goal, start_of = np.full(len(cells), -1), np.full(len(goals), -1)
        for i, (letter, cell) in enumerate(goals):
            goal[cell], start_of[i] = i, starts.get(letter.lower(), -1)
        tried = np.flatnonzero(goal < 0)
        device, s = spec.device, spec.subjects
        self._leads, self._goal = from_numpy(leads).to(device), from_numpy(goal).to(device)
        self._starts, self._start_of = torch.tensor([*starts.values()], device=device), from_numpy(start_of).to(device)
        tour = [(cell, action, leads[cell, action]) for cell in tried for action in range(len(MOVES))]
        tour += [(cell, -1, start_of[i]) for i, (_, cell) in enumerate(goals) if start_of[i] >= 0]
        self._tour = torch.tensor(tour, device=device)
        self._cells, self._tried = self._codes(spec, len(cells)).to(device), from_numpy(tried).to(device)
        self._best = from_numpy(_shortest(leads, goal >= 0)).to(device)
        self._lot = Draws(spec.seeds, "world.start", (1,), device=device)
        self.place = self._starts[0].repeat(s)
        self.episode, self.step = (torch.zeros(s, dtype=torch.int64, device=device) for _ in range(2))
        self.taken = torch.full((s, self.counted), -1, dtype=torch.int64, device=device)
        self.setup_inside("rewards", spec)
        told = replace(
            spec, inputs=tuple(self._cells.shape[2:]), outputs=len(MOVES), actions=len(MOVES), batch=1, items=len(cells)
        )
        return self.ready(told)

    def _codes(self, spec: Spec, cells: int) -> Tensor:
        """The input of each cell: [s, cells, x]."""
        if self.features is None:
            return torch.eye(cells).expand(spec.subjects, -1, -1)
        shape = (cells, self.features)
        return each(spec.seeds, "world.cells", lambda g: 2 * g.integers(0, 2, shape).astype(np.float32) - 1)

    def _seen(self, cell: Tensor) -> Tensor:
        """What each subject sees in a cell [s]: [s, 1, x]."""
        return self._cells.gather(1, cell[:, None, None].expand(-1, 1, self._cells.shape[2]))

    @property
    def exploring(self) -> int:
        """The number of experiences of the exploration."""
        return len(self._tour) if self.explored else 0

    def _carried(self, clock: Clock) -> tuple[Tensor, Tensor]:
        """Which subjects still explore, bool [s], and the cell where each is put, its action and where it leads."""
        now = from_numpy(clock.experience).to(self.place.device)
        return now < self.exploring, self._tour[now.clamp(max=max(self.exploring - 1, 0))]

    def observe(self, clock: Clock) -> Tensor:
        return self._seen(self.item(clock))

    def item(self, clock: Clock) -> Tensor:
        if not self.exploring or clock.experience.min() >= self.exploring:
            return self.place
        explores, tour = self._carried(clock)
        return torch.where(explores, tour[:, 0], self.place)

    def at_work(self, clock: Clock) -> Tensor | None:
        return None if self.episodes is None else self.episode < self.episodes

    def guided(self, action: Tensor, clock: Clock) -> Tensor:
        explores, tour = self._carried(clock)
        return torch.where(explores, tour[:, 1], action)

    def move(self, action: Tensor, who: Tensor, clock: Clock) -> tuple[Tensor, Tensor, Tensor]:
        explores, tour = self._carried(clock)
        to, runs = torch.where(explores, tour[:, 2], self._leads[self.place, action.clamp(min=0)]), who & ~explores
        self.place = torch.where(runs, to, self.place)
        goal = self._goal[to]
        ended = runs & (goal >= 0)
        self.step = self.step + runs
        return self._seen(to), torch.where(ended, self.rewards.found(goal.clamp(min=0), clock), 0.0), ended

    def turn(self, who: Tensor, clock: Clock) -> None:
        next_start = self._start_of[self._goal[self.place].clamp(min=0)]
        lot = (self._lot.at(clock.experience)[:, 0] * len(self._starts)).long()
        next_start = torch.where(next_start < 0, self._starts[lot], next_start)
        now = self.episode.clamp(max=self.counted - 1)
        kept = who & (self.episode < self.counted)
        before = self.taken.gather(1, now[:, None])
        self.taken = self.taken.scatter(1, now[:, None], torch.where(kept[:, None], self.step[:, None], before))
        self.place = torch.where(who, next_start, self.place)
        self.episode = self.episode + who
        self.step = torch.where(who, 0, self.step)

    def evaluation(self, context: int) -> Batch:
        whole("context", context, 0, 0)
        s, n = self.spec.subjects, len(self._tried)
        x, y = self._cells[:, self._tried], self._best[self._tried].expand(s, n)
        return Batch.lived(x, y, context=torch.zeros_like(y), item=self._tried.expand(s, n))


def _shortest(leads: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """The action of a shortest path to the nearest goal in each cell: int64 [cells]; -1 where there is no path."""
    far = np.where(goal, 0, len(goal) + 1)
    for _ in range(len(goal)):
        far = np.where(goal, 0, np.minimum(far, 1 + far[leads].min(1)))
    return np.where(far <= len(goal), far[leads].argmin(1), -1)
