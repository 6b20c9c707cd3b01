"""Names of version 0.1: `docs/glossary.md` lists each with its new name, the new one exists, the old one is refused."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import cls_sim as cs
from cls_sim.claims import KINDS
from cls_sim.config import experiments
from cls_sim.core import renamed
from cls_sim.core.errors import ConfigError, suggest
from cls_sim.core.part import Part, Spec

ROOT = Path(__file__).resolve().parent.parent
CONF = experiments.conf_dir()
SETTINGS = [(name, old, new) for name, names in renamed.SETTINGS.items() for old, new in names.items()]
METHODS = [(base, old, new) for base, names in renamed.METHODS.items() for old, new in names.items()]
OPTIONS = [(kind, old, new) for kind, names in renamed.OPTIONS.items() for old, new in names.items()]


def public(name: str) -> Any:
    """A class of the package, by its name: public, or an internal base class."""
    if name in cs.VOCABULARY:
        return getattr(cs, name)
    pending = [Part, Spec]
    while pending:
        found = pending.pop()
        if found.__name__ == name:
            return found
        pending += found.__subclasses__()
    raise AssertionError(f"there is no class {name}")


def renamings() -> list[tuple[str, str]]:
    """Every old name and its new one, as docs/glossary.md lists them."""
    rows = [("import cls_sim as cls", "import cls_sim as cs")]
    rows += [(f"cls_sim.{old}", f"cls_sim.{new}") for old, new in renamed.CLASSES.items()]
    before = {new: old for old, new in renamed.CLASSES.items()}
    for name, names in renamed.SETTINGS.items():
        rows += [(f"{before.get(name, name)}.{old}", f"{name}.{new}") for old, new in names.items()]
    for name, names in (*renamed.METHODS.items(), *renamed.FIELDS.items()):
        rows += [(f"{before.get(name, name)}.{old}", f"{name}.{new}") for old, new in names.items()]
    for kind, names in renamed.OPTIONS.items():
        rows += [(f"{kind}={old}", f"{kind}={new}") for old, new in names.items()]
    below = {"": "", "arm": "arm.NAME.", "claims": "claims.NAME.", "parts": "parts.NAME."}
    for place, names in renamed.KEYS.items():
        new_place = below.get(place, f"{place}.")
        old_place = new_place.replace("ablation", "off")
        rows += [(old_place + old, new_place + new) for old, new in names.items()]
    rows += [(f"claims.NAME.is: {old}", f"claims.NAME.kind: {new}") for old, new in renamed.CLAIM_KINDS.items()]
    rows += [(f"figures.NAME.kind: {old}", f"figures.NAME.kind: {new}") for old, new in renamed.FIGURE_KINDS.items()]
    return rows + [(f"summary.json: {old}", f"summary.json: {new}") for old, new in renamed.SUMMARY.items()]


@pytest.fixture(scope="module", autouse=True)
def every_class():
    for name in cs.VOCABULARY:
        getattr(cs, name)


def test_the_glossary_lists_what_is_refused():
    """The table of docs/glossary.md and the packaged data are the same: neither may be edited alone."""
    lines = (ROOT / "docs" / "glossary.md").read_text().splitlines()
    table = [re.findall(r"`([^`]+)`", line) for line in lines if line.startswith("| `")]
    assert {tuple(row) for row in table} == set(renamings())
    assert len(table) == len({old for old, _ in table}), "an old name stands twice"


@pytest.mark.parametrize("old, new", renamed.CLASSES.items())
def test_an_old_class_is_refused_and_the_new_one_exists(old: str, new: str):
    assert getattr(cs, new) is not None and new not in renamed.CLASSES
    with pytest.raises(AttributeError, match=rf"cls_sim\.{old} was renamed in 0\.2; write cls_sim\.{new}$"):
        getattr(cs, old)
    assert new in suggest(old, cs.VOCABULARY) or old == "ROOMS"


@pytest.mark.parametrize("name, old, new", SETTINGS)
def test_an_old_setting_is_refused_and_the_new_one_exists(name: str, old: str, new: str):
    cls = public(name)
    parameters = inspect.signature(cls).parameters
    assert new in parameters and old not in parameters
    with pytest.raises(ConfigError, match=rf"^{old}: was renamed in 0\.2; write {new}$"):
        cls.__init__(None, **{old: 1})


@pytest.mark.parametrize("base, old, new", METHODS)
def test_an_old_method_is_refused_in_a_class_of_ones_own(base: str, old: str, new: str):
    cls = public(base)
    assert hasattr(cls, new) and not hasattr(cls, old)
    with pytest.raises(ConfigError, match=rf"^Mine\.{old}: was renamed in 0\.2; write {new}$"):
        type("Mine", (cls,), {old: lambda self, *_: None})


@pytest.mark.parametrize("kind, old, new", OPTIONS)
def test_an_old_option_is_refused_and_the_new_one_exists(kind: str, old: str, new: str):
    assert (CONF / kind / f"{new}.yaml").is_file() and not (CONF / kind / f"{old}.yaml").exists()
    with pytest.raises(ConfigError, match=rf"^{kind}: there is no '{old}'; write {new} \(renamed in 0\.2\)$"):
        experiments.read([f"{kind}={old}"])


@pytest.mark.parametrize("old, new", renamed.CLAIM_KINDS.items())
def test_an_old_kind_of_claim_is_refused(old: str, new: str):
    assert new in KINDS and old not in KINDS and new in suggest(old, KINDS)


@pytest.mark.parametrize(
    "overrides, key, new",
    [
        (["world.told=false"], "world.told", "world.boundaries_known"),
        (["rhythm.wake=3"], "rhythm.wake", "rhythm.experiences_per_day"),
        (["+hippocampus.keep=ring"], "hippocampus.keep", "hippocampus.eviction"),
        (["plasticity=exponential", "+plasticity.wake=0"], "plasticity.wake", "plasticity.wake_rate"),
        (["consolidation.rule.beta1=0"], "consolidation.rule.beta1", "consolidation.optimizer.beta1"),
        (["replay=augmented", "replay.turn=3"], "replay.turn", "replay.rotation"),
        (["arm.cls=['rhythm.night=3']"], "rhythm.night", "rhythm.steps_per_night"),
        (["+off={do: [], fails: []}"], "off", "ablation"),
    ],
)
def test_an_old_key_on_the_command_line_is_refused(overrides: list[str], key: str, new: str):
    with pytest.raises(ConfigError) as caught:
        experiments.make_life(experiments.read(overrides).arms["cls"].cfg, 1)
    assert str(caught.value).endswith(f"{key}: was renamed in 0.2; write {new}")


@pytest.mark.parametrize(
    "content, key, new",
    [
        ("world: {told: false}", "world.told", "world.boundaries_known"),
        ("rhythm: {_target_: cls_sim.Nights, wake: 3}", "rhythm.wake", "rhythm.experiences_per_day"),
        ("arm: {a: [], b: {from: a, at: 2d, do: []}}", "arm.b.from", "arm.b.branch_from"),
        ("arm: {a: {size: paper, do: []}}", "arm.a.do", "arm.a.overrides"),
        ("arm: {a: []}\nclaims: {c: {is: at_most, arm: a, value: 1}}", "claims.c.is", "claims.c.kind"),
        (
            "arm: {a: []}\nclaims: {c: {kind: at_most, arm: a, value: 1, says: x}}",
            "claims.c.says",
            "claims.c.statement",
        ),
        ('arm: {a: []}\n"off": {do: [x=1], fails: [c]}', "off", "ablation"),
        ("arm: {a: []}\nablation: {do: [x=1], must_fail: [c]}", "ablation.do", "ablation.overrides"),
        ("arm: {a: []}\nparts: {p: {arms: [a], do: [x=1]}}", "parts.p.do", "parts.p.overrides"),
    ],
)
def test_an_old_key_in_a_file_of_ones_own_is_refused(content: str, key: str, new: str, tmp_path: Path):
    """Before anything is run, wherever in the file it stands."""
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(f"# @package _global_\n{content}\n")
    with pytest.raises(ConfigError) as caught:
        experiments.read(["experiment=mine"], [str(tmp_path)])
    assert str(caught.value).endswith(f"{key}: was renamed in 0.2; write {new}")


def test_an_old_class_in_a_configuration_is_refused():
    with pytest.raises(ConfigError, match=r"write QuadraticPenalty \(renamed in 0\.2\)$"):
        experiments.make("x", {"_target_": "cls_sim.Pull"})


def test_an_old_field_of_a_spec_is_refused():
    for old, new in renamed.FIELDS["Spec"].items():
        with pytest.raises(AttributeError, match=rf"^Spec\.{old} was renamed in 0\.2; write Spec\.{new}$"):
            getattr(Spec(), old)


def test_a_class_of_ones_own_may_have_a_setting_of_that_name():
    """What is refused is an old name of ours, not the word."""

    class Mine(cs.Nights):
        def __init__(self, *, wake: int):
            super().__init__(experiences_per_day=wake)

    assert Mine(wake=3).experiences_per_day == 3
