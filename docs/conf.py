"""The documentation site: `make docs`.  Pages are those of docs/; the notebooks and the API are made at the build."""

from __future__ import annotations

import inspect
import os
import re
import shutil
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from sphinx.util.inspect import stringify_signature

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import cls_sim  # noqa: E402
from cls_sim.core.part import Part  # noqa: E402

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
KINDS = {  # page of the API: its title, and the folders and modules of cls_sim whose public names it has
    "life": ("Lives and experiments", ["life", "running", "config", "commands.fit"]),
    "world": ("Worlds", ["world"]),
    "rhythm": ("Rhythms", ["rhythm"]),
    "plasticity": ("Plasticity", ["plasticity"]),
    "neocortex": ("Neocortices", ["neocortex"]),
    "hippocampus": ("Hippocampi", ["hippocampus"]),
    "replay": ("Replay", ["replay"]),
    "consolidation": ("Consolidation", ["consolidation", "core.optimizers"]),
    "readout": ("Readouts", ["readout"]),
    "probes": ("Probes", ["probes"]),
    "core": ("What parts work with", ["core"]),
}
MORE = {  # page of the API: names for parts of your own, imported from their modules
    "life": [
        "running.studies.Study",
        "running.opened.FinishedRun",
        "commands.fit.search.Fit",
        "storage.trace.Trace",
        "core.ledger.Ledger",
    ],
    "world": ["world.stream.Stream", "world.table.Source", "world.table.Data", "world.encoders.Encoder"],
    "rhythm": ["rhythm.base.Counted"],
    "neocortex": ["neocortex.base.Tap"],
    "hippocampus": ["hippocampus.base.Recall", "hippocampus.base.Traces", "hippocampus.base.Stages"],
    "replay": ["replay.base.Within"],
    "consolidation": [
        "core.optimizers.Optimizer",
        "consolidation.objectives.Objective",
        "consolidation.importance.Importance",
    ],
    "readout": ["readout.base.Answer"],
    "core": [
        *("core.part.Part", "core.wrap.Wrap", "core.part.View", "core.clock.Clock", "core.clock.Moment"),
        *("core.clock.Span", "core.draws.Draws", "core.draws.BatchDraws", "core.draws.each", "core.draws.over"),
        *("core.part.per_subject", "core.part.known_contexts", "core.errors.real", "core.errors.reals"),
        *("core.settings.Settings", "core.settings.setting", "core.settings.part", "core.settings.needed"),
        *("core.settings.fixed", "core.wrap.Temporary"),
        *("core.errors.whole", "core.errors.choice", "core.errors.flag", "core.errors.several"),
        *("core.errors.Diverged", "core.errors.StorageError"),
    ],
}
MODULES = {"figures": "Figures", "statistics": "Statistics", "theory": "Theory", "people": "Data of people"}


API = [
    "# API reference",
    "",
    "Public names as users write them: `import cls_sim as cs`, then `cs.Sparse`, `cs.run`, ….",
    "Base classes come first on each page, with all their methods.",
    "",
    "In shapes, `s` is the subject, `b` the row of a batch, `n` a slot of the hippocampus, `x` an input, `f` a feature",
    "of the neocortex, `o` an output, `k` a context.  Ages are in days; `experience`, `replay` and `tick` are counts.",
    "Settings that are out of range raise `cs.ConfigError` when the part is made.",
    "",
    "```{toctree}",
    ":maxdepth: 1",
    "",
]


def _notebooks() -> None:
    """Copies of the notebooks, where Sphinx looks for pages."""
    (HERE / "notebooks").mkdir(exist_ok=True)
    for path in NOTEBOOKS.values():
        shutil.copy(path, HERE / "notebooks" / path.name)


def _page_of(module: str) -> str:
    """The page of the API for the public names of a module: the one that names the module most closely."""
    fits = {name: len(k) for name, (_, known) in KINDS.items() for k in known if f"{module}.".startswith(f"{k}.")}
    return max(fits, key=lambda name: fits[name])


def _entry(name: str) -> list[str]:
    """The directive for a class with its public methods (a base class: with the inherited ones), or for a function."""
    thing = cls_sim
    for part in name.split("."):
        thing = getattr(thing, part) if hasattr(thing, part) else import_module(f"{thing.__name__}.{part}")
    if not isinstance(thing, type):
        return [f".. autofunction:: cls_sim.{name}", ""]
    base = name.lower() in cls_sim.PART_KINDS or name in ("Probe", "Penalty", "Preference")
    inherited = ["   :inherited-members: object"] if base else []
    shown = ["   :show-inheritance:"] if issubclass(thing, Part) else []
    return [f".. autoclass:: cls_sim.{name}", "   :members:", *shown, *inherited, ""]


