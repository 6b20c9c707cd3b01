"""Builds the parts that a configuration names.

A configuration names a class of the public vocabulary and its settings; the signature of the class is the schema.
Nothing else is imported or run: `_target_` must be in the vocabulary, or in a package that the user allowed by name.
"""

from __future__ import annotations

import functools
import inspect
import os
import re
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from cls_sim import PART_KINDS, VOCABULARY
from cls_sim.core.errors import ConfigError, known, refuse_if, suggest

if TYPE_CHECKING:
    from cls_sim.life import Life


def allowed() -> tuple[str, ...]:
    """Packages whose classes a configuration may name: CLS_SIM_ALLOW, separated by commas."""
    return tuple(name for name in os.environ.get("CLS_SIM_ALLOW", "").split(",") if name)


def _is_allowed(module: str) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in allowed())


def _find(key: str, target: Any, kind: str | None) -> Any:
    refuse_if(not isinstance(target, str), f"{key}._target_", f"{target!r} is not a name", "write cls_sim.Name")
    module, _, name = target.rpartition(".")
    if module == "cls_sim" and name in VOCABULARY:
        import cls_sim

        found = getattr(cls_sim, name)
    elif _is_allowed(module):
        try:
            found = getattr(import_module(module), name)
        except Exception as error:
            raise ConfigError(f"{key}._target_", f"{target} cannot be imported ({error})", "check the name") from error
    else:
        remedy = "name a class of cls_sim, or of your package, and allow the package with --allow PACKAGE"
        of_kind = [known for known, file in VOCABULARY.items() if kind and file.startswith(kind.lower())]
        remedy = suggest(name, of_kind or VOCABULARY) if module in ("cls_sim", "") else remedy
        raise ConfigError(f"{key}._target_", f"{target} is not in the vocabulary", remedy)
    ours, place = module == "cls_sim", f"{key}._target_"
    if not ours and key.rpartition(".")[2] == "module" and not inspect.isclass(found):
        return _network(key, target, found)
    abstract = any(getattr(getattr(found, name, None), "__isabstractmethod__", False) for name in dir(found))
    if inspect.isclass(found) and abstract and not ours:
        missing = ", ".join(sorted(getattr(found, "__abstractmethods__", ())))
        raise ConfigError(place, f"{target} lacks the methods {missing}", "define them")
    if not inspect.isclass(found) or abstract or (ours and not issubclass(found, _base("Part"))):
        raise ConfigError(place, f"{target} is not a part", "name a concrete class of a kind of part")
    alien = not ours and not _is_allowed(found.__module__)  # a class that the package only imports is not allowed
    refuse_if(alien, place, f"{target} is defined in {found.__module__}", "name a class of an allowed package")
    if kind and not issubclass(found, _base(kind)):
        raise ConfigError(place, f"{target} is not a {kind}", f"name a class of the kind {kind.lower()}")
    return found


def _network(key: str, target: str, found: Any) -> Any:
    """A function of an allowed package that makes a network, or a network that the package has made."""
    from torch import nn

    if isinstance(found, nn.Module) or (inspect.isfunction(found) and _is_allowed(found.__module__)):
        return found
    remedy = "name a class, a function or a network of an allowed package"
    raise ConfigError(f"{key}._target_", f"{target} is not a network", remedy)


def _base(name: str) -> type:
    """The base class of a kind of part (or of all parts)."""
    import cls_sim
    from cls_sim.core.part import Part

    return Part if name == "Part" else getattr(cls_sim, name)


def _fitting(key: str, cls: type, settings: Mapping[str, Any]) -> None:
    """Raise ConfigError for a part of the wrong kind, if a setting is annotated with a kind of part."""
    from types import UnionType
    from typing import Union, get_args, get_origin, get_type_hints

    try:
        hints = get_type_hints(cls.__init__)
    except (NameError, TypeError, AttributeError):  # annotations of a user's class may not be resolvable
        return
    for name in settings.keys() & hints.keys():
        hint, value = hints[name], settings[name]
        kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
        parts = tuple(kind for kind in kinds if isinstance(kind, type) and issubclass(kind, _base("Part")))
        other = [kind for kind in kinds if kind not in parts and not (kind is type(None) and value is not None)]
        if parts and not isinstance(value, parts) and (isinstance(value, _base("Part")) or not other):
            wanted = " or ".join(kind.__name__ for kind in parts)
            raise ConfigError(f"{key}.{name}", f"{value!r} is not a {wanted}", "write {_target_: cls_sim.Name, ...}")


