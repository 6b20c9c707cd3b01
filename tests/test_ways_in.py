"""Ways in: experiments by theme, the settings of an arm, one's own data, and what a notebook shows of an object."""

from __future__ import annotations

import json
import os
import re
import tomllib
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

import cls_sim as cs
from cls_sim.__main__ import main
from cls_sim.commands import listing
from cls_sim.commands.show import COMMANDS, candidates
from cls_sim.config import experiments
from tests.lives import small

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_every_experiment_is_listed_with_its_title(capsys: pytest.CaptureFixture):
    assert main(["experiments"]) == 0
    said = capsys.readouterr().out
    for file in (ROOT / "conf" / "experiment").glob("*.yaml"):
        title = yaml.safe_load(file.read_text())["title"]
        assert re.search(rf"^  {file.stem} +{re.escape(' '.join(title.split()))}$", said, re.M), file.stem
    assert main(["experiments", "dreams", "shin"]) == 0
    assert capsys.readouterr().out.count("\n  ") == 1
    assert main(["experiments", "nothing-has-this"]) == 2 and capsys.readouterr().err.count("\n") == 1


def test_themes_name_experiments_that_exist_once_each():
    told = yaml.safe_load((ROOT / "cls_sim" / "commands" / "themes.yaml").read_text())
    names = [name for listed in told.values() for name in listed]
    assert len(names) == len(set(names)) and all(
        (ROOT / "conf" / "experiment" / f"{name}.yaml").is_file() for name in names
    )


def test_experiments_of_the_user_are_listed_too(tmp_path: Path, capsys: pytest.CaptureFixture):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(
        "# @package _global_\ntitle: My own\x1b[31m\n".replace("\x1b", "?")
    )
    (tmp_path / "experiment" / "broken.yaml").write_text("a: [")
    assert main(["--config-dir", str(tmp_path), "experiments"]) == 0
    others = capsys.readouterr().out.partition(f"\n{listing.OTHERS}\n")[2]
    assert "My own" in others and "cannot be read" in others


def test_the_settings_of_an_arm_are_shown(capsys: pytest.CaptureFixture):
    assert main(["show", "experiment=digits", "arm=exact", "hippocampus.capacity=7", "seed=3"]) == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert shown == experiments.read(["experiment=digits", "hippocampus.capacity=7", "seed=3"]).arms["exact"].cfg
    assert main(["show", "experiment=digits", "arms=[cls,sleepless]"]) == 0
    first, other = capsys.readouterr().out.split("# arm: ")[1:]
    assert yaml.safe_load(first.partition("\n")[2])["hippocampus"]["capacity"] == 50
    odd = yaml.safe_load(other.partition("\n")[2])
    assert odd["plasticity"] == {"wake_rate": 0.003} and odd["rhythm"]["_target_"] == "cls_sim.Sleepless"
    for bad in (["show"], ["show", "arm=cl"], ["show", "digits"], ["show", "experiment=digit"], ["show", "--fast"]):
        code = main(bad)
        said = capsys.readouterr()
        assert code == (0 if bad == ["show"] else 2) and (said.err.count("\n") == 1 or code == 0)


@pytest.mark.parametrize("word", ["choose", "experiments", "export", "fit", "measure", "show"])
def test_every_word_after_the_command_is_in_the_help_and_completed(word: str, capsys: pytest.CaptureFixture):
    """`cls-sim mea` TAB gave nothing."""
    assert main(["--help"]) == 0
    assert re.search(rf"^cls-sim {word} ", capsys.readouterr().out, re.M)
    assert f"{word} " in candidates(f"cls-sim {word[:3]}")
    assert main([word, "--help"]) == 0 and f"cls-sim {word}" in capsys.readouterr().out


def test_the_words_are_those_that_the_command_knows():
    said = re.findall(r"args\[:1\] in \((.*)\):", (ROOT / "cls_sim" / "__main__.py").read_text())
    assert set(re.findall(r'\["(\w+)"\]', " ".join(said))) == set(COMMANDS)


