"""Argument parsing and exit codes of the console commands other than `cls-sim`.

A setting is written NAME=VALUE (or --NAME=VALUE), a flag --NAME.  An error is one line on standard error; the exit code
is 2 for bad input and 3 for a disk error.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from cls_sim.core.errors import ConfigError, StorageError, refuse_if, short_of_memory, suggest, whole


class Parser(argparse.ArgumentParser):
    """The arguments of a command: names or folders in `given`, settings (name → default), flags.

    text  the text of `--help`

    A setting whose default is a list may be given several times.

    >>> found = Parser("cls-sim-compare", "…", settings={"out": None}, flags=("--all",)).read(["run", "out=there"])
    >>> found.given, found.out, found.all
    (['run'], 'there', False)
    """

    def __init__(self, prog: str, text: str | None, settings: Mapping[str, Any], flags: Sequence[str] = ()):
        super().__init__(prog=prog, description=text, allow_abbrev=False)
        self.add_argument("given", nargs="*")
        for name, default in settings.items():
            self.add_argument(f"--{name}", default=default, action="append" if isinstance(default, list) else "store")
        for flag in flags:
            self.add_argument(flag, action="store_true")
        self.settings, self.known = tuple(settings), (*settings, *flags)

    def format_help(self) -> str:
        """The text of `--help`."""
        return f"{(self.description or '').strip()}\n"

    def read(self, args: Sequence[str]) -> argparse.Namespace:
        """The parsed arguments; raises ConfigError for an unknown option."""
        spelled = [f"--{arg}" if arg.partition("=")[0] in self.settings and "=" in arg else arg for arg in args]
        found, unknown = self.parse_known_intermixed_args(spelled)
        if unknown:
            name = unknown[0].partition("=")[0]
            raise ConfigError(name, f"is not an option of {self.prog}", suggest(name, self.known))
        return found

    def error(self, message: str) -> NoReturn:
        """Called by argparse if an option has no value, or a value that it does not take."""
        found = re.fullmatch(r"argument (\S+): (.*)", message)
        name, reason = (found[1], found[2]) if found else (self.prog, message)
        raise ConfigError(name, reason, f"see {self.prog} --help")


def entered(
    parser: Parser,
    run: Callable[[argparse.Namespace], int | None],
    argv: Sequence[str] | None,
    *,
    needs: str = "",
    stopped: str = "stopped",
) -> int:
    """Parse the arguments (None: those of the command line), run the command, and return the exit code.

    needs    what the command needs at least one of in `given`, such as "a folder"
    stopped  message after Ctrl-C
    """
    args = list(sys.argv[1:] if argv is None else argv)
    try:
        found = parser.read(args if args or not needs else ["--help"])
        refuse_if(needs and not found.given, parser.prog, f"needs {needs}", f"name {needs}")
        return run(found) or 0
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except KeyboardInterrupt as stop:  # raised by a signal, its message says how to continue
        print(f"{parser.prog}: {str(stop) or stopped}", file=sys.stderr)
        return getattr(stop, "exit_code", 130)
    except SystemExit as left:  # after --help
        return int(left.code or 0)
    except Exception as error:
        return failed(parser.prog, error)


def failed(prog: str, error: Exception, remedy: str = "check the disk", *, debug: bool = False) -> int:
    """Print bad input or a failed disk in one line, and return the exit code; any other error is raised again."""
    told = short_of_memory(error) or error
    if isinstance(told, OSError):
        told = StorageError(str(told.filename or "the disk"), told.strerror or str(told), remedy)
    if debug or not isinstance(told, ConfigError):
        raise error
    print(f"{prog}: error: {told}", file=sys.stderr)
    return told.exit_code


def folders(names: Sequence[str]) -> list[Path]:
    """The folders of these names; raises ConfigError if one does not exist."""
    for name in names:
        refuse_if(not os.path.isdir(name), name, "is not a folder", "name a run, or a folder of runs")
    return [Path(name) for name in names]


def runs_below(folders: Iterable[str | Path], file: str, what: str, remedy: str, key: Any = None) -> list[Path]:
    """The folders in or below these that hold this file, each once, in the order of the folders, then by name.

    what, remedy  what such a folder is, and what to do if there is none, for a ConfigError
    key           the sort key of the names
    """
    found: list[Path] = []
    for folder in map(Path, folders):
        mine = [path.resolve() for path in sorted(below(folder, file), key=key)]
        refuse_if(not mine, str(folder), f"holds no {what} (no {file})", remedy)
        found += [path for path in mine if path not in found]
    from cls_sim.storage.disk import plain_below

    for run in found:
        plain_below(run)
    return found


def below(folder: Path, file: str) -> Iterator[Path]:
    """The folders that hold this file, `folder` itself or below it; their subfolders and hidden folders are skipped."""
    for here, names, files in os.walk(folder):
        if file in files:
            names.clear()
            yield Path(here)
        names[:] = sorted(name for name in names if not name.startswith("."))


def whole_of(name: str, text: str, low: int = 1, high: int | None = None) -> int:
    """A whole number from an argument; raises ConfigError for anything else."""
    return whole(name, int(text) if text.isascii() and text.isdecimal() and len(text) < 12 else text, low, high)