def chooses_size(cfg: Mapping[str, Any], key: str) -> bool:
    """Whether this key is the size of the hippocampus, which a budget chooses.

    >>> cfg = {"hippocampus": {"_target_": "cls_sim.Store", "capacity": 500}}
    >>> chooses_size(cfg, "hippocampus.capacity"), chooses_size(cfg, "hippocampus.eviction")
    (True, False)
    """
    *way, last = key.split(".")
    node: Any = cfg
    for step in way:
        node = node.get(step) if isinstance(node, Mapping) else None
    if way[:1] != ["hippocampus"] or not isinstance(node, Mapping) or "_target_" not in node:
        return False
    return getattr(_find(key, node["_target_"], None), "sized", "") == last


def make(key: str, cfg: Any, *, wrapping: bool = False, kind: str | None = None) -> Any:
    """The object that a configuration names, or the plain value.

    wrapping  if the first argument of a class is a part and is not given (a wrap such as Lesion), return a function
              part → wrapped part
    kind      the required base class, if `key` is not a kind of part

    Raises ConfigError for an invalid class or setting.

    >>> make("plasticity", {"_target_": "cls_sim.Constant", "rate": 0.1})
    Constant(value=0.1)
    """
    kind = key.capitalize() if key in PART_KINDS else kind
    if isinstance(cfg, list) and not kind:
        return [make(f"{key}[{i}]", value) for i, value in enumerate(cfg)]
    if isinstance(cfg, dict):
        for name in cfg:
            if name != "_target_" and re.fullmatch(r"_\w*_", str(name)):  # such keys have a meaning in Hydra
                raise ConfigError(f"{key}.{name}", "is not a key of cls-sim", "remove it")
    if not isinstance(cfg, dict) or "_target_" not in cfg:
        refuse_if(kind, key, f"{cfg!r} names no class", "write {_target_: cls_sim.Name, ...}")
        return {name: make(f"{key}.{name}", value) for name, value in cfg.items()} if isinstance(cfg, dict) else cfg
    cls = _find(key, cfg["_target_"], kind)
    if not inspect.isclass(cls) and not inspect.isfunction(cls):
        refuse_if(len(cfg) > 1, key, f"{cfg['_target_']} is a network, which has no settings", "give its name only")
        return cls
    attached = ("at",) if kind == "Probe" else ()  # the moments of a probe are attached to it; they are not a setting
    plain = {name: value for name, value in cfg.items() if name not in ("_target_", *attached)}
    settings = {name: make(f"{key}.{name}", value) for name, value in plain.items()}
    parameters = inspect.signature(cls).parameters
    for name in settings:
        known(f"{key}.{name}", name, [*parameters, *attached], f"is not a setting of {cls.__name__}")
    if inspect.isclass(cls):
        _fitting(key, cls, settings)
    needed = [n for n, p in parameters.items() if p.default is p.empty and n not in settings and p.kind not in (2, 4)]
    if needed and key in PART_KINDS and parameters[needed[0]].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD:
        if wrapping:
            return functools.partial(cls, **settings)
        branch = "{branch_from: ARM, branch_at: 12d, overrides: [" + key + "=…]}"
        raise ConfigError(key, f"{cls.__name__} wraps the {key} of another arm", f"write {branch}, or give {needed[0]}")
    if needed:
        raise ConfigError(f"{key}.{needed[0]}", f"is missing for {cls.__name__}", "give a value")
    if not inspect.isclass(cls):
        return functools.partial(cls, **settings)  # Module calls it once for each subject
    try:
        part: Any = cls(**settings)
        moments = [cfg[name] for name in attached if name in cfg]
        return part.at(*(moments[0] if isinstance(moments[0], list) else moments)) if moments else part
    except ConfigError as refused:
        raise refused.under(key) from None
    except Exception as error:
        raise ConfigError(key, f"{cls.__name__} cannot be made ({error})", "check its settings") from error


def make_life(cfg: Mapping[str, Any], subjects: int | None = None, seed: int | None = None) -> Life:
    """The life that an arm's configuration describes, for `subjects` subjects from seed `seed`."""
    from cls_sim.life import Life

    parts = {part_kind: make(part_kind, cfg[part_kind]) for part_kind in PART_KINDS}
    given = {name: probe for name, probe in (cfg["probes"] or {}).items() if probe is not None}
    probes = {name: make(f"probes.{name}", probe, kind="Probe") for name, probe in given.items()}
    if cfg.get("answers"):
        from cls_sim.probes.answers import kept_probe

        if "answers" in probes:
            raise ConfigError("probes.answers", "has the name of the answers that answers=kept keeps", "rename it")
        probes["answers"] = kept_probe(probes)
    try:
        return Life(
            **parts,
            probes=probes,
            subjects=cfg["subjects"] if subjects is None else subjects,
            seed=cfg["seed"] if seed is None else seed,
            device=cfg["device"],
            cohort=(0 if seed is None else seed - cfg["seed"], cfg["subjects"]),
            budget=cfg.get("budget"),
        )
    except (MemoryError, OverflowError, RuntimeError) as error:
        raise ConfigError("life", f"cannot be built ({error})", "make it smaller, or check its settings") from error
