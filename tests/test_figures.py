"""Figures show the numbers they are given, say how many subjects, and need no display."""

from __future__ import annotations

import csv
import math
import pickle
import subprocess
import sys

import numpy as np
import pytest

from cls_sim import figures, statistics, theory
from cls_sim.core.clock import Clock, Moment
from cls_sim.core.errors import ConfigError, StorageError
from cls_sim.figures import page
from cls_sim.storage.trace import Trace


def life(level: float = 0.9, subjects: int = 8, contexts: int = 3, seed: int = 0) -> Trace:
    """A made-up life: contexts are learnt one after another, and `level` is what is kept of them."""
    generator = np.random.default_rng(seed)
    trace, clock, everybody = Trace(), Clock(subjects, 10), np.ones(subjects, bool)
    accuracy = np.zeros((subjects, contexts))
    trace.append(Moment("life.begin", everybody), clock, {"accuracy": accuracy})
    for context in range(contexts):
        for _ in range(2):
            clock.experience += 10
            clock.tick += 10
            accuracy[:, :context] *= level
            accuracy[:, context] = np.clip(0.9 + generator.normal(0, 0.03, subjects), 0, 1)
            readings = {"accuracy": accuracy, "gist": accuracy.mean(1), "dose": clock.day * 0.5}
            trace.append(Moment("day.end", everybody), clock, readings)
        trace.append(Moment("context.end", everybody), clock, {"accuracy": accuracy})
    return trace


ARMS = {"cls": life(0.97), "sleepless": life(0.1, seed=1)}


def lines(axes) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {line.get_label(): line.get_data() for line in axes.get_lines() if not line.get_label().startswith("_")}


def legend(figure) -> list[str]:
    return [text.get_text() for box in figure.legends for text in box.get_texts()]


def band(axes, number: int = 0) -> np.ndarray:
    """Corners of the n-th interval band."""
    return axes.collections[number].get_paths()[0].vertices


def words(figure) -> str:
    figure.canvas.draw()
    texts = [
        text.get_text()
        for axes in figure.axes
        for text in (*axes.texts, axes.title, axes.xaxis.label, axes.yaxis.label)
    ]
    return " | ".join([*texts, figure.get_supxlabel()])


def test_over_days_shows_means_and_intervals_of_every_arm():
    figure = figures.over_days(ARMS, "accuracy", chance=0.1, moment="day.end")
    (axes,) = figure.axes
    for number, (arm, trace) in enumerate(ARMS.items()):
        days, values = trace.reading("accuracy", "day.end")
        e = statistics.estimate(values.mean(2).T)
        x, y = lines(axes)[arm]
        assert np.array_equal(x, days) and np.allclose(y, e.mean)
        corners = band(axes, number)
        assert corners[:, 1].min() == pytest.approx(e.low.min()) and corners[:, 1].max() == pytest.approx(e.high.max())
    assert legend(figure) == ["cls", "sleepless"]
    told = words(figure)
    assert "age (days)" in told and "chance" in told and "n = 8, mean and 95 % interval" in told
    thin = [line for line in axes.get_lines() if line.get_linewidth() < 0.5]
    assert len(thin) == 16  # a line a subject


def test_one_trace_needs_no_legend_and_many_subjects_are_not_drawn():
    many = (np.arange(3.0), np.random.default_rng(0).normal(size=(3, 60)))
    figure = figures.over_days(many, "gist", ylabel="error")
    assert legend(figure) == [] and len(figure.axes[0].get_lines()) == 1
    assert figure.axes[0].get_ylabel() == "error" and "n = 60" in words(figure)
    assert not any(key.startswith("subject") for key in figure.data()[0])


def test_few_subjects_have_no_interval_and_the_figure_says_so():
    figure = figures.over_days((np.arange(3.0), np.random.default_rng(0).random((3, 3))), "gist")
    assert "n = 3, mean" in words(figure) and "interval" not in words(figure)


def test_subjects_absent_from_a_moment_are_left_out_of_it():
    values = np.random.default_rng(0).random((3, 6))
    values[1, :1], values[2] = np.nan, np.nan
    figure = figures.over_days((np.arange(3.0), values), "gist")
    x, y = figure.axes[0].get_lines()[-1].get_data()
    assert x.tolist() == [0.0, 1.0] and y == pytest.approx([values[0].mean(), values[1, 1:].mean()])
    assert "n = 5-6" in words(figure)


