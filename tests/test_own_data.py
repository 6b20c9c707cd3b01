"""Own data: read right, or refused by name; arrays and files alike."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import cls_sim as cs
from cls_sim.core.clock import Clock
from cls_sim.core.errors import ConfigError
from cls_sim.core.settings import setting
from cls_sim.world.files import DataFileError, read_array
from cls_sim.world.stream import Stream
from cls_sim.world.table import Data, Source

RNG = np.random.default_rng(0)
X = RNG.standard_normal((40, 3)).round(3)
Y = np.arange(40) % 4
PIXELS = RNG.integers(0, 256, (40, 8, 8), np.uint8)


def world(**changes) -> cs.Arrays:
    return cs.Arrays(**({"x": X, "y": Y, "contexts": 2, "per_context": 4, "batch": 8} | changes))


def spec_of(one: cs.Arrays) -> cs.Spec:
    return one.setup(cs.Spec(seeds=(0, 1)))


def refusal(**changes) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        world(**changes)
    assert "\n" not in str(caught.value)
    return caught.value


# -- CSV ---------------------------------------------------------------------------------------------------


def lines(table: np.ndarray) -> str:
    return "".join(",".join(map(repr, row)) + "\n" for row in table.tolist())


def read(tmp_path, text: str | bytes, key: str = "x") -> np.ndarray:
    path = tmp_path / "table.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_array(key, path)


def test_a_byte_order_mark_takes_no_row(tmp_path):
    """Version 0.1 took the first row for a header, in x and y alike: 399 of 400 rows were left."""
    assert np.array_equal(read(tmp_path, b"\xef\xbb\xbf" + lines(X).encode()), X)
    assert np.array_equal(read(tmp_path, b"\xef\xbb\xbf" + b"a,b,c\r\n" + lines(X).encode()), X)


@pytest.mark.parametrize("header", ["a,b,c", "1x1,1x2,1x3", '"left, right",b,c', "# a,b,c", "e,x0,inf_2"])
def test_a_line_of_names_is_a_header(tmp_path, header):
    assert np.array_equal(read(tmp_path, f"{header}\n{lines(X)}"), X)


def test_numbers_keep_their_kind_and_a_single_column_is_a_list_unless_it_is_x(tmp_path):
    assert read(tmp_path, "3\n1\n2\n", "y").tolist() == [3, 1, 2]
    assert read(tmp_path, "3\n1\n2\n", "y").dtype == np.int64
    assert read(tmp_path, "3\n1\n2\n", "x").shape == (3, 1)
    assert read(tmp_path, "3\n1.\n2\n", "y").dtype == np.float64
    assert read(tmp_path, f"{2**53 + 1},-5\n7,8\n").tolist() == [[2**53 + 1, -5], [7, 8]]
    assert read(tmp_path, " 1.5,\t-2e3 \n+.5,3\n").tolist() == [[1.5, -2000.0], [0.5, 3.0]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (",a,b,c\n0,1.5,2,3\n1,1.5,2,3\n", "column 1 has no name; write the table with to_csv(index=False)"),
        (",0,1\n0,1.5,2\n1,1.5,2\n", "line 1, column 1 is empty; write the table with to_csv(index=False)"),
        (",0\n0,2\n1,0\n", "line 1, column 1 is empty"),
        ("0,1.5\n1,2.5\n2,0.5\n", "has the row numbers 0, 1, … as its first column"),
        ("id,a\n0,1.5\n1,2.5\n2,0.5\n", "has the row numbers 0, 1, … as its first column"),
        ("1,1.5\n2,2.5\n3,0.5\n", "has the row numbers 1, 2, … as its first column"),
        ("0,1,2\n5,6,7\n3,2,1\n", "begins with the line 0,1,2: numbers of columns, or data?"),
        ("0,1\n0.5,2.5\n", "begins with the line 0,1: numbers of columns, or data?"),
        ("0\n0.5\n2.5\n", "begins with the line 0: numbers of columns, or data?"),
        ("a,a\n1,2\n", "has two columns named 'a'"),
        ("a,\n1,2\n", "column 2 has no name"),
        ("a,1\n1,2\n", "line 1, column 1 is 'a', no number"),
        ("a,b\n1,2\nc,d\n", "line 3, column 1 is 'c', no number"),
        ("1,2\n3\n", "line 2 has 1 cells, the first line has 2"),
        ("1,2\n1,000,2\n", "line 2 has 3 cells, the first line has 2"),
        ("1,2\n\n3,4\n", "line 2 is empty"),
        ("\n1,2\n", "line 1 is empty"),
        ("1;2\n3;4\n", "line 1, column 1 is '1;2', no number"),
        (f"1,2\n3,{'9' * 30}\n", "line 2 has a number beyond 64 bit"),
        ("1,2\n".encode("utf-16"), "is not UTF-8 text (at byte 0)"),
        ('"1,2\n3,4\n', "unexpected end of data"),
    ],
)
def test_a_table_that_could_be_misread_is_refused_with_what_to_do(tmp_path, text, words):
    with pytest.raises(DataFileError) as caught:
        read(tmp_path, text)
    assert words in str(caught.value) and caught.value.key == str(tmp_path / "table.csv")


@pytest.mark.parametrize("cell", ["", "NA", "nan", "inf", "0x1F", '"1"', "\N{MINUS SIGN}1", '"1,000"', "1_000", "5%"])
@pytest.mark.parametrize("row", [0, 1, 7])
@pytest.mark.parametrize("header", ["", "a,b,c\n"])
def test_a_cell_that_is_no_plain_number_is_refused_wherever_it_stands(tmp_path, cell, row, header):
    """Version 0.1 took a first row with such a cell for a header, and lost it."""
    rows = lines(X).splitlines()
    rows[row] = f"0.5,{cell},0.25"
    with pytest.raises(DataFileError) as caught:
        read(tmp_path, header + "\n".join(rows))
    assert f"line {row + 1 + bool(header)}, column 2 is " in str(caught.value)


@pytest.mark.parametrize("cell", ["NA", "nan", "0x1F", '"1"', "\N{MINUS SIGN}1", '"1,000"', "1e5x", "1'000"])
def test_a_first_line_of_bad_numbers_alone_is_no_header_or_the_rest_is_refused(tmp_path, cell):
    with pytest.raises(DataFileError, match="no number"):
        read(tmp_path, f"{cell}\n2\n{cell}\n", "y")


@given(
    table=npst.arrays(
        st.sampled_from([np.float64, np.float32, np.int64]), st.tuples(st.integers(1, 6), st.integers(1, 4))
    ).filter(lambda a: bool(np.isfinite(a).all())),
    named=st.booleans(),
    end=st.sampled_from(["\n", "\r\n"]),
)
@settings(max_examples=200, deadline=None)
def test_a_written_table_of_numbers_is_read_back_exactly(tmp_path_factory, table, named, end):
    n, k = table.shape
    first = table[:, 0]
    counted = n > 2 and k > 1 and any(np.array_equal(first, np.arange(n) + i) for i in (0, 1))
    text = end.join(
        [*([",".join(f"c{i}" for i in range(k))] * named), *(",".join(map(repr, row)) for row in table.tolist())]
    )
    unsure = not named and k > 1 and text.split(end)[0] == ",".join(map(str, range(k)))
    path = tmp_path_factory.getbasetemp() / "table.csv"
    path.write_text(text + end, newline="")
    if counted or unsure:
        with pytest.raises(DataFileError):
            read_array("x", path)
        return
    found = read_array("x", path)
    assert np.array_equal(found, table.astype(found.dtype)) and found.shape == table.shape
    assert found.dtype == (np.int64 if table.dtype == np.int64 else np.float64)


def test_labels_of_a_file_with_a_number_for_a_header_are_refused(tmp_path):
    (tmp_path / "y.csv").write_text("0\n" + "".join(f"{y}\n" for y in Y))
    assert "no number as a header" in str(refusal(y=tmp_path / "y.csv"))


# -- arrays ------------------------------------------------------------------------------------------------


class Frame:
    """A table of another package (pandas, for one), as NumPy sees it."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.values, dtype)


