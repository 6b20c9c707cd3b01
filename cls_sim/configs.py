"""From conf/ and overrides to parts: find, compose, check, build.  The only page that says `cfg`.

A configuration names a class of the public vocabulary and its numbers; the signature is the schema.  Nothing else
is imported or run: `_target_` must stand in the vocabulary, or in a package that the user allowed by name.
"""

from __future__ import annotations

import functools
import inspect
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cls_sim import ROOMS, VOCABULARY
from cls_sim.errors import Refused, choice, flag, real, suggest, whole

if TYPE_CHECKING:
    from cls_sim.life import Life

TOP = (
    *("subjects", "seed", "days", "size", "chunk", "device", "workers", "engine", "out", "resume", "wandb", "arms"),
    *("debug", "arm", "small", "claims", "off", "figures", "title", "cite", "probes", "method"),
)
DECLARED = ("scenario", "label_noise")  # exist only where an experiment declares them
FREE = ("days", "workers", "engine", "wandb", "device", "debug")  # may differ when a run is resumed


def conf_dir() -> Path:
    """The folder conf/: beside the package in a wheel, else one level up.

    >>> (conf_dir() / "config.yaml").is_file()
    True
    """
    here = Path(__file__).resolve().parent
    for folder in (here / "conf", here.parent / "conf"):
        if (folder / "config.yaml").is_file():
            return folder
    raise Refused(str(here / "conf"), "holds no config.yaml", "install the package again")


def search_path(extra: Sequence[str] = ()) -> list[str]:
    """Further folders of configurations: those given, then ./conf of the user."""
    from cls_sim import screen

    folders = [Path(screen.path("--config-dir", folder)).resolve() for folder in extra]
    mine = Path.cwd() / "conf"
    if (mine / "experiment").is_dir() and mine.resolve() != conf_dir():
        folders.append(mine.resolve())
    for folder in folders:
        if "${" in str(folder) or not folder.is_dir():
            raise Refused(str(folder), "is no folder", "give --config-dir an existing folder")
    return [f"file://{folder}" for folder in folders]


class _Composer:
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

        from cls_sim import screen

        screen.overrides([*overrides, *own])
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
        from omegaconf import OmegaConf

        if (group, name) not in self._files:
            paths = [folder / group / f"{name}.yaml" for folder in self._folders]
            found = next((path for path in paths if path.is_file()), None)
            self._files[group, name] = OmegaConf.load(found) if found else None
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
        return self._file("experiment", _name(overrides)) or {}

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
def _composer(folders: Sequence[str]) -> Iterator[_Composer]:
    """Composition ready for use, leaving Hydra's global state as it was found."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.singleton import Singleton

    from cls_sim import screen

    path = search_path(folders)
    before = Singleton.get_state()
    GlobalHydra.instance().clear()
    try:
        screen.guard()
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            add = [screen.setting("hydra.searchpath", *path)] if path else []
            yield _Composer(
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
        key = m.group(1)
        return Refused(key, "is an unknown key", suggest(key, _known_keys(key)))
    if m := re.search(r"Interpolation key '([^']+)' not found", text):
        return Refused(m.group(1), "is referred to and does not exist", "check the ${…} in your configuration")
    if m := re.search(r"(?:In|Error in) '([^']+)'", text):
        return Refused(m.group(1), " ".join(causes[-1].split())[:200], "check the file")
    first = " ".join(causes[0].split("\n")[0].split())[:200]
    quoted = re.search(r"'([^']+)'", first)
    return Refused(quoted.group(1) if quoted else "overrides", first, "write key=value, or see cls-sim --help")


def _known_keys(key: str) -> list[str]:
    """Keys that the user may have meant: of the same room's tenants, or at the top."""
    room, dot, _ = key.partition(".")
    if not dot or not (conf_dir() / room).is_dir():
        return [*ROOMS, *TOP, "experiment"]
    from omegaconf import OmegaConf

    names = set()
    for file in (conf_dir() / room).glob("*.yaml"):
        loaded = OmegaConf.to_container(OmegaConf.load(file))
        names |= {f"{room}.{k}" for k in loaded if k != "_target_"} if isinstance(loaded, dict) else set()
    return sorted(names)


# -- an experiment: its arms ------------------------------------------------------------------------------


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
    with _composer(folders) as compose:
        base = compose(mine)
        size, small = choice("size", base["size"], ("paper", "small")), _texts("small", base["small"])
        small = small if size == "small" else []
        method = _method(base.get("method"))
        settled = [*small, *method, *mine]
        cfg = compose(settled) if small or method else base
        _check_top(cfg)
        arms: dict[str, Arm] = {}
        asked = _asked(cfg)
        for name, given in list(asked.items())[: 1 if one and cfg["arms"] is None else None]:
            arms[name] = _arm(compose, name, given, settled, arms, cfg)
    return Experiment(_name(mine), cfg, arms, mine)


