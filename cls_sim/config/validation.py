"""Validation: options and overrides are checked before they are parsed, the configuration before anything is built.

A page of YAML can expand to a billion values, and references can read the environment.  Therefore every size is
limited, and only the variables in ENVIRONMENT may be referenced.  Hydra is not a sandbox: it receives only the settings
of launchers.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from cls_sim import PART_KINDS
from cls_sim.core import renamed
from cls_sim.core.errors import ConfigError, refuse_if, suggest

RESOLVED = 100_000  # values (or lines of text) of a configuration, with interpolations expanded
DEEPEST = 24  # levels of nested lists and mappings
LONGEST = 20_000  # characters of an override
ENVIRONMENT = ("CLS_SIM_DATA_DIR", "SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID")  # none is a secret

FLAGS = ("-m", "--multirun", "-h", "--help", "-sc", "--shell-completion", "--resolve")
SHOW = ("-c", "--cfg")  # followed by `job`
LAUNCHERS = ("basic", "joblib", "submitit_local", "submitit_slurm")
LAUNCHER = (
    *("n_jobs", "batch_size", "verbose", "timeout"),  # joblib
    *("timeout_min", "cpus_per_task", "gpus_per_node", "tasks_per_node", "mem_gb", "nodes", "name", "partition", "qos"),
    *("account", "constraint", "array_parallelism", "max_num_timeout", "signal_delay_s", "mem_per_cpu", "gres"),
)

TOP = (
    *("subjects", "seed", "days", "size", "chunk", "device", "workers", "engine", "out", "resume", "wandb", "arms"),
    *("precision", "answers", "budget", "debug", "arm", "small", "claims", "ablation", "parts", "figures", "title"),
    *("cite", "probes", "method"),
)
DECLARED = ("scenario", "label_noise")  # exist only if an experiment declares them
GROUPS = (*PART_KINDS, "probes", "method")  # keys whose values name files, beside `experiment`
PATH = re.compile(r"(?:\+\+?)?(?:out|resume|world(?:\.\w+)*\.(?:x|y|context)(?:_test)?)", re.ASCII)  # keys of raw paths
KEY = re.compile(r"(?:\+\+?|~)?[A-Za-z_][\w./-]*(?:@[\w.:-]*)?", re.ASCII)
NAME = re.compile(r"\w[\w.+=-]{0,63}")
# control characters, marks of text direction, halves of surrogate pairs: a terminal or a file shows them wrongly
ODD = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
REFERENCE = re.compile(
    r"\$\{(?:(\.*[A-Za-z_][\w-]*(?:\.[\w-]+)*)|oc\.env:(?:" + "|".join(ENVIRONMENT) + r")(?:,[^$\\{}]*)?)\}", re.ASCII
)


def name(key: str, value: Any) -> str:
    """`value`, if it can name a file, a column and a key: at most 64 letters, digits and _ . + = -.

    >>> name("arm", "half_snr0.1")
    'half_snr0.1'
    """
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise ConfigError(key, f"{value!r} is not a name", "use up to 64 letters, digits and _ . + = -, no / or space")
    return value


def path(key: str, value: Any) -> str:
    """`value`, if it is a valid path without unprintable characters."""
    refuse_if(not isinstance(value, str), key, f"{value!r} is not a path", "give a folder")
    if odd := next((c for c in value if not c.isprintable()), None):
        raise ConfigError(key, f"has the character {odd!r} in its path", "rename the folder, or give another")
    parts = value.encode().split(os.sep.encode())
    refuse_if(len(value) > 3000 or max(map(len, parts)) > 255, key, "is too long for a path", "give a shorter one")
    return value


def text(key: str, value: str) -> None:
    """Raise ConfigError for unprintable characters, and for interpolations except ${key} and ${oc.env:NAME}."""
    if odd := ODD.search(value):
        raise ConfigError(key, f"contains the character {odd[0]!r}", "write plain text")
    if value.count("${") != len(REFERENCE.findall(value)):
        remedy = f"write ${{key.of.another}}, or ${{oc.env:NAME}} with NAME one of {', '.join(ENVIRONMENT)}"
        raise ConfigError(key, f"{value[:100]!r} is not a reference to a key", remedy)


# -- the command line -------------------------------------------------------------------------------------


def hyphenless(args: Sequence[str]) -> list[str]:
    """The arguments with `--key=value`, as the agent of a W&B sweep writes them, as overrides `key=value`.

    >>> hyphenless(["--hippocampus.capacity=3", "--seed=1", "--config-dir=x", "-m"])
    ['hippocampus.capacity=3', 'seed=1', '--config-dir=x', '-m']
    """
    known = {"experiment", *GROUPS, *TOP, *DECLARED}
    return [
        arg[2:] if arg[:2] == "--" and "=" in arg and re.split(r"[.=@]", arg[2:], maxsplit=1)[0] in known else arg
        for arg in args
    ]


def arguments(args: Sequence[str]) -> None:
    """Raise ConfigError for unknown options and invalid overrides."""
    rest, queue = [], list(args)
    while queue:
        arg = queue.pop(0)
        option, equals, value = arg.partition("=")
        if not arg.startswith("-"):
            rest.append(arg)
        elif option in SHOW:
            shown = value if equals else queue.pop(0) if queue else ""
            refuse_if(shown != "job", option, f"cannot show {shown!r}", f"write {option} job")
        elif arg not in FLAGS:
            known = [*FLAGS, *SHOW, "--version", "--allow", "--config-dir"]
            remedy = suggest(option, [o for o in known if o[:2] == "--"])
            raise ConfigError(arg[:100], "is not an option of cls-sim", remedy)
    overrides(rest, sweep=any(arg in FLAGS[:2] for arg in args))


def overrides(given: Sequence[str], *, sweep: bool = False) -> None:
    """Raise ConfigError for invalid or too large overrides, and (except in a sweep) for settings of Hydra."""
    for override in given:
        key, equals, value = override.partition("=")
        if new := renamed.now(key):
            raise ConfigError(key.lstrip("+~"), "was renamed", f"write {new}")
        if not KEY.fullmatch(key) or not (equals or key.startswith("~")):
            raise ConfigError(override[:100], "is not an override", "write key=value, or see cls-sim --help")
        if PATH.fullmatch(key):
            path(key, value)
        elif len(override) > LONGEST or _depth(value) > DEEPEST:
            raise ConfigError(key[:100], "has a value that is too long or too deep", "put it into a file")
        elif key.startswith("hydra") and not (sweep and _launches(key, value)):
            raise ConfigError(key, "is not a key of cls-sim", "see cls-sim --help")
        elif sweep and ".." in value:
            raise ConfigError(key, f"{value[:100]!r} is outside the folder of the sweep", "give an absolute path")


def quoted(override: str, *, sweep: bool = False) -> str:
    """An override for Hydra's grammar: a path, which may contain any character, is put into quotes.

    In a sweep, a path of the world that does not exist is not quoted, because it may be a list of files.

    >>> quoted("out=my run, 2"), quoted("subjects=2")
    ("out='my run, 2'", 'subjects=2')
    """
    key, _, value = override.partition("=")
    several = sweep and key not in ("out", "resume") and not os.path.exists(value)
    return override if not PATH.fullmatch(key) or value in ("", "null") or several else setting(key, value)


def plain(override: str) -> str:
    """The reverse of `quoted`: the override with its path as typed."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    key, _, value = override.partition("=")
    if not PATH.fullmatch(key) or value in ("", "null"):
        return override
    return f"{key}={OverridesParser.create().parse_override(override).value()}"


