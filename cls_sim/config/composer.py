"""Composition: conf/, the user's folders and overrides in, one plain dict out.

Hydra composes an experiment; then the chosen tenants move in, and then values are set, each override in its turn.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

from cls_sim import ROOMS
from cls_sim.config import screen
from cls_sim.config.paths import conf_dir, search_path
from cls_sim.config.screen import DECLARED, GROUPS, TOP
from cls_sim.core.errors import Refused, suggest

ONE = Lock()  # Hydra has one global state: threads compose one after another


def chosen(overrides: Sequence[str]) -> str:
    """The experiment that overrides choose."""
    chosen = [o.split("=", 1)[1] for o in overrides if o.startswith("experiment=")]
    return chosen[-1] if chosen else "digits"


@cache
def parsed(override: str) -> Any:
    """An override as Hydra reads it: one value, not several."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    try:
        found = OverridesParser.create().parse_override(screen.quoted(override))
    except Exception as error:
        raise refusal(error) from None
    if found.is_sweep_override():
        key, _, value = override.partition("=")
        ways = ["for a run with each add -m"]
        if key == "arms" or "." in key:
            ways.append(f"for a list write {key}=[{value}]")
        if re.fullmatch(r"-?\d+,\d+", value) and key not in ("seed", "subjects", "chunk", "workers", "arms"):
            ways.append(f"for one number {key}={value.replace(',', '.')}")
        raise Refused(key, f"{value[:100]} is several values", ", ".join(ways))
    return found


class Composer:
    """Overrides in, a plain dict out, interpolations resolved."""

    def __init__(self, compose: Any, folders: Sequence[Path]):
        self._compose, self._folders = compose, [conf_dir(), *folders]
        self._composed: dict[tuple[str, ...], Any] = {}
        self._files: dict[tuple[str, str], Any] = {}

    def __call__(self, overrides: Sequence[str]) -> dict[str, Any]:
        """One configuration.  Raises Refused for what is unknown, or refers to what is not there."""
        from hydra._internal.config_loader_impl import ConfigLoaderImpl
        from omegaconf import OmegaConf

        screen.overrides(overrides)
        moves, values, rest = {}, [], []
        for text in overrides:
            one = parsed(text)
            key, value = one.key_or_group, one.value()
            if key.split(".")[0] == "parts":
                raise Refused("parts", "are read from the experiment's file alone", "give arms=[…]")
            if key in GROUPS and isinstance(value, str) and text.startswith(f"{key}="):
                moves[key] = value
            elif one.package is None and (isinstance(value, dict) or not self._is_group(key)):
                values.append(one)
            else:
                rest.append(text)
        try:
            cfg, owned = copy.deepcopy(self._hydra(tuple(rest)))
            for group, tenant in moves.items():
                if tenant != owned.get(group):
                    file, own = self.file(group, tenant), self._written(chosen(rest)).get(group)
                    OmegaConf.update(cfg, group, OmegaConf.merge(file, _fitting(own, file)), merge=False, force_add=True)
            ConfigLoaderImpl._apply_overrides_to_config(values, cfg)
            screen.composed(OmegaConf.to_container(cfg))
            tree: Any = OmegaConf.to_container(cfg, resolve=True)
        except Refused:
            raise
        except Exception as error:
            raise refusal(error) from error
        for key in (*ROOMS, *TOP[:-1]):
            if key not in tree:
                raise Refused(key, "is missing", "leave it in")
        del tree["parts"]  # says how an experiment is lived, nothing of what is
        return tree

    def _is_group(self, key: str) -> bool:
        return "/" in key or any((folder / key).is_dir() for folder in self._folders)

    def _hydra(self, overrides: tuple[str, ...]) -> tuple[Any, dict[str, str]]:
        """What Hydra composes (with interpolations), and the tenants that it chose."""
        from omegaconf import open_dict

        if overrides not in self._composed:
            cfg = self._compose(overrides)
            choices = dict(cfg.hydra.runtime.choices)
            with open_dict(cfg):
                del cfg["hydra"]
            self._composed[overrides] = cfg, choices
        return self._composed[overrides]

    def file(self, group: str, name: str) -> Any:
        """What a file of conf/ or of the user's folders says, with its own defaults composed."""
        from omegaconf import OmegaConf

        from cls_sim.config.sources import found

        if (group, name) not in self._files:
            tree, header = found(self._folders, group, name)
            if group != "experiment" and ("defaults" in tree or "package" in header):
                cfg, _ = self._hydra(("~experiment", f"{group}={name}"))
                tree = OmegaConf.to_container(cfg).get(group)
                if not isinstance(tree, dict):
                    raise Refused(group, f"{name} goes to another package", "leave out the line # @package")
            self._files[group, name] = tree
        return self._files[group, name]

    def _written(self, experiment: str) -> dict[str, Any]:
        """What the file of an experiment itself sets, and those that it inherits from."""
        from omegaconf import OmegaConf

        tree = self.file("experiment", experiment)
        plain = [one for one in tree.get("defaults", []) if isinstance(one, str) and re.fullmatch(r"[^/_ ]\S*", one)]
        return OmegaConf.to_container(OmegaConf.merge(*map(self._written, plain), tree)) if plain else tree