def test_words_after_the_command_are_completed():
    assert candidates("cls-sim exp") == ["experiment=", "experiments ", "export "]
    assert "experiments " not in candidates("cls-sim seed=1 exp")
    for key in (
        "scenario=",
        "subjects=",
        "arms=",
        "device=",
        "precision=",
        "budget=",
        "engine=",
        "chunk=",
        "days=",
        "out=",
        "resume=",
    ):
        assert any(one.startswith(key) for one in candidates(f"cls-sim {key[:-1]}")), key


def table(folder: Path) -> list[str]:
    """The settings of a table of four classes, written to this folder."""
    rng = np.random.default_rng(0)
    y = np.arange(160) % 4
    np.save(folder / "x.npy", (rng.normal(size=(160, 6)) + 3 * np.eye(4, 6)[y]).astype(np.float32))
    np.save(folder / "y.npy", y)
    files = [f"world.x={folder}/x.npy", f"world.y={folder}/y.npy"]
    return ["world=arrays", *files, "world.contexts=2", "world.per_context=20"]


def test_own_data_have_an_experiment_of_their_own(tmp_path: Path, capsys: pytest.CaptureFixture):
    data = table(tmp_path)
    assert main(["experiment=own", *data, "size=small", "subjects=2", f"out={tmp_path}/run"]) == 0
    said = capsys.readouterr().out
    assert "Your own data" in said and "digits" not in said and "no_replay" in said
    assert {file.stem for file in (tmp_path / "run" / "figures").glob("*.png")} == {"contexts", "at_the_end"}


@pytest.mark.parametrize("method", ["er", "cls_brain"])
def test_methods_that_replay_by_day_learn_own_data(tmp_path: Path, method: str):
    out = tmp_path / "run"
    assert (
        main(["experiment=own", *table(tmp_path), f"method={method}", "budget=10kB", "subjects=2", f"out={out}"]) == 0
    )
    summary = json.loads((out / "summary.json").read_text())
    assert summary["arms"][method]["readings"]["accuracy"]["mean"] > 0.6, "chance is .25, one context .5"


class Balanced(HTMLParser):
    def __init__(self, page: str):
        super().__init__()
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, _: object):
        self.open.append(tag)

    def handle_endtag(self, tag: str):
        assert self.open.pop() == tag


def test_objects_say_what_they_are():
    life = small(subjects=3)
    said = repr(life)
    lines = said.splitlines()
    assert lines[0] == "Life" and "3 (seeds 0 to 2)" in said and "0 days old" in said and max(map(len, lines)) <= 100
    assert all(any(line.startswith(f"  {kind} ") for line in lines) for kind in cs.PART_KINDS)
    trace = cs.run(life, progress=False)
    assert repr(life) != said
    for found in (life, trace):
        page = found._repr_html_()
        assert not Balanced(page).open and "subjects" in page and "<script" not in page
    assert "Trace(" in repr(trace)
    assert type(trace)()._repr_html_().startswith("<table>")


REQUIREMENTS = [
    Requirement(line)
    for lines in [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    for line in lines
    if not line.startswith("cls-sim[")
]


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=str)
def test_every_requirement_has_an_oldest_version_that_the_pins_satisfy(requirement: Requirement):
    assert any(bound.operator == ">=" for bound in requirement.specifier), "CI installs the oldest allowed version"
    pins = dict(re.findall(r"^([\w.-]+)==([\w.]+)", (ROOT / "constraints.txt").read_text().lower(), re.M))
    if requirement.name != "sentence-transformers":  # too large for the set-up
        assert requirement.specifier.contains(pins[requirement.name])


def test_a_container_and_binder_set_up_by_what_the_project_has():
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    program, target = container["postCreateCommand"].split()
    assert program == "make" and re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.M)
    python = Version((ROOT / "binder" / "runtime.txt").read_text().strip().removeprefix("python-"))
    assert python in SpecifierSet(PROJECT["requires-python"])
    build = ROOT / "binder" / "postBuild"
    said = build.read_text()
    assert os.access(build, os.X_OK) and said.startswith("#!/bin/bash\n") and said.count("-c constraints.txt") == 2
    (extras,) = re.findall(r'-e "\.\[(.+)\]"', said)
    assert set(extras.split(",")) <= PROJECT["optional-dependencies"].keys()
