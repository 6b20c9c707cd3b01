"""Reads an experiment and its arms from overrides and checks every key."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from cls_sim import PART_KINDS
from cls_sim.config import validation
from cls_sim.config.arms import DO, Treatment, texts, treatment
from cls_sim.config.builder import chooses_size, make, make_life
from cls_sim.config.composer import Composer, chosen
from cls_sim.config.reader import conf_dir
from cls_sim.core import renamed
from cls_sim.core.errors import ConfigError, bytes_of, choice, flag, known, real, refuse_if, under, whole

if TYPE_CHECKING:
    from cls_sim.life import Life

__all__ = ["FREE", "PART_KINDS", "Arm", "Experiment", "build", "conf_dir", "make", "make_life", "read"]

FREE = ("days", "workers", "engine", "wandb", "device", "debug")  # may differ when a run is resumed


@dataclass(frozen=True)
class Arm:
    """One treatment of the same subjects: a complete configuration, or a branch of another arm.

    cfg         the composed configuration
    origin      the arm whose past it shares, or None
    branch_at   the age in days at which it branches; None: at the end of the origin's life
    keep_parts  if given, the arm is a new life that starts with only these parts of the origin
    own         the overrides of the arm, with methods expanded
    """

    name: str
    cfg: dict[str, Any]
    origin: str | None = None
    branch_at: float | None = None
    keep_parts: tuple[str, ...] = ()
    own: tuple[str, ...] = ()

    def reads(self, override: str) -> bool:
        """Whether a user's override has an effect in this arm: the arm does not override the same key or part."""
        return not any(f"{key_of(override)}.".startswith(f"{key_of(own)}.") for own in self.own)

    def swaps(self, override: str) -> bool:
        """Whether a user's override is a setting of a part that this arm replaces."""
        part_kind, dot, _ = key_of(override).partition(".")
        return bool(dot) and any(key_of(own) == part_kind for own in self.own)


@dataclass(frozen=True)
class Experiment:
    """The checked configuration of a run."""

    name: str
    cfg: dict[str, Any]
    arms: dict[str, Arm]
    overrides: list[str] = field(default_factory=list)

    def reads(self, name: str, override: str) -> bool:
        """Whether a user's override has an effect throughout the life of an arm, also before it branched."""
        arm = self.arms[name]
        return arm.reads(override) and (arm.origin is None or self.reads(arm.origin, override))


def read(overrides: Sequence[str] = (), folders: Sequence[str] = (), *, one: bool = False) -> Experiment:
    """Compose an experiment and all its arms (with `one`, only its first arm) from overrides.

    Later overrides win over earlier ones, in this order: the file, `size=small`, the method, the user's, the arm's.  An
    arm that chooses another option for a kind of part ignores the user's settings of that kind of part.

    Raises ConfigError for unknown, contradictory or out-of-range settings, and for a setting that no arm reads.
    """
    mine = [str(override) for override in overrides]
    compose = Composer(folders)
    first = [override for override in mine if not _is_setting(override)]
    cfg = compose(first, draft=True)
    size = choice("size", cfg["size"], ("paper", "small"))
    small = texts("small", cfg["small"])
    settled = [*(small if size == "small" else []), *_method(cfg.get("method"), scenario_of(cfg)), *mine]
    cfg = compose(settled)
    _check_top(cfg)
    arms, every = dict[str, Arm](), _asked(cfg)
    for name, asked in list(every.items())[: 1 if one and cfg["arms"] is None else None]:
        own = _spelled(compose, asked.overrides, scenario_of(cfg))
        treated = _treated(compose, name, own, settled, cfg)
        arms[name] = Arm(name, treated, asked.origin, asked.at, asked.keep, tuple(own))
    if len(arms) == len(every):
        _check_read(mine, arms)
    _check_budgets(arms, mine)
    return Experiment(chosen(mine), cfg, arms, mine)


def _check_budgets(arms: Mapping[str, Arm], mine: Sequence[str]) -> None:
    """Raise ConfigError if the user gives a budget and the size that it chooses, or a branch another budget."""
    for name, arm in arms.items():
        budget, origin = arm.cfg["budget"], arms.get(arm.origin or "")
        keeps = not arm.keep_parts or "hippocampus" in arm.keep_parts
        if origin is not None and keeps and budget != origin.cfg["budget"]:
            reason = f"has another budget than {origin.name}, whose hippocampus it keeps"
            raise ConfigError(f"arm.{name}", reason, "give both the same, or run it from birth")
        for key in [key_of(override) for override in mine if budget is not None and arm.reads(override)]:
            refuse_if(chooses_size(arm.cfg, key), key, "is chosen by the budget", f"leave out {key} or budget")


def _check_read(mine: Sequence[str], arms: Mapping[str, Arm]) -> None:
    """Raise ConfigError for an override of the user that has no effect in any of these arms."""
    for override in mine:
        if arms and not any(arm.reads(override) and not arm.swaps(override) for arm in arms.values()):
            reason = f"is not read by any of the arms {', '.join(arms)}"
            raise ConfigError(key_of(override), reason, "leave it out, or choose other arms")


def scenario_of(cfg: Mapping[str, Any]) -> str:
    """The scenario that selects the preset of a method."""
    world = cfg.get("world")
    return str(cfg.get("scenario") or (world.get("scenario") if isinstance(world, dict) else None))


