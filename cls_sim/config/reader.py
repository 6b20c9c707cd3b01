"""The folders of configuration files, and the only reader of these files.

The size and the content of a file are checked before anything is built.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from cls_sim.config.validation import DEEPEST, path
from cls_sim.core.errors import ConfigError, refuse_if, suggest

LARGEST = 2**18  # bytes of a file
MOST = 10_000  # values of a file, with aliases expanded
PACKAGE = re.compile(r"(?:#.*\n)*?#[ \t]*@package[ \t]+(.*?)[ \t]*$", re.M)
TRAP = re.compile(r"[-+]?(0[0-9_]+|[0-9_]+(:[0-9]{1,2})+(\.[0-9_]*)?)", re.ASCII)  # YAML: 010 is 8, 1:30 is 90
Page = tuple[dict[str, Any], str | None]  # the content of a file, and the package of its header (`# @package …`)


def conf_dir() -> Path:
    """The folder conf/: inside the installed package, or next to it in a checkout.

    >>> (conf_dir() / "config.yaml").is_file()
    True
    """
    here = Path(__file__).resolve().parents[1]
    for folder in (here / "conf", here.parent / "conf"):
        if (folder / "config.yaml").is_file():
            return folder
    raise ConfigError(str(here / "conf"), "holds no config.yaml", "install the package again")


def search_path(extra: Sequence[str] = ()) -> list[Path]:
    """The user's folders of configuration files: those given, then ./conf."""
    folders = [Path(path("--config-dir", folder)).resolve() for folder in extra]
    mine = Path.cwd() / "conf"
    if (mine / "experiment").is_dir() and mine.resolve() != conf_dir():
        folders.append(mine.resolve())
    for folder in folders:
        refuse_if(not folder.is_dir(), str(folder), "is not a folder", "give --config-dir an existing folder")
    return folders


@cache
def _loader() -> Any:
    """A YAML loader with OmegaConf's rules (1e5 is a number, no duplicate keys), with the C parser if available."""
    from omegaconf._utils import get_yaml_loader

    slow = get_yaml_loader()
    if not yaml.__with_libyaml__:
        return slow
    parser: Any = yaml.CSafeLoader.__mro__[1]  # the fast one

    def start(loader: Any, stream: str) -> None:
        parser.__init__(loader, stream)
        yaml.constructor.SafeConstructor.__init__(loader)
        yaml.resolver.Resolver.__init__(loader)

    return type("Loader", (parser, slow), {"__init__": start})


def page(file: Path) -> Page:
    """The content of a file as plain values, and its header; raises ConfigError if it is too large or invalid."""
    content, where = _content(file), str(file)
    try:
        _measure(where, content)
        tree = yaml.load(content, Loader=_loader())
    except ConfigError:
        raise
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise ConfigError(where, f"is not valid YAML ({line}{error.problem})", "correct the file") from None
    except Exception as error:
        raise ConfigError(where, f"is not a configuration ({error})", "check the file") from None
    tree = {} if tree is None else tree
    if not isinstance(tree, dict) or not all(isinstance(key, str) for key in tree):
        raise ConfigError(where, "is not a mapping with text keys", "write key: value")
    package = PACKAGE.match(content)
    return tree, package and package[1]


def found(folders: Sequence[Path], group: str, name: str) -> Page:
    """The first file of this name in a group of the folders.  Raises ConfigError if there is none."""
    if ".." in name or "\\" in name or not name.isprintable() or name.startswith("/"):
        raise ConfigError(group, f"cannot be {name[:100]!r}", f"name a file inside the folder {group}/")
    file = next((file for folder in folders if (file := folder / group / f"{name}.yaml").is_file()), None)
    if file is None:
        raise ConfigError(group, f"there is no {name!r}", suggest(name, names(folders, group)))
    return page(file)


def names(folders: Sequence[Path], group: str) -> list[str]:
    """The names of the files of a group."""
    known = {file.stem for folder in folders for file in (folder / group).glob("*.yaml")}
    return sorted(filter(str.isprintable, known))


def _content(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            data = stream.read(LARGEST + 1)
    except OSError as error:
        raise ConfigError(str(file), f"cannot be read ({error.strerror or error})", "check the file") from None
    refuse_if(len(data) > LARGEST, str(file), f"has more than {LARGEST} bytes", "move data into a data file")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise ConfigError(str(file), "is not UTF-8", "save it as UTF-8") from None


def _measure(where: str, content: str) -> None:
    """Raise ConfigError for YAML that is too deep, or too large with its aliases expanded, before it is built."""
    sizes: dict[str, int] = {}  # number of values of each anchor
    open_: list[tuple[str | None, int]] = [(None, 0)]
    for event in yaml.parse(content, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        if getattr(event, "tag", None):
            raise ConfigError(where, f"uses the tag {event.tag}", "write plain values")
        if isinstance(event, yaml.CollectionStartEvent):
            open_.append((event.anchor, 1))
            size = 0
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, size = open_.pop()
            sizes |= {anchor: size} if anchor else {}
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise ConfigError(where, f"*{event.anchor} has no anchor before it", "define the anchor first")
            size = sizes[event.anchor]
        elif isinstance(event, yaml.ScalarEvent):
            if event.implicit[0] and TRAP.fullmatch(event.value):
                remedy = "rewrite it, or put it into quotes"
                raise ConfigError(where, f"{event.value} is another number in YAML", remedy)
            size = 1
            sizes |= {event.anchor: 1} if event.anchor else {}
        else:
            continue
        anchor, sofar = open_[-1]
        open_[-1] = anchor, sofar + size
        if len(open_) > DEEPEST or sofar + size > MOST:
            raise ConfigError(where, f"has more than {DEEPEST} levels or {MOST} values", "make it smaller")
