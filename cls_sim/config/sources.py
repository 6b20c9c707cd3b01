"""The one reader of configuration files: a file is measured and checked before anything is built from it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from hydra._internal.core_plugins import file_config_source
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult, ConfigSource
from omegaconf import OmegaConf

from cls_sim.config.paths import conf_dir
from cls_sim.config.screen import DEEPEST, text
from cls_sim.core.errors import Refused, suggest

LARGEST = 2**18  # bytes of a file
MOST = 10_000  # values of a file, its aliases written out
PACKAGE = re.compile(r"[\w.]+", re.ASCII)
DEFAULT = re.compile(r"(?:optional +)?(?:override +)?/?[\w./-]+(?:@[\w.:-]*)?", re.ASCII)
TRAP = re.compile(r"[-+]?(0[0-9_]+|[0-9_]+(:[0-9]{1,2})+(\.[0-9_]*)?)", re.ASCII)  # YAML: 010 is 8, 1:30 is 90
Page = tuple[dict[str, Any], dict[str, str | None]]  # what a file says, and its header (`# @package …`)


@cache
def _loader() -> Any:
    """OmegaConf's rules for YAML (1e5 is a number, no key twice), read by the fast parser where there is one."""
    from omegaconf._utils import get_yaml_loader

    slow, fast = get_yaml_loader(), getattr(yaml, "CSafeLoader", None)
    if fast is None:
        return slow
    rules = ("yaml_implicit_resolvers", "yaml_constructors")
    return type("Loader", (fast,), {name: getattr(slow, name) for name in rules} | {"construct_mapping": _once})


