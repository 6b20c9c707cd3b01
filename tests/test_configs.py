"""Configurations: every file composes and builds, mistakes are named in one line, nothing but parts is made."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cls_sim as cs
from cls_sim.commands.campaign import plan
from cls_sim.config import composer, experiments
from cls_sim.config.reader import page
from cls_sim.core.errors import ConfigError

CONF = experiments.conf_dir()
EXPERIMENTS = sorted(file.stem for file in (CONF / "experiment").glob("*.yaml"))
METHODS = sorted(file.stem for file in (CONF / "method").glob("*.yaml"))
TENANTS = [
    (part_kind, file.stem) for part_kind in experiments.PART_KINDS for file in sorted((CONF / part_kind).glob("*.yaml"))
]
NEEDS = {"mnist": "mnist", "split_mnist": "mnist"}  # experiments and worlds that need a data set


MADE: set[str] = set()


def make_once(part_kind: str, cfg: dict[str, Any], **how: Any) -> None:
    """Make a part, unless one of the very same configuration was made before: most arms differ in one part."""
    asked = json.dumps([part_kind, cfg], sort_keys=True)
    if asked not in MADE:
        experiments.make(part_kind, cfg, **how)
        MADE.add(asked)


@pytest.mark.parametrize("size", ["paper", "small"])
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_composes_and_every_arm_is_made(name: str, size: str):
    experiment = experiments.read([f"experiment={name}", f"size={size}"])
    assert experiment.arms
    for arm in experiment.arms.values():
        for part_kind in experiments.PART_KINDS:
            make_once(part_kind, arm.cfg[part_kind], wrapping=True)
        for probe, cfg in arm.cfg["probes"].items():
            if cfg:
                make_once(f"probes.{probe}", cfg, kind="Probe")


@pytest.mark.parametrize("part_kind, name", TENANTS)
def test_every_tenant_is_made_from_its_file(part_kind: str, name: str):
    if name in ("arrays", "features", "module"):
        with pytest.raises(ConfigError, match=r"world\.[xy]|neocortex\.module"):
            experiments.read([f"{part_kind}={name}", "arms=[cls]"])
        return
    if name == "queries":
        with pytest.raises(ConfigError, match=r"world\.queries"):
            experiments.make(part_kind, experiments.read([f"{part_kind}={name}", "arms=[cls]"]).cfg[part_kind])
        return
    experiments.make(part_kind, experiments.read([f"{part_kind}={name}", "arms=[cls]"]).cfg[part_kind], wrapping=True)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_composes(name: str):
    experiment = experiments.read(["experiment=split_mnist", f"method={name}"])
    assert list(experiment.arms) == [name]


LATER = {  # settings that are newer than stored results of their world or memory, which would all be another run
    *(("Associations", "foils"), ("Maze", "features"), ("Follows", "steps"), ("Follows", "close")),
    *(("Copies", name) for name in ("awake", "early", "early_decline")),
}


def test_every_public_tenant_has_a_file_and_the_reverse():
    """A class that no file names cannot be chosen; its settings in the file are those of its signature."""
    import inspect

    from omegaconf import OmegaConf

    for part_kind in experiments.PART_KINDS:
        for file in (CONF / part_kind).glob("*.yaml"):
            cfg = OmegaConf.to_container(OmegaConf.load(file))
            assert isinstance(cfg, dict)
            cfg.pop("defaults", None)  # parts inside this part, from their own files
            cls_ = getattr(cs, str(cfg.pop("_target_")).split(".")[-1])
            parameters = inspect.signature(cls_).parameters
            assert set(cfg) <= set(parameters), file
            shown = {n for n, p in parameters.items() if p.kind is p.KEYWORD_ONLY and (cls_.__name__, n) not in LATER}
            assert not shown - set(cfg), f"{file} does not show {shown - set(cfg)}"


@pytest.mark.parametrize(
    "override, key, hint",
    [
        ("subjcts=3", "subjcts", "subjects"),
        ("+subjcts=3", "subjcts", "subjects"),
        ("hippocampus.capcity=3", "hippocampus.capcity", "capacity"),
        ("+hippocampus.capcity=3", "hippocampus.capcity", "capacity"),
        ("hippocampus=stor", "hippocampus", "store"),
        ("experiment=digts", "experiment", "digits"),
        ("hippocampus.capacity=abc", "hippocampus.capacity", "whole number"),
        ("hippocampus.capacity=-1", "hippocampus.capacity", "whole number"),
        ("hippocampus.capacity=true", "hippocampus.capacity", "whole number"),
        ("plasticity.night_rate=nan", "plasticity", ""),
        ("subjects=0", "subjects", "whole number"),
        ("subjects=1.5", "subjects", "whole number"),
        ("size=tiny", "size", "small"),
        ("device=tpu", "device", "cuda"),
        ("arms=[clss]", "arms", "cls"),
        ("scenario=class", "scenario", ""),
        ("label_noise=.3", "label_noise", ""),
        ("days=-1", "days", ""),
        ("hydra.run.dir=/", "hydra.run.dir", ""),
        ("hippocampus._target_=os.system", "hippocampus._target_", "vocabulary"),
        ("replay._target_=builtins.open", "replay._target_", "vocabulary"),
        ("world.scenario=clas", "world.scenario", "class"),
        ("hippocampus=lesion", "hippocampus", "{branch_from: ARM, branch_at: 12d, overrides: [hippocampus="),
        ("replay=disrupted", "replay", "give policy"),
        ("gibberish", "gibberish", "key=value"),
    ],
)
def test_mistakes_are_named_in_one_line(override: str, key: str, hint: str):
    with pytest.raises(ConfigError) as caught:
        experiment = experiments.read([override])
        experiments.make_life(experiment.arms["cls"].cfg, 1)
    line = str(caught.value)
    assert key in line and hint in line and "\n" not in line


@settings(max_examples=40, deadline=None)
@given(st.text(min_size=1, max_size=20))
def test_whatever_is_typed_is_read_or_refused(text: str):
    try:
        experiments.read([text])
    except ConfigError as refused:
        assert "\n" not in " ".join(str(refused).split())


@pytest.mark.parametrize("experiment", ["digits", "tadros_2022_patches"])
def test_a_number_as_plasticity_is_a_constant_rate(experiment: str):
    """It replaces the schedule of the experiment's file, and an arm's own schedule wins, as over a named one."""
    named = experiments.read([f"experiment={experiment}", "plasticity=constant", "plasticity.rate=0.01"])
    for typed in ("plasticity=0.01", "plasticity=1e-2"):
        arms = experiments.read([f"experiment={experiment}", typed]).arms
        assert {name: arm.cfg for name, arm in arms.items()} == {name: arm.cfg for name, arm in named.arms.items()}
    for wrong in ("plasticity=true", "plasticity=-0.1", "plasticity=[0.1]"):
        with pytest.raises(ConfigError, match=r"^plasticity"):
            experiments.make_life(next(iter(experiments.read([wrong]).arms.values())).cfg, 1)


def test_an_arm_that_swaps_a_room_ignores_settings_of_that_room():
    experiment = experiments.read(["hippocampus.capacity=33"])
    assert experiment.arms["cls"].cfg["hippocampus"]["capacity"] == 33
    assert "capacity" not in experiment.arms["sleepless"].cfg["hippocampus"]


def test_yours_win_over_small_and_the_arm_wins_over_yours():
    experiment = experiments.read(["size=small", "subjects=7", "rhythm.steps_per_night=9"])
    assert experiment.cfg["subjects"] == 7
    assert experiment.arms["cls"].cfg["rhythm"]["steps_per_night"] == 9


def test_build_gives_a_life_as_a_notebook_would():
    life = cs.build("experiment=digits", "size=small", "subjects=2")
    assert life.spec.subjects == 2 and isinstance(life.hippocampus, cs.Hippocampus)
    sleepless = cs.build("experiment=digits", "size=small", "subjects=2", "arms=[sleepless]")
    assert isinstance(sleepless.rhythm, cs.Sleepless)


def test_a_folder_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    (tmp_path / "conf" / "experiment" / "mine.yaml").write_text("# @package _global_\nsubjects: 3\narm: {only: []}\n")
    with pytest.raises(ConfigError, match="mine"):
        experiments.read(["experiment=mine"])
    assert experiments.read(["experiment=mine"], [str(tmp_path / "conf")]).cfg["subjects"] == 3
    monkeypatch.chdir(tmp_path)
    assert list(experiments.read(["experiment=mine"]).arms) == ["only"]


def test_a_file_that_is_no_yaml_is_named_with_the_line_to_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """In a folder of the user's, and in that of the program: whoever reads it."""
    (tmp_path / "experiment").mkdir()
    file = tmp_path / "experiment" / "torn.yaml"
    file.write_text("title: x\narm:\n  none: [method=none\nsubjects: 2\n")
    told = rf"^{re.escape(str(file))}: is not valid YAML \(line 4: .+\); correct the file$"
    with pytest.raises(ConfigError, match=told):
        experiments.read(["experiment=torn"], [str(tmp_path)])
    monkeypatch.setattr(experiments, "conf_dir", lambda: tmp_path)
    monkeypatch.setattr(composer, "conf_dir", lambda: tmp_path)
    with pytest.raises(ConfigError, match=told):
        plan.read("torn")


