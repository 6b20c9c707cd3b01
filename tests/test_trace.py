"""The trace: what is written comes back bit for bit, and what is damaged is never read as if it were not."""

from __future__ import annotations

import json
import math
import os
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import cls_sim as cs
from cls_sim.core.clock import Clock, Moment
from cls_sim.core.errors import ConfigError, StorageError
from cls_sim.storage.trace import Trace
from tests.lives import small

ALL = np.array([True, True, True])


def clock_at(experience: int, per_day: int = 10, subjects: int = 3) -> Clock:
    clock = Clock(subjects, per_day)
    clock.experience += experience
    clock.tick = experience
    return clock


def short_life(path=None, days: int = 4) -> Trace:
    trace = Trace(path)
    for day in range(1, days + 1):
        readings = {"gist": np.array([0.1, 0.2, 1 / 3]) * day, "accuracy": torch.full((3, 2), day / 10)}
        trace.append(Moment("day.end", ALL), clock_at(10 * day), readings)
    return trace


def same(a: Trace, b: Trace) -> bool:
    np.testing.assert_equal(a.rows, b.rows)
    return len(a) == len(b)


def test_readings_over_days():
    trace = short_life()
    days, gist = trace.reading("gist")
    assert days.tolist() == [1.0, 2.0, 3.0, 4.0] and gist.shape == (4, 3)
    assert gist[2].tolist() == [0.1 * 3, 0.2 * 3, 1 / 3 * 3]
    assert trace.reading("accuracy")[1].shape == (4, 3, 2)
    assert trace.last("accuracy").tolist() == np.full((3, 2), np.float32(0.4)).tolist()
    assert trace.names() == ["gist", "accuracy"] and trace.moments() == ["day.end"] * 4
    assert len(trace) == 4 and trace.subjects == 3
    assert "4 rows of 3 subjects: gist, accuracy" in repr(trace)


def test_readings_of_one_kind_of_moment():
    trace = short_life()
    trace.append(Moment("life.end", ALL), clock_at(40), {"gist": np.zeros(3)})
    assert trace.reading("gist", "life.end")[1].tolist() == [[0.0, 0.0, 0.0]]
    assert len(trace.reading("gist")[0]) == 5
    with pytest.raises(ConfigError, match=r"did you mean life\.end"):
        trace.reading("gist", "life.ends")
    with pytest.raises(ConfigError, match="did you mean accuracy"):
        trace.reading("acuracy")


def test_memory_and_disk_hold_the_same(tmp_path):
    memory, disk = short_life(), short_life(tmp_path / "a.jsonl")
    again = Trace.read(tmp_path / "a.jsonl")
    assert same(memory, disk) and same(memory, again)


def test_lines_are_strict_json_and_flushed_one_by_one(tmp_path):
    path = tmp_path / "a.jsonl"
    trace = short_life(path, days=2)
    lines = path.read_text().splitlines()  # the file is still open
    assert len(lines) == len(trace) == 2
    row = json.loads(lines[0], parse_constant=pytest.fail)
    assert list(row) == ["moment", "day", "tick", "readings", "crc"]
    assert row["readings"]["gist"] == [0.1, 0.2, 1 / 3]


def test_nan_is_null_and_infinities_survive(tmp_path):
    path = tmp_path / "a.jsonl"
    trace = Trace(path)
    values = np.array([[math.nan, 1.0], [math.inf, -math.inf], [0.1, -0.0]])
    trace.append(Moment("day.end", ALL), clock_at(1), {"x": values})
    assert '"x":[[null,1.0],["inf","-inf"],[0.1,-0.0]]' in path.read_text()
    back = Trace.read(path).last("x")
    assert np.array_equal(back, values, equal_nan=True) and np.signbit(back[2, 1])


