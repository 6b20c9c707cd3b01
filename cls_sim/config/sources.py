"""Hydra's reader of YAML files, with suspicion: a page is measured and screened before anything is built from it."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from hydra._internal.core_plugins import file_config_source
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult, ConfigSource
from omegaconf import OmegaConf

from cls_sim.config.paths import conf_dir
from cls_sim.config.screen import DEEPEST, text
from cls_sim.core.errors import Refused

LARGEST = 2**18  # bytes of a file
MOST = 10_000  # values of a file, its aliases written out
PACKAGE = re.compile(r"[\w.]+", re.ASCII)
DEFAULT = re.compile(r"(?:optional +)?(?:override +)?/?[\w./-]+(?:@[\w.:-]*)?", re.ASCII)
TRAP = re.compile(r"[-+]?(0[0-9_]+|[0-9_]+(:[0-9]{1,2})+(\.[0-9_]*)?)", re.ASCII)  # YAML: 010 is 8, 1:30 is 90


@contextmanager
def sound(file: Path) -> Iterator[None]:
    """Refuse a file that turns out to be no YAML while it is read, saying where."""
    try:
        yield
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise Refused(str(file), f"is no sound YAML ({line}{error.problem})", "mend the file") from None


def plain(file: Path) -> Any:
    """The content of one file, as it stands there."""
    with sound(file):
        return OmegaConf.load(file)


class FileConfigSource(file_config_source.FileConfigSource):
    """Hydra's reader of YAML files, with suspicion (of the same name, because Hydra's registry goes by names)."""

    def is_group(self, config_path: str) -> bool:
        return self._inside(config_path) and super().is_group(config_path)

    def is_config(self, config_path: str) -> bool:
        return self._inside(config_path) and super().is_config(config_path)

    def load_config(self, config_path: str) -> ConfigResult:
        file = Path(self.path) / self._normalize_file_name(config_path)
        if self._ours():
            with sound(file):
                return super().load_config(config_path)
        content = _content(file)
        try:
            with sound(file):
                _measure(str(file), content)
                header = ConfigSource._get_header_dict(content[:512])
                config = OmegaConf.load(io.StringIO(content))
        except Refused:
            raise
        except Exception as error:
            raise Refused(str(file), f"is no configuration ({error})", "check the file") from None
        _file(str(file), OmegaConf.to_container(config), header)
        return ConfigResult(config=config, path=f"{self.scheme()}://{self.path}", provider=self.provider, header=header)

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        return [name for name in super().list(config_path, results_filter) if name.isprintable()]

    def _ours(self) -> bool:
        return Path(self.path) == conf_dir()

    def _inside(self, config_path: str) -> bool:
        """Whether a path may be looked for here; never outside, nor among Hydra's own."""
        parts = re.split(r"[/\\]", config_path)
        if ".." in parts or "\0" in config_path or (config_path and not parts[0]):
            raise Refused(config_path, "leads out of the folder of configurations", "name a file inside")
        return len(parts) <= 8 and (self._ours() or parts[0].removesuffix(".yaml") not in ("hydra", "config"))


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


def _file(where: str, tree: Any, header: Mapping[str, str | None]) -> None:
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
