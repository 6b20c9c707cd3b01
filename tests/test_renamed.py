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
from cls_sim.config.reader import page
from cls_sim.core import renamed
from cls_sim.core.errors import ConfigError, suggest
from cls_sim.core.part import Part, Spec
from cls_sim.probes.base import Probe

ROOT = Path(__file__).resolve().parent.parent
CONF = experiments.conf_dir()
SETTINGS = [(name, old, new) for name, names in renamed.SETTINGS.items() for old, new in names.items()]
METHODS = [(base, old, new) for base, names in renamed.METHODS.items() for old, new in names.items()]
OPTIONS = [(kind, old, new) for kind, names in renamed.OPTIONS.items() for old, new in names.items()]


NAMES_0_1 = (ROOT / "tests" / "fixtures" / "names_0_1.txt").read_text().splitlines()


def rows_of(heading: str) -> list[str]:
    """The rows of the table under this heading of docs/glossary.md."""
    text = (ROOT / "docs" / "glossary.md").read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return [line for line in text.splitlines() if line.startswith("| `")]


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
    rows += list(renamed.CALLS.items())
    rows += [(f"claims.NAME.is: {old}", f"claims.NAME.kind: {new}") for old, new in renamed.CLAIM_KINDS.items()]
    rows += [(f"figures.NAME.kind: {old}", f"figures.NAME.kind: {new}") for old, new in renamed.FIGURE_KINDS.items()]
    return rows + [(f"summary.json: {old}", f"summary.json: {new}") for old, new in renamed.SUMMARY.items()]


@pytest.fixture(scope="module", autouse=True)
def every_class():
    for name in cs.VOCABULARY:
        getattr(cs, name)


def test_the_glossary_lists_what_is_refused():
    """The table of docs/glossary.md and the packaged data are the same: neither may be edited alone."""
    table = [tuple(re.findall(r"`([^`]+)`", row)) for row in rows_of("Renamed in 0.2")]
    assert set(table) == set(renamings())
    assert len(table) == len({row[0] for row in table}), "an old name stands twice"
    before = {new: old for old, new in renamed.CLASSES.items()}
    gone = [
        (f"{before.get(name, name)}.{old}", instead)
        for name, names in renamed.REMOVED.items()
        for old, instead in names.items()
    ]
    removed = [[cell.strip(" `") for cell in row.strip("|").split("|")] for row in rows_of("Removed in 0.2")]
    assert {tuple(row) for row in removed} == set(gone)


def test_every_public_name_of_version_0_1_is_accepted_or_explained():
    """tests/fixtures/names_0_1.txt has the names, settings, options and arms of version 0.1 (commit 509535c)."""
    lost = [name for line in NAMES_0_1 for name in unexplained(line)]
    assert not lost, f"neither accepted nor in docs/glossary.md: {lost}"


def test_a_lost_name_of_version_0_1_is_found():
    lines = "settings Life: world among lost", "name Lost", "option world: digits lost", "arms digits: cls lost"
    assert [unexplained(line) for line in lines] == [["Life.lost"], ["Lost"], ["world=lost"], ["digits lost"]]


def unexplained(line: str) -> list[str]:
    """The names of a line of the fixture, `kind where: names`, that are neither accepted nor in the glossary."""
    where, _, told = line.partition(": ")
    kind, where = where.split(" ", 1)
    names = told.split()
    if kind == "name":
        return [where] if where not in {*cs.VOCABULARY, *renamed.CLASSES} else []
    if kind in ("module", "methods"):
        home = getattr(cs, where)
        return [f"{where}.{n}" for n in names if n not in renamed.FIELDS.get(where, ()) and not hasattr(home, n)]
    if kind == "option":
        old = renamed.OPTIONS.get(where, {})
        return [f"{where}={n}" for n in names if n not in old and not (CONF / where / f"{n}.yaml").is_file()]
    if kind == "arms":
        if where in renamed.OPTIONS["experiment"]:
            return []  # another experiment takes its place
        cells = [re.findall(r"`([^`]+)`", row)[:2] for row in rows_of("Arms that changed in 0.2")]
        arms = page(CONF / "experiment" / f"{where}.yaml")[0]["arm"]
        return [f"{where} {n}" for n in names if n not in map(str, arms) and [where, n] not in cells]
    assert kind == "settings"
    new = renamed.CLASSES.get(where, where)
    home = getattr(cs, new)
    known = {*inspect.signature(home).parameters, *renamed.FIELDS.get(new, {})}
    known |= {*renamed.SETTINGS.get(new, {}), *renamed.REMOVED.get(new, {})}
    known |= {"at"} if inspect.isclass(home) and issubclass(home, Probe) else set()
    return [f"{where}.{n}" for n in names if n not in known]


OLD_KEYS = [f"{kind}.{old}" for kind, names in renamed.PATHS.items() for old in names] + sorted(renamed.KEYS[""])


@pytest.mark.parametrize("old", OLD_KEYS)
def test_an_old_key_among_the_overrides_is_refused_with_its_present_name(old: str):
    with pytest.raises(ConfigError) as caught:
        experiments.read(["experiment=digits", f"{old}=1"])
    assert (caught.value.key, caught.value.reason) == (old, "was renamed in 0.2")
    assert caught.value.remedy == f"write {renamed.now(old)}"


PROBES = [found[1] for line in NAMES_0_1 if (found := re.match(r"settings (?!Probe:)(\w+):.*\bat\b", line))]


@pytest.mark.parametrize("old", PROBES)
def test_moments_given_as_a_setting_are_refused(old: str):
    cls = getattr(cs, renamed.CLASSES.get(old, old))
    name = cls.__name__
    with pytest.raises(ConfigError, match=rf"^at: is no setting of {name} since 0\.2; write {name}\(…\)\.at\(…\)$"):
        cls.__init__(object.__new__(cls), at="day.end")


def test_moments_given_to_the_constructor_of_ones_own_probe_are_refused():
    class Mine(Probe):
        def measure(self, life: Any):
            raise NotImplementedError

    with pytest.raises(ConfigError, match=r"write Mine\(…\)\.at\(…\)$"):
        Mine(at="day.end")  # pyright: ignore[reportCallIssue]


@pytest.mark.parametrize("name, old", [(name, old) for name, names in renamed.REMOVED.items() for old in names])
def test_a_removed_setting_is_refused(name: str, old: str):
    with pytest.raises(ConfigError, match=rf"^{old}: was removed in 0\.2; {renamed.REMOVED[name][old]}$"):
        public(name).__init__(None, **{old: 1})


def test_old_attributes_of_a_life_and_of_the_figures_are_refused():
    life = object.__new__(cs.Life)
    for owner, name in ((life, "Life"), (cs.figures, "figures")):
        for old, new in renamed.FIELDS[name].items():
            with pytest.raises(AttributeError, match=rf"^{name}\.{old} was renamed in 0\.2; write {name}\.{new}$"):
                getattr(owner, old)
            assert hasattr(owner, new) or new == "specs"
        unknown = "lost"
        with pytest.raises(AttributeError, match=f"^{name} has no attribute '{unknown}'"):
            getattr(owner, unknown)


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
