"""What names of version 0.1 are called now, from renamed.tsv.  A test compares them with the list in docs/glossary.md.

Nothing here is needed by who knows the new names: an old one is refused, and the error names the new one.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

VERSION = "0.2"
Names = dict[str, str]  # old name → new name


def _read() -> dict[str, dict[str, Names]]:
    """The lines of renamed.tsv, `what where old new`: what → where → names.  `where` can be several words."""
    tables: dict[str, dict[str, Names]] = {}
    for line in Path(__file__).with_name("renamed.tsv").read_text("utf-8").splitlines()[1:]:
        what, where, old, new = line.split("\t")
        for place in where.split(" "):
            tables.setdefault(what, {}).setdefault(place, {}).setdefault(old, new)
    return tables


_TABLES = _read()
CLASSES = _TABLES["class"][""]  # names of the package: cls_sim.OLD
# settings of a class, by its new name; and keys of a configuration below a kind of part, wherever they stand
SETTINGS = {where: names for where, names in _TABLES["setting"].items() if where[0].isupper()}
PATHS = {where: names for where, names in _TABLES["setting"].items() if where[0].islower()}
METHODS = _TABLES["method"]  # of a base class
FIELDS = _TABLES["field"]  # of the specification that parts receive, of a life, and of the module of figures
REMOVED = {where: names for where, names in _TABLES["removed"].items() if where[0].isupper()}  # setting → instead
OPTIONS = _TABLES["option"]  # of a kind of part: conf/KIND/OLD.yaml
KEYS = _TABLES["key"]  # of arms, claims and others in an experiment's file; "" is its top
CLAIM_KINDS, FIGURE_KINDS, SUMMARY, CALLS = (_TABLES[what][""] for what in ("claim", "figure", "summary", "call"))
FLAT = ("ablation", "method")  # keys of an experiment's file whose own keys stand directly below them


def now(key: str) -> str | None:
    """The present name of a key of version 0.1; None if it is no such key.

    >>> now("world.told"), now("arm.lesioned.from"), now("world.order")
    ('world.boundaries_known', 'arm.lesioned.branch_from', None)
    """
    first, *rest = key.lstrip("+~").split(".")
    if not rest:
        return KEYS[""].get(first)
    if first in PATHS:
        names = PATHS[first]
        new = [names.get(name, name) for name in rest]
    elif first in KEYS and first:
        new = [*rest[:-1], KEYS[first].get(rest[-1], rest[-1])] if len(rest) == (1 if first in FLAT else 2) else rest
    else:
        return None
    return ".".join((first, *new)) if new != rest else None


def word(old: str, known: Container[str]) -> str | None:
    """The present name, among the known ones, of a class, an option, or a kind of claim or figure.

    >>> word("summed", ["cortex", "logit_sum"]), word("summed", ["uniform"])
    ('logit_sum', None)
    """
    tables = (CLASSES, *OPTIONS.values(), CLAIM_KINDS, FIGURE_KINDS)
    return next((new for names in tables if (new := names.get(old)) is not None and new in known), None)


def lost(owner: str, name: str) -> str:
    """Why `owner` has no attribute `name`, for an AttributeError: it was renamed, or never existed.

    >>> lost("Life", "told"), lost("Life", "heard")
    ('Life.told was renamed in 0.2; write Life.known_contexts', "Life has no attribute 'heard'")
    """
    if (new := FIELDS[owner].get(name)) is not None:
        return f"{owner}.{name} was renamed in {VERSION}; write {owner}.{new}"
    return f"{owner} has no attribute {name!r}"


def find(cfg: Mapping[str, Any]) -> str | None:
    """The first key of version 0.1 in a composed configuration, None if there is none."""
    for key, value in cfg.items():
        if key in KEYS[""]:
            return key
        if key in PATHS and (found := next(_below(key, key, value), None)):
            return found
        if key in KEYS:
            for name, node in ({"": value} if key in FLAT else _mapping(value)).items():
                for old in (old for old in _mapping(node) if old in KEYS[key]):
                    return ".".join(part for part in (key, str(name), old) if part)
    return None


def _mapping(value: Any) -> Mapping[str, Any]:
    """This mapping; an empty one for any other value."""
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def _below(kind: str, path: str, node: Any) -> Iterator[str]:
    """Old keys of a part and of the parts inside it."""
    given = _mapping(node)
    target = str(given.get("_target_", ""))
    name = target.rpartition(".")[2]
    own = SETTINGS.get(CLASSES.get(name, name), {}) if target else PATHS[kind]
    if target and not target.startswith("cls_sim."):
        return
    for key, value in given.items():
        if key in own:
            yield f"{path}.{key}"
        yield from _below(kind, f"{path}.{key}", value)
