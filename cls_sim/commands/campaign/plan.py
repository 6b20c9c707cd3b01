"""The pieces that `cls-sim-claims` runs: an experiment, one scenario of it, or one part of its arms.

An experiment that takes hours divides its arms into parts, which run separately at full size:

    parts: {alone: [none, joint], stored: [er, agem], late: {arms: [lwf], overrides: [seed=1005]}}

Each part of each scenario is then a piece, with the claims about its arms.  The overrides of a part serve claims that
must be tested on other seeds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from cls_sim.claims import FAILS, ablations, about, check_ablation
from cls_sim.config import experiments
from cls_sim.config.arms import DO, treatment
from cls_sim.core.errors import ConfigError, known, refuse_if, under

ARMS = "arms"  # the key of a part (beside DO)
Parts = dict[str, tuple[list[str], list[str]]]  # part → its arms and its overrides


@dataclass(frozen=True)
class Piece:
    """An experiment at one size, one scenario of it, or one part of its arms.

    claims  name → claim, the claims that this piece tests
    off     the ablations, each {overrides: they remove the mechanism, must_fail: the claims that must then fail}
    part    the name of the part; None if all arms run together
    arms    the arms of the part that are possible in this scenario
    do      the overrides of the part
    title   the title of the experiment, as its file has it now
    """

    experiment: str
    scenario: str | None
    size: str
    claims: Mapping[str, Any] = field(default_factory=dict)
    off: Sequence[Mapping[str, Any]] = ()
    part: str | None = None
    arms: tuple[str, ...] = ()
    do: tuple[str, ...] = ()
    title: str = ""

    @property
    def names(self) -> list[str]:
        """The names by which it can be selected: EXPERIMENT, EXPERIMENT_SCENARIO and EXPERIMENT_SCENARIO_PART."""
        told = [name for name in (self.experiment, self.scenario, self.part) if name]
        return ["_".join(told[: n + 1]) for n in range(len(told))]

    @property
    def name(self) -> str:
        return self.names[-1]

    @property
    def overrides(self) -> list[str]:
        size = [] if self.size == "paper" else [f"size={self.size}"]
        scenario = [f"scenario={self.scenario}"] if self.scenario else []
        arms = [f"arms=[{','.join(self.arms)}]"] if self.part else []
        return [f"experiment={self.experiment}", *size, *scenario, *arms, *self.do]

    @property
    def removing(self) -> list[tuple[list[str], list[str]]]:
        """For each ablation: the overrides that remove the mechanism, and those of these claims that must fail."""
        found = [(list(one[DO]), [name for name in one[FAILS] if name in self.claims]) for one in self.off]
        return [(do, fails) for do, fails in found if fails]

    @property
    def fails(self) -> list[str]:
        """The claims that must fail in an ablation."""
        return [name for _, fails in self.removing for name in fails]

    def without(self) -> list[tuple[list[str], list[str]]]:
        """The overrides of each run without its mechanism, and the claims that must fail in it.

        It runs at size=small unless the claims that must fail are for one size only.
        """
        found = []
        for do, fails in self.removing:
            small = self.size == "paper" and not any("size" in self.claims[name] for name in fails)
            found.append(([*self.overrides, *(["size=small"] if small else []), *do], fails))
        return found


def read(experiment: str) -> dict[str, Any]:
    """The content of an experiment's file."""
    from cls_sim.config.reader import page

    return page(experiments.conf_dir() / "experiment" / f"{experiment}.yaml")[0]


def pieces(size: str = "paper", named: Iterable[str] = ()) -> list[Piece]:
    """The pieces of all experiments (or of those named): one for each scenario of the claims and each part of the arms.

    An experiment without settings for size=small is the same at both sizes; it has one piece, at full size.
    """
    every: list[Piece] = []
    for file in sorted((experiments.conf_dir() / "experiment").glob("*.yaml")):
        every += of(file.stem, read(file.stem), size)
    wanted = set(named)
    for name in sorted(wanted):
        known(
            "experiment", name, dict.fromkeys(name for piece in every for name in piece.names), f"there is no {name!r}"
        )
    return [piece for piece in every if not wanted or wanted & set(piece.names)]