def _method(method: Any, scenario: str) -> list[str]:
    """The overrides of a method: those for all scenarios, and its preset for this scenario."""
    if not validation.mapping("method", method):
        return []
    refuse_if("name" not in method, "method.name", "is missing", "add name: NAME to the file of the method")
    validation.name("method.name", method["name"])
    presets = validation.mapping("method.scenario", method.get("scenario"))
    preset = texts(f"method.scenario.{scenario}", presets.get(scenario, []))
    return [*texts(f"method.{DO}", method.get(DO, [])), *preset]


def _check_top(cfg: dict[str, Any]) -> None:
    if old := renamed.find(cfg):
        raise ConfigError(old, "was renamed", f"write {renamed.now(old)}")
    for key in cfg:
        known(key, key, (*PART_KINDS, *validation.TOP, *validation.DECLARED), "is an unknown key")
    whole("subjects", cfg["subjects"], 1, 1_000_000)
    whole("seed", cfg["seed"], 0, 2**62)
    whole("workers", cfg["workers"], 1, 1024)
    flag("debug", cfg["debug"])
    if choice("engine", cfg["engine"], ("local", "ray")) == "ray" and find_spec("ray") is None:
        raise ConfigError("engine", "ray is not installed", "pip install 'cls-sim[ray]'")
    choice("wandb", cfg["wandb"], ("off", "offline", "online"))
    choice("precision", cfg["precision"], ("float32", "bf16"))
    if cfg["answers"] is not None:
        choice("answers", cfg["answers"], ("kept",))
    if cfg["budget"] is not None:
        cfg["budget"] = bytes_of("budget", cfg["budget"])  # however it is written, it is one setting
    if cfg["chunk"] is not None:
        whole("chunk", cfg["chunk"])
    if cfg["days"] is not None:
        real("days", cfg["days"], 0.0, 1e9)
    if not isinstance(cfg["device"], str) or not re.fullmatch(r"cpu|cuda(:\d+)?", cfg["device"]):
        raise ConfigError("device", f"{cfg['device']!r} is not a device", "give cpu or cuda")
    validation.top(cfg)


def _asked(cfg: Mapping[str, Any]) -> dict[str, Treatment]:
    """The arms to run, in the order of the file; the origin of a branch is included."""
    method, scenario = cfg.get("method"), scenario_of(cfg)
    if method:
        refuse_if(cfg["arms"] is not None, "arms", "cannot be given together with method", "give one of them")
        return {method["name"]: Treatment([])}
    arms = cfg["arm"] or {"life": []}
    every = {name: treatment(arms, name) for name in arms}
    wanted: Any = cfg["arms"]
    if wanted is None:
        wanted = [n for n, t in every.items() if t.possible(scenario) and t.size in (None, cfg["size"])]
    wanted = [wanted] if isinstance(wanted, str) else [*wanted] if isinstance(wanted, list) else wanted
    if not isinstance(wanted, list) or not wanted or not all(isinstance(name, str) for name in wanted):
        raise ConfigError("arms", f"{wanted!r} is not a list of arms", f"choose from {', '.join(arms)}")
    for name in wanted:
        known("arms", name, arms, f"there is no arm {name!r}")
        if not every[name].possible(scenario):
            fitting = " or ".join(every[name].scenarios)
            raise ConfigError("arms", f"{name} is not possible with scenario={scenario}", f"give scenario={fitting}")
        wanted += [origin for origin in [every[name].origin] if origin not in (None, *wanted)]
    return {name: asked for name, asked in every.items() if name in wanted}


def _treated(
    compose: Composer, name: str, own: Sequence[str], settled: Sequence[str], base: dict[str, Any]
) -> dict[str, Any]:
    """The configuration of one arm: its overrides on top, without the user's settings of parts that it replaces."""
    if not own:
        return base
    swapped = {o.split("=")[0] for o in own} & {*PART_KINDS, "probes"}
    kept = [o for o in settled if key_of(o).split(".")[0] not in swapped or o.split("=")[0] in PART_KINDS]
    with under(f"arm.{name}"):
        cfg = compose(kept, own)
        _check_top(cfg)
    return cfg


def key_of(override: str) -> str:
    """The key that an override sets or deletes."""
    return override.lstrip("+~").split("=")[0]


def _is_setting(override: str) -> bool:
    """Whether it is a setting of a part whose option a method, or the small size, may still choose."""
    part_kind, dot, _ = key_of(override).partition(".")
    return bool(dot) and part_kind in PART_KINDS and part_kind != "world"


def _spelled(compose: Composer, own: Sequence[str], scenario: str) -> list[str]:
    """The overrides of an arm, with methods expanded."""
    spelled: list[str] = []
    for override in own:
        key, _, name = override.partition("=")
        spelled += _method(compose.file("method", name)[1], scenario) if key == "method" else [override]
    return spelled


def build(*overrides: str, folders: Sequence[str] = ()) -> Life:
    """The life of an experiment's first arm (or of `arms=[NAME]`), with the same objects as in a run.

    >>> build("experiment=digits", "subjects=2").spec.subjects  # doctest: +SKIP
    2
    """
    experiment = read(overrides, folders, one=True)
    arm = list(experiment.arms.values())[-1 if any(o.startswith("arms=") for o in overrides) else 0]
    _check_read(overrides, {arm.name: arm})
    return make_life(arm.cfg)