@given(st.lists(st.lists(st.floats(width=64), min_size=3, max_size=3), min_size=1, max_size=5))
@settings(max_examples=50, deadline=None)
def test_every_float_comes_back(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("t") / "a.jsonl"
    trace = Trace(path)
    for i, row in enumerate(values):
        trace.append(Moment("day.end", ALL), clock_at(i), {"x": row})
    back = Trace.read(path).reading("x")[1]
    assert np.array_equal(back, np.array(values), equal_nan=True)


def test_subjects_that_did_not_reach_the_moment_are_nan(tmp_path):
    path = tmp_path / "a.jsonl"
    trace = Trace(path)
    trace.append(Moment("night.end", ALL), clock_at(10), {"x": np.array([1.0, 2.0, 3.0])})
    clock = clock_at(20)
    clock.experience[:] = [20, 12, 14]
    row = trace.append(Moment("night.end", np.array([True, False, False])), clock, {"x": np.array([4.0, 5.0, 6.0])})
    assert row["who"].tolist() == [True, False, False]
    for t in (trace, Trace.read(path)):
        days, x = t.reading("x")
        assert np.array_equal(x[1], [4.0, np.nan, np.nan], equal_nan=True)
        assert days.tolist() == [1.0, 2.0]  # the age of the one that got there
        assert t.last("x").tolist() == [4.0, 2.0, 3.0]


def test_the_rows_do_not_change_with_the_clock_or_the_probe():
    trace, clock, values = Trace(), clock_at(10), np.zeros(3)
    trace.append(Moment("day.end", ALL), clock, {"x": values})
    clock.advance(ALL, ~ALL)
    values += 1
    assert trace.rows[0]["day"].tolist() == [1.0] * 3 and trace.last("x").tolist() == [0.0] * 3


@pytest.mark.parametrize("value", [1.0, np.zeros(2), "high", [[1.0], [2.0, 3.0], [4.0]], None])
def test_a_reading_that_is_not_one_number_a_subject_is_refused(value):
    trace = Trace()
    with pytest.raises(ConfigError, match=r"probes\.x"):
        trace.append(Moment("day.end", ALL), clock_at(1), {"x": value})
    assert len(trace) == 0


def test_matrix_has_life_begin_and_every_context_end():
    trace = Trace()
    trace.append(Moment("life.begin", ALL), clock_at(0), {"a": np.full((3, 2), 0.5)})
    trace.append(Moment("day.end", ALL), clock_at(5), {"a": np.full((3, 2), 0.6)})
    first, second = np.array([[1.0, 0.1]] * 3), np.array([[0.2, 0.9]] * 3)
    trace.append(Moment("context.end", ALL), clock_at(10), {"a": first})
    trace.append(Moment("context.end", ALL), clock_at(20), {"a": second})
    trace.append(Moment("life.end", ALL), clock_at(20), {"a": second})
    assert trace.matrix("a").tolist() == [[[0.5, 0.5], [1.0, 0.1], [0.2, 0.9]]] * 3


def test_matrix_follows_each_subject_through_its_own_ends():
    trace = Trace()
    one, others = np.array([True, False, False]), np.array([False, True, True])
    value = 0.0
    for who in (one, others, others, one):
        value += 1.0
        trace.append(Moment("context.end", who), clock_at(int(value)), {"a": np.full((3, 1), value)})
    m = trace.matrix("a")[:, :, 0]
    assert np.array_equal(m, [[np.nan, 1, 4], [np.nan, 2, 3], [np.nan, 2, 3]], equal_nan=True)
    trace.append(Moment("day.end", ALL), clock_at(9), {"b": np.ones((3, 2)), "c": np.ones(3)})
    assert trace.matrix("b").shape == (3, 1, 2) and np.isnan(trace.matrix("b")).all()
    with pytest.raises(ConfigError, match="by context"):
        trace.matrix("c")


def test_cut_goes_back_and_on_as_if_nothing_had_been(tmp_path):
    whole, broken = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    short_life(whole).close()
    short_life(broken, days=3).close()
    trace = Trace(broken)
    trace.cut(2)
    assert len(trace) == 2 and len(broken.read_text().splitlines()) == 2
    trace.extend(Trace.read(whole).rows[2:])
    trace.close()
    assert broken.read_bytes() == whole.read_bytes()
    with pytest.raises(ConfigError, match=r"b\.jsonl.*has 4 rows, but 5 were saved"):
        trace.cut(5)


def test_cut_in_a_file_just_made_leaves_no_hole(tmp_path):
    path = tmp_path / "a.jsonl"
    trace = short_life(path, days=3)
    trace.cut(1)
    trace.extend(short_life(days=2).rows[1:])
    trace.sync()
    assert same(Trace.read(path), short_life(days=2))


@pytest.mark.parametrize("back", [1, 2, 20, 150])
def test_a_torn_last_line_is_left_out_and_written_over(tmp_path, back):
    path = tmp_path / "a.jsonl"
    short_life(path).close()
    data = path.read_bytes()
    path.write_bytes(data[:-back])
    with pytest.warns(UserWarning, match=r"a\.jsonl:4: the last line is incomplete"):
        trace = Trace.read(path)
    assert len(trace) == 3 and path.read_bytes() == data[:-back]  # looking changes nothing
    trace.extend(short_life().rows[3:])
    trace.close()
    assert path.read_bytes() == data


def test_no_flipped_bit_is_read_as_if_it_were_not(tmp_path):
    path = tmp_path / "a.jsonl"
    short_life(path).close()
    data = path.read_bytes()
    for at in range(len(data)):
        flipped = bytearray(data)
        flipped[at] ^= 1 << (at % 8)
        path.write_bytes(flipped)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            try:
                trace = Trace.read(path)
            except ConfigError as refused:
                assert str(path) in str(refused)
                continue
        assert said and len(trace) == 3  # only the very last line's end may look torn


def test_a_bad_line_is_named(tmp_path):
    path = tmp_path / "a.jsonl"
    short_life(path).close()
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1].replace(b"0.2", b"0.3") + b"".join(lines[2:]))
    with pytest.raises(ConfigError, match=r"a\.jsonl:2: the line fails its checksum"):
        Trace.read(path)
    assert len(Trace.read(path, rows=1)) == 1  # what is behind the rows asked for is not looked at
    path.write_bytes(b"".join(lines[:2]) + b"\n" + b"".join(lines[2:]))
    with pytest.raises(ConfigError, match=r"a\.jsonl:3"):
        Trace.read(path)


