"""Stop signals: a signal sets a flag, and a running simulation checks the flag between two ticks.

SIGTERM and SIGUSR1 (batch systems) end the process with exit code 143, SIGINT (Ctrl-C) with 130.  If the process is
still running eight seconds later, or at a second Ctrl-C, it ends at once without saving; earlier files are intact.
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
    """The simulation has stopped at a signal, in a state from which it can resume.

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
        way = shlex.quote(f"resume={self.folder}")  # can be pasted into a shell
        return f"stopped by {self.name}" + (f"; go on with {way}" if self.folder else "")


class SignalHandler:
    """Records signals; `check` raises Interrupted after a signal.  Call `check` wherever a life can stop.

    >>> SignalHandler().check()
    """

    def __init__(self, *, leaves: bool = True):
        self.heard: str | None = None
        self._leaves = leaves  # whether to end the process after GRACE seconds or a second Ctrl-C
        self._strikes = False
        self._before: tuple[Any, tuple[float, float]] | None = None  # alarm handler and timer to restore

    def check(self) -> None:
        if self.heard is not None:
            raise Interrupted(self.heard)

    @contextmanager
    def at_once(self) -> Generator[None]:
        """Inside, a signal raises Interrupted immediately: for code that changes nothing or cleans up after itself."""
        self._strikes = True
        try:
            self.check()
            yield
        finally:
            self._strikes = False

    def hear(self, number: int, _: Any = None) -> None:
        """The handler that Python calls for a signal."""
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
        """Cancel the deadline and restore the previous alarm."""
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
    """Raise the KeyboardInterrupt instead of an exception that clean-up code has raised on its account.

    OmegaConf's clean-up code raises such an exception.

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
    """Record these signals (none named: all of CODES) instead of ending the process; restore the handlers afterwards.

    A nested call returns the outer handler.  Ignored signals stay ignored, and threads other than the main thread
    receive no signals.  With `leaves`, the process ends after GRACE seconds or at a second Ctrl-C; without it (in a
    notebook), a second Ctrl-C raises Interrupted immediately.

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
