"""Choose the strengths of methods on validation images: a part of the training images, never the test images.

A method without a published strength for Split MNIST learns the split protocol with every setting of its grid, at a
shortened schedule (see PROTOCOL), with subjects of seeds below 1000.  The first guess (FIRST) stays if its accuracy on
the validation images, after the last context, is within half a point of the best; otherwise the best is chosen.

    python -m benchmarks.strengths [METHOD …]     run what is missing (of these methods), about 15 CPU minutes in all
    python -m benchmarks.strengths --table        run nothing; write the table

The results go to docs/results/strengths/METHOD.json, the table to docs/methods.md.
"""

from __future__ import annotations

import copy
import itertools
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
ROWS = ROOT / "docs" / "results" / "strengths"
PAGE = ROOT / "docs" / "methods.md"
BEGIN, END = "<!-- made by python -m benchmarks.strengths -->", "<!-- end -->"
ALL, TASK = ("task", "domain", "class"), ("task",)
NEAR = 0.005

PROTOCOL: dict[str, Any] = {
    "experiment": "split_mnist",
    "subjects": 2,
    "seed": 1,
    "world.per_context": 200,
    "rhythm.experiences_per_day": 200,
    "world.validation": 0.1,
    "world.eval_split": "validation",
    "neocortex.hidden": [100, 100],
}

GRIDS: dict[str, tuple[tuple[str, ...], dict[str, list[Any]]]] = {
    "mas": (ALL, {"consolidation.penalty.strength": [0.01, 0.1, 1.0, 10.0, 100.0, 1000.0]}),
    "stiffen": (ALL, {"consolidation.penalty.strength": [10.0, 100.0, 1000.0, 10000.0, 100000.0]}),
    "imm_mean_l2": (ALL, {"consolidation.consolidation.penalty.strength": [0.0, 0.0001, 0.001, 0.01, 0.1]}),
    "imm_mode_l2": (ALL, {"consolidation.consolidation.penalty.strength": [0.0, 0.0001, 0.001, 0.01, 0.1]}),
    "feature_distillation": (ALL, {"consolidation.objective.strength": [0.001, 0.01, 0.1, 1.0, 10.0]}),
    "fromp": (ALL, {"consolidation.objective.strength": [1.0, 100.0, 1e4, 1e6]}),
    "hat": (TASK, {"consolidation.objective.sparsity": [0.1, 0.3, 0.75, 1.5, 3.0], "neocortex.s_max": [50.0, 400.0]}),
    "packnet": (TASK, {"consolidation.passes": [1, 2, 4]}),
    "er_ace": (ALL, {"replay.share": ["contexts", 0.25, 0.5, 0.75]}),
    "der": (ALL, {"consolidation.objective.alpha": [0.1, 0.3, 0.5, 1.0, 3.0]}),
    "derpp": (ALL, {"consolidation.objective.alpha": [0.1, 0.5, 1.0], "consolidation.objective.beta": [0.5, 1.0]}),
    "gem": (ALL, {"consolidation.margin": [0.0, 0.1, 0.5, 1.0]}),
    "rwalk": (ALL, {"consolidation.penalty.strength": [0.1, 1.0, 10.0, 100.0, 1000.0]}),
    "mir": (ALL, {"replay.policy.preference.step": [0.01, 0.1, 1.0], "replay.policy.power": [1.0, 2.0]}),
    "gss": (ALL, {"replay.share": ["contexts", 0.25, 0.5, 0.75]}),
    "growing": (TASK, {"neocortex.loss_threshold": [0.01, 0.05, 0.2]}),
}


FIRST: dict[str, list[Any]] = {
    "mas": [1.0],
    "stiffen": [1000.0],
    "imm_mean_l2": [0.001],
    "imm_mode_l2": [0.001],
    "feature_distillation": [0.1],
    "fromp": [1.0],
    "hat": [0.75, 400.0],
    "packnet": [1],
    "er_ace": [0.5],
    "der": [0.5],
    "derpp": [0.5, 0.5],
    "gem": [0.5],
    "rwalk": [10.0],
    "mir": [0.1, 2.0],
    "gss": [0.5],
    "growing": [0.05],
}