def of(experiment: str, told: Mapping[str, Any], size: str) -> list[Piece]:
    """The pieces of one experiment, from the content of its file."""
    claims, off = told.get("claims") or {}, told.get("ablation") or []
    parts = _parts(f"{experiment}.parts", told.get("parts") or {})
    with under(experiment):
        check_ablation(off, claims)
    if parts:
        _check_parts(experiment, parts, told.get("arm") or {}, claims)
    own = size if told.get("small") or any("size" in claim for claim in claims.values()) else "paper"
    found = []
    for scenario in dict.fromkeys(c["scenario"] for c in claims.values() if "scenario" in c) or [None]:
        mine = {
            name: claim
            for name, claim in claims.items()
            if claim.get("size", own) == own and claim.get("scenario", scenario) == scenario
        }
        if not mine:  # it claims nothing, or nothing at this size
            continue
        title = str(told.get("title") or "").replace("${scenario}", scenario or "")
        whole = Piece(experiment, scenario, own, mine, ablations(off), title=title)
        found += _divided(whole, told, parts) if parts and own == "paper" else [whole]
    return found


def _divided(whole: Piece, told: Mapping[str, Any], parts: Parts) -> list[Piece]:
    """The parts of a scenario, each with its possible arms and the claims about them."""
    found = []
    scenario = experiments.scenario_of(told if whole.scenario is None else {"scenario": whole.scenario})
    for part, (names, do) in parts.items():
        asked = {name: treatment(told["arm"], name) for name in names}
        arms = tuple(n for n, t in asked.items() if t.possible(scenario) and t.size in (None, whole.size))
        claims = {name: claim for name, claim in whole.claims.items() if about(claim) <= set(names)}
        if arms:
            found.append(replace(whole, part=part, arms=arms, claims=claims, do=tuple(do)))
    return found


def _parts(key: str, parts: Any) -> Parts:
    """The arms and the overrides of each part; raises ConfigError for anything but lists.

    >>> _parts("parts", {"stored": ["er", "agem"], "late": {"arms": ["lwf"], "overrides": ["seed=1005"]}})
    {'stored': (['er', 'agem'], []), 'late': (['lwf'], ['seed=1005'])}
    """
    found: Parts = {}
    for part, said in parts.items() if isinstance(parts, dict) else [("", None)]:
        told = {ARMS: said, DO: []} if isinstance(said, list) else said
        if not isinstance(told, dict) or set(told) != {ARMS, DO} or not all(isinstance(v, list) for v in told.values()):
            remedy = "write parts: {name: [arm, …]}, or {name: {arms: [arm, …], overrides: [override, …]}}"
            raise ConfigError(key, f"{parts!r} is not a mapping of lists", remedy)
        found[part] = told[ARMS], told[DO]
    return found


def _check_parts(experiment: str, parts: Parts, arms: Mapping[str, Any], claims: Mapping[str, Any]) -> None:
    """Raise ConfigError unless each arm and each claim at full size belongs to exactly one of the `parts`."""
    key = f"{experiment}.parts"
    home: dict[str, str] = {}
    for part, (names, _) in parts.items():
        for name in names:
            known(f"{key}.{part}", name, arms, f"there is no arm {name!r}")
            refuse_if(name in home, f"{key}.{part}", f"{name} is in {home.get(name)} already", "name it once")
            home[name] = part
    for name in arms:
        asked = treatment(arms, name)
        refuse_if(name not in home and asked.size in (None, "paper"), key, f"{name} is in no part", "add it to one")
        if home.get(name) != home.get(asked.origin or name):
            raise ConfigError(key, f"{name} branches from {asked.origin}, in another part", "put both into one")
    for name, claim in claims.items():
        named = about(claim)
        together = named and any(named <= set(names) for names, _ in parts.values())
        if claim.get("size", "paper") == "paper" and not together:
            reason = f"needs arms that are in different parts ({', '.join(sorted(named)) or 'every arm'})"
            raise ConfigError(f"{experiment}.claims.{name}", reason, "put them into one part")
