"""What overrides ask for: an experiment and its arms, every key of them checked.  The only page that says `cfg`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from cls_sim import ROOMS
from cls_sim.config.builder import make, make_life
from cls_sim.config.composer import DECLARED, TOP, Composer, chosen, composer
from cls_sim.config.paths import conf_dir
from cls_sim.core.errors import Refused, choice, flag, real, suggest, whole

if TYPE_CHECKING:
    from cls_sim.life import Life

__all__ = ["FREE", "ROOMS", "Arm", "Experiment", "build", "conf_dir", "make", "make_life", "read"]

FREE = ("days", "workers", "engine", "wandb", "device", "debug")  # may differ when a run is resumed


@dataclass(frozen=True)
class Arm:
    """One treatment of the same subjects: a whole configuration, or another future of an arm's past.

    origin  the arm whose past it shares, or None
    at      the age in days at which it leaves it; None: at the end
    keep    if given, a new life that starts with only these parts of the old one
    """

    name: str
    cfg: dict[str, Any]
    origin: str | None = None
    at: float | None = None
    keep: tuple[str, ...] = ()


@dataclass(frozen=True)
class Experiment:
    """Everything a run needs to know, checked."""

    name: str
    cfg: dict[str, Any]
    arms: dict[str, Arm]
    overrides: list[str] = field(default_factory=list)


def read(overrides: Sequence[str] = (), folders: Sequence[str] = (), *, one: bool = False) -> Experiment:
    """Compose an experiment and all its arms (with `one`, only what its first arm needs) from overrides.

    Later overrides win over earlier ones: the file, `size=small`, the method, yours, the arm's own.  An arm that
    puts another tenant into a room ignores your settings of that room.
    Raises Refused for whatever is unknown, contradictory or out of range.
    """
    mine = [str(override) for override in overrides]
    with composer(folders) as compose:
        plain = not any(override.startswith(("method=", "size=")) for override in mine)
        first = mine if plain else [override for override in mine if not _is_setting(override)]
        base = compose(first)
        size, small = choice("size", base["size"], ("paper", "small")), _texts("small", base["small"])
        small = small if size == "small" else []
        method = _method(base.get("method"), scenario_of(base))
        settled = [*small, *method, *mine]
        cfg = base if settled == first else compose(settled)
        _check_top(cfg)
        arms: dict[str, Arm] = {}
        asked = _asked(cfg)
        for name, given in list(asked.items())[: 1 if one and cfg["arms"] is None else None]:
            arms[name] = _arm(compose, name, given, settled, arms, cfg)
    return Experiment(chosen(mine), cfg, arms, mine)


def _texts(key: str, value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise Refused(key, f"{value!r} is no list of overrides", 'write [room=tenant, "room.setting=value"]')
    return value


def scenario_of(cfg: Mapping[str, Any]) -> str:
    """The scenario by which a method's presets are chosen."""
    world = cfg.get("world")
    return str(cfg.get("scenario") or (world.get("scenario") if isinstance(world, dict) else None))


def _method(method: Any, scenario: str) -> list[str]:
    """A published learner's overrides: those of every scenario (`do`), and its preset for this one."""
    from cls_sim.config import screen

    if not method:
        return []
    screen.name("method.name", screen.mapping("method", method).get("name"))
    presets = screen.mapping("method.scenario", method.get("scenario") or {})
    preset = _texts(f"method.scenario.{scenario}", presets.get(scenario, []))
    return [*_texts("method.do", method.get("do", [])), *preset]


def _check_top(cfg: Mapping[str, Any]) -> None:
    from cls_sim.config import screen

    known = {*ROOMS, *TOP, *DECLARED}
    for key in cfg:
        if key not in known:
            raise Refused(key, "is an unknown key", suggest(key, known))
    whole("subjects", cfg["subjects"], 1, 1_000_000)
    whole("seed", cfg["seed"], 0, 2**62)
    whole("workers", cfg["workers"], 1, 1024)
    flag("debug", cfg["debug"])
    if choice("engine", cfg["engine"], ("local", "ray")) == "ray" and find_spec("ray") is None:
        raise Refused("engine", "ray is not installed", "pip install 'cls-sim[ray]'")
    choice("wandb", cfg["wandb"], ("off", "offline", "online"))
    if cfg["chunk"] is not None:
        whole("chunk", cfg["chunk"])
    if cfg["days"] is not None:
        real("days", cfg["days"], 0.0, 1e9)
    if not isinstance(cfg["device"], str) or not re.fullmatch(r"cpu|cuda(:\d+)?", cfg["device"]):
        raise Refused("device", f"{cfg['device']!r} is no device", "give cpu or cuda")
    screen.told(cfg)