def settings(method: str) -> list[dict[str, Any]]:
    """Every setting of a method's grid.

    >>> settings("hat")[1]
    {'consolidation.objective.sparsity': 0.1, 'neocortex.s_max': 400.0}
    """
    knobs = GRIDS[method][1]
    return [dict(zip(knobs, values, strict=True)) for values in itertools.product(*knobs.values())]


def lived(method: str, scenario: str, setting: dict[str, Any]) -> float:
    """The mean accuracy on the validation images of all contexts, after the last context."""
    from cls_sim.config import experiments

    where = {"method": method, "scenario": scenario}
    overrides = [f"{key}={value}".replace(" ", "") for key, value in (PROTOCOL | where).items()]
    cfg = copy.deepcopy(next(iter(experiments.read(overrides).arms.values())).cfg)
    for key, value in setting.items():
        *rooms, last = key.split(".")
        place = cfg
        for room in rooms:
            place = place[room]
        assert last in place, key
        place[last] = value
    life = experiments.make_life(cfg, PROTOCOL["subjects"], PROTOCOL["seed"])
    for moment in life.live():
        if moment.name == "life.end":
            return float(life.measure(moment)["accuracy"].mean())
    raise AssertionError("a life ends")


def chosen(row: list[dict[str, Any]], first: list[Any]) -> dict[str, Any]:
    """The first guess, if it is within NEAR of the best; else the best.  A strength of 0 is another method.

    >>> row = [{"setting": {"k": k}, "accuracy": a} for k, a in ((0, 0.95), (1, 0.901), (2, 0.904), (3, 0.8))]
    >>> chosen(row, [1])["setting"], chosen(row, [3])["setting"]
    ({'k': 1}, {'k': 2})
    """
    real = [one for one in row if any(one["setting"].values())]
    best = max(real, key=lambda one: one["accuracy"])
    guess = next(one for one in real if list(one["setting"].values()) == first)
    return guess if guess["accuracy"] >= best["accuracy"] - NEAR else best


def run(methods: list[str]) -> None:
    """Run what is missing; a method's file is written after each of its scenarios."""
    import torch

    torch.set_num_threads(1)
    ROWS.mkdir(parents=True, exist_ok=True)
    for method in methods:
        file, scenarios = ROWS / f"{method}.json", GRIDS[method][0]
        kept = json.loads(file.read_text()) if file.exists() else {}
        rows = kept["scenarios"] if kept.get("protocol") == PROTOCOL and kept.get("grid") == GRIDS[method][1] else {}
        for scenario in scenarios:
            if scenario not in rows:
                row = [{"setting": s, "accuracy": round(lived(method, scenario, s), 4)} for s in settings(method)]
                rows[scenario] = {"chosen": chosen(row, FIRST[method])["setting"], "validated": row}
                whole = {"method": method, "protocol": PROTOCOL, "grid": GRIDS[method][1], "scenarios": rows}
                file.write_text(json.dumps(whole, indent=1) + "\n")
                print(method, scenario, rows[scenario]["chosen"], flush=True)


def table() -> str:
    """One line for each method and scenario: the chosen setting, and the accuracy of each setting."""
    lines = ["| method | scenario | chosen | validated: accuracy, % |", "|---|---|---|---|"]
    for method in GRIDS:
        if (file := ROWS / f"{method}.json").exists():
            for scenario, row in json.loads(file.read_text())["scenarios"].items():
                tried = "; ".join(f"{_short(one['setting'])}: {100 * one['accuracy']:.1f}" for one in row["validated"])
                names = ", ".join(f"{key.split('.')[-1]} {value}" for key, value in row["chosen"].items())
                lines.append(f"| `{method}` | {scenario} | {names} | {tried} |")
    return "\n".join(lines)


def _short(setting: dict[str, Any]) -> str:
    return " / ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in setting.values())


def main() -> None:
    named = [name for name in sys.argv[1:] if name != "--table"]
    if unknown := sorted(set(named) - set(GRIDS)):
        sys.exit(f"strengths: no grid for {', '.join(unknown)}: choose from {', '.join(GRIDS)}")
    if "--table" not in sys.argv:
        run(named or list(GRIDS))
    text = PAGE.read_text()
    before, rest = text.split(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{table()}\n{END}{rest.split(END, 1)[1]}")


if __name__ == "__main__":
    main()
