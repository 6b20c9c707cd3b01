"""A job: one arm's life of one chunk of the cohort."""

from __future__ import annotations

from dataclasses import dataclass

from cls_sim.config.experiments import Arm, Experiment


@dataclass(frozen=True)
class Job:
    """One arm's life for a chunk of the subjects: [first, first + subjects)."""

    arm: Arm
    first: int
    subjects: int
    origin: Arm | None = None
    forks: tuple[tuple[str, float | None], ...] = ()  # (arm, age in days at which it leaves; None: at the end)

    @property
    def name(self) -> str:
        return f"{self.arm.name}-{self.first:06d}"

    @property
    def seed(self) -> int:
        return self.arm.cfg["seed"] + self.first

    def of(self, arm: str) -> str:
        return f"{arm}-{self.first:06d}"


def jobs(experiment: Experiment) -> list[list[Job]]:
    """The jobs of an experiment in waves: a wave needs only what earlier waves left behind.

    Chunks are cut by `chunk`, never by the number of workers, so results do not depend on it.
    """
    total = experiment.cfg["subjects"]
    size = experiment.cfg["chunk"] or total
    waves: list[list[Job]] = []
    depth: dict[str, int] = {}
    for arm in experiment.arms.values():
        depth[arm.name] = 0 if arm.origin is None else depth[arm.origin] + 1
        forks = tuple((other.name, other.branch_at) for other in experiment.arms.values() if other.origin == arm.name)
        origin = experiment.arms[arm.origin] if arm.origin else None
        while len(waves) <= depth[arm.name]:
            waves.append([])
        for first in range(0, total, size):
            waves[depth[arm.name]].append(Job(arm, first, min(size, total - first), origin, forks))
    return waves
