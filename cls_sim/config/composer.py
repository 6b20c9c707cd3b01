"""Composition: makes one plain dict from an experiment's file, the files of its parts, and overrides.

Only the grammar of overrides is Hydra's.  All files are read by reader.py.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from cls_sim import PART_KINDS
from cls_sim.config import validation
from cls_sim.config.reader import MOST, conf_dir, found, names, page, search_path
from cls_sim.config.validation import DECLARED, GROUPS, TOP
from cls_sim.core import renamed
from cls_sim.core.errors import ConfigError, refuse_if, suggest

DEFAULT = re.compile(r"(?:override +)?/?(\w+)(?:@([\w.]+))?", re.ASCII)  # kind of part, or kind of part@place
Tree = dict[str, Any]
Options = dict[str, str | float | None]  # group → name of a file, or the rate of a constant plasticity


def chosen(overrides: Sequence[str]) -> str:
    """The name of the experiment that the overrides choose."""
    chosen = [o.split("=", 1)[1] for o in overrides if o.startswith("experiment=")]
    return chosen[-1] if chosen else "digits"


@lru_cache(1024)
def parsed(override: str) -> Any:
    """An override as parsed by Hydra; raises ConfigError for several values."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    key, _, value = override.partition("=")
    try:
        found = OverridesParser.create().parse_override(validation.quoted(override))
    except (HydraException, RecursionError, ValueError) as error:
        reason = " ".join(str(error).split("\n")[0].split())[:200]
        raise ConfigError(key[:100], f"cannot be read ({reason})", "put special characters into quotes") from None
    if not found.is_sweep_override():
        return found
    ways = ["for a run with each add -m"]
    if key == "arms" or "." in key:
        ways.append(f"for a list write {key}=[{value}]")
    if re.fullmatch(r"-?\d+,\d+", value) and key not in ("seed", "subjects", "chunk", "workers", "arms"):
        ways.append(f"for one number write {key}={value.replace(',', '.')}")
    raise ConfigError(key, f"{value[:100]} has several values", ", ".join(ways))


class Composer:
    """Makes a plain dict from overrides, with references resolved.  Each file is read once."""

    def __init__(self, folders: Sequence[str] = ()):
        self.folders = [conf_dir(), *search_path(folders)]
        self._files: dict[tuple[str, str], tuple[dict[str, str], Tree]] = {}
        self._trees: dict[Any, tuple[Tree, dict[str, str]]] = {}

    def __call__(self, overrides: Sequence[str], own: Sequence[str] = (), *, draft: bool = False) -> Tree:
        """One configuration, with the overrides of an arm (`own`) on top; in a draft, values may be missing (???).

        If other overrides replaced a part, settings in `own` that the new part does not have are ignored.
        Raises ConfigError for unknown keys and for references to missing keys.
        """
        validation.overrides([*overrides, *own])
        options, values = self._sorted(overrides)
        own_tenants, own_values = self._sorted(own)
        tree, owned = self._settled(options | own_tenants)
        swapped = {kind for kind, name in options.items() if name != owned.get(kind)} - own_tenants.keys()
        for one in values:
            tree = _applied(tree, one)
        for one in own_values:
            tree = _applied(tree, one, optional=one.key_or_group.split(".")[0] in swapped)
        tree = validation.resolved(tree, draft)
        for key in (*PART_KINDS, *TOP[:-1]):
            refuse_if(key not in tree, key, "is missing", "leave it in")
        if old := renamed.find({"parts": tree["parts"]}):
            raise ConfigError(old, "was renamed", f"write {renamed.now(old)}")
        del tree["parts"]  # it divides a campaign and does not change any result
        return tree

    def _sorted(self, overrides: Sequence[str]) -> tuple[Options, list[Any]]:
        """The files that the overrides choose, and the values that they set."""
        options: Options = {}
        values = []
        for one in map(parsed, overrides):
            key, value = one.key_or_group, one.value()
            if one.package is not None or "/" in key:
                raise ConfigError(key, "is not a key of cls-sim", "write kind=option, or kind.setting=value")
            if key.split(".")[0] == "parts":
                raise ConfigError("parts", "can only be set in the experiment's file", "give arms=[…]")
            if key not in ("experiment", *GROUPS) or isinstance(value, dict) or one.is_force_add() or one.is_delete():
                values.append(one)
            elif isinstance(value, str) or (value is None and key == "method") or _is_rate(key, value):
                options[key] = value
            else:
                raise ConfigError(key, f"cannot be {value!r}", f"name a file of {key}/")
        return options, values

    def _settled(self, options: Options) -> tuple[Tree, dict[str, str]]:
        """The merged tree of config.yaml, the chosen options and the experiment's file; and the experiment's options.

        If an option replaces that of the experiment, only the experiment's settings that the new option has are kept.
        """
        place = tuple(sorted(options.items()))
        if place in self._trees:
            return self._trees[place]
        tree, _ = page(conf_dir() / "config.yaml")
        owned = {group: name for default in tree.pop("defaults") for group, name in default.items()}
        choices, body = self.file("experiment", str(options.get("experiment") or owned.pop("experiment")))
        owned |= choices
        for group, name in {**owned, **options}.items():
            if group in GROUPS and name is not None:
                file = self.file(group, name if isinstance(name, str) else "constant")[1]
                own = body.get(group, {}) if isinstance(name, str) else {"rate": name}
                swapped = group in PART_KINDS and name != owned[group]
                tree[group] = merged(file, _fitting(own, file) if swapped else own)
        tree = merged(tree, {key: value for key, value in body.items() if key not in GROUPS or key not in tree})
        self._trees[place] = tree, owned
        return tree, owned

    def names(self, group: str) -> list[str]:
        """The names of the files of a group, in conf/ and the user's folders."""
        return names(self.folders, group)

    def file(self, group: str, name: str, below: tuple[str, ...] = ()) -> tuple[dict[str, str], Tree]:
        """The options that a file chooses, and its content, merged over the files that it inherits from."""
        if (group, name) in self._files:
            return self._files[group, name]
        place = f"{group}/{name}"
        refuse_if(place in below, place, "inherits from itself", "check the lists of defaults")
        tree, package = found(self.folders, group, name)
        wanted = "_global_" if group == "experiment" else None
        if package != wanted:
            refuse_if(wanted is None, place, f"has the line # @package {package}", "leave it out")
            raise ConfigError(place, "does not begin with the line # @package _global_", "add this line")
        choices: dict[str, str] = {}
        body: Tree = {}
        defaults = tree.pop("defaults", [])
        defaults = defaults if isinstance(defaults, list) else [defaults]
        refuse_if(len(defaults) > 50, f"{place}: defaults", f"are {len(defaults)}", "write up to 50")
        for item in defaults:
            if item == "_self_":
                continue
            (key, choice), *more = item.items() if isinstance(item, dict) else [(f"/{group}", item)]
            match = DEFAULT.fullmatch(str(key))
            if more or not match or not isinstance(choice, str) or match[1] not in ("experiment", *GROUPS):
                raise ConfigError(f"{place}: defaults", f"cannot choose {item!r}", "write override /KIND: OPTION")
            if match[2]:
                body = placed(body, match[2].split("."), self.file(match[1], choice, (*below, place))[1])
            elif match[1] == group:
                inherited = self.file(group, choice, (*below, place))
                choices, body = choices | inherited[0], merged(body, inherited[1])
            else:
                choices[match[1]] = choice
        self._files[group, name] = choices, merged(body, tree)
        if _values(self._files[group, name][1]) > MOST:
            raise ConfigError(place, f"is larger than {MOST} values with what it inherits", "write less")
        return self._files[group, name]


