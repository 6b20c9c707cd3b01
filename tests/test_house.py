"""The house: a floor imports lower floors only, rooms never import each other, and the doors stay light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import cls_sim

PACKAGE = Path(cls_sim.__file__).parent
FLOORS = [
    {"errors", "batch", "clock", "ledger", "subjects", "part", "optimisers", "predictability", "variational"},
    {"world", "hippocampus", "neocortex", "plasticity", "rhythm"},
    {"replay", "consolidation", "readout", "probes"},
    {"life"},
    {"disk", "lines", "trace", "checkpoint", "statistics", "derived", "theory", "claims", "figures", "sinks", "vitals"},
    {
        "screen",
        "sources",
        "composer",
        "builder",
        "configs",
        "interrupts",
        "folder",
        "mirror",
        "kept",
        "jobs",
        "runs",
        "studies",
        "engines",
        "sweeps",
        "door",
        "compare",
        "pieces",
        "program",
        "tables",
        "report",
        "dashboard",
        "__main__",
    },
]
FLOOR = {room: i for i, rooms in enumerate(FLOORS) for room in rooms}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """The modules of the package that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cls_sim"):
            if node.module == "cls_sim":
                found |= {f"cls_sim.{alias.name}" for alias in node.names if (PACKAGE / f"{alias.name}.py").exists()}
            else:
                found.add(node.module or "")
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("cls_sim.")}
    return found


def complaint(room: str, module: str) -> str | None:
    other = module.split(".")[1]
    if other == room:
        return None
    if FLOOR[other] > FLOOR[room]:
        return "upward"
    if FLOOR[other] == FLOOR[room] and FLOOR[room] in (1,):
        return "sideways"
    if (
        FLOOR[room] == 2
        and FLOOR[other] in (1, 2)
        and other not in ("plasticity", "rhythm")
        and not module.endswith("base")
    ):
        return "sees more than base.py"
    return None


FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_floors(path: Path):
    bad = [(m, why) for m in imports(path) if (why := complaint(room_of(path), m))]
    assert not bad, f"{path.name} imports {bad}"


def test_the_floor_test_can_fail():
    assert complaint("world", "cls_sim.life") == "upward"
    assert complaint("world", "cls_sim.hippocampus.base") == "sideways"
    assert complaint("replay", "cls_sim.hippocampus.store") == "sees more than base.py"
    assert complaint("replay", "cls_sim.hippocampus.base") is None


def test_every_module_has_a_floor():
    assert {room_of(path) for path in FILES} == set(FLOOR)


def test_the_vocabulary_names_what_exists():
    for name in cls_sim.VOCABULARY:
        assert getattr(cls_sim, name) is not None


def test_wandb_is_imported_in_sinks_alone():
    for path in FILES:
        text = path.read_text()
        assert room_of(path) == "sinks" or "import wandb" not in text, path.name


def test_reading_a_configuration_needs_no_torch():
    code = (
        "import sys; from cls_sim.configs import read; read(['experiment=digits']);"
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