def _api() -> None:
    """api.md and the pages of api/: the public names as users write them, by kind of part, base classes first."""
    names: dict[str, list[str]] = {page: [] for page in KINDS}
    for name, module in cls_sim.VOCABULARY.items():
        if name not in MODULES:
            names[_page_of(module)].append(name)
    pages: dict[str, list[str]] = {}
    for page, (title, _) in KINDS.items():
        pages[page] = [f"# {title}", "", "```{eval-rst}"]
        for name in names[page]:
            pages[page] += _entry(name)
        pages[page] += ["```", ""]
        if page in MORE:
            pages[page] += ["## For parts of your own", "", "Import these from their modules.", "", "```{eval-rst}"]
            for name in MORE[page]:
                pages[page] += _entry(name)
            pages[page] += ["```", ""]
    for module, title in MODULES.items():
        pages[module] = [f"# {title}", "", "```{eval-rst}", f".. automodule:: cls_sim.{module}", "   :members:", "```"]
    (HERE / "api").mkdir(exist_ok=True)
    for page, lines in pages.items():
        (HERE / "api" / f"{page}.md").write_text("\n".join([*lines, ""]))
    (HERE / "api.md").write_text("\n".join([*API, *(f"api/{page}" for page in pages), "```", ""]))


def _skip(app: Any, what: str, name: str, thing: Any, skip: bool, options: Any) -> bool | None:
    """Leave out the methods that a wrap forwards to the part inside, and properties without a docstring."""
    bare = isinstance(thing, property) and not thing.__doc__
    return True if what == "class" and (bare or hasattr(thing, "__wrapped__")) else None


def _signature(app: Any, what: str, name: str, thing: Any, options: Any, signature: str, returns: str) -> Any:
    """The settings of a class (Sphinx would show those of `__new__`)."""
    if what != "class" or not issubclass(thing, Part):
        return None
    shown = inspect.signature(thing)
    return stringify_signature(shown, show_return_annotation=False, unqualified_typehints=True), ""


def _bases(app: Any, name: str, thing: Any, options: Any, bases: list[Any]) -> None:
    """Base classes under their public names."""
    public = [base for base in bases if base.__name__ in cls_sim.VOCABULARY]
    bases[:] = [f":py:class:`cls_sim.{base.__name__}`" for base in public] or bases


def _plain(text: str) -> str:
    """Text of a docstring as reStructuredText in which nothing is marked up."""
    words = re.sub(r"`([^`]+)`", r"\1", " ".join(text.split()))
    return re.sub(r"([*`|_\\])", r"\\\1", words)


def _columns(block: str) -> list[tuple[str, str]]:
    """The rows (names, text) of a block that lists settings or shapes in two columns; empty for any other block."""
    rows: list[tuple[str, str]] = []
    for line in block.splitlines():
        if row := re.fullmatch(r"([a-z]\w*(?:, \w+)*(?:\([\w, ]*\))?(?: +\[[^\]]*\])?)  +(\S.*)", line):
            rows.append((" ".join(row[1].split()), row[2]))
        elif rows and line.startswith("    "):
            rows[-1] = rows[-1][0], f"{rows[-1][1]} {line.strip()}"
        else:
            return []
    return rows


def _in_rst(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Our docstrings are plain text: a first paragraph, then equations, settings and an example as they stand."""
    text = "\n".join(lines).strip()
    first, _, rest = text.partition("\n\n")
    prose, _, example = rest.partition(">>> ")
    out: list[str] = []
    for block in [first, *prose.strip("\n").rstrip().split("\n\n")]:
        if columns := _columns(block):
            for names, text in columns:
                out += [f"``{names}``", f"   {_plain(text)}", ""]
        elif re.search(r"^ |[^.:;?! ]  +\S", block, re.M):  # an equation, or columns
            out += [".. code-block:: text", "", *(f"   {line}".rstrip() for line in block.splitlines()), ""]
        elif block.strip():
            out += [_plain(block), ""]
    if example:
        out += [".. code-block:: pycon", "", *(f"   {line}".rstrip() for line in f">>> {example}".splitlines()), ""]
    lines[:] = out


def _links(app: Any, page: str, source: list[str]) -> None:
    """Pages of the repository that are pages here, too; what is no page becomes its name."""
    text = source[0]
    if page == "index":  # pages that it does not name come last
        others = [path.stem for path in sorted(HERE.glob("*.md")) if not re.search(rf"^{path.stem}$", text, re.M)]
        text = re.sub(r"^others$", "\n".join(name for name in others if name != "index"), text, flags=re.M)
    text = re.sub(r"\]\(\.\./CONTRIBUTING\.md(#[\w-]+)?\)", "](extend/index.md)", text)
    text = re.sub(r"\]\((?:\.\./)?notebooks/(\w+)\.ipynb\)", r"](notebooks/\1.ipynb)", text)
    source[0] = re.sub(r"\[([^\]]+)\]\((?:\.\./|results/)[^)]*\)", r"\1", text) if "/" not in page else text


def setup(app: Any) -> None:
    _notebooks()
    _api()
    app.connect("autodoc-process-docstring", _in_rst)
    app.connect("autodoc-process-signature", _signature)
    app.connect("autodoc-process-bases", _bases)
    app.connect("autodoc-skip-member", _skip)
    app.connect("source-read", _links)
