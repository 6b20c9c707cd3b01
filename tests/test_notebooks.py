"""The notebooks run from top to bottom, and show a figure."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))


@pytest.mark.claims
@pytest.mark.timeout(600)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook(path: Path, request: pytest.FixtureRequest):
    import nbformat  # two seconds: only where a notebook runs
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    if any("$CLS_SIM_DATA_DIR" in cell.source for cell in notebook.cells):
        request.getfixturevalue("data_dir")
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert not [o for o in outputs if o.output_type == "error"]
    assert any("image/png" in o.get("data", {}) for o in outputs)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_kept_without_outputs(path: Path):
    for cell in json.loads(path.read_text())["cells"]:
        assert cell["cell_type"] != "code" or not cell["outputs"]