def _depth(value: str) -> int:
    steps = ((character in "[{(") - (character in "]})") for character in value)
    return max(accumulate(steps, initial=0))


def _launches(key: str, value: str) -> bool:
    """Whether this override chooses a known launcher, or one of its allowed settings."""
    if key in ("hydra/launcher", "hydra/sweeper"):
        return value in (LAUNCHERS if key == "hydra/launcher" else ("basic",))
    plain = re.fullmatch(r"[\w.:%+-]{1,100}", value, re.ASCII)  # it may be written into a script of the scheduler
    return key.startswith("hydra.launcher.") and key.removeprefix("hydra.launcher.") in LAUNCHER and bool(plain)


def setting(key: str, path: str) -> str:
    """An override in Hydra's grammar that sets `key` to exactly this path.

    >>> setting("hydra.sweep.dir", "my sweep, it's")
    "hydra.sweep.dir='my sweep, it\\\\'s'"
    """
    path = re.sub(r"(\\*)'", r"\1\1\\'", path)  # backslashes count only before a quotation mark
    return f"{key}='{path}{chr(92) * (len(path) - len(path.rstrip(chr(92))))}'"


# -- the configuration ------------------------------------------------------------------------------------


def top(cfg: Mapping[str, Any]) -> None:
    """Raise ConfigError for top-level values of a resolved configuration with a wrong type or an invalid name."""
    for key in ("out", "resume"):
        if cfg[key] is not None:
            path(key, cfg[key])
    for key in ("title", "cite"):
        refuse_if(not isinstance(cfg[key], str | None), key, f"{cfg[key]!r} is not a text", "put it into quotes")
    for key in ("arm", "probes", "claims", "figures"):
        for one, said in mapping(key, cfg[key]).items():
            name(f"{key}.{one}", one)
            if key in ("claims", "figures"):
                _data(f"{key}.{one}", mapping(f"{key}.{one}", said))


