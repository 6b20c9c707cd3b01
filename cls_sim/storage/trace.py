"""The trace of a life: the readings of its probes, one row per moment, in memory or on disk.

On disk a trace is a jsonl file with one line per row (see lines.py).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import warnings
from collections.abc import Collection, Iterable, Mapping
from io import FileIO
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np

from cls_sim.core import portrait
from cls_sim.core.clock import Clock, Moment
from cls_sim.core.errors import ConfigError, refuse_if, suggest, whole
from cls_sim.storage import lines, tidy
from cls_sim.storage.cohort import cohort, measured, row_of, who_of
from cls_sim.storage.disk import ANY, NotPlain, broken, content, renamed, synced, unlinked, unreadable, writing
from cls_sim.storage.lines import Row


class Form(Protocol):
    """How the rows of a file are written."""

    def line_of(self, row: Row) -> bytes: ...
    def parsed(self, line: bytes) -> Row | None: ...


class Trace:
    """The readings of a life, in order of time; `rows` is the list of rows.

    A row is {"moment": name, "day": [s], "tick": int, "readings": {name: [s] or [s, k]}}.  If only some subjects
    reached the moment, "who" [s] (bool) marks them, and the readings of the others are NaN.  Numbers are float64.

    path  None: in memory.  A file: its rows are read first; new rows are appended and flushed one by one
    rows  read only this number of rows; the next append cuts off the rest of the file
    form  how a row is written: a module with `line_of` and `parsed`

    An incomplete last line is left out with a warning; for any other line that fails its checksum, ConfigError is
    raised.  StorageError is raised if the file cannot be written.

    >>> trace, clock = Trace(), Clock(subjects=2, per_day=10)
    >>> _ = trace.append(Moment("day.end", np.array([True, True])), clock, {"accuracy": np.array([0.5, 0.75])})
    >>> trace.last("accuracy").tolist(), trace.moments()
    ([0.5, 0.75], ['day.end'])
    """

    def __init__(self, path: str | Path | None = None, *, rows: int | None = None, form: Form = lines):
        self.path, self._form = None if path is None else Path(path), form
        self.rows: list[Row] = []
        self._ends: list[int] = []  # where each row ends in the file, in bytes
        self._file: FileIO | None = None
        self._is_new = self._is_changed = False  # whether the name, and the content, may not be on the disk yet
        if self.path is None:
            return
        if self.path.exists():
            self._read(rows)
        else:
            self._open("xb")
            self._is_new = True

    @classmethod
    def read(cls, path: str | Path, *, rows: int | None = None, form: Form = lines) -> Trace:
        """The trace in a file, with every line verified; nothing is written unless rows are appended."""
        refuse_if(not Path(path).is_file(), str(path), "there is no such trace", "name the trace of a run")
        return cls(path, rows=rows, form=form)

    @classmethod
    def join(cls, traces: Iterable[Trace]) -> Trace:
        """The trace of a cohort from those of its chunks, in the order of subjects.

        All chunks must have the same readings at the same moments.  A chunk may lack moments that none of its subjects
        reached.  Raises ConfigError for chunks of different cohorts.
        """
        chunks = list(traces)
        refuse_if(not chunks, "traces", "is empty", "give at least one trace")
        for number, chunk in enumerate(chunks):
            odd, reason = measured(chunk.rows) != measured(chunks[0].rows), "has other readings than the first trace"
            refuse_if(odd, f"traces[{number}]", reason, "join chunks of one cohort")
        joined = cls()
        joined.rows = cohort([chunk.rows for chunk in chunks], [chunk.subjects for chunk in chunks])
        return joined

    def part(self, first: int, subjects: int) -> Trace:
        """The trace, in memory, of the subjects from `first` (from 0) on; it lacks moments that none of them reached.

        Raises ConfigError for subjects that are not in the trace.
        """
        first = whole("first", first, 0, max(0, self.subjects - 1))
        mine = slice(first, first + whole("subjects", subjects, 1, self.subjects - first))
        part = Trace()
        for row in self.rows:
            who = who_of(row)[mine]
            if who.any():
                readings = {name: value[mine] for name, value in row["readings"].items()}
                part.rows.append(row_of(row["moment"], row["day"][mine], row["tick"], readings, who))
        return part

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"Trace({len(self)} rows of {self.subjects} subjects: {', '.join(self.names()) or 'no readings'})"

    def _repr_html_(self) -> str:
        days = [float(np.max(row["day"])) for row in self.rows[-1:]]
        told = [("subjects", str(self.subjects)), ("rows", f"{len(self)}, to day {days[0]:g}" if days else "none")]
        for name in self.names():
            last = self.last(name)
            last = last if last.ndim == 1 else np.nanmean(last, 1)
            told.append((name, f"{np.nanmean(last):.3f} at the end (mean over subjects)"))
        return portrait.page("Trace", told)

    @property
    def subjects(self) -> int:
        """The number of subjects (0 without rows)."""
        return len(self.rows[0]["day"]) if self.rows else 0

    # -- writing ----------------------------------------------------------------------------------------

    def append(self, moment: Moment, clock: Clock, readings: Mapping[str, Any]) -> Row:
        """Add the readings of a moment, [s] or [s, k] each; on disk, the row is flushed before this returns."""
        who = np.asarray(moment.who, bool)
        numbers = {name: _reading(name, value, who) for name, value in readings.items()}
        row = row_of(moment.name, np.array(clock.day, np.float64), int(clock.tick), numbers, who.copy())
        self.extend([row])
        return row

    def extend(self, rows: Iterable[Row]) -> None:
        """Add rows of another trace."""
        for row in rows:
            reason = f"has {self.subjects} subjects, not {len(row['day'])}"
            refuse_if(self.rows and len(row["day"]) != self.subjects, "trace", reason, "use one trace per cohort")
            if self.path is not None:
                self._write(self._form.line_of(row))
            self.rows.append(row)

    def cut(self, rows: int) -> None:
        """Keep the first `rows` rows only, in the file as well."""
        rows = whole("rows", rows, 0)
        reason = f"has {len(self)} rows, but {rows} were saved"
        refuse_if(rows > len(self), str(self.path or "trace"), reason, "restore the file or start anew")
        del self.rows[rows:], self._ends[rows:]
        if self.path is not None:
            with writing(self.path):
                self._shorten(self._open())
            self.sync()

    def sync(self) -> None:
        """Wait until all rows are on the disk (fsync).  Rows survive the death of the process without it."""
        if self._file is not None and self._is_changed:
            with writing(cast(Path, self.path)):
                os.fsync(self._file.fileno())
            self._is_changed = False
        if self._is_new:
            self._is_new = False
            with contextlib.suppress(OSError):  # not all systems can sync a folder
                synced(cast(Path, self.path).parent)

    def close(self) -> None:
        """Sync and close the file; a later append opens it again."""
        if self._file is not None:
            self.sync()
            self._file.close()
            self._file = None

    def rename(self, path: Path) -> None:
        """Sync and close the file, and give it another name."""
        assert self.path is not None
        self._is_new = False  # the old name need not last
        self.close()
        renamed(self.path, path)
        self.path = path

    # -- reading ----------------------------------------------------------------------------------------

    def names(self) -> list[str]:
        """The names of the readings, in order of first appearance."""
        return list(dict.fromkeys(name for row in self.rows for name in row["readings"]))

    def moments(self) -> list[str]:
        """The name of every row's moment."""
        return [row["moment"] for row in self.rows]

    def reading(self, name: str, moment: str | None = None) -> tuple[np.ndarray, np.ndarray]:
        """A reading over the life: days [t] and values [t, s] or [t, s, k], at one moment or at all moments.

        The day is the mean age of the subjects that reached the moment.
        """
        rows = [row for row in self._with(name) if moment in (None, row["moment"])]
        if not rows:
            raise ConfigError(f"{name} at {moment}", "was not measured", suggest(str(moment), set(self.moments())))
        days = np.array([row["day"][who_of(row)].mean() for row in rows])
        return days, np.stack([row["readings"][name] for row in rows])

    def last(self, name: str) -> np.ndarray:
        """The last reading of each subject: [s] or [s, k]."""
        rows = self._with(name)
        found, open_ = rows[-1]["readings"][name].copy(), ~who_of(rows[-1])
        for row in reversed(rows[:-1]):
            if not open_.any():
                break
            mine = open_ & who_of(row)
            found[mine] = row["readings"][name][mine]
            open_ &= ~mine
        return found

    def is_taken(self, name: str, moment: str) -> bool:
        """Whether a reading was measured at this moment."""
        return any(name in row["readings"] and row["moment"] == moment for row in self.rows)

    def matrix(self, name: str) -> np.ndarray:
        """A reading by context [s, k] as the matrix [s, t, k] of `statistics.transfer`.

        Row 0 is life.begin (NaN if it was not measured then); the other rows are the context ends in each subject's
        order.
        """
        rows = self._with(name)
        if rows[0]["readings"][name].ndim != 2:
            raise ConfigError(name, "is not a reading by context", "name one that gives [s, k]")
        ends = [row for row in rows if row["moment"] == "context.end"]
        begin = next((row["readings"][name] for row in rows if row["moment"] == "life.begin"), None)
        first = np.full_like(rows[0]["readings"][name], np.nan) if begin is None else begin
        if not ends:
            return first[:, None]
        who = np.stack([who_of(row) for row in ends], 1)  # [s, t]
        values = np.stack([row["readings"][name] for row in ends], 1)
        order = np.argsort(~who, axis=1, kind="stable")[:, : who.sum(1).max()]
        return np.concatenate([first[:, None], np.take_along_axis(values, order[..., None], 1)], 1)

    def to_pandas(self) -> Any:
        """All readings as a tidy DataFrame: subject, day, tick, moment, reading, context, value (pandas is needed)."""
        return tidy.to_pandas({"": self.rows}).drop(columns="arm")

    def to_csv(self, path: str | Path) -> Path:
        """Write all readings as a tidy CSV table, with an empty column `arm`; returns its path."""
        return tidy.to_csv({"": self.rows}, path)

    def digest(self, without: Collection[str] = ()) -> str:
        """The sha256 of all readings except those in `without`; traces with equal digests are bit-equal in them."""
        found = hashlib.sha256()
        for row in self.rows:
            names = sorted(set(row["readings"]) - set(without))
            found.update(f"{row['moment']} {names}".encode())
            for numbers in (row["day"], *(row["readings"][name] for name in names)):
                found.update(np.where(np.isnan(numbers), np.nan, numbers).tobytes())
        return found.hexdigest()

    def _with(self, name: str) -> list[Row]:
        rows = [row for row in self.rows if name in row["readings"]]
        if not rows:
            raise ConfigError(name, "is not a reading of this trace", suggest(name, self.names()))
        return rows

    # -- the file ---------------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """The bytes of the rows in the file."""
        return self._ends[-1] if self._ends else 0

    def _open(self, mode: str = "ab") -> FileIO:
        """The file, open for appending and unbuffered; everything after the known rows is cut off."""
        assert self.path is not None
        if self._file is None:
            with writing(self.path):
                self._file = FileIO(self.path, mode, opener=unlinked)
                self._shorten(self._file)
        return self._file

    def _shorten(self, file: FileIO) -> None:
        """Cut the file off after the last row, and set the position there."""
        if file.seek(0, os.SEEK_END) > self.size:
            file.truncate(self.size)
            file.seek(self.size)
            self._is_changed = True

    def _write(self, line: bytes) -> None:
        """Write a whole line or, as far as the disk allows, nothing."""
        file, rest = self._open(), memoryview(line)
        self._is_changed = True
        try:
            while rest:
                rest = rest[file.write(rest) :]
        except OSError as error:
            with contextlib.suppress(OSError):
                self._shorten(file)
            raise broken(cast(Path, self.path), error) from error
        self._ends.append(self.size + len(line))

    def _read(self, most: int | None) -> None:
        assert self.path is not None
        try:
            data = content(self.path, ANY)
        except NotPlain:
            raise ConfigError(str(self.path), "is not a regular file", "name the trace of a run") from None
        except OSError as error:
            raise unreadable(self.path, error) from None
        parts = data.split(b"\n")
        for number, line in enumerate(parts[:-1], 1):
            if most is not None and len(self) == most:
                return
            row = self._form.parsed(line)
            if row is None or (self.rows and len(row["day"]) != self.subjects):
                remedy = "restore the file, or resume from an earlier checkpoint"
                raise ConfigError(f"{self.path}:{number}", "the line fails its checksum", remedy)
            self.rows.append(row)
            self._ends.append(self.size + len(line) + 1)
        if parts[-1] and (most is None or len(self) < most):
            warnings.warn(f"{self.path}:{len(parts)}: the last line is incomplete and left out", stacklevel=4)


def new_trace(path: Path, rows: Iterable[Row] = (), form: Form = lines) -> Trace:
    """A new trace with these rows, whose file has this name only once they are written."""
    aside = path.with_name(f".{path.name}.new")
    with contextlib.suppress(OSError):
        aside.unlink()
    trace = Trace(aside, form=form)
    trace.extend(rows)
    trace.rename(path)
    return trace


def _reading(name: str, value: Any, who: np.ndarray) -> np.ndarray:
    """A probe's numbers (array or tensor) as float64; NaN for subjects that did not reach the moment."""
    value = value.detach().cpu().numpy() if hasattr(value, "detach") else value
    remedy = "return one number per subject, [s] or [s, k]"
    try:
        array = np.array(value, np.float64)
    except (TypeError, ValueError):
        raise ConfigError(f"probes.{name}", "does not return numbers", remedy) from None
    if array.ndim == 0 or len(array) != len(who):
        raise ConfigError(f"probes.{name}", f"returns shape {array.shape} for {len(who)} subjects", remedy)
    array[~who] = np.nan
    return array