def _name(overrides: Sequence[str]) -> str:
    chosen = [o.split("=", 1)[1] for o in overrides if o.startswith("experiment=")]
    return chosen[-1] if chosen else "digits"


def _texts(key: str, value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise Refused(key, f"{value!r} is no list of overrides", 'write [room=tenant, "room.setting=value"]')
    return value


def _method(method: Any) -> list[str]:
    from cls_sim import screen

    if not method:
        return []
    screen.name("method.name", screen.mapping("method", method).get("name"))
    return _texts("method.do", method.get("do", []))


def _check_top(cfg: Mapping[str, Any]) -> None:
    from cls_sim import screen

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
    wanted = cfg["arms"]
    if wanted is None:
        return arms
    wanted = [wanted] if isinstance(wanted, str) else wanted
    if not isinstance(wanted, list) or not wanted or not all(isinstance(name, str) for name in wanted):
        raise Refused("arms", f"{wanted!r} is no list of arms", f"choose from {', '.join(arms)}")
    for name in wanted:
        if name not in arms:
            raise Refused("arms", f"there is no arm {name!r}", suggest(str(name), arms))
    origins = {str(own["from"]) for own in map(arms.get, wanted) if isinstance(own, dict) and "from" in own}
    return {name: given for name, given in arms.items() if name in wanted or name in origins}


def _arm(
    compose: _Composer, name: str, given: Any, settled: list[str], arms: dict[str, Arm], base: dict[str, Any]
) -> Arm:
    key = f"arm.{name}"
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


def _treated(compose: _Composer, key: str, own: list[str], settled: list[str], base: dict[str, Any]) -> dict[str, Any]:
    """The configuration of one arm: its own overrides on top, methods spelled out."""
    own = [o for override in own for o in _spelled(compose, override, settled)]
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


def _spelled(compose: _Composer, override: str, settled: list[str]) -> list[str]:
    key, _, name = override.partition("=")
    return _method(compose.method(name, settled)) if key == "method" else [override]


# -- building ---------------------------------------------------------------------------------------------


def allowed() -> tuple[str, ...]:
    """Packages whose classes a configuration may name: CLS_SIM_ALLOW, separated by commas."""
    return tuple(name for name in os.environ.get("CLS_SIM_ALLOW", "").split(",") if name)


def _is_allowed(module: str) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in allowed())


def _find(key: str, target: Any, kind: str | None) -> Any:
    if not isinstance(target, str):
        raise Refused(f"{key}._target_", f"{target!r} is no name", "write cls_sim.Name")
    module, _, name = target.rpartition(".")
    if module == "cls_sim" and name in VOCABULARY:
        import cls_sim

        found = getattr(cls_sim, name)
    elif _is_allowed(module):
        try:
            found = getattr(import_module(module), name)
        except Exception as error:
            raise Refused(f"{key}._target_", f"{target} cannot be imported ({error})", "check the name") from error
    else:
        remedy = "name a class of cls_sim, or of a package of yours that you allow with --allow PACKAGE"
        remedy = suggest(name, VOCABULARY) if module in ("cls_sim", "") else remedy
        raise Refused(f"{key}._target_", f"{target} is not in the vocabulary", remedy)
    ours = module == "cls_sim"
    abstract = any(getattr(getattr(found, name, None), "__isabstractmethod__", False) for name in dir(found))
    if not inspect.isclass(found) or abstract or (ours and not issubclass(found, _base("Part"))):
        raise Refused(f"{key}._target_", f"{target} is no part that can be made", "name a class of a room")
    if not ours and not _is_allowed(found.__module__):  # what a package has imported is not of that package
        raise Refused(f"{key}._target_", f"{target} is of {found.__module__}", "name a class of an allowed package")
    if kind and not issubclass(found, _base(kind)):
        raise Refused(f"{key}._target_", f"{target} is no {kind}", f"name a class of the room {kind.lower()}")
    return found


def _base(name: str) -> type:
    """The base class of a room (or of all parts)."""
    import cls_sim
    from cls_sim.part import Part

    return Part if name == "Part" else getattr(cls_sim, name)


