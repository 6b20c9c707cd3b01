"""Composition: conf/, the user's folders and overrides in, one plain dict out.  Of Hydra only compose is used."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

from cls_sim import ROOMS
from cls_sim.config.paths import conf_dir, search_path
from cls_sim.core.errors import Refused, suggest

TOP = (
    *("subjects", "seed", "days", "size", "chunk", "device", "workers", "engine", "out", "resume", "wandb", "arms"),
    *("debug", "arm", "small", "claims", "off", "parts", "figures", "title", "cite", "probes", "method"),
)
DECLARED = ("scenario", "label_noise")  # exist only where an experiment declares them
ONE = Lock()  # Hydra has one global state: threads compose one after another


def chosen(overrides: Sequence[str]) -> str:
    """The experiment that overrides choose."""
    chosen = [o.split("=", 1)[1] for o in overrides if o.startswith("experiment=")]
    return chosen[-1] if chosen else "digits"


class Composer:
    """Hydra's compose on our conf/: overrides in, a plain dict out, interpolations resolved."""

    def __init__(self, compose: Any, folders: Sequence[Path]):
        self._compose, self._folders = compose, [conf_dir(), *folders]
        self._own: dict[str, str] | None = None
        self._composed: dict[tuple[str, ...], Any] = {}
        self._files: dict[tuple[str, str], Any] = {}

    def __call__(self, overrides: Sequence[str], own: Sequence[str] = ()) -> dict[str, Any]:
        """One composition, with an arm's own overrides on top (where they are simple, nothing is composed again)."""
        import copy

        from omegaconf import OmegaConf, open_dict

        from cls_sim.config import screen

        screen.overrides([*overrides, *own])
        if any(re.split(r"[=.@]", override.lstrip("+~"))[0] == "parts" for override in (*overrides, *own)):
            raise Refused("parts", "are read from the experiment's file alone", "give arms=[…]")
        if own and not self._simple(own):
            return self([*overrides, *own])
        try:
            if tuple(overrides) not in self._composed:
                cfg = self._compose(overrides)
                choices = dict(cfg.hydra.runtime.choices)
                with open_dict(cfg):
                    del cfg["hydra"]
                self._composed[tuple(overrides)] = cfg, choices
            cfg, choices = self._composed[tuple(overrides)]
            if own:
                cfg = copy.deepcopy(cfg)
                self._treat(cfg, overrides, own)
            screen.composed(OmegaConf.to_container(cfg))
            tree = OmegaConf.to_container(cfg, resolve=True)
        except Refused:
            raise
        except Exception as error:
            raise refusal(error) from error
        assert isinstance(tree, dict)
        for key in (*ROOMS, *TOP[:-1]):
            if key not in tree:
                raise Refused(key, "is missing", "leave it in")
        del tree["parts"]  # says how an experiment is lived, nothing of what is
        return self._moved_in({str(key): value for key, value in tree.items()}, choices, overrides)

    def _simple(self, own: Sequence[str]) -> bool:
        """Whether overrides only choose tenants with plain files, and numbers."""
        keys = [o.split("=")[0] for o in own]
        plain = all("." in key or key in DECLARED or key in ROOMS for key in keys)
        files = [self._file(*o.split("=", 1)) for o, key in zip(own, keys, strict=True) if key in ROOMS]
        return plain and not any(key[0] in "+~" for key in keys) and all(f and "defaults" not in f for f in files)

    def _treat(self, cfg: Any, overrides: Sequence[str], own: Sequence[str]) -> None:
        """Apply simple overrides: first tenants move in, then numbers are set."""
        from hydra.core.override_parser.overrides_parser import OverridesParser
        from omegaconf import OmegaConf

        for room, tenant in [o.split("=", 1) for o in own if o.split("=")[0] in ROOMS]:
            file = self._file(room, tenant)
            written = self._written(overrides).get(room) or {}
            mine = tenant == self._owned(overrides).get(room)
            cfg[room] = OmegaConf.merge(file, {k: v for k, v in written.items() if mine or k in file})
        numbers = [o for o in own if o.split("=")[0] not in ROOMS]
        for override in OverridesParser.create().parse_overrides(numbers):
            OmegaConf.update(cfg, override.key_or_group, override.value())

    def _file(self, group: str, name: str) -> Any:
        """A file of conf/ or of the user's folders, None where there is none."""
        from cls_sim.config.sources import plain

        if (group, name) not in self._files:
            paths = [folder / group / f"{name}.yaml" for folder in self._folders]
            found = next((path for path in paths if path.is_file()), None)
            self._files[group, name] = plain(found) if found else None
        return self._files[group, name]

    def method(self, name: str, settled: Sequence[str]) -> Any:
        """A published learner's delta: its file, if it is plain."""
        from omegaconf import OmegaConf

        file = self._file("method", name)
        if file is None or "defaults" in file:
            return self([*settled, f"method={name}"]).get("method")
        return OmegaConf.to_container(file)

    def _written(self, overrides: Sequence[str]) -> Any:
        """What the experiment's file itself sets (it inherits from no other: a test holds it to that)."""
        return self._file("experiment", chosen(overrides)) or {}

    def _moved_in(self, cfg: dict[str, Any], choices: dict[str, str], overrides: Sequence[str]) -> dict[str, Any]:
        """Where another tenant than the experiment's own moved into a room, the experiment's settings that the new
        one does not have are dropped (those given on purpose stay, and are refused when it is made)."""
        given = {o.lstrip("+").split("=")[0] for o in overrides}
        for room in [room for room in ROOMS if room in given and isinstance(cfg[room], dict)]:
            if choices.get(room) != self._owned(overrides).get(room):
                has = {"_target_", *self._settings(room, choices.get(room, ""))}
                asked = {key.split(".")[1] for key in given if key.startswith(f"{room}.")}
                cfg[room] = {key: value for key, value in cfg[room].items() if key in has | asked}
        return cfg

    def _owned(self, overrides: Sequence[str]) -> dict[str, str]:
        """The tenants that the experiment itself chose."""
        if self._own is None:
            own = self._compose([o for o in overrides if o.startswith("experiment=")])
            self._own = dict(own.hydra.runtime.choices)
        return self._own

    def _settings(self, room: str, tenant: str) -> list[str]:
        """The settings that a tenant's file shows (a test holds files to signatures)."""
        return [str(key) for key in self._file(room, tenant) or ()]


@contextmanager
def composer(folders: Sequence[str]) -> Iterator[Composer]:
    """Composition ready for use, leaving Hydra's global state as it was found."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.singleton import Singleton

    from cls_sim.config import screen, sources
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
    room, dot, _ = key.partition(".")
    if not dot or not (conf_dir() / room).is_dir():
        return {name: [] for name in (*ROOMS, *TOP, "experiment")}
    from omegaconf import OmegaConf

    from cls_sim.config.sources import plain

    names: dict[str, list[str]] = {}
    for file in sorted((conf_dir() / room).glob("*.yaml")):
        loaded = OmegaConf.to_container(plain(file))
        for name in loaded if isinstance(loaded, dict) else ():
            if name != "_target_":
                names.setdefault(f"{room}.{name}", []).append(file.stem)
    return names