def test_a_class_from_outside_must_be_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "my_parts.py").write_text("import cls_sim\nclass Mine(cls_sim.Replay):\n    def draw(self, *_): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match="--allow"):
        experiments.make("replay", {"_target_": "my_parts.Mine"})
    monkeypatch.setenv("CLS_SIM_ALLOW", "my_parts")
    assert type(experiments.make("replay", {"_target_": "my_parts.Mine"})).__name__ == "Mine"


def test_an_arm_may_be_for_some_scenarios_or_sizes_only():
    table = "experiment=vandeven_2022_table"
    assert {"separate", "dgr"} <= set(experiments.read([table, "scenario=task"]).arms)
    small = set(experiments.read([table, "size=small"]).arms)
    assert "icarl" in small and small.isdisjoint({"separate", "dgr"})
    assert list(experiments.read([table, "size=small", "arms=[dgr]"]).arms) == ["dgr"]
    with pytest.raises(ConfigError, match="scenario=task"):
        experiments.read([table, "arms=[separate]"])


def test_a_method_s_preset_is_that_of_the_scenario():
    strengths = {}
    for scenario in ("task", "class"):
        arms = experiments.read(["experiment=split_mnist", "method=ewc", f"scenario={scenario}"]).arms
        strengths[scenario] = arms["ewc"].cfg["consolidation"]["penalty"]["strength"]
    assert strengths == {"task": 1e5, "class": 1e9}


def test_threads_may_compose_at_once():
    with ThreadPoolExecutor(4) as pool:
        found = list(
            pool.map(lambda n: experiments.read(["experiment=digits", f"subjects={n}"]).cfg["subjects"], range(1, 9))
        )
    assert found == list(range(1, 9))


def test_a_number_for_each_subject_is_its_own_wherever_its_chunk_begins():
    cfg = experiments.read(["subjects=3", "seed=5", "plasticity.night_rate=[0.1,0.2,0.3]"]).arms["cls"].cfg
    for first, subjects in ((0, 3), (0, 1), (1, 2), (2, 1)):
        life = experiments.make_life(cfg, subjects, 5 + first)
        life.clock.asleep[:] = True
        assert life.plasticity.rate(life.clock).tolist() == [0.1, 0.2, 0.3][first : first + subjects]
    with pytest.raises(ConfigError, match=r"^plasticity\.night_rate: has 2 numbers for 3 subjects"):
        experiments.make_life(experiments.read(["subjects=3", "plasticity.night_rate=[0.1,0.2]"]).arms["cls"].cfg, 1)


def test_a_setting_of_another_tenant_is_told_with_those_that_have_it():
    with pytest.raises(
        ConfigError,
        match=r"^hippocampus\.fade: is not a setting of .*; these options have it: .*sparse, .*trisynaptic$",
    ):
        experiments.read(["hippocampus=store", "hippocampus.fade=0.1"])
    with pytest.raises(ConfigError, match=r"did you mean hippocampus\.capacity\?$"):
        experiments.read(["hippocampus.capcity=3"])


def test_a_methods_own_settings_can_be_set_beside_it():
    mine = ["replay.share=0.25", "hippocampus.capacity=77", "consolidation.objective.temperature=3"]
    cfg = experiments.read(["experiment=split_mnist", "size=small", *mine[:2], "method=er"]).arms["er"].cfg
    assert cfg["replay"]["share"] == 0.25 and cfg["hippocampus"]["capacity"] == 77
    dreaming = experiments.read([mine[2], "method=bir", "experiment=split_mnist"]).cfg
    assert dreaming["consolidation"]["objective"]["temperature"] == 3
    with pytest.raises(ConfigError, match=r"replay\.shore"):
        experiments.read(["experiment=split_mnist", "method=er", "replay.shore=1"])
    with pytest.raises(ConfigError, match=r"hippocampus\.capcity"):
        experiments.read(["size=paper", "hippocampus.capcity=3"])


def test_what_a_part_inside_refuses_is_told_under_its_own_name():
    wrong = ["hippocampus=hopfield", "subjects=2", "hippocampus.ca3.beta=[1,2,3]"]
    with pytest.raises(ConfigError, match=r"^hippocampus\.ca3\.beta: "):
        experiments.make_life(experiments.read(wrong).arms["cls"].cfg)
    with pytest.raises(ConfigError, match=r"^hippocampus\.hippocampus\.code: "):
        experiments.make_life(experiments.read(["hippocampus=operator"]).arms["cls"].cfg)


# -- arms that inherit ------------------------------------------------------------------------------------


ARMS = """# @package _global_
arm:
  base: [hippocampus.capacity=7, replay.batch=9]
  child: {inherits: base, overrides: [replay.batch=11]}
  grandchild: {size: paper, inherits: child, overrides: [hippocampus.capacity=8]}
  swapping: {inherits: base, overrides: [replay=interleaved]}
  branch: {branch_from: child, branch_at: 3d, overrides: [rhythm.experiences_per_day=5]}
  branch_of_branch: {branch_from: branch, branch_at: 4d, overrides: [rhythm.steps_per_night=3]}
  late: {branch_from: base, branch_at: end, keep_parts: [hippocampus], inherits: grandchild}
"""


def mine(tmp_path: Path, content: str, *overrides: str) -> experiments.Experiment:
    (tmp_path / "experiment").mkdir(exist_ok=True)
    (tmp_path / "experiment" / "mine.yaml").write_text(content)
    return experiments.read(["experiment=mine", *overrides], [str(tmp_path)])


def test_an_arm_inherits_the_overrides_of_another(tmp_path: Path):
    arms = mine(tmp_path, ARMS).arms
    settings = {n: (a.cfg["hippocampus"]["capacity"], a.cfg["replay"].get("batch")) for n, a in arms.items()}
    assert settings["base"] == (7, 9) and settings["child"] == (7, 11) and settings["grandchild"] == (8, 11)
    assert settings["swapping"] == (7, None), "settings of a part that the arm swaps are not inherited"
    assert settings["branch"] == (7, 11) and arms["branch"].origin == "child" and arms["branch"].branch_at == 3.0
    assert settings["branch_of_branch"] == (7, 11), "a branch is what its origin is, but for its own overrides"
    assert arms["branch_of_branch"].cfg["rhythm"]["experiences_per_day"] == 5
    assert settings["late"] == (8, 11) and arms["late"].keep_parts == ("hippocampus",)
    assert "grandchild" not in mine(tmp_path, ARMS, "size=small").arms, "its size is not inherited, nor lost"
    only = mine(tmp_path, ARMS, "arms=[branch_of_branch]").arms
    assert list(only) == ["child", "branch", "branch_of_branch"], "origins come along, parents need not"


@pytest.mark.parametrize(
    "arms, told",
    [
        ("{a: {inherits: b}, b: {inherits: a}}", "a -> b -> a is a circle"),
        ("{a: {inherits: a}}", "a -> a is a circle"),
        ("{a: {branch_from: b}, b: {inherits: a}}", "circle"),
        ("{a: {inherits: bb}, b: []}", "did you mean b"),
        ("{a: {inherits: [b]}, b: []}", "there is no arm"),
        ("{a: {inherit: b}, b: []}", "did you mean inherits"),
        ("{a: {branch_from: b}, b: []}", "name an earlier arm"),
        ("{a: [], b: {branch_at: 3d}}", "needs branch_from"),
        ("{a: [], b: {size: tiny}}", "small"),
        ("{a: 3}", "neither a list"),
    ],
)
def test_what_is_no_arm_is_refused_by_its_key(tmp_path: Path, arms: str, told: str):
    with pytest.raises(ConfigError, match=re.escape(told)) as caught:
        mine(tmp_path, f"# @package _global_\narm: {arms}\n")
    assert caught.value.key.startswith("arm.")


# -- settings beside parts that are swapped ---------------------------------------------------------------------


def test_settings_of_a_file_give_way_to_the_part_that_an_arm_brings(tmp_path: Path):
    """`share` and `policy.batch` of the file were kept inside AwakeAsleep, which has neither, and then refused."""
    content = (
        "# @package _global_\n"
        "defaults: [override /replay: interleaved, override /hippocampus: store]\n"
        "replay: {share: 0.5, policy: {batch: 10}}\n"
        "arm: {plain: [], brain: [method=cls_brain], altered: [replay=augmented_awake], night: [replay=uniform]}\n"
    )
    arms = mine(tmp_path, content).arms
    for arm in arms.values():
        experiments.make("replay", arm.cfg["replay"])
    assert arms["plain"].cfg["replay"]["policy"]["batch"] == 10
    assert arms["altered"].cfg["replay"]["policy"]["share"] == 0.5
    assert "share" not in arms["brain"].cfg["replay"]
    assert "batch" not in arms["brain"].cfg["replay"]["policy"]


def test_a_part_may_inherit_from_another_file(tmp_path: Path):
    """What `defaults` of a user's own file brings was dropped from the settings."""
    (tmp_path / "hippocampus").mkdir()
    (tmp_path / "hippocampus" / "large.yaml").write_text("defaults: [sparse]\nfade: 0.125\n")
    plain, large = (
        experiments.read([f"hippocampus={name}", "arms=[cls]"], [str(tmp_path)]).arms["cls"].cfg["hippocampus"]
        for name in ("sparse", "large")
    )
    assert large == plain | {"fade": 0.125}
    (tmp_path / "experiment").mkdir()
    own = "# @package _global_\ndefaults: [digits]\nsubjects: 3\n"
    (tmp_path / "experiment" / "mine.yaml").write_text(own)
    experiment = experiments.read(["experiment=mine"], [str(tmp_path)])
    assert experiment.cfg["subjects"] == 3 and "sleepless" in experiment.arms


@pytest.mark.parametrize(
    "override, ways",
    [
        ("seed=1,2", ["add -m"]),
        ("label_noise=0,1", ["add -m", "label_noise=0.1"]),
        ("arms=cls,sleepless", ["add -m", "arms=[cls,sleepless]"]),
        ("plasticity.night_rate=0,1", ["add -m", "plasticity.night_rate=[0,1]", "plasticity.night_rate=0.1"]),
    ],
)
def test_several_values_are_told_with_what_may_have_been_meant(override: str, ways: list[str]):
    with pytest.raises(ConfigError, match="has several values") as caught:
        experiments.read([override])
    assert all(way in caught.value.remedy for way in ways)
    assert ("0.1" in caught.value.remedy) == any("0.1" in way for way in ways)


def test_a_key_at_the_top_may_refer_to_another():
    """`seed=${subjects}` was refused with "choose one of its options"."""
    assert experiments.read(["seed=${subjects}", "subjects=5"]).cfg["seed"] == 5
    with pytest.raises(ConfigError, match=r"^hippocampus: "):
        experiments.read(["hippocampus=${subjects}"])


def test_a_setting_that_no_arm_reads_is_refused():
    for one in ("hippocampus.capacity=1e1", "rhythm.steps_per_night=3"):
        with pytest.raises(ConfigError, match=r"is not read by any of the arms sleepless"):
            experiments.read(["arms=[sleepless]", one])
        assert experiments.read(["arms=[cls,sleepless]", one]).arms


def test_a_setting_that_the_arm_sets_itself_is_refused():
    """`experiment=own arms=[replay] plasticity.wake_rate=0.5` lived with the arm's own 0.0 and said nothing."""
    for reading in (experiments.read, lambda overrides: experiments.build(*overrides)):
        with pytest.raises(ConfigError, match=r"plasticity.wake_rate: is not read by any of the arms replay"):
            reading(["experiment=own", "arms=[replay]", "plasticity.wake_rate=0.5"])
    assert experiments.read(["experiment=own", "arms=[replay,mixed]", "plasticity.wake_rate=0.5"]).arms


def test_a_method_without_a_name_is_told_what_is_missing(tmp_path: Path):
    (tmp_path / "method").mkdir()
    (tmp_path / "method" / "mine.yaml").write_text("do: [replay=uniform]\n")
    with pytest.raises(ConfigError, match=r"^method\.name: is missing; add name: "):
        experiments.read(["method=mine"], [str(tmp_path)])


def test_only_the_worlds_that_read_files_have_settings_named_like_its_paths():
    """What is typed for these keys is a path, letter by letter, in every world."""
    import inspect

    from cls_sim.config import validation

    for file in (CONF / "world").glob("*.yaml"):
        settings = inspect.signature(getattr(cs, page(file)[0]["_target_"].split(".")[-1])).parameters
        named = {name for name in settings if validation.PATH.fullmatch(f"world.{name}")}
        paths = {"x", "y", "context", "x_test", "y_test", "context_test"}
        assert named == (paths if file.stem in ("arrays", "features") else set())