def _fitting(key: str, cls: type, settings: Mapping[str, Any]) -> None:
    """Refuse a part in the wrong place: a setting whose type is a kind of part takes only that kind."""
    from types import UnionType
    from typing import Union, get_args, get_origin, get_type_hints

    try:
        hints = get_type_hints(cls.__init__)
    except (NameError, TypeError, AttributeError):  # a stranger's class may say what it likes
        return
    for name in settings.keys() & hints.keys():
        hint, value = hints[name], settings[name]
        kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
        parts = tuple(kind for kind in kinds if isinstance(kind, type) and issubclass(kind, _base("Part")))
        other = [kind for kind in kinds if kind not in parts and not (kind is type(None) and value is not None)]
        if parts and not isinstance(value, parts) and (isinstance(value, _base("Part")) or not other):
            wanted = " or ".join(kind.__name__ for kind in parts)
            raise Refused(f"{key}.{name}", f"{value!r} is no {wanted}", "write {_target_: cls_sim.Name, ...}")


def make(key: str, cfg: Any, *, wrapping: bool = False, kind: str | None = None) -> Any:
    """The object that a configuration names, or the plain value.

    With `wrapping`, a class whose first argument is a part (a wrap such as Lesion) and is not given becomes a
    function part → wrapped part.  A room gets a tenant of its own kind; `kind` names another base class to ask for.

    >>> make("plasticity", {"_target_": "cls_sim.Constant", "rate": 0.1})
    Constant(value=0.1)
    """
    kind = key.capitalize() if key in ROOMS else kind
    if isinstance(cfg, list) and not kind:
        return [make(f"{key}[{i}]", value) for i, value in enumerate(cfg)]
    if isinstance(cfg, dict):
        for name in cfg:
            if name != "_target_" and re.fullmatch(r"_\w*_", str(name)):  # they mean something to Hydra
                raise Refused(f"{key}.{name}", "is not a key of cls-sim", "remove it")
    if not isinstance(cfg, dict) or "_target_" not in cfg:
        if kind:
            raise Refused(key, f"{cfg!r} names no class", "write {_target_: cls_sim.Name, ...}")
        return {name: make(f"{key}.{name}", value) for name, value in cfg.items()} if isinstance(cfg, dict) else cfg
    cls = _find(key, cfg["_target_"], kind)
    settings = {name: make(f"{key}.{name}", value) for name, value in cfg.items() if name != "_target_"}
    parameters = inspect.signature(cls).parameters
    for name in settings:
        if name not in parameters:
            raise Refused(f"{key}.{name}", f"is no setting of {cls.__name__}", suggest(name, parameters))
    _fitting(key, cls, settings)
    needed = [n for n, p in parameters.items() if p.default is p.empty and n not in settings and p.kind not in (2, 4)]
    if wrapping and needed and parameters[needed[0]].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD:
        return functools.partial(cls, **settings)
    if needed:
        raise Refused(f"{key}.{needed[0]}", f"is missing for {cls.__name__}", "give a value")
    try:
        return cls(**settings)
    except Refused as refused:
        raise refused.under(key) from None
    except Exception as error:
        raise Refused(key, f"{cls.__name__} cannot be made ({error})", "check its settings") from error


def make_life(cfg: Mapping[str, Any], subjects: int | None = None, seed: int | None = None) -> Life:
    """The life that an arm's configuration describes, for `subjects` subjects from seed `seed`."""
    from cls_sim.errors import Refused
    from cls_sim.life import Life

    device = cfg["device"]
    if device != "cpu":
        import torch

        if not torch.cuda.is_available():
            raise Refused("device", "this machine has no CUDA device", "give device=cpu")
    parts = {room: make(room, cfg[room]) for room in ROOMS}
    given = {name: probe for name, probe in (cfg["probes"] or {}).items() if probe is not None}
    probes = {name: make(f"probes.{name}", probe, kind="Probe") for name, probe in given.items()}
    try:
        return Life(
            **parts,
            probes=probes,
            subjects=cfg["subjects"] if subjects is None else subjects,
            seed=cfg["seed"] if seed is None else seed,
            device=device,
        )
    except (MemoryError, OverflowError, RuntimeError) as error:
        raise Refused("life", f"cannot begin ({error})", "make it smaller, or check its settings") from error


def build(*overrides: str, folders: Sequence[str] = ()) -> Life:
    """The life of an experiment's first arm (or of `arms=[NAME]`): the same objects as in a run.

    >>> build("experiment=digits", "subjects=2").spec.subjects  # doctest: +SKIP
    2
    """
    experiment = read(overrides, folders, one=True)
    arm = list(experiment.arms.values())[-1 if any(o.startswith("arms=") for o in overrides) else 0]
    return make_life(arm.cfg)
