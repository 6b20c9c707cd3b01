"""Writes `cls_sim/__init__.pyi`, the static types of the public names, from the vocabulary (`make stub`).

Names of the vocabulary are imported when they are first used, which no static tool can follow; the stub imports each
of them by name.  `tests/test_types.py` compares the stub with the vocabulary.
"""

from __future__ import annotations

from pathlib import Path

import cls_sim

STUB = Path(cls_sim.__file__).with_suffix(".pyi")
HEAD = "# Written by `make stub` from the vocabulary in __init__.py: change that, then run `make stub`.\n"


def text() -> str:
    """The stub: one import for each name of the vocabulary, then the type of every other public name."""
    imports = {
        f"from cls_sim import {name} as {name}" if module == name else f"from cls_sim.{module} import {name} as {name}"
        for name, module in cls_sim.VOCABULARY.items()
    }
    others = [f"{name}: {_type(getattr(cls_sim, name))}" for name in cls_sim.__all__ if name not in cls_sim.VOCABULARY]
    return "\n".join([HEAD, *sorted(imports), "", *sorted(others), ""])


def _type(value: object) -> str:
    if isinstance(value, tuple):
        (inner,) = {_type(item) for item in value}
        return f"tuple[{inner}, ...]"
    if isinstance(value, dict):
        (key,), (inner,) = {_type(item) for item in value}, {_type(item) for item in value.values()}
        return f"dict[{key}, {inner}]"
    return type(value).__name__


if __name__ == "__main__":
    STUB.write_text(text())