def test_theory_is_a_line_and_simulation_points_with_error_bars():
    x = np.linspace(0, 6, 50)
    figure = figures.over_days(ARMS, "gist", theory={"cls": (x, x / 6), "law": (x, 1 - x / 6)})
    (axes,) = figure.axes
    assert np.array_equal(lines(axes)["law"][1], 1 - x / 6)
    same = next(line for line in axes.get_lines() if len(line.get_xdata()) == 50)
    points = axes.containers[0]
    assert same.get_color() == points.lines[0].get_color()  # an arm's theory has the arm's colour
    e = statistics.estimate(ARMS["cls"].reading("gist")[1].T)
    assert np.allclose(points.lines[0].get_ydata(), e.mean)
    bars = np.array([segment[:, 1] for segment in points.lines[2][0].get_segments()])
    assert np.allclose(bars[:, 0], e.low) and np.allclose(bars[:, 1], e.high)
    assert sorted(legend(figure)) == ["cls", "law", "sleepless"]


def test_points_are_thinned_evenly():
    x = np.linspace(0.0, 10.0, 1001)
    chosen = x[page.thinned(x, log=False)]
    assert len(chosen) == figures.THIN and np.allclose(np.diff(chosen), np.diff(chosen)[0], atol=0.02)
    x = np.geomspace(0.01, 100, 1001)
    ratios = np.diff(np.log(x[page.thinned(x, log=True)]))
    assert np.allclose(ratios, ratios[0], rtol=0.05)
    assert len(page.thinned(np.concatenate([[0.0], x]), log=True)) == figures.THIN


def test_contexts_over_days_is_a_panel_an_arm_and_a_line_a_context():
    figure = figures.contexts_over_days(ARMS, chance=0.1, moment="day.end")
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["cls", "sleepless"]
    for axes, trace in zip(figure.axes, ARMS.values(), strict=True):
        _, values = trace.reading("accuracy", "day.end")
        for context in range(3):
            assert np.allclose(lines(axes)[f"context {context + 1}"][1], values[:, :, context].mean(1))
        ends = [line.get_xdata()[0] for line in axes.get_lines() if list(line.get_xdata()) == [line.get_xdata()[0]] * 2]
        assert ends == [2.0, 4.0, 6.0]
    assert legend(figure) == ["context 1", "context 2", "context 3"]
    colours = {line.get_color() for line in figure.axes[0].get_lines() if line.get_label().startswith("context")}
    assert len(colours) == 3
    rows = figure.data()
    assert len(rows) == 2 * 3 * 6 and rows[0]["arm"] == "cls" and {row["context"] for row in rows} == {1, 2, 3}


def test_more_than_four_arms_fill_rows_of_panels():
    figure = figures.contexts_over_days({str(i): ARMS["cls"] for i in range(5)})
    assert len(figure.axes) == 8 and sum(axes.axison for axes in figure.axes) == 5


def test_forgetting_joins_the_first_context_over_life_and_the_end_of_all():
    figure = figures.forgetting(ARMS, chance=0.1, moment="day.end", bands={"cls": (0.8, 0.9)})
    left, right = figure.axes
    for arm, trace in ARMS.items():
        assert np.allclose(lines(left)[arm][1], trace.reading("accuracy", "day.end")[1][:, :, 0].mean(1))
    assert lines(left)["sleepless"][1][-1] < 0.01 < lines(left)["cls"][1][-1]  # what the figure is for
    assert [tick.get_text() for tick in right.get_yticklabels()] == ["cls", "sleepless"]
    finals = [text.get_text() for text in right.texts if text.get_text() != "chance"]
    assert finals == [f"{trace.last('accuracy').mean():.3f}" for trace in ARMS.values()]
    assert legend(figure) == ["cls", "sleepless", "published"]
    panels = {row["panel"] for row in figure.data()}
    assert panels == {"first contexts", "all contexts, end of life"}
    one = figures.forgetting(ARMS, lines=["sleepless"])
    assert list(lines(one.axes[0])) == ["sleepless"] and len(one.axes[1].get_yticklabels()) == 2