@pytest.mark.parametrize("kind", [list, torch.from_numpy, Frame, np.float16, np.float64, lambda x: x.astype(">f8")])
def test_any_array_of_numbers_is_taken(kind):
    one = world(x=kind(X))
    wanted = torch.from_numpy(np.asarray(kind(X)).astype(np.float32))
    assert spec_of(one).inputs == (3,)
    batch = one.next(Clock(2, 1))
    assert torch.equal(batch.x, wanted[batch.item])


@pytest.mark.parametrize("kind", [list, torch.from_numpy, Frame, np.uint8, np.int32, lambda y: y.astype(">i4")])
def test_whole_numbers_are_classes(kind):
    spec = spec_of(world(y=kind(Y)))
    assert spec.outputs == 4 and not spec.regression


def test_truth_values_are_two_classes():
    assert spec_of(world(y=Y > 1)).outputs == 2


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_whole_numbers_of_type_float_are_refused_not_guessed(kind):
    """Version 0.1 made a regression of them without a word: one output, R² as accuracy."""
    for changes in ({}, {"contexts": None}, {"contexts": 5}):
        refused = refusal(y=Y.astype(kind), **changes)
        assert refused.key == "y" and np.dtype(kind).name in refused.reason
        assert "y.astype(int)" in refused.remedy and "y[:, None]" in refused.remedy