def _asked(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """The arms to run, in the order of the file; `from` arms bring their origin along."""
    arms, method = cfg["arm"] or {"life": []}, cfg.get("method")
    if method:
        if cfg["arms"] is not None:
            raise Refused("arms", "cannot be given together with method", "give one of them")
        return {str(method["name"]): []}
    if not isinstance(arms, dict):
        raise Refused("arm", "is no mapping of names", "write arm: {name: [overrides]}")
    wanted, scenario = cfg["arms"], scenario_of(cfg)
    if wanted is None:
        return {name: given for name, given in arms.items() if is_for(given, scenario, cfg["size"])}
    wanted = [wanted] if isinstance(wanted, str) else wanted
    if not isinstance(wanted, list) or not wanted or not all(isinstance(name, str) for name in wanted):
        raise Refused("arms", f"{wanted!r} is no list of arms", f"choose from {', '.join(arms)}")
    for name in wanted:
        if name not in arms:
            raise Refused("arms", f"there is no arm {name!r}", suggest(str(name), arms))
        given: Any = arms[name]
        if not is_for(given, scenario):
            asked = " or ".join(map(str, given["in"]))  # pyright: ignore[reportCallIssue, reportArgumentType]
            raise Refused("arms", f"{name} is not possible with scenario={scenario}", f"give scenario={asked}")
    origins = {str(own["from"]) for own in map(arms.get, wanted) if isinstance(own, dict) and "from" in own}
    return {name: given for name, given in arms.items() if name in wanted or name in origins}


def is_for(given: Any, scenario: str, size: str | None = None) -> bool:
    """Whether an arm is for this scenario and size: `{in: [task], do: [...]}`, `{size: paper, do: [...]}`.

    A size says only what is run unasked, a scenario what is possible.
    """
    if not isinstance(given, dict) or "do" not in given or "from" in given:
        return True
    return scenario in (given.get("in") or (scenario,)) and given.get("size") in (None, size or given.get("size"))


def _arm(
    compose: Composer, name: str, given: Any, settled: list[str], arms: dict[str, Arm], base: dict[str, Any]
) -> Arm:
    key = f"arm.{name}"
    if isinstance(given, dict) and "do" in given and set(given) <= {"in", "size", "do"}:
        given = given["do"]
    if isinstance(given, list):
        return Arm(name, _treated(compose, key, _texts(key, given), settled, base))
    if not isinstance(given, dict) or not set(given) <= {"from", "at", "keep", "do"} or "from" not in given:
        raise Refused(key, "is neither a list of overrides nor {from, at, keep, do}", "see docs/concepts.md")
    origin = arms.get(str(given["from"]))
    if origin is None:
        raise Refused(f"{key}.from", f"there is no arm {given['from']!r} before it", "name an earlier arm")
    own = base["arm"][origin.name]
    inherited = _texts(key, own) if isinstance(own, list) else []
    keep = tuple(_texts(f"{key}.keep", given.get("keep") or []))
    for room in keep:
        choice(f"{key}.keep", room, ROOMS)
    cfg = _treated(compose, key, [*inherited, *_texts(key, given.get("do", []))], settled, base)
    return Arm(name, cfg, origin.name, _age(f"{key}.at", given.get("at", "end")), keep)


def _age(key: str, at: Any) -> float | None:
    if at == "end":
        return None
    if isinstance(at, str) and re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,12})?d", at):
        at = float(at[:-1])
    return real(key, at, 0.0)


def _treated(compose: Composer, key: str, own: list[str], settled: list[str], base: dict[str, Any]) -> dict[str, Any]:
    """The configuration of one arm: its own overrides on top, methods spelled out."""
    own = [o for override in own for o in _spelled(compose, override, settled, scenario_of(base))]
    swapped = {o.split("=")[0] for o in own if o.split("=")[0] in (*ROOMS, "probes")}
    kept = [o for o in settled if o.lstrip("+").split("=")[0].split(".")[0] not in swapped or _is_choice(o)]
    if not own:
        return base
    try:
        cfg = compose(kept, own)
    except Refused as refused:
        raise refused.under(key) from None
    _check_top(cfg)
    return cfg


def _is_choice(override: str) -> bool:
    return override.split("=")[0] in ROOMS


def _is_setting(override: str) -> bool:
    """Whether it sets something of a tenant that a method, or the small size, may have yet to choose."""
    room, dot, _ = override.lstrip("+~").split("=")[0].partition(".")
    return bool(dot) and room in ROOMS and room != "world"


def _spelled(compose: Composer, override: str, settled: list[str], scenario: str) -> list[str]:
    key, _, name = override.partition("=")
    return _method(compose.method(name, settled), scenario) if key == "method" else [override]


def build(*overrides: str, folders: Sequence[str] = ()) -> Life:
    """The life of an experiment's first arm (or of `arms=[NAME]`): the same objects as in a run.

    >>> build("experiment=digits", "subjects=2").spec.subjects  # doctest: +SKIP
    2
    """
    experiment = read(overrides, folders, one=True)
    arm = list(experiment.arms.values())[-1 if any(o.startswith("arms=") for o in overrides) else 0]
    return make_life(arm.cfg)