def test_arms_shows_mean_interval_subjects_and_published_band():
    generator = np.random.default_rng(0)
    values = {"er": generator.normal(0.88, 0.01, 6), "ewc": generator.normal(0.2, 0.01, 6)}
    figure = figures.arms(values, chance=0.1, bands={"ewc": (0.18, 0.22)}, ylabel="accuracy")
    (axes,) = figure.axes
    boxes = {round(p.get_y() + p.get_height() / 2): p for p in axes.patches if p.get_height() < 0.6}
    for number, arm in enumerate(values):
        e = statistics.estimate(values[arm])
        assert boxes[number].get_x() == pytest.approx(e.low)
        assert boxes[number].get_x() + boxes[number].get_width() == pytest.approx(e.high)
        assert any(list(line.get_xdata()) == [e.mean] * 2 for line in axes.get_lines())
        assert any(np.array_equal(line.get_xdata(), values[arm]) for line in axes.get_lines())
    (shade,) = [p for p in axes.patches if p.get_height() > 0.6]
    assert (shade.get_x(), shade.get_width()) == pytest.approx((0.18, 0.04)) and shade.get_y() == pytest.approx(0.58)
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first arm on top
    assert legend(figure) == ["published"]
    with pytest.raises(ConfigError, match="er: has shape"):
        figures.arms({"er": np.ones((2, 2))})


def test_matrix_writes_its_numbers_into_the_cells():
    figure = figures.matrix({arm: trace.matrix("accuracy") for arm, trace in ARMS.items()})
    first = figure.axes[0]
    table = ARMS["cls"].matrix("accuracy").mean(0)
    assert np.allclose(first.images[0].get_array(), table)
    assert [text.get_text() for text in first.texts] == [f"{v:.2f}".removeprefix("0") for v in table.ravel()]
    assert [tick.get_text() for tick in first.get_yticklabels()] == ["start", "1", "2", "3"]
    assert "n = 8" in words(figure)
    row = figure.data()[5]
    assert (row["arm"], row["after"], row["context"], row["n"]) == ("cls", 1, 3, 8)
    plain = figures.matrix(np.eye(3))
    assert [tick.get_text() for tick in plain.axes[0].get_yticklabels()] == ["1", "2", "3"]


def test_a_matrix_without_questions_before_learning_has_no_row_of_them():
    asked = np.vstack((np.full((1, 3), np.nan), np.eye(3)))
    panel = figures.matrix(asked).axes[0]
    assert [tick.get_text() for tick in panel.get_yticklabels()] == ["1", "2", "3"]
    asked[0] = 0.1
    panel = figures.matrix(asked).axes[0]
    assert [tick.get_text() for tick in panel.get_yticklabels()] == ["start", "1", "2", "3"]


def test_sweep_marks_the_best_mean():
    x = np.array([1.0, 2.0, 4.0, 8.0])
    values = np.array([0.2, 0.5, 0.9, 0.3])[:, None] + np.random.default_rng(0).normal(0, 0.01, (4, 6))
    figure = figures.sweep(x, {"a": values, "b": 1 - values}, xlabel="half-life (days)", log=True)
    (axes,) = figure.axes
    best = [line.get_xydata()[0] for line in axes.get_lines() if line.get_marker() == "D"]
    assert np.allclose(best, [[4.0, values[2].mean()], [1.0, 1 - values[0].mean()]])
    assert axes.get_xscale() == "log" and [t.get_text() for t in axes.get_xticklabels()] == ["1", "2", "4", "8"]
    assert [row["x"] for row in figure.data() if row["best"]] == [4.0, 1.0]
    flat = np.zeros((4, 6))
    flat[2, 0] = 0.002
    none = figures.sweep(x, {"a": flat, "b": values[:, :1]}, xlabel="x")
    assert [(row["world"], row["x"]) for row in none.data() if row["best"]] == [("b", 4.0)], "no best on a zero line"
    low = figures.sweep(x, {"a": values}, xlabel="x", best="min")
    assert [row["x"] for row in low.data() if row["best"]] == [1.0]
    constant = figures.sweep([1, 2, 4, math.inf], {"a": values}, xlabel="x", log=True)
    assert constant.axes[0].get_xticks().tolist() == [1.0, 2.0, 4.0, 8.0]
    assert [t.get_text() for t in constant.axes[0].get_xticklabels()] == ["1", "2", "4", "∞"]
    assert constant.data()[3]["x"] == math.inf
    with pytest.raises(ConfigError):
        figures.sweep(x, {"a": values[:2]}, xlabel="x")
    with pytest.raises(ConfigError):
        figures.sweep(x, {"a": values}, xlabel="x", best="most")