def test_reading_some_rows_cuts_the_rest_at_the_next_append(tmp_path):
    path = tmp_path / "a.jsonl"
    short_life(path).close()
    with path.open("ab") as file:
        file.write(b"\0" * 4096 + b"\n")
    trace = Trace(path, rows=4)
    trace.append(Moment("life.end", ALL), clock_at(41), {"gist": np.zeros(3)})
    trace.close()
    assert len(Trace.read(path)) == 5


def test_closing_a_trace_only_read_does_not_touch_the_file(tmp_path):
    path = tmp_path / "a.jsonl"
    writer = short_life(path, days=2)
    reader = Trace.read(path)
    writer.extend(short_life(days=3).rows[2:])
    reader.sync()
    reader.close()
    assert len(Trace.read(path)) == 3


def test_missing_and_impossible_files(tmp_path):
    with pytest.raises(ConfigError, match="no such trace"):
        Trace.read(tmp_path / "none.jsonl")
    with pytest.raises(ConfigError, match="no such trace"):
        Trace.read(tmp_path)
    with pytest.raises(StorageError) as caught:
        Trace(tmp_path / "no" / "folder" / "a.jsonl")
    assert caught.value.exit_code == 3 and "a.jsonl" in str(caught.value)


def test_a_full_disk_is_told_and_leaves_whole_lines(tmp_path, monkeypatch):
    import errno

    import cls_sim.storage.trace

    class Full(cls_sim.storage.trace.FileIO):
        room = 10**9

        def write(self, data, /):
            data = bytes(data)[: max(0, Full.room)]
            if not data:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            Full.room -= len(data)
            return super().write(data)

    monkeypatch.setattr(cls_sim.storage.trace, "FileIO", Full)
    path = tmp_path / "a.jsonl"
    trace = short_life(path, days=2)
    whole = path.read_bytes()
    Full.room = 30
    with pytest.raises(StorageError, match=r"a\.jsonl: cannot be written \(No space left"):
        trace.extend(short_life(days=3).rows[2:])
    assert path.read_bytes() == whole and len(trace) == 2
    Full.room = 10**9
    trace.extend(short_life(days=3).rows[2:])
    assert same(Trace.read(path), short_life(days=3))