def _fitting(own: Any, file: dict[str, Any]) -> dict[str, Any]:
    """Of the settings that an experiment's file gives to a room, those that the tenant of this file has, too."""
    kept = {}
    for key, value in own.items() if isinstance(own, dict) else ():
        if key in file:
            within = isinstance(value, dict) and isinstance(file[key], dict) and "_target_" not in value
            kept[key] = _fitting(value, file[key]) if within else value
    return kept


@contextmanager
def composer(folders: Sequence[str]) -> Iterator[Composer]:
    """Composition ready for use, leaving Hydra's global state as it was found."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.singleton import Singleton

    from cls_sim.config import sources
    from cls_sim.core.signals import unmasked

    path = search_path(folders)
    with unmasked(), ONE:
        before = Singleton.get_state()
        GlobalHydra.instance().clear()
        try:
            sources.guard()
            with initialize_config_dir(str(conf_dir()), version_base="1.3"):
                add = [screen.setting("hydra.searchpath", *path)] if path else []
                yield Composer(
                    lambda overrides: compose("config", [*overrides, *add], return_hydra_config=True),
                    [Path(folder.removeprefix("file://")) for folder in path],
                )
        finally:
            Singleton.set_state(before)


def refusal(error: BaseException) -> Refused:
    """Hydra's complaint in one line of ours."""
    if isinstance(error, RecursionError):
        return Refused("defaults", "choose one another in a circle, or are too deep", "check the lists of defaults")
    causes, cause = [], error
    while cause is not None and len(causes) < 5:
        causes.append(str(cause))
        cause = cause.__cause__
    text = "\n".join(causes)
    if m := re.search(r"Could not find '([^']+)/([^'/]+)'", text):
        group, name = m.groups()
        known = re.findall(r"^\t([\w.-]+)$", text.split("Config search path")[0], re.M)
        return Refused(group, f"there is no {name!r}", suggest(name, known))
    if m := re.search(r"Could not override '([^']+)'", text):
        key, known = m.group(1), _known_keys(m.group(1))
        if having := known.get(key):
            room = key.partition(".")[0]
            return Refused(key, f"is no setting of the {room} that is chosen", f"these have it: {', '.join(having)}")
        return Refused(key, "is an unknown key", suggest(key, known))
    if m := re.search(r"Interpolation key '([^']+)' not found", text):
        return Refused(m.group(1), "is referred to and does not exist", "check the ${…} in your configuration")
    if m := re.search(r"(?:In|Error in) '([^']+)'", text):
        return Refused(m.group(1), " ".join(causes[-1].split())[:200], "check the file")
    first = " ".join(causes[0].split("\n")[0].split())[:200]
    quoted = re.search(r"'([^']+)'", first)
    return Refused(quoted.group(1) if quoted else "overrides", first, "write key=value, or see cls-sim --help")


def _known_keys(key: str) -> dict[str, list[str]]:
    """Keys that the user may have meant, and which tenants have them: of the same room, or at the top."""
    from cls_sim.config.sources import page

    room, dot, _ = key.partition(".")
    if not dot or not (conf_dir() / room).is_dir():
        return {name: [] for name in (*ROOMS, *TOP, *DECLARED, "experiment")}
    names: dict[str, list[str]] = {}
    for file in sorted((conf_dir() / room).glob("*.yaml")):
        for name in page(file)[0].keys() - {"_target_"}:
            names.setdefault(f"{room}.{name}", []).append(file.stem)
    return names
