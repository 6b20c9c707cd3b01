"""What the console doors beside `cls-sim` share: exit codes as everywhere, and one line that says why."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from cls_sim.core.errors import Refused


def entered(
    program: str, door: Callable[[list[str]], int], argv: Sequence[str] | None, stopped: str = "stopped"
) -> int:
    """The exit code of a door, opened with these arguments (None: the command line's).

    >>> entered("cls-sim-compare", len, ["one", "two"])
    2
    """
    try:
        return door(list(sys.argv[1:] if argv is None else argv))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except KeyboardInterrupt:
        print(f"{program}: {stopped}", file=sys.stderr)
        return 130
    except Refused as error:
        print(f"{program}: error: {error}", file=sys.stderr)
        return error.exit_code