def test_join_puts_chunks_side_by_side():
    chunks = []
    for first in (0, 2):
        trace = Trace()
        for day in (1, 2):
            who = np.array([True, first == 0 or day == 1])
            x = np.array([first, first + 1.0]) + day * 10
            trace.append(Moment("day.end", who), clock_at(10 * day, subjects=2), {"x": x})
        chunks.append(trace)
    joined = Trace.join(chunks)
    days, x = joined.reading("x")
    assert np.array_equal(x, [[10, 11, 12, 13], [20, 21, 22, np.nan]], equal_nan=True) and days.tolist() == [1.0, 2.0]
    assert joined.subjects == 4 and "who" not in joined.rows[0]
    assert joined.rows[1]["who"].tolist() == [True, True, True, False]
    with pytest.raises(ConfigError, match=r"traces\[1\]"):
        Trace.join([chunks[0], short_life()])
    with pytest.raises(ConfigError):
        Trace.join([])


def test_a_part_of_a_cohort_is_the_chunk_that_was_joined():
    chunks = []
    for subjects, reached in ((2, [True, True]), (3, [False, True, True]), (1, [False])):
        trace = Trace()
        for day, who in ((1, np.ones(subjects, bool)), (2, np.array(reached))):
            if who.any():
                x = np.arange(2.0 * subjects).reshape(subjects, 2) + 10 * day + 100 * subjects
                trace.append(Moment("day.end", who), clock_at(10 * day, subjects=subjects), {"x": x})
        chunks.append(trace)
    joined, first = Trace.join(chunks), 0
    for chunk in chunks:
        part = joined.part(first, chunk.subjects)
        assert part.digest() == chunk.digest() and ["who" in row for row in part.rows] == [
            "who" in r for r in chunk.rows
        ]
        assert np.array_equal(part.last("x"), chunk.last("x"), equal_nan=True)
        first += chunk.subjects
    for wrong in ((6, 1), (0, 7), (5, 2), (0, 0)):
        with pytest.raises(ConfigError, match=r"first|subjects"):
            joined.part(*wrong)


def test_chunks_whose_subjects_sleep_when_they_need_it_are_joined_as_the_cohort():
    def lived(subjects: int, seed: int = 0, cohort: tuple[int, int] | None = None) -> Trace:
        rhythm = cs.Pressure(experiences_per_day=8, rise_per_experience=[0.05, 0.2, 0.11], fall_per_step=0.2)
        probes = {"accuracy": cs.Accuracy().at("day.end", "night.end", "context.end", "life.end")}
        return cs.run(small(subjects, seed=seed, cohort=cohort, rhythm=rhythm, probes=probes), progress=False)

    whole = lived(3)
    joined = Trace.join([lived(1, i, (i, 3)) for i in range(3)])
    assert joined.moments() == whole.moments()
    for one, other in zip(joined.rows, whole.rows, strict=True):
        who = one.get("who", np.ones(3, bool))
        assert one["tick"] == other["tick"] and np.array_equal(who, other.get("who", np.ones(3, bool)))
        assert np.array_equal(one["day"][who], other["day"][who])
        assert np.allclose(one["readings"]["accuracy"], other["readings"]["accuracy"], equal_nan=True, atol=0.03)
    assert not all(row.get("who", np.ones(3, bool)).all() for row in whole.rows)


def test_a_trace_holds_one_cohort():
    trace = short_life()
    with pytest.raises(ConfigError, match="3 subjects"):
        trace.append(Moment("day.end", np.ones(2, bool)), clock_at(50, subjects=2), {})
