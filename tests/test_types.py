"""What a user's editor sees: the stub is fresh, misspelt names and settings are found, right code is not complained
of."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import stub

import cls_sim

ROOT = Path(__file__).resolve().parent.parent
WRONG = """
from functools import partial
import cls_sim as cs

life = cs.build("experiment=digits")
cs.Sparse(capcity=3)  # wrong: a misspelt setting
cs.Sparse(capacity="many")  # wrong: the type of a setting
cs.Mlp(hidden=[0.5])  # wrong
cs.Nights(60, 100)  # wrong: settings have names
cs.Nonexistent  # wrong: no such part
cs.VOCABULARY["Sparse"] + 1  # wrong
life.tiwn()  # wrong: a misspelt method
life.twin(hipocampus=cs.Lesion)  # wrong: a misspelt kind of part
life.twin(hippocampus=cs.CortexLesion)  # wrong: a wrap of another kind of part
life.twin(hippocampus=partial(cs.Lesion, fracton=0.5))  # wrong
life.twin(replay=cs.Nights(experiences_per_day=60, steps_per_night=100))  # wrong: a part of another kind
cs.run(life, day=3)  # wrong
cs.run(life).lst("accuracy")  # wrong
cs.study(4)  # wrong
cs.study("experiment=digits").reading  # wrong
cs.figures.contexts_over_days(cs.run(life), "accuracy", chanc=0.1)  # wrong
cs.statistics.estimat([1.0])  # wrong
cs.theory.best_dose(snr=1.0)  # wrong
cs.Spec(seed=(1,))  # wrong
cs.Sparse().recall(3)  # wrong


def relabelled(batch: cs.Batch) -> cs.Batch:
    return batch.with_(wieght=None)  # wrong


class Mine(cs.Plasticity):
    def rate(self, clock: int) -> float:  # wrong
        return 0.1
"""
RIGHT = """
from functools import partial
from typing import assert_type

import torch

import cls_sim as cs
from cls_sim.life import Life
from cls_sim.running.studies import Study
from cls_sim.statistics import Estimate
from cls_sim.storage.trace import Trace

life = cs.build("experiment=digits", "subjects=2")
assert_type(life, Life)
assert_type(cs.run(life, days=1), Trace)
assert_type(cs.study("experiment=digits"), Study)
assert_type(cs.statistics.estimate([1.0]), Estimate)
assert_type(cs.theory.best_dose(1.0, 1.0), float)
assert_type(cs.__version__, str)
assert_type(cs.VOCABULARY["Sparse"], str)
assert_type(cs.Batch.lived(torch.zeros(2, 3, 4), torch.zeros(2, 3)), cs.Batch)
assert_type(cs.Spec(seeds=(0, 1)).subjects, int)
life.twin(
    world=cs.NoisyWorld,
    rhythm=cs.Deprived,
    plasticity=partial(cs.Modulated, factor=0.5),
    neocortex=lambda cortex: cs.CortexLesion(cortex, fraction=[0.2, 0.4]),
    hippocampus=cs.Lesion,
    replay=cs.Uniform(batch=32),
    consolidation=lambda rule: cs.Drift(rule, sd=0.1),
    readout=cs.CortexReadout(),
)


class Mine(cs.Replay):
    def draw(self, hippocampus, neocortex, view, clock):
        assert_type(hippocampus, cs.Hippocampus)
        assert_type(hippocampus.traces().alive, torch.Tensor)
        assert_type(view.scores(torch.zeros(2, 3, 4), None), torch.Tensor)
        return hippocampus.fetch(hippocampus.traces().alive.long())
"""


def test_the_stub_says_what_the_vocabulary_says():
    assert stub.STUB.read_text() == stub.text(), "cls_sim/__init__.pyi is not fresh: run `make stub`"
    assert (stub.STUB.parent / "py.typed").is_file()


@pytest.mark.parametrize("name", cls_sim.VOCABULARY)
def test_every_setting_has_a_type(name: str):
    public = getattr(cls_sim, name)
    if inspect.ismodule(public):
        return
    making = public.__init__ if inspect.isclass(public) else public
    if making is not object.__init__:
        settings = [p for p in inspect.signature(making).parameters.values() if p.name != "self"]
        assert not [p.name for p in settings if p.annotation is p.empty]


@pytest.fixture(scope="module")
def complaints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[int]]:
    """The lines of each user's file that pyright calls wrong, as an editor would; no code of them is run."""
    pytest.importorskip("pyright")
    folder = tmp_path_factory.mktemp("user")
    pages = {"wrong": WRONG, "right": RIGHT}
    pages["readme"] = "\n".join(re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL))
    assert "cls_sim" in pages["readme"]
    for name, page in pages.items():
        (folder / f"{name}.py").write_text(page)
    settings = {"extraPaths": [str(ROOT)], "reportUnusedExpression": False}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, "-p", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    found: dict[str, set[int]] = {name: set() for name in pages}
    for said in json.loads(done.stdout)["generalDiagnostics"]:
        found[Path(said["file"]).stem].add(said["range"]["start"]["line"] + 1)
    return found


def test_an_editor_finds_what_is_wrong(complaints: dict[str, set[int]]):
    lines = WRONG.splitlines()
    missed = [line for i, line in enumerate(lines, 1) if "# wrong" in line and i not in complaints["wrong"]]
    false = [line for i, line in enumerate(lines, 1) if "# wrong" not in line and i in complaints["wrong"]]
    assert (missed, false) == ([], [])


@pytest.mark.parametrize("name", ["right", "readme"])
def test_an_editor_does_not_complain_of_right_code(name: str, complaints: dict[str, set[int]]):
    assert complaints[name] == set()
