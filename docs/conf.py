"""The documentation site: `make docs`.  Pages are those of docs/; the notebooks and the API are made at the build."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import cls_sim  # noqa: E402

project = "cls_sim"
author = copyright = "the cls_sim founders"
version = release = cls_sim.__version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.mathjax"]
exclude_patterns = ["_build", "results"]
html_theme = "furo"
html_title = "cls_sim"
html_static_path = ["site.css"]
html_css_files = ["site.css"]
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
nb_execution_mode = os.environ.get("CLS_SIM_NOTEBOOKS", "off")  # off, or force: run them while the site is made
nb_execution_timeout = 600
nb_execution_raise_on_error = True
suppress_warnings = [
    "mystnb.unknown_mime_type",  # sliders: shown in Jupyter, a text on the page
    "misc.highlighting_failure",  # signatures with … in them
]

NOTEBOOKS = {path.stem: path for path in sorted((HERE.parent / "notebooks").glob("*.ipynb"))}
SECTIONS = {
    "life": "A life, and how it is lived",
    "world": "Worlds",
    "hippocampus": "Hippocampi",
    "neocortex": "Neocortices",
    "plasticity": "Plasticity",
    "rhythm": "Rhythm",
    "replay": "Replay",
    "consolidation": "Consolidation",
    "core": "Optimizers",
    "readout": "Readout",
    "probes": "Probes",
}
PAGES = {"figures": "Figures", "statistics": "Statistics", "theory": "Theory"}


def _notebooks() -> None:
    """Copies of the notebooks, where Sphinx looks for pages."""
    (HERE / "notebooks").mkdir(exist_ok=True)
    for path in NOTEBOOKS.values():
        shutil.copy(path, HERE / "notebooks" / path.name)


def _api() -> None:
    """api.md: every name of the public vocabulary, by kind of part."""
    rooms: dict[str, list[str]] = {room: [] for room in SECTIONS}
    for name, module in cls_sim.VOCABULARY.items():
        room = module.split(".")[0]
        if name[0].isupper() or name in ("run", "build", "at"):
            rooms[room if room in rooms else "life"].append(name)
    lines = ["# API", "", "The public vocabulary, `import cls_sim as cs`: `cs.Store`, `cs.run`, …", ""]
    for room, names in rooms.items():
        lines += [f"## {SECTIONS[room]}", "", "```{eval-rst}"]
        for name in names:
            kind = "autoclass" if name[0].isupper() else "autofunction"
            lines += [f".. {kind}:: cls_sim.{cls_sim.VOCABULARY[name]}.{name}", ""]
        lines += ["```", ""]
    for module, title in PAGES.items():
        lines += [f"## {title}", "", "```{eval-rst}", f".. automodule:: cls_sim.{module}", "   :members:", "```", ""]
    (HERE / "api.md").write_text("\n".join(lines))


def _in_rst(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Our docstrings are plain text: a first paragraph, then equations, settings and an example as they stand."""
    text = "\n".join(lines).strip()
    first, _, rest = text.partition("\n\n")
    prose, _, example = rest.partition(">>> ")
    out: list[str] = []
    for block in [first, *prose.strip("\n").rstrip().split("\n\n")]:
        if re.search(r"^ |[^.:;?! ]  +\S", block, re.M):  # an equation, or columns
            out += [".. code-block:: text", "", *(f"   {line}".rstrip() for line in block.splitlines()), ""]
        elif block.strip():
            words = re.sub(r"`([^`]+)`", r"\1", " ".join(block.split()))
            out += [re.sub(r"([*`|_\\])", r"\\\1", words), ""]
    if example:
        out += [".. code-block:: pycon", "", *(f"   {line}".rstrip() for line in f">>> {example}".splitlines()), ""]
    lines[:] = out


def _links(app: Any, page: str, source: list[str]) -> None:
    """Pages of the repository that are pages here, too; what is no page becomes its name."""
    text = source[0] if page != "add" else (HERE.parent / "CONTRIBUTING.md").read_text().replace("](docs/", "](")
    if page == "index":  # pages that it does not name come last
        others = [path.stem for path in sorted(HERE.glob("*.md")) if not re.search(rf"^{path.stem}$", text, re.M)]
        text = re.sub(r"^others$", "\n".join(name for name in others if name != "index"), text, flags=re.M)
    text = re.sub(r"\]\(\.\./CONTRIBUTING\.md(#[\w-]+)?\)", "](add.md)", text)
    text = re.sub(r"\]\((?:\.\./)?notebooks/(\w+)\.ipynb\)", r"](notebooks/\1.ipynb)", text)
    source[0] = re.sub(r"\[([^\]]+)\]\((?:\.\./|results/)[^)]*\)", r"\1", text) if "/" not in page else text


def setup(app: Any) -> None:
    _notebooks()
    _api()
    app.connect("autodoc-process-docstring", _in_rst)
    app.connect("source-read", _links)