def test_curves_put_points_on_lines_of_the_same_colour():
    x = np.linspace(0, 5, 100)
    law = np.exp(-x)
    values = law[:, None] + np.random.default_rng(0).normal(0, 0.01, (100, 50))
    panel = {"title": "SNR 1", "points": {"train": (x, values)}, "lines": {"train": (x, law)}, "mark": 2.0}
    figure = figures.curves([panel, panel | {"title": "SNR 2"}], xlabel="dose")
    axes = figure.axes[0]
    line = next(line for line in axes.get_lines() if len(line.get_xdata()) == 100)
    assert np.array_equal(line.get_ydata(), law)
    points = axes.containers[0].lines[0]
    assert len(points.get_xdata()) == figures.THIN and points.get_color() == line.get_color()
    assert np.abs(points.get_ydata() - np.exp(-points.get_xdata())).max() < 0.01
    assert any(list(line.get_xdata()) == [2.0, 2.0] for line in axes.get_lines())
    assert axes.get_title(loc="left") == "SNR 1" and "points: simulation; lines: theory" in words(figure)
    assert {(row["panel"], row["kind"]) for row in figure.data()} == {
        (panel, kind) for panel in ("SNR 1", "SNR 2") for kind in ("simulation", "theory")
    }


# -- what an experiment asks for ----------------------------------------------------------------------------

READINGS = {arm: {"accuracy": trace.last("accuracy").mean(1)} for arm, trace in ARMS.items()}


@pytest.mark.parametrize(
    ("figure_spec", "panels"),
    [
        ({"kind": "over_days", "reading": "gist"}, 1),
        ({"kind": "contexts_over_days", "chance": 0.1}, 2),
        ({"kind": "forgetting", "arms": ["sleepless", "cls", "never run"]}, 2),
        ({"kind": "arms", "bands": {"cls": [0.8, 0.9]}}, 1),
        ({"kind": "matrix", "arms": ["cls"]}, 2),
        ({"kind": "doses", "reading": "generalise", "snr": 1.0, "load": 1.0}, 1),
        ({"kind": "curves", "xlabel": "S", "panels": [
            {"title": "a", "arm": "cls", "readings": ["train", "generalise"], "snr": 1, "load": 0.5},
            {"title": "b", "arm": "never run", "readings": ["train"], "snr": 1, "load": 0.5},
        ]}, 1),
        ({"kind": "sweep", "x": [1, math.inf], "xlabel": "x", "worlds": {"a": ["cls", "sleepless"], "b": ["no"]}}, 1),
        ({"kind": "sweep", "x": [1], "xlabel": "x", "worlds": {"b": ["never run"]}}, 1),
        ({"kind": "over_days", "reading": "gist", "arms": ["never run"]}, 1),
    ],
)  # fmt: skip
def test_draw_makes_what_a_file_asks_for(figure_spec, panels):
    traces = {}
    for arm, trace in ARMS.items():
        dose = np.linspace(0, 3, len(trace))
        traces[arm] = Trace()
        for i, row in enumerate(trace.rows):
            errors = {
                "train": theory.go_cls_train(dose[i], 1, 0.5),
                "generalise": theory.go_cls_generalise(dose[i], 1, 0.5),
            }
            more = {name: np.full(8, float(value)) for name, value in (errors | {"dose": dose[i]}).items()}
            traces[arm].extend([row | {"readings": row["readings"] | more}])
    figure, data = figures.draw("it", figure_spec, traces, READINGS)
    assert len(figure.axes) == panels and data == figure.data()


@pytest.mark.parametrize(
    ("figure_spec", "said"),
    [
        ({"kind": "pie"}, "figures.it.kind"),
        ({"reading": "gist"}, "figures.it.kind"),
        ({"kind": "over_days", "reading": "gist", "colour": "red"}, "colour"),
        ({"kind": "over_days", "reading": "gits"}, "did you mean gist"),
        ({"kind": "arms", "reading": "gist"}, "gist"),
    ],
)
def test_draw_refuses_what_it_does_not_know(figure_spec, said):
    with pytest.raises(ConfigError, match=said):
        figures.draw("it", figure_spec, ARMS, READINGS)


# -- files --------------------------------------------------------------------------------------------------


