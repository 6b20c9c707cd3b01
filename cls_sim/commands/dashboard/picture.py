"""A picture of the panels of a workspace, drawn by cls_sim.figures from the traces of a run.

W&B draws the panels in its own style; this picture only shows their content.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cls_sim.commands.dashboard.panels import Panel, Run, panels
from cls_sim.commands.dashboard.workspace import COLUMNS
from cls_sim.storage.disk import put


def picture(run: Run, path: Path) -> Path:
    """Draw the content of the panels from the traces of a run, in the layout of the workspace, and save it as PNG."""
    from cls_sim.storage.trace import Trace

    traces = {
        arm: Trace.join([Trace.read(file) for file in sorted((run.folder / "trace").glob(f"{arm}-[0-9]*.jsonl"))])
        for arm in run.arms
    }
    sections: dict[str, list[tuple[str, Any]]] = {}
    missing = []
    for panel in panels([run]):
        figure = _drawn(panel, traces)
        if figure is None:
            missing.append(panel.title)
            continue
        if panel.section in sections:
            figure.legends.clear()  # only the first panel of a section has a legend
        sections.setdefault(panel.section, []).append((panel.title, _png(figure)))
    title = f"Content of the panels, drawn from experiment={run.experiment} by cls_sim.figures"
    page = _page({title: [], **sections, f"Only at W&B: {'; '.join(missing)}": []})
    drawn = io.BytesIO()
    page.save(drawn, format="PNG", optimize=True)
    put(path, drawn.getvalue(), lasts=False)
    return path


def _drawn(panel: Panel, traces: Mapping[str, Any]) -> Any:
    """A panel as a figure; None if the trace does not have its data."""
    from cls_sim import figures
    from cls_sim.running.runs import readings

    known = next(iter(traces.values())).names()
    key = panel.y[0]
    if panel.kind in ("bar", "points"):
        last = {arm: readings(trace) for arm, trace in traces.items()}
        name, x = key.removeprefix("final/"), panel.x.removeprefix("final/")
        if not {name, *([x] if panel.kind == "points" else [])} <= set.intersection(*map(set, last.values())):
            return None
        if panel.kind == "bar":
            return figures.arms({arm: told[name] for arm, told in last.items()}, ylabel=name)
        points = {arm: ([float(told[x].mean())], told[name][None]) for arm, told in last.items()}
        figure = figures.curves([{"points": points}], xlabel=x, ylabel=name)
        figure.supxlabel("one point per arm: mean and 95 % interval", fontsize=6)
        return figure
    name, _, context = key.removeprefix("evaluation/").partition(".context.")
    if panel.kind != "line" or panel.x != "day" or not key.startswith("evaluation/") or name not in known:
        return None
    series = {}
    for arm, trace in traces.items():
        days, values = trace.reading(name)
        series[arm] = days, values[:, :, int(context) - 1] if context else values
    return figures.over_days(series, name, ylabel=name.replace("_", " "))


def _page(sections: Mapping[str, Sequence[tuple[str, Any]]]) -> Any:
    """Sections of titled pictures below each other, `COLUMNS` in a row."""
    from PIL import Image

    column = max(image.width for shown in sections.values() for _, image in shown)
    width = COLUMNS * column
    rows: list[list[Any]] = []
    for section, shown in sections.items():
        rows.append([_text(section, width, 8 if section.startswith("Only") else 11)])
        for start in range(0, len(shown), COLUMNS):
            row = shown[start : start + COLUMNS]
            rows += [[_text(title, column, 8) for title, _ in row], [image for _, image in row]]
    heights = [max(image.height for image in row) for row in rows]
    page = Image.new("RGB", (width, sum(heights)), "white")
    for number, row in enumerate(rows):
        for i, image in enumerate(row):
            page.paste(image, (i * column, sum(heights[:number])))
    return page.resize((width // 2, page.height // 2), Image.Resampling.LANCZOS).quantize(128)


def _text(text: str, width: int, size: int) -> Any:
    import textwrap

    from matplotlib.figure import Figure

    lines = textwrap.wrap(text, width // (2 * size))
    figure = Figure(figsize=(width / 200, 0.022 * size * len(lines) + 0.06))
    figure.text(40 / width, 0.5, "\n".join(lines), fontsize=size, fontweight="bold", va="center")
    return _png(figure)


def _png(figure: Any) -> Any:
    from PIL import Image

    from cls_sim.figures.page import drawn

    return Image.open(io.BytesIO(drawn(figure)))
