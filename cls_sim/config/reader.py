"""The one reader of configuration files: a file is measured and checked before anything is built from it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from cls_sim.config.validation import DEEPEST
from cls_sim.core.errors import ConfigError, suggest

LARGEST = 2**18  # bytes of a file
MOST = 10_000  # values of a file, its aliases written out
PACKAGE = re.compile(r"(?:#.*\n)*?#[ \t]*@package[ \t]+(.*?)[ \t]*$", re.M)
TRAP = re.compile(r"[-+]?(0[0-9_]+|[0-9_]+(:[0-9]{1,2})+(\.[0-9_]*)?)", re.ASCII)  # YAML: 010 is 8, 1:30 is 90
Page = tuple[dict[str, Any], str | None]  # what a file says, and the package that its header names (`# @package …`)


@cache
def _loader() -> Any:
    """OmegaConf's rules for YAML (1e5 is a number, no key twice), read by the fast parser where there is one."""
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
    """The content of a file as plain values, and its header; refused if it is too large, too deep or not plain."""
    content, where = _content(file), str(file)
    try:
        _measure(where, content)
        tree = yaml.load(content, Loader=_loader())
    except ConfigError:
        raise
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise ConfigError(where, f"is no sound YAML ({line}{error.problem})", "mend the file") from None
    except Exception as error:
        raise ConfigError(where, f"is no configuration ({error})", "check the file") from None
    tree = {} if tree is None else tree
    if not isinstance(tree, dict) or not all(isinstance(key, str) for key in tree):
        raise ConfigError(where, "is no mapping of names", "write key: value")
    package = PACKAGE.match(content)
    return tree, package and package[1]


def found(folders: Sequence[Path], group: str, name: str) -> Page:
    """The first file of this name in a group of the folders.  Raises ConfigError if there is none."""
    if ".." in name or "\\" in name or not name.isprintable() or name.startswith("/"):
        raise ConfigError(group, f"cannot be {name[:100]!r}", f"name a file inside the folder {group}/")
    file = next((file for folder in folders if (file := folder / group / f"{name}.yaml").is_file()), None)
    if file is None:
        known = {file.stem for folder in folders for file in (folder / group).glob("*.yaml")}
        raise ConfigError(group, f"there is no {name!r}", suggest(name, filter(str.isprintable, known)))
    return page(file)


def _content(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            data = stream.read(LARGEST + 1)
    except OSError as error:
        raise ConfigError(str(file), f"cannot be read ({error.strerror or error})", "check the file") from None
    if len(data) > LARGEST:
        raise ConfigError(str(file), f"has more than {LARGEST} bytes", "keep data in files of data")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise ConfigError(str(file), "is not UTF-8", "save it as UTF-8") from None


def _measure(where: str, content: str) -> None:
    """Refuse YAML that is too deep, or too large once its aliases are written out, before it is built."""
    sizes: dict[str, int] = {}  # of what bears an anchor
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
                raise ConfigError(where, f"*{event.anchor} refers to itself, or to nothing", "give it an anchor before")
            size = sizes[event.anchor]
        elif isinstance(event, yaml.ScalarEvent):
            if event.implicit[0] and TRAP.fullmatch(event.value):
                raise ConfigError(
                    where, f"{event.value} is no such number in YAML", "rewrite it, or put it into quotes"
                )
            size = 1
            sizes |= {event.anchor: 1} if event.anchor else {}
        else:
            continue
        anchor, sofar = open_[-1]
        open_[-1] = anchor, sofar + size
        if len(open_) > DEEPEST or sofar + size > MOST:
            raise ConfigError(where, f"is deeper than {DEEPEST} or larger than {MOST} values", "write less")
