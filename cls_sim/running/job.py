"""A job: the life of one arm for one chunk of the cohort."""

from __future__ import annotations

from dataclasses import dataclass

from cls_sim.config.experiments import Arm, Experiment


@dataclass(frozen=True)
class Job:
    """The life of one arm for a chunk of the subjects: [first, first + subjects)."""

    arm: Arm
    first: int
    subjects: int
    origin: Arm | None = None
    forks: tuple[tuple[str, float | None], ...] = ()  # (arm, age in days at which it branches; None: at the end)

    @property
    def name(self) -> str:
        return f"{self.arm.name}-{self.first:06d}"

    @property
    def seed(self) -> int:
        return self.arm.cfg["seed"] + self.first

    def of(self, arm: str) -> str:
        return f"{arm}-{self.first:06d}"


def jobs(experiment: Experiment) -> list[Job]:
    """The jobs of an experiment; each comes after those whose results it needs.

    The size of chunks is `chunk` and never depends on the number of workers, so results do not depend on it either.
    """
    total = experiment.cfg["subjects"]
    size = experiment.cfg["chunk"] or total
    found: list[Job] = []
    depth: dict[str, int] = {}
    for arm in experiment.arms.values():
        depth[arm.name] = 0 if arm.origin is None else depth[arm.origin] + 1
        forks = tuple((other.name, other.branch_at) for other in experiment.arms.values() if other.origin == arm.name)
        origin = experiment.arms[arm.origin] if arm.origin else None
        found += [Job(arm, first, min(size, total - first), origin, forks) for first in range(0, total, size)]
    return sorted(found, key=lambda job: depth[job.arm.name])
