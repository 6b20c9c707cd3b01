"""The layout: a folder imports lower folders only, parts never import each other, and the commands start light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import cls_sim

PACKAGE = Path(cls_sim.__file__).parent
LAYERS = [  # each imports lower ones only
    {"core"},
    {"theory", "statistics"},
    {"world", "hippocampus", "neocortex", "plasticity", "rhythm"},
    {"replay", "consolidation", "readout", "probes"},
    {"life"},
    {"config"},
    {"storage"},
    {"people"},
    {"claims", "figures", "sinks"},
    {"running"},
    {"commands"},
    {"__main__"},
]
LAYER = {folder: i for i, folders in enumerate(LAYERS) for folder in folders}
ROOT = {"__init__.py", "__main__.py", "life.py"}
PARTS, BETWEEN = 2, 3


def folder_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


def imports(path: Path) -> set[str]:
    """The modules of the package that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "cls_sim":
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                found.add(name if name in MODULES else node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("cls_sim.")}
    return found - {"cls_sim"}


def complaint(folder: str, module: str) -> str | None:
    other = module.split(".")[1]
    if other == folder:
        return None
    if LAYER[other] > LAYER[folder]:
        return "upward"
    if LAYER[other] == LAYER[folder] and LAYER[folder] != BETWEEN:
        return "sideways"
    sees = LAYER[folder] == BETWEEN and LAYER[other] in (PARTS, BETWEEN)
    if sees and other not in ("plasticity", "rhythm") and not module.endswith(".base"):
        return "sees more than base.py"
    return None


FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")
MODULES = {module_of(path): path for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_layers(path: Path):
    bad = [(m, why) for m in imports(path) if (why := complaint(folder_of(path), m))]
    assert not bad, f"{path.name} imports {bad}"


def test_the_layer_test_can_fail():
    assert complaint("world", "cls_sim.life") == "upward"
    assert complaint("world", "cls_sim.hippocampus.base") == "sideways"
    assert complaint("replay", "cls_sim.hippocampus.store") == "sees more than base.py"
    assert complaint("replay", "cls_sim.hippocampus.base") is None


def test_every_folder_and_file_is_known():
    assert {folder_of(path) for path in FILES} == set(LAYER)
    assert {path.name for path in PACKAGE.glob("*.py")} == ROOT
    assert (
        len({path.name for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}) <= 24
    )


def test_no_circle_of_imports():
    """No chain of imports, at the top of a file or inside a function, leads back to its first file."""
    graph = {name: imports(path) - {name} for name, path in MODULES.items()}
    done: set[str] = set()

    def walk(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, " -> ".join((*above[above.index(name) :], name))
        if name not in done:
            for other in graph.get(name, ()):
                walk(other, (*above, name))
            done.add(name)

    for name in graph:
        walk(name, ())


TEXTS = {".yaml", ".jinja", ".css", ".js", ".html", ".txt", ".md", ".pyi"}  # pages that are no Python; .tsv is data


def test_no_page_is_long():
    long = {module: n for module, path in MODULES.items() if (n := len(path.read_text().splitlines())) > 350}
    folders = [(PACKAGE, TEXTS), (PACKAGE.parent / "conf", {".yaml"})]
    texts = [path for folder, kinds in folders for path in folder.rglob("*") if path.suffix in kinds]
    assert len(texts) > 200, "the texts are found"
    long |= {
        str(path): n for path in [PACKAGE / "__init__.py", *texts] if (n := len(path.read_text().splitlines())) > 350
    }
    assert not long
    assert len((PACKAGE / "life.py").read_text().splitlines()) <= 280, "the page to read first holds the story alone"


def test_the_vocabulary_names_what_exists():
    for name in cls_sim.VOCABULARY:
        assert getattr(cls_sim, name) is not None


def test_wandb_is_imported_in_sinks_alone():
    for path in FILES:
        text = path.read_text()
        assert folder_of(path) == "sinks" or "import wandb" not in text, path.name


def test_reading_a_configuration_needs_no_torch():
    code = (
        "import sys; from cls_sim.config.experiments import read; read(['experiment=digits']);"
        "bad = {'torch', 'matplotlib', 'wandb', 'numpy'} & set(sys.modules); print(sorted(bad)); sys.exit(bool(bad))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_draws_from_global_generators():
    """No module calls torch's or numpy's global random functions."""
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                name = f"{node.value.id}.{node.attr}"
                assert name not in {"torch.rand", "torch.randn", "torch.randint", "torch.randperm"}, f"{path}: {name}"
            if isinstance(node, ast.Import):
                assert "random" not in {alias.name for alias in node.names}, path
