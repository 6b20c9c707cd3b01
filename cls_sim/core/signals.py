"""Signals that ask to stop: they set a flag, and whoever lives a life looks at it between two ticks.

SIGTERM and SIGUSR1 (batch systems) leave with exit code 143, SIGINT (Ctrl-C) with 130.  Who has not left after eight
seconds, and who hears a second Ctrl-C, leaves at once and without saving: what was saved before is whole.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, NoReturn

CODES = {"SIGTERM": 143, "SIGUSR1": 143, "SIGINT": 130}
GRACE = 8.0  # seconds to save and leave
_listening: SignalHandler | None = None


class Interrupted(KeyboardInterrupt):
    """Asked to stop, and stopped where a life can go on.

    >>> str(Interrupted("SIGTERM", "run")), Interrupted("SIGTERM").exit_code
    ('stopped by SIGTERM; go on with resume=run', 143)
    """

    def __init__(self, name: str, folder: str = ""):
        super().__init__(name, folder)
        self.name, self.folder = name, folder

    @property
    def exit_code(self) -> int:
        return CODES[self.name]

    def __str__(self) -> str:
        way = shlex.quote(f"resume={self.folder}")  # as a shell reads it
        return f"stopped by {self.name}" + (f"; go on with {way}" if self.folder else "")


class SignalHandler:
    """Hears signals; `check` raises Interrupted once there was one.  Call it wherever a life can stop.

    >>> SignalHandler().check()
    """

    def __init__(self, *, leaves: bool = True):
        self.heard: str | None = None
        self._leaves = leaves  # whether the process ends where asking is not enough
        self._strikes = False
        self._before: tuple[Any, tuple[float, float]] | None = None  # whose alarm it was

    def check(self) -> None:
        if self.heard is not None:
            raise Interrupted(self.heard)

    @contextmanager
    def at_once(self) -> Generator[None]:
        """In here a signal raises where it strikes: for what changes nothing, or cleans up behind itself."""
        self._strikes = True
        try:
            self.check()
            yield
        finally:
            self._strikes = False

    def hear(self, number: int, _: Any = None) -> None:
        """What Python calls when a signal has come."""
        name, first = signal.Signals(number).name, self.heard is None
        again = name == "SIGINT" and self.heard == "SIGINT"
        if again and self._leaves:
            self._gone()
        self.heard = name
        if self._leaves and self._before is None and hasattr(signal, "setitimer"):
            self._before = signal.signal(signal.SIGALRM, self._gone), signal.setitimer(signal.ITIMER_REAL, GRACE)
        if (self._strikes and first) or again:
            raise Interrupted(name)

    def calm(self) -> None:
        """Nobody has to leave any more: the alarm is as it was."""
        if self._before is not None:
            handler, timer = self._before
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, handler)
            signal.setitimer(signal.ITIMER_REAL, *timer)
            self._before = None

    def _gone(self, *_: Any) -> NoReturn:
        assert self.heard is not None
        os.write(2, f"cls-sim: left at once by {self.heard}; what was saved before is whole\n".encode())
        os._exit(CODES[self.heard])


@contextmanager
def unmasked() -> Generator[None]:
    """An interruption over which somebody's tidying up stumbles (OmegaConf's does) is told as one, not as what came of
    it.

    >>> try:
    ...     with unmasked():
    ...         try:
    ...             raise KeyboardInterrupt
    ...         finally:
    ...             None.tidied
    ... except KeyboardInterrupt:
    ...     "an interruption"
    'an interruption'
    """
    outside = sys.exc_info()[1]
    try:
        yield
    except Exception as error:
        below = error.__context__
        while below is not None and below is not outside:
            if isinstance(below, KeyboardInterrupt):
                raise below from None
            below = below.__context__
        raise


@contextmanager
def handle_signals(*names: str, leaves: bool = True) -> Generator[SignalHandler]:
    """Listen to these signals (all of CODES, if none is named) instead of dying of them; then all is as it was.

    Within another, it is the other.  A signal that is ignored stays ignored, and a thread that is not the main one
    hears nothing.  With `leaves`, the process leaves where asking is not enough; without (a notebook), a second
    Ctrl-C raises where it strikes.

    >>> with handle_signals() as ear:
    ...     ear.check()
    """
    global _listening
    if threading.current_thread() is not threading.main_thread():
        yield SignalHandler()
        return
    if _listening is not None:
        yield _listening
        return
    ear = SignalHandler(leaves=leaves)
    before: dict[int, Any] = {}
    try:
        _listening = ear
        for name in names or CODES:
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, ear.hear)
        yield ear
    finally:
        _listening = None
        ear.calm()
        for number, handler in before.items():
            signal.signal(number, handler)
