"""The output of `cls-sim` without a run: help, the configuration of a run, tab completion."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from cls_sim.config.composer import Composer
from cls_sim.config.experiments import read
from cls_sim.config.validation import GROUPS, TOP
from cls_sim.core.errors import ConfigError, suggest

COMMANDS = ("choose", "experiments", "export", "fit", "measure", "show")  # words after cls-sim
VALUES = {
    "scenario": ("class", "domain", "task"),
    "size": ("paper", "small"),
    "device": ("cpu", "cuda"),
    "precision": ("float32", "bf16"),
    "answers": ("kept",),
    "engine": ("local", "ray"),
    "wandb": ("off", "offline", "online"),
    "debug": ("true", "false"),
}


def show(args: Sequence[str], folders: Sequence[str]) -> None:
    """Print the help, the completion or the configuration that these arguments ask for."""
    overrides = [arg for arg in args if ("=" in arg and arg[:1] != "-") or arg[:1] == "~"]
    if {"-h", "--help"} & set(args):
        read(overrides, folders, one=True)
        compose = Composer(folders)
        groups = sorted(("experiment", *GROUPS))
        text = (Path(__file__).parent / "help.txt").read_text()
        print(text.format(groups="\n".join(f"{group}: {', '.join(compose.names(group))}" for group in groups)))
    elif {"-sc", "--shell-completion"} & set(args):
        _completion(overrides, folders)
    else:
        import yaml

        print(yaml.safe_dump(read(overrides, folders, one=True).cfg, sort_keys=False, allow_unicode=True), end="")


def _completion(overrides: Sequence[str], folders: Sequence[str]) -> None:
    """`install=SHELL` prints the code that a shell evaluates once; `query=SHELL` prints the candidates for a line."""
    from hydra._internal.core_plugins.bash_completion import BashCompletion
    from hydra._internal.core_plugins.fish_completion import FishCompletion

    shells = {"bash": BashCompletion, "zsh": BashCompletion, "fish": FishCompletion}
    what, _, shell = (overrides or [""])[0].partition("=")
    if what not in ("install", "uninstall", "query") or shell not in shells or len(overrides) > 1:
        known = [f"{one}={name}" for one in ("install", "uninstall", "query") for name in shells]
        raise ConfigError("-sc", f"cannot be {' '.join(overrides)!r}", suggest("".join(overrides[:1]), known))
    if what != "query":
        getattr(shells[shell](None), what)()  # pyright: ignore[reportArgumentType]
    elif "COMP_LINE" not in os.environ:
        raise ConfigError("COMP_LINE", "is not set", f'type eval "$(cls-sim -sc install={shell})" once, then press TAB')
    else:
        print(("\n" if shell == "fish" else " ").join(candidates(os.environ["COMP_LINE"], folders)))


def candidates(line: str, folders: Sequence[str] = ()) -> list[str]:
    """The candidates for the last word of a command line.

    >>> candidates("cls-sim wandb=o"), candidates("cls-sim experiment=split_mnist scen")
    (['wandb=off', 'wandb=offline', 'wandb=online'], ['scenario='])
    """
    *before, word = line.split(" ")
    typed = [one for one in before[1:] if "=" in one and not one.startswith("-")]
    compose = Composer(folders)
    key, equals, _ = word.partition("=")
    try:
        tree = compose([one for one in typed if one.split("=")[0] in ("experiment", *GROUPS)])
    except ConfigError:
        return []
    if not equals:
        path, dot, _ = word.rpartition(".")
        node = _at(tree, path.split(".") if dot else [])
        names = node if isinstance(node, dict) else ()
        found = [f"{path}{dot}{one}{'.' if isinstance(names[one], dict) and names[one] else '='}" for one in names]
        found += [] if before[1:] else [f"{one} " for one in COMMANDS]
        found += [] if dot else [f"{one}=" for one in ("experiment", "scenario", *GROUPS, *TOP)]
        return _starting(word, found)
    if key in ("experiment", *GROUPS):
        return _starting(word, [f"{key}={name}" for name in compose.names(key)])
    if key == "arms":
        chosen_already = word.partition("=")[2].lstrip("[").split(",")[:-1]
        return _starting(word, [f"arms=[{','.join([*chosen_already, name])}" for name in tree["arm"] or {}])
    now = _at(tree, key.split("."))
    values = VALUES.get(key, () if now is None or isinstance(now, (dict, list)) else (str(now),))
    return _starting(word, [f"{key}={value}" for value in values])


def _at(tree: object, way: Sequence[str]) -> object:
    for step in way:
        tree = tree.get(step) if isinstance(tree, dict) else None
    return tree


def _starting(word: str, found: Iterable[str]) -> list[str]:
    return sorted({one for one in found if one.startswith(word) and one.isprintable()})
