"""Run the notebooks and store their outputs: `make notebooks`, or `python tests/notebooks.py NAME …`.

A stored notebook holds in its metadata the fingerprint of the cells that made its outputs, so that outputs that are
older than the cells are found (tests/test_notebooks.py).
"""

from __future__ import annotations

import hashlib
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nbformat import NotebookNode

FOLDER = Path(__file__).parent.parent / "notebooks"
PICTURE, ALL = 150_000, 8_000_000  # bytes: the largest picture, and all notebooks together


def paths() -> list[Path]:
    return sorted(FOLDER.glob("*.ipynb"))


def read(path: Path) -> NotebookNode:
    import nbformat  # a second: not for those who only look for tests

    return nbformat.read(path, as_version=4)


def fingerprint(notebook: NotebookNode) -> str:
    """The fingerprint of what is run: the sources of all code cells."""
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256("\0".join(sources).encode()).hexdigest()[:16]


def run(notebook: NotebookNode) -> NotebookNode:
    """A copy of a notebook with the outputs of a new run, without what differs from run to run."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.from_dict({**notebook})
    NotebookClient(notebook, timeout=300, kernel_name="python3", coalesce_streams=True).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
    notebook.metadata.pop("widgets", None)  # large, and shown by no code host
    notebook.metadata["language_info"] = {"name": "python"}
    notebook.metadata["cls_sim"] = {"made_from": fingerprint(notebook)}
    return notebook


def shape(notebook: NotebookNode) -> list[list[str]]:
    """What each code cell shows, without numbers: outputs of a run on another processor have the same shape."""
    return [_shape(cell.outputs) for cell in notebook.cells if cell.cell_type == "code"]


def _shape(outputs: list[NotebookNode]) -> list[str]:
    """What a cell prints, in one text, and then what it shows; sliders, and bars that only slow runs show, aside."""
    printed = "".join(output.text for output in outputs if output.output_type == "stream")
    shown = (output.data for output in outputs if output.output_type != "stream")
    return [_words(printed), *(_shown(data) for data in shown if not any("widget" in kind for kind in data))]


def _shown(data: NotebookNode) -> str:
    return "picture" if "image/png" in data else _words(data.get("text/plain", ""))


def _words(text: str) -> str:
    return " ".join(re.sub(r"[^A-Za-z]+", " ", re.sub(r"0x[0-9a-f]+", "", text)).split())


def main(names: list[str]) -> None:
    import nbformat

    for path in [FOLDER / f"{name}.ipynb" for name in names] or paths():
        nbformat.write(run(read(path)), path)
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