def mapping(key: str, value: Any) -> Mapping[str, Any]:
    """`value`, if it is a mapping; an empty mapping for null."""
    if not isinstance(value, Mapping | None):
        raise ConfigError(key, f"{value!r} is not a mapping", "write {name: ...}")
    return value or {}


def _data(key: str, node: Any) -> None:
    """Raise ConfigError for keys such as `_target_` in claims and figures, where no object is built."""
    for one, said in node.items() if isinstance(node, Mapping) else ():
        refuse_if(re.fullmatch(r"_\w*_", one), f"{key}.{one}", "is not a key of cls-sim", "remove it")
        _data(f"{key}.{one}", said)
    for i, said in enumerate(node if isinstance(node, list) else ()):
        _data(f"{key}[{i}]", said)


def resolved(tree: Any, draft: bool = False) -> Any:
    """A copy of a configuration in which each ${key} is replaced by its value.

    Raises ConfigError for a missing value, a reference to itself or to a missing key, a key that is not a text, and a
    configuration that is too large or too deep.
    """
    open_: set[tuple[str, ...]] = set()
    left = RESOLVED

    def walk(where: tuple[str, ...], node: Any) -> Any:
        nonlocal left
        key = ".".join(where)
        refuse_if(where in open_, key, "refers to itself", "check the ${…} in your configuration")
        left -= 1
        if left < 0 or len(where) > DEEPEST or len(open_) > 4 * DEEPEST:
            raise ConfigError(key, "is too large or too deep with references expanded", "make it smaller")
        open_.add(where)
        if isinstance(node, dict):
            for name in node:
                if not isinstance(name, str):
                    raise ConfigError(f"{key}.{name}".lstrip("."), "is a key that is not a text", "put it into quotes")
                text(f"{key}.{name}".lstrip("."), name)
            node = {name: walk((*where, name), value) for name, value in node.items()}
        elif isinstance(node, list):
            node = [walk((*where, str(i)), value) for i, value in enumerate(node)]
        elif isinstance(node, str):
            if node == "???" and draft:
                return node
            refuse_if(node == "???", key, "is not given", "give a value")
            text(key, node)
            whole = REFERENCE.fullmatch(node)
            node = named(where, whole) if whole else REFERENCE.sub(lambda found: str(named(where, found)), node)
            left -= len(node) // 100 if isinstance(node, str) else 0
        open_.discard(where)
        return node

    def named(where: tuple[str, ...], found: re.Match[str]) -> Any:
        """The value of a reference: a key from the root or, with leading dots, relative to its place."""
        if found[1] is None:
            name, comma, default = found[0][len("${oc.env:") : -1].partition(",")
            if name not in os.environ and not comma:
                raise ConfigError(name, "is not set", f"set it, or write ${{oc.env:{name},VALUE}}")
            return os.environ.get(name, None if default == "null" else default)
        steps = found[1].lstrip(".")
        above = len(found[1]) - len(steps)
        way, node = (*(where[: len(where) - above] if above else ()), *steps.split(".")), tree
        for done, step in enumerate(way):
            node = walk(way[:done], node) if isinstance(node, str) else node  # it may be a reference itself
            node = {str(i): one for i, one in enumerate(node)} if isinstance(node, list) else node
            if not isinstance(node, dict) or step not in node:
                raise ConfigError(found[1], "is referred to and does not exist", "check the ${…} in your configuration")
            node = node[step]
        return walk(way, node)

    return walk((), tree)