def _once(loader: Any, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
    """A mapping in which no key stands twice."""
    seen: set[str] = set()
    for key, _ in node.value:
        if key.tag == yaml.resolver.BaseResolver.DEFAULT_SCALAR_TAG and key.value in seen:
            raise yaml.constructor.ConstructorError(None, None, f"found duplicate key {key.value}", key.start_mark)
        seen.add(str(key.value))
    return yaml.constructor.SafeConstructor.construct_mapping(loader, node, deep)


@contextmanager
def sound(file: Path) -> Iterator[None]:
    """Refuse a file that turns out to be no YAML while it is read, saying where."""
    try:
        yield
    except Refused:
        raise
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise Refused(str(file), f"is no sound YAML ({line}{error.problem})", "mend the file") from None
    except Exception as error:
        raise Refused(str(file), f"is no configuration ({error})", "check the file") from None


def page(file: Path) -> Page:
    """The content of a file as plain values, and its header; refused if it is too large, too deep or not plain."""
    content, where = _content(file), str(file)
    with sound(file):
        _measure(where, content)
        tree = yaml.load(content, Loader=_loader())  # noqa: S506
        header = ConfigSource._get_header_dict(content[:512])
    tree = {} if tree is None else tree
    if not file.is_relative_to(conf_dir()):
        _check(where, tree, header)
    return tree, header


def found(folders: Sequence[Path], group: str, name: str) -> Page:
    """The first file of this name in a group of the folders.  Raises Refused if there is none."""
    inside(f"{group}/{name}")
    file = next((file for folder in folders if (file := folder / group / f"{name}.yaml").is_file()), None)
    if file is None:
        known = {file.stem for folder in folders for file in (folder / group).glob("*.yaml")}
        raise Refused(group, f"there is no {name!r}", suggest(name, known))
    return page(file)


def inside(config_path: str) -> list[str]:
    """The parts of a path below a folder of configurations.  Raises Refused if it leads out of the folder."""
    parts = re.split(r"[/\\]", config_path)
    if ".." in parts or not config_path.isprintable() or (config_path and "" in parts):
        raise Refused(config_path, "leads out of the folder of configurations", "name a file inside")
    return parts


class FileConfigSource(file_config_source.FileConfigSource):
    """Hydra's source of files with our reader (of the same name, because Hydra's registry goes by names)."""

    def is_group(self, config_path: str) -> bool:
        return self._open(config_path) and super().is_group(config_path)

    def is_config(self, config_path: str) -> bool:
        return self._open(config_path) and super().is_config(config_path)

    def load_config(self, config_path: str) -> ConfigResult:
        file = Path(self.path) / self._normalize_file_name(config_path)
        tree, header = page(file)
        with sound(file):
            config = OmegaConf.create(tree)
        return ConfigResult(config=config, path=f"{self.scheme()}://{self.path}", provider=self.provider, header=header)

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        return [name for name in super().list(config_path, results_filter) if name.isprintable()]

    def _open(self, config_path: str) -> bool:
        """Whether a path may be looked for here; in the user's folders never among Hydra's own."""
        parts = inside(config_path)
        ours = Path(self.path) == conf_dir()
        return len(parts) <= 8 and (ours or parts[0].removesuffix(".yaml") not in ("hydra", "config"))


def _content(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            data = stream.read(LARGEST + 1)
    except OSError as error:
        raise Refused(str(file), f"cannot be read ({error.strerror or error})", "check the file") from None
    if len(data) > LARGEST:
        raise Refused(str(file), f"has more than {LARGEST} bytes", "keep data in files of data")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused(str(file), "is not UTF-8", "save it as UTF-8") from None


def _measure(where: str, content: str) -> None:
    """Refuse YAML that is too deep, or too large once its aliases are written out, before it is built."""
    sizes: dict[str, int] = {}  # of what bears an anchor
    open_: list[tuple[str | None, int]] = [(None, 0)]
    for event in yaml.parse(content, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        if getattr(event, "tag", None):
            raise Refused(where, f"uses the tag {event.tag}", "write plain values")
        if isinstance(event, yaml.CollectionStartEvent):
            open_.append((event.anchor, 1))
            size = 0
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, size = open_.pop()
            sizes |= {anchor: size} if anchor else {}
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise Refused(where, f"*{event.anchor} refers to itself, or to nothing", "give it an anchor before")
            size = sizes[event.anchor]
        elif isinstance(event, yaml.ScalarEvent):
            if event.implicit[0] and TRAP.fullmatch(event.value):
                raise Refused(where, f"{event.value} is no such number in YAML", "rewrite it, or put it into quotes")
            size = 1
            sizes |= {event.anchor: 1} if event.anchor else {}
        else:
            continue
        anchor, sofar = open_[-1]
        open_[-1] = anchor, sofar + size
        if len(open_) > DEEPEST or sofar + size > MOST:
            raise Refused(where, f"is deeper than {DEEPEST} or larger than {MOST} values", "write less")


def _check(where: str, tree: Any, header: Mapping[str, str | None]) -> None:
    """Refuse a file that reaches for `hydra`: by its keys, its package or its list of defaults."""
    if not isinstance(tree, dict):
        raise Refused(where, "is no mapping", "write key: value")
    package = header.get("package")
    if package is not None and (not PACKAGE.fullmatch(package) or "hydra" in package.split(".")):
        raise Refused(where, f"cannot go to the package {package}", "leave out the line, or write _global_")
    for key in tree:
        if not isinstance(key, str) or key.split(".")[0].strip() == "hydra":
            raise Refused(f"{where}: {key}", "is not a key of cls-sim", "remove it")
    defaults = tree.get("defaults", [])
    for item in defaults if isinstance(defaults, list) else [defaults]:
        entries = item if isinstance(item, dict) else {item: None}
        for group, choice in entries.items():
            chosen = choice if isinstance(choice, list) else [choice]
            plain = isinstance(group, str) and DEFAULT.fullmatch(group)
            words = re.split(r"[ ./@:]", " ".join(str(one) for one in (group, *chosen)))
            if not plain or "hydra" in words or any("$" in str(one) for one in chosen):
                raise Refused(f"{where}: defaults", f"cannot choose {item!r}", "write room: tenant, names in full")
    _texts(where, tree)


def _texts(key: str, node: Any) -> None:
    if isinstance(node, str):
        text(key, node)
    for one in [*node, *node.values()] if isinstance(node, dict) else node if isinstance(node, list) else ():
        _texts(key, one)


def guard() -> None:
    """From now on Hydra reads files through our reader."""
    from hydra._internal.sources_registry import SourcesRegistry
    from hydra.core.plugins import Plugins

    Plugins.instance()  # registers Hydra's own
    SourcesRegistry.instance().types["file"] = FileConfigSource