def test_whole_numbers_with_a_point_are_refused_in_a_file_too(tmp_path):
    for name, save in (("y.csv", lambda p: np.savetxt(p, Y)), ("y.npy", lambda p: np.save(p, Y * 1.0))):
        save(tmp_path / name)
        refused = refusal(y=tmp_path / name)
        assert refused.key == "y" and "float64" in refused.reason and "[rows, 1]" in refused.remedy


def test_a_regression_is_asked_for_by_its_shape_or_its_numbers(tmp_path):
    np.save(tmp_path / "y.npy", Y[:, None] * 1.0)
    for y in (Y[:, None] * 1.0, Y + 0.5, X[:, :2], tmp_path / "y.npy"):
        assert spec_of(world(y=y, contexts=None)).regression


def test_contexts_of_a_regression_are_refused_without_a_wrong_track():
    """Version 0.1 said `the data has 1; leave it out`."""
    refused = refusal(y=X[:, 0], contexts=5)
    assert refused.key == "contexts" and "regression" in refused.reason and "`context`" in refused.remedy


@pytest.mark.parametrize("key", ["x", "y", "context", "x_test", "y_test", "context_test"])
@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (lambda a: np.ma.masked_equal(a, a.flat[0]), "masked"),
        (lambda a: np.ma.array(a), "masked"),
        (lambda a: list(np.ma.masked_equal(a, a.flat[0]).reshape(len(a), -1)), "masked"),
        (lambda a: a.astype(object), "object"),
        (lambda a: a + 0j, "complex128"),
        (lambda a: a.astype(int).astype("datetime64[D]"), "datetime64"),
        (lambda a: a.astype(int).astype("timedelta64[D]"), "timedelta64"),
        (lambda a: a.astype(str), "<U"),
        (lambda a: a.astype(bytes), "|S"),
        (lambda a: a.astype(np.longdouble), "float128"),
        (lambda a: np.rec.fromarrays([a]), "("),
        (lambda a: np.where(np.arange(a.size).reshape(a.shape) == 5, np.nan, a + 0.5), "nan"),
        (lambda a: torch.from_numpy(a + 0.5).requires_grad_(), "grad"),
        (lambda a: [[1, 2], [3]], "not an array"),
    ],
)
def test_what_is_no_array_of_plain_numbers_is_refused_by_name(key, bad, words):
    arrays = {"x": X, "y": Y, "context": Y // 2, "x_test": X, "y_test": Y, "context_test": Y // 2, "contexts": None}
    refused = refusal(**(arrays | {key: bad(np.asarray(arrays[key]))}))
    if words == "nan" and "context" in key:
        words = "float64"
    assert refused.key == key and words in refused.reason


def test_a_mask_is_never_lost():
    """Version 0.1 learnt the fill value."""
    assert refusal(x=np.ma.masked_invalid(np.where(X > 1, np.nan, X))).key == "x"


@pytest.mark.parametrize("shape", [(40, 8, 6, 3), (40, 28, 28, 1), (40, 8, 8, 4)])
@pytest.mark.parametrize("kind", [np.float32, np.uint8])
def test_channels_last_are_refused_with_the_axis_to_move(shape, kind):
    images = RNG.integers(0, 256, shape).astype(kind)
    refused = refusal(x=images)
    assert refused.key == "x" and "np.moveaxis(x, 3, 1)" in refused.remedy
    assert refusal(x=np.moveaxis(images, 3, 1), y=Y, x_test=images, y_test=Y).key == "x_test"
    assert spec_of(world(x=np.moveaxis(images, 3, 1))).inputs == (shape[3], shape[1], shape[2])
    assert spec_of(world(x=images.reshape(40, -1))).inputs == (shape[1] * shape[2] * shape[3],)


def test_bytes_stay_bytes_and_are_scaled_by_a_quantum(tmp_path):
    """Version 0.1 learnt raw numbers up to 255 and kept four bytes for each."""
    np.save(tmp_path / "x.npy", PIXELS)
    for x in (PIXELS, tmp_path / "x.npy", torch.from_numpy(PIXELS)):
        one = world(x=x)
        spec = spec_of(one)
        assert spec.quantum == 1 / 255 and spec.inputs == (8, 8) and one.data().x.dtype == np.uint8
        batch = one.next(Clock(2, 1))
        assert torch.equal(batch.x, torch.from_numpy(PIXELS)[batch.item] * torch.tensor(1 / 255))
        assert "raw/255" in one.describe()
    one = world(x=PIXELS, quantum=1.0)
    assert spec_of(one).quantum == 1.0 and torch.equal(one.next(Clock(2, 1)).x % 1, torch.zeros(2, 8, 8, 8))


def test_bytes_are_copied_and_go_with_bytes_alone():
    own = PIXELS.copy()
    one = world(x=own)
    spec_of(one)
    before = one.next(Clock(2, 1)).x.clone()
    own[:] = 0
    assert torch.equal(one.next(Clock(2, 1)).x, before)
    assert refusal(x=PIXELS, x_test=PIXELS / 255, y_test=Y).key == "x_test"
    assert refusal(quantum=1 / 255).key == "quantum"
    assert refusal(x=PIXELS, quantum=0.0).key == "quantum"


def test_one_hot_labels_are_told_apart_from_a_regression():
    refused = refusal(y=np.eye(4, dtype=int)[Y])
    assert refused.key == "y" and "y.argmax(1)" in refused.remedy


# -- settings, declared once -------------------------------------------------------------------------------


STREAMS = [n for n in cs.VOCABULARY if isinstance(getattr(cs, n), type) and issubclass(getattr(cs, n), Stream)]


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_shows_its_settings_and_refuses_others(name):
    kind = getattr(cs, name)
    missing = {method: lambda self, *_: None for method in kind.__abstractmethods__}
    kind = type(name, (kind,), missing) if missing else kind  # of a base class, one with its methods
    shown = inspect.signature(kind).parameters
    assert {"order", "per_context", "batch", "boundaries_known"} <= set(shown)
    assert not any(p.kind is p.VAR_KEYWORD for p in shown.values())
    with pytest.raises(ConfigError, match=f"per_contxt: is not a setting of {name}; did you mean per_context"):
        kind(per_contxt=3)
    for hidden in {*inspect.signature(Stream).parameters} - {*shown}:  # what a world fixes cannot be passed by
        with pytest.raises(ConfigError, match=f"{hidden}: is not a setting of {name}"):
            kind(**{hidden: 1})


def test_the_defaults_that_are_shown_are_those_that_hold():
    for kind in (cs.Digits, cs.Candies, cs.Species, cs.Abalone):
        shown, made = inspect.signature(kind).parameters, kind()
        assert len(shown) >= 9
        assert all(getattr(made, n) == shown[n].default for n in {*inspect.signature(Stream).parameters} & {*shown})


def test_a_world_of_ones_own_may_be_a_stream():
    class Drawn(Source):
        def data(self, seeds):
            x = np.stack([np.random.default_rng(seed).random((40, 3), np.float32) for seed in seeds])
            return Data(x=x, y=Y, own=True)

    class Mine(Stream):
        source = Drawn()
        batch: int = setting(8)

    mine = Mine(contexts=2)
    assert mine.batch == 8 and mine.setup(cs.Spec(seeds=(0, 1))).inputs == (3,)