def _is_rate(key: str, value: Any) -> bool:
    """Whether an override such as plasticity=0.01 gives the rate of a constant plasticity."""
    return key == "plasticity" and isinstance(value, (int, float)) and not isinstance(value, bool)


def _values(node: Any) -> int:
    """How many values a tree has, written out."""
    return 1 + sum(map(_values, node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()))


def merged(old: Any, new: Any) -> Any:
    """`new` over `old`: mappings are merged, anything else is replaced."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    return old | {key: merged(old[key], value) if key in old else value for key, value in new.items()}


def _fitting(own: Any, file: Tree) -> Tree:
    """The settings that an experiment's file gives to a kind of part, restricted to those that this option has."""
    kept = {}
    for key, value in own.items() if isinstance(own, dict) else ():
        if key in file:
            within = isinstance(value, dict) and isinstance(file[key], dict) and "_target_" not in value
            kept[key] = _fitting(value, file[key]) if within else value
    return kept


def placed(node: Any, way: Sequence[str], value: Any, *, delete: bool = False) -> Any:
    """A copy of a tree with this value at the end of a path; with `delete`, without the key at its end."""
    step, *rest = way
    if isinstance(node, list):
        return [
            placed(one, rest, value, delete=delete) if rest else value if str(i) == step else one
            for i, one in enumerate(node)
        ]
    node = node if isinstance(node, dict) else {}
    if delete and not rest:
        return {key: one for key, one in node.items() if key != step}
    return node | {step: placed(node.get(step), rest, value, delete=delete) if rest else value}


def _applied(tree: Tree, one: Any, *, optional: bool = False) -> Tree:
    """A configuration under one more override (`key=value`, `+key=value`, `++key=value`, `~key`)."""
    key, value = one.key_or_group, one.value()
    way, node, there = key.split("."), tree, True
    for step in way:
        if not isinstance(node, dict | list | None):  # a number or a text has no keys
            raise _unknown(key)
        node = {str(i): inner for i, inner in enumerate(node)} if isinstance(node, list) else node
        there = node is not None and step in node
        node = node[step] if node is not None and there else None
    if one.is_delete():
        refuse_if(not there or value not in (None, node), f"~{key}", "does not exist", "leave it out")
        return placed(tree, way, None, delete=True)
    if not there and not (one.is_add() or one.is_force_add()):
        if optional:
            return tree
        raise _unknown(key)
    if node is not None and one.is_add() and not isinstance(value, (dict, list)):
        raise ConfigError(f"+{key}", f"exists already ({node!r})", f"write {key}={value}")
    return placed(tree, way, merged(node, value))


def _unknown(key: str) -> ConfigError:
    """The error for an unknown key, with suggestions: keys of the same kind of part, or top-level keys."""
    part_kind, dot, _ = key.partition(".")
    if key in DECLARED:
        return ConfigError(key, "is not a key of this experiment", f"leave it out, or set world.{key}")
    if not dot or part_kind not in PART_KINDS:
        return ConfigError(key, "is an unknown key", suggest(key, ("experiment", *PART_KINDS, *TOP, *DECLARED)))
    having: dict[str, list[str]] = {}
    for file in sorted((conf_dir() / part_kind).glob("*.yaml")):
        for name in page(file)[0].keys() - {"_target_"}:
            having.setdefault(f"{part_kind}.{name}", []).append(file.stem)
    if key in having:
        remedy = f"these options have it: {', '.join(having[key])}"
        return ConfigError(key, f"is not a setting of the chosen {part_kind}", remedy)
    return ConfigError(key, "is an unknown key", suggest(key, having))
