"""The notebooks run from top to bottom, show a figure, and are stored with the outputs of their cells."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from tests.notebooks import ALL, PICTURE, fingerprint, paths, read, run, shape

NOTEBOOKS = paths()
each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@pytest.mark.claims
@pytest.mark.timeout(600)
@each
def test_notebook(path: Path, request: pytest.FixtureRequest):
    stored = read(path)
    if any("$CLS_SIM_DATA_DIR" in cell.source for cell in stored.cells):
        request.getfixturevalue("data_dir")
    made = run(stored)
    outputs = [output for cell in made.cells if cell.cell_type == "code" for output in cell.outputs]
    assert not [o for o in outputs if o.output_type == "error"]
    assert any("image/png" in o.get("data", {}) for o in outputs)
    assert shape(made) == shape(stored), "the outputs that are stored are stale: make notebooks"


@each
def test_stored_outputs_come_from_these_cells(path: Path):
    notebook = read(path)
    assert notebook.metadata.get("cls_sim", {}).get("made_from") == fingerprint(notebook), "run: make notebooks"


@each
def test_stored_pictures_are_small(path: Path):
    cells = [cell for cell in read(path).cells if cell.cell_type == "code"]
    pictures = [
        output.data["image/png"] for cell in cells for output in cell.outputs if "image/png" in output.get("data", {})
    ]
    assert pictures
    assert max(len(base64.b64decode(picture)) for picture in pictures) <= PICTURE


def test_the_notebooks_are_small_together():
    assert sum(path.stat().st_size for path in NOTEBOOKS) <= ALL