def test_save_writes_png_pdf_and_csv_with_the_data(tmp_path):
    figure = figures.over_days(ARMS, "gist")
    path = figures.save(figure, None, tmp_path / "sub" / "gist.v1")
    assert path == tmp_path / "sub" / "gist.v1.png"
    assert path.read_bytes()[:4] == b"\x89PNG" and path.with_suffix(".pdf").read_bytes()[:4] == b"%PDF"
    width = int.from_bytes(path.read_bytes()[16:20], "big")
    assert width == round(page.SINGLE * 200)
    with path.with_suffix(".csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    e = statistics.estimate(ARMS["cls"].reading("gist")[1].T)
    assert [float(row["mean"]) for row in rows if row["arm"] == "cls"] == e.mean.tolist()
    assert [float(row["low"]) for row in rows if row["arm"] == "cls"] == e.low.tolist()
    assert float(rows[0]["subject_3"]) == ARMS["cls"].reading("gist")[1][0, 3]
    assert len(rows) == len(figure.data())


def test_save_takes_other_data_and_leaves_missing_numbers_empty(tmp_path):
    figure = figures.arms({"a": np.ones(2)})
    figures.save(figure, [{"a": 1, "b": math.nan}, {"c": "x,y"}], tmp_path / "f")
    assert (tmp_path / "f.csv").read_text() == 'a,b,c\n1,,\n,,"x,y"\n'


def test_the_same_figure_gives_the_same_bytes(tmp_path):
    for name in "ab":
        figures.save(figures.over_days(ARMS, "gist"), None, tmp_path / name)
    for kind in ("png", "pdf", "csv"):
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()


def test_a_disk_that_refuses_is_told(tmp_path):
    (tmp_path / "f.png").mkdir()
    with pytest.raises(StorageError, match=r"f\.png: cannot be written"):
        figures.save(figures.arms({"a": np.ones(2)}), None, tmp_path / "f")


def test_figures_are_shown_by_jupyter_and_survive_a_pickle():
    figure = pickle.loads(pickle.dumps(figures.over_days(ARMS, "gist")))
    assert figure._repr_png_()[:4] == b"\x89PNG"
    assert len(figure.data()) == 12


def test_the_users_style_is_neither_used_nor_changed():
    import matplotlib

    with matplotlib.rc_context({"font.size": 30, "axes.spines.top": True}):
        figure = figures.over_days(ARMS, "gist")
        assert matplotlib.rcParams["font.size"] == 30
        figure.canvas.draw()
    assert figure.axes[0].xaxis.label.get_fontsize() == 7.5
    assert figure.axes[0].get_xticklabels()[0].get_fontsize() == 7


def test_nothing_is_drawn_outside_the_page_or_over_another_panel():
    made = [
        figures.over_days(ARMS, "gist", chance=0.1),
        figures.contexts_over_days(ARMS),
        figures.contexts_over_days(ARMS["cls"]),
        figures.forgetting({f"a rather long name {i}": ARMS["cls"] for i in range(5)}, chance=0.1),
        figures.arms({f"a rather long name {i}": np.random.default_rng(i).random(9) for i in range(9)}, chance=0.1),
        figures.matrix({arm: trace.matrix("accuracy") for arm, trace in ARMS.items()}),
    ]
    for figure in made:
        figure.canvas.draw()
        page = figure.bbox
        tight = [axes.get_tightbbox() for axes in figure.axes] + [box.get_window_extent() for box in figure.legends]
        for box in tight:
            assert box.x0 >= page.x0 - 1 and box.x1 <= page.x1 + 1 and box.y0 >= page.y0 - 1 and box.y1 <= page.y1 + 1
        for i, box in enumerate(tight):
            assert not any(box.padded(-2).overlaps(other) for other in tight[:i])


def test_no_display_no_pyplot_and_nothing_heavy_at_import(tmp_path):
    code = (
        "import sys, numpy as np\n"
        "from cls_sim import figures\n"
        "print([m for m in ('torch', 'matplotlib') if m in sys.modules])\n"
        f"figures.save(figures.arms({{'a': np.arange(6.0)}}), None, {str(tmp_path / 'a')!r})\n"
        "print('matplotlib.pyplot' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=without_display())
    assert done.stdout == "[]\nFalse\n", done.stderr


def without_display() -> dict[str, str]:
    import os

    return {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY", "MPLBACKEND")}


def test_a_frontier_joins_the_means_of_each_family_and_keeps_both_intervals():
    rng = np.random.default_rng(0)
    arm = lambda x, y: (x + 0.02 * rng.standard_normal(12), y + 0.02 * rng.standard_normal(12))  # noqa: E731
    families = {"sleep": {0.1: arm(0.9, 0.2), 0.3: arm(0.8, 0.8)}, "alone": {0.1: arm(0.3, 0.0)}}
    figure = figures.frontier(families, xlabel="retention of the old", ylabel="speed of the new")
    assert legend(figure) == ["sleep", "alone"] and "n = 12" in words(figure)
    first, second, alone = figure.data()
    assert first["family"] == "sleep" and second["x"] == pytest.approx(0.8, abs=0.03)
    assert alone["x_low"] < alone["x"] < alone["x_high"] and first["low"] < first["mean"] < first["high"]


def test_an_experiment_may_ask_for_a_frontier_and_gets_the_arms_that_were_run():
    readings = {name: {"kept": np.full(6, 0.5), "new": np.full(6, level)} for name, level in (("a", 0.2), ("b", 0.7))}
    figure_spec = {
        "kind": "frontier",
        "x": "kept",
        "y": "new",
        "families": {"f": ["a", "b", "missing"], "g": ["missing"]},
    }
    _, data = figures.draw(
        "front", {**figure_spec, "xlabel": "kept", "ylabel": "new"}, {"a": ARMS["cls"], "b": ARMS["cls"]}, readings
    )
    assert [(row["family"], row["arm"]) for row in data] == [("f", "a"), ("f", "b")]
    assert [row["mean"] for row in data] == pytest.approx([0.2, 0.7])


def test_a_legend_names_what_only_a_later_panel_shows():
    x, values = np.arange(4.0), np.ones((4, 6))
    panels = [{"title": name, "points": {"both": (x, values), name: (x, values)}} for name in ("left", "right")]
    assert legend(figures.curves(panels, xlabel="x")) == ["both", "left", "right"]


def test_a_budget_puts_what_is_reached_over_what_is_kept():
    readings = {
        name: {"accuracy": np.full(6, level), "both": np.full(6, level + 0.01), "extra_bytes": np.full(6, kept)}
        for name, level, kept in (("a", 0.9, 1e5), ("b", 0.95, 4e5), ("low", 0.2, 1e6), ("top", 0.98, 0.0))
    }
    figure_spec = {
        "kind": "budget",
        "families": {"ours": ["a", "b", "missing"], "both": {"arms": ["a"], "reading": "both"}, "none": ["low"]},
        "lines": {"ceiling": "top"},
        "goals": [[1e5, 0.91]],
        "ylim": [0.8, 1.0],
    }
    figure, data = figures.draw("kept", figure_spec, dict.fromkeys(readings, ARMS["cls"]), readings)
    assert [(row["family"], row["arm"], row["x"]) for row in data] == [
        *(("ours", "a", 1e5), ("ours", "b", 4e5), ("both", "a", 1e5), ("none", "low", 1e6))
    ]
    assert [row["mean"] for row in data] == pytest.approx([0.9, 0.95, 0.91, 0.2])
    assert "0.20" in words(figure) and "ceiling" in words(figure)  # below the axis, and across it


def test_readings_beside_one_another_leave_a_dash_where_there_is_no_number():
    readings = {"a": {"kept": np.full(6, 0.5), "new": np.full(6, np.nan)}, "b": {"kept": np.arange(6) / 10}}
    figure_spec = {"kind": "side_by_side", "columns": {"kept": "kept", "what is new": "new"}, "neutral": {"kept": 0.0}}
    figure, data = figures.draw("both", figure_spec, {"a": ARMS["cls"], "b": ARMS["cls"]}, readings)
    assert [(row["reading"], row["arm"]) for row in data] == [("kept", "a"), ("kept", "b")]
    assert [row["mean"] for row in data] == pytest.approx([0.5, 0.25])
    shown = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert shown == ["0.50", "0.25", "–", "–"]


def test_treatments_of_several_groups_have_one_colour_each_and_lacking_arms_are_left_out():
    readings = {
        "plain_a": {"kept": np.full(6, 0.5)},
        "noisy_a": {"kept": np.full(6, 0.4)},
        "noisy_b": {"kept": np.array([0.1, 0.2, 0.3, 0.2, 0.1, np.nan])},
    }
    labels = {"groups": {"plain": "plain", "noisy": "noisy", "other": "other"}, "treatments": {"A": "a", "B": "b"}}
    figure_spec = {"kind": "grouped", "columns": {"kept": "kept"}, **labels}
    figure, data = figures.draw("all", figure_spec, dict.fromkeys(readings, ARMS["cls"]), readings)
    assert [(row["group"], row["arm"], row["n"]) for row in data] == [
        *(("plain", "A", 6), ("noisy", "A", 6), ("noisy", "B", 5))
    ]
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["plain", "noisy"]
    colours = {line.get_label(): line.get_color() for line in axes.lines if line.get_label() in "AB"}
    assert len(set(colours.values())) == 2
    assert not figures.draw("all", {**figure_spec, "groups": {"none": "none"}}, {"x": ARMS["cls"]}, {"x": {}})[1]
