"""`cls-sim experiments`: all experiments by theme, with a line each; and `cls-sim show`: the settings of an arm.

cls-sim experiments                     every experiment, those in ./conf and in --config-dir too
cls-sim experiments WORD…               those whose name, title or source has all these words
cls-sim show experiment=NAME            the settings of the first arm, and what differs in each other arm
cls-sim show experiment=NAME arm=ARM    all settings of this arm; other overrides (key=value) as in a run
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cls_sim.commands.door import Parser, entered
from cls_sim.commands.markup import visible
from cls_sim.core.errors import ConfigError, known, refuse_if

OTHERS = "others"


def experiments(argv: Sequence[str] | None = None, folders: Sequence[str] = ()) -> int:
    """The command `cls-sim experiments`."""
    return entered(Parser("cls-sim experiments", __doc__, {}), lambda args: _list(args, folders), argv)


def _list(args: argparse.Namespace, folders: Sequence[str]) -> None:
    words = [word.lower() for word in args.given]
    shown = 0
    for theme, rows in themes(folders).items():
        mine = [row for row in rows if all(word in " ".join((theme, *row)).lower() for word in words)]
        width = max((len(name) for name, *_ in mine), default=0)
        if mine:
            print(f"{chr(10) if shown else ''}{theme}")
        for name, title, _ in mine:
            print(f"  {name:<{width}}  {title}".rstrip())
        shown += len(mine)
    refuse_if(not shown, "experiments", f"none has {' '.join(args.given)!r}", "type cls-sim experiments for all")
    print("\nrun one: cls-sim experiment=NAME size=small; its settings: cls-sim show experiment=NAME", flush=True)


def themes(folders: Sequence[str] = ()) -> dict[str, list[tuple[str, str, str]]]:
    """Theme → the name, the title and the source of each experiment."""
    import yaml

    from cls_sim.config.composer import Composer
    from cls_sim.config.reader import found

    compose = Composer(folders)
    rest = compose.names("experiment")
    told = yaml.safe_load(Path(__file__).with_name("themes.yaml").read_text("utf-8"))
    groups = {theme: [name for name in names if name in rest] for theme, names in told.items()}
    listed = {name for names in groups.values() for name in names}
    groups[OTHERS] = [name for name in rest if name not in listed]
    listing: dict[str, list[tuple[str, str, str]]] = {}
    for theme, names in groups.items():
        for name in names:
            try:
                page = found(compose.folders, "experiment", name)[0]
            except ConfigError as refused:  # a file of the user
                page = {"title": f"cannot be read: {refused.reason}"}
            title, cite = (visible(str(page.get(key) or "")) for key in ("title", "cite"))
            listing.setdefault(theme, []).append((name, title, cite))
    return listing


def show(argv: Sequence[str] | None = None, folders: Sequence[str] = ()) -> int:
    """The command `cls-sim show`."""

    def run(args: argparse.Namespace) -> None:
        import yaml

        from cls_sim.config.experiments import read

        named = [word.removeprefix("arm=") for word in args.given if word.startswith("arm=")]
        overrides = [word for word in args.given if not word.startswith("arm=")]
        if odd := next((word for word in overrides if "=" not in word and word[:1] != "~"), None):
            raise ConfigError(odd[:100], "is not an override", "write cls-sim show experiment=NAME arm=ARM")
        arms = read(overrides, folders).arms
        first, *others = named[-1:] or arms
        known("arm", first, arms, f"{first[:100]!r} is none of its arms")
        page = {f"arm: {first}": arms[first].cfg}
        page |= {
            f"arm: {name}, where it differs from {first}": _odd(arms[first].cfg, arms[name].cfg) for name in others
        }
        for head, tree in page.items():
            print(f"# {head}\n{yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)}", flush=True)

    return entered(Parser("cls-sim show", __doc__, {}), run, argv, needs="an experiment")


UNSHOWN = ("arm", "claims", "figures", "ablation", "parts", "small")


def _odd(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of `new` that differ from `old`; of the same part, only the settings that differ."""
    found: dict[str, Any] = {}
    for key, value in new.items():
        was = old.get(key)
        if value == was or key in UNSHOWN:
            continue
        if isinstance(value, dict) and isinstance(was, dict) and value.get("_target_") == was.get("_target_"):
            value = {k: v for k, v in value.items() if v != was.get(k, ...)}
        found[key] = value
    return found
