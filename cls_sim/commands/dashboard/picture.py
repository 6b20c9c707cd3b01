"""A picture of the panels of a workspace, drawn by cls_sim.figures from the traces of a run.

W&B draws the panels in its own style; this picture only shows their content.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cls_sim.commands.dashboard.panels import Panel, Run, panels
from cls_sim.commands.dashboard.workspace import COLUMNS
from cls_sim.core.errors import StorageError


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
        else:
            if panel.section in sections:
                figure.legends.clear()  # only the first panel of a section has a legend
            sections.setdefault(panel.section, []).append((panel.title, figure))
    page = _Page(f"Content of the panels, drawn from experiment={run.experiment} by cls_sim.figures")
    for section, shown in sections.items():
        page.add(section, shown)
    page.add(f"Only at W&B: {'; '.join(missing)}", [])
    try:
        page.whole().save(path, optimize=True)
    except OSError as error:
        raise StorageError(str(path), f"cannot be written ({error.strerror})", "make room, or copy the run") from None
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


class _Page:
    """Pictures below each other: a title, then sections with `COLUMNS` panels per row."""

    def __init__(self, title: str):
        self.title, self.rows = title, []

    def add(self, section: str, shown: Sequence[tuple[str, Any]]) -> None:
        self.rows.append((section, [(title, self._png(figure)) for title, figure in shown]))

    def whole(self) -> Any:
        from PIL import Image

        width = COLUMNS * max(image.width for _, shown in self.rows for _, image in shown)
        column, places, top = width // COLUMNS, [], 0
        for section, shown in [(self.title, []), *self.rows]:
            top = self._put(places, 0, top, self._text(section, width, 8 if section.startswith("Only") else 11))
            for start in range(0, len(shown), COLUMNS):
                row = shown[start : start + COLUMNS]
                below = max(
                    self._put(places, i * column, top, self._text(t, column, 8)) for i, (t, _) in enumerate(row)
                )
                top = max(self._put(places, i * column, below, image) for i, (_, image) in enumerate(row))
        page = Image.new("RGB", (width, top), "white")
        for x, y, image in places:
            page.paste(image, (x, y))
        return page.resize((width // 2, top // 2), Image.Resampling.LANCZOS).quantize(128)

    @staticmethod
    def _put(places: list[Any], x: int, y: int, image: Any) -> int:
        places.append((x, y, image))
        return y + image.height

    @staticmethod
    def _text(text: str, width: int, size: int) -> Any:
        import textwrap

        from matplotlib.figure import Figure

        lines = textwrap.wrap(text, width // (2 * size))
        figure = Figure(figsize=(width / 200, 0.022 * size * len(lines) + 0.06))
        figure.text(40 / width, 0.5, "\n".join(lines), fontsize=size, fontweight="bold", va="center")
        return _Page._png(figure)

    @staticmethod
    def _png(figure: Any) -> Any:
        import io

        from PIL import Image

        page = io.BytesIO()
        figure.savefig(page, format="png", dpi=200)
        return Image.open(page)
