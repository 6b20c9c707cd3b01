"""A thousand ways to get a configuration wrong: each is refused in one line, and leaves nothing behind.

A good configuration is broken in one place, in a way that is wrong by construction: the table below says of every
setting what it takes, and the breakers know what that kind of setting cannot take.  A few of them in `make test`, a
tenth in `make claims`, all 1000 (and 200 good ones) in `make faults`.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faults import few_or_many

import cls_sim as cs
from cls_sim import __main__ as door
from cls_sim.config import experiments
from cls_sim.storage import run_directory


class Kind:
    """What a setting takes: a good value from `good`, and values that it cannot take."""

    def __init__(self, good: Callable[[random.Random], str], *bad: str, null: bool = False, several: bool = False):
        self.good = good
        everywhere = ["{a: 1}", "[[1]]", "[null]", "[abc]", "'\u00bd'", "[{a: [1]}]", "1=2", "'1;2'", "'${nowhere}'"]
        self.bad = [*bad, *everywhere, *([] if null else ["null", ""]), *([] if several else ["[1]", "[1,2]", "[]"])]


WORDS = (
    "abc",
    "nan",
    "inf",
    "-inf",
    "true",
    "on",
    "yes",
    "'1'",
    "0x10",
    "1:30",
    "010",
    "1e999",
    "1,5",
    "1.2.3",
    "--1",
    "٣",
)


def whole(low: int, high: int, **how: bool) -> Kind:
    huge = (str(10**18), str(10**30), "1" + "0" * 400, str(2**31))
    bad = (str(low - 1), "-7", "2.5", "3.0", "1e3", *huge, *WORDS)
    return Kind(lambda r: str(r.randint(low, high)), *bad, **how)


def real(low: float, high: float, least: float = 0.0, most: float | None = None, above: bool = False) -> Kind:
    bad = [str(least - 0.001), "-1e300", "-5", *WORDS] + ([str(least)] if above else [])
    bad += [] if most is None else [str(most + 0.001), "1e300", str(most + 7)]
    return Kind(lambda r: f"{r.uniform(low, high):.4f}", *bad)


def rates(low: float, high: float, above: bool = False) -> Kind:
    """One number, or one a subject: lists of one number are good, of several are not for one subject."""
    kind = real(low, high, above=above)
    kind.bad = [v for v in kind.bad if v != "[1]"] + ["[0.1,-1]", "[nan]", "[0.1,0.2,0.3]", "[true]"]
    return kind


def choice(*words: str) -> Kind:
    bad = [
        *(w[:-1] for w in words),
        *(w.upper() for w in words),
        *(w + "s" for w in words),
        "1",
        "true",
        "no-such-word",
    ]
    return Kind(lambda r: r.choice(words), *(b for b in bad if b not in words))


FLAG = Kind(lambda r: r.choice(("true", "false")), "yes", "no", "on", "off", "1", "0", "maybe", "'true'", "1.0", "-1")
WIDTHS = Kind(
    lambda r: r.choice(("[]", "[8]", "[16,8]", "[4,4,4]")),
    *("5", "[0]", "[-1]", "[8,1.5]", "[true]", "[8,null]", "abc", "true", "[nan]", "[10000000000000]", "'[8]'", "1.5"),
    several=True,
)

TOP = {
    "subjects": whole(1, 4),
    "seed": Kind(lambda r: str(r.randint(0, 2000)), "-1", "1.5", str(2**62 + 1), str(10**30), *WORDS),
    "chunk": Kind(lambda r: str(r.randint(1, 4)), "0", "-1", "1.5", *WORDS, null=True),
    "workers": Kind(lambda r: str(r.randint(1, 4)), "0", "-1", "1.5", "100000", *WORDS),
    "days": Kind(lambda r: str(r.randint(0, 9)), "-1", "-0.1", "1e300", *WORDS, null=True),
    "size": choice("paper", "small"),
    "device": Kind(lambda r: "cpu", "tpu", "CPU", "cuda:x", "cpu:0:0", "1", "true", "'cpu '"),
    "budget": Kind(lambda r: "null", "-1", "1.5", "kB", "1KiB", "9,2kB", "true", "abc", null=True),
    "precision": Kind(lambda r: "float32", "float16", "BF16", "16", "true"),
    "engine": Kind(lambda r: "local", "Local", "slurm", "1", "true"),
    "debug": FLAG,
    "arms": Kind(
        lambda r: "[cls]", "nope", "[nope]", "[cls,nope]", "[cls,null]", "5", "true", "Cls", "[cls,[cls]]", null=True
    ),
    "out": Kind(lambda r: "null", "5", "true", "1.5", "[a]", "'a\tb\nc'", "x" * 4000, null=True),
    "small": Kind(lambda r: "[subjects=2]", "5", "abc", "true", several=True),
    "probes": Kind(lambda r: "classification", "5", "abc", "true", "[1]", "Classification"),
    "world": Kind(lambda r: "digits", "digit", "sparse", "5", "true", "Digits"),
    "hippocampus": Kind(lambda r: "sparse", "spares", "nights", "5", "true", "Sparse"),
    "rhythm": Kind(lambda r: "nights", "night", "store", "5", "true"),
    "experiment": Kind(lambda r: "digits", "digts", "Digits", "5", "true", "experiment/digits", "digits.yml"),
}
DIGITS = {
    "world.scenario": choice("class", "domain", "task"),
    "world.contexts": Kind(lambda r: r.choice(("1", "2", "5")), "0", "-1", "3", "4", "7", "20", "2.0", *WORDS),
    "world.shuffle_classes": FLAG,
    "world.order": choice("sharp", "fuzzy", "iid", "cumulative"),
    "world.per_context": whole(1, 40),
    "world.batch": whole(1, 40),
    "world.boundaries_known": FLAG,
    "world.fuzziness": real(0, 1, 0.0, 1.0),
    "world.cycles": whole(1, 5),
    "world.validation": real(0, 0.3, 0.0, 1.0),
    "world.label_noise": Kind(lambda r: "0.0", "-0.001", "1.001", "7", *WORDS),
    "world.eval_split": Kind(lambda r: "test", "tests", "TEST", "train", "1", "true"),
    "rhythm.experiences_per_day": whole(1, 30),
    "rhythm.steps_per_night": whole(0, 30),
    "neocortex.hidden": WIDTHS,
    "neocortex.activation": choice("relu", "tanh", "sigmoid", "linear"),
    "neocortex.bias": FLAG,
    "neocortex.gain": rates(0, 2),
    "plasticity.wake_rate": rates(0, 0.1),
    "plasticity.night_rate": rates(0, 0.1),
    "replay.batch": whole(1, 40),
    "consolidation.reduction": choice("mean", "sum"),
    "consolidation.optimizer.beta1": Kind(lambda r: f"{r.uniform(0, 0.99):.3f}", "-0.1", "1", "1.0", "2", *WORDS),
    "consolidation.optimizer.beta2": Kind(lambda r: f"{r.uniform(0, 0.99):.3f}", "-0.1", "1", "1.0", "2", *WORDS),
    "consolidation.optimizer.eps": real(1e-3, 1, above=True),
    "hippocampus.capacity": whole(1, 40),
    "probes.accuracy.at": Kind(
        lambda r: r.choice(("day.end", "[day.end,life.end]")),
        "days.end",
        "[day.end,x]",
        "1",
        "[1]",
        "true",
        several=True,
    ),
}
SPARSE = DIGITS | {
    "hippocampus.units": whole(64, 128),
    "hippocampus.winners": whole(4, 32),
    "hippocampus.learning_rate": real(0, 1, 0.0, 1.0),
    "hippocampus.fade": real(0, 1, 0.0, 1.0),
    "hippocampus.sharpness": real(0, 80, 0.0, 80.0),
}
STORE = DIGITS | {"hippocampus.eviction": choice("reservoir", "ring", "balanced")}
TEACHER = {
    "world.items": whole(1, 30),
    "world.features": whole(1, 30),
    "world.test": whole(1, 30),
    "world.snr": Kind(lambda r: r.choice(("0", "4.0", "100")), "-1", "abc", "nan", "-inf", "true", "'4'", "[1,2]"),
    "hippocampus.capacity": whole(1, 40),
    "hippocampus.eviction": choice("reservoir", "ring"),
    "rhythm.experiences_per_day": whole(1, 10),
    "rhythm.steps_per_night": whole(0, 10),
    "plasticity.rate": rates(0, 0.1),
    "neocortex.bias": FLAG,
    "neocortex.init": rates(0, 1),
}
DAYS = Kind(
    lambda r: r.choice(("8.0", ".5", "[3]")), "0", "-1", "nan", "abc", "true", "-inf", "[0]", "[1,2]", several=True
)
BASES: dict[str, tuple[list[str], dict[str, Kind]]] = {
    "sparse": (["arms=[cls]"], SPARSE | TOP),
    "store": (["arms=[cls]", "hippocampus=store"], STORE),
    "recent": (["arms=[cls]", "replay=recent"], SPARSE | {"replay.half_life_days": rates(0.1, 9, above=True)}),
    "old_new": (["arms=[cls]", "replay=old_new"], SPARSE | {"replay.old": real(0, 1, 0.0, 1.0)}),
    "naps": (
        ["arms=[cls]", "rhythm=naps"],
        {"rhythm.experiences_between_naps": whole(1, 9), "rhythm.steps_per_nap": whole(0, 9)},
    ),
    "fading": (
        ["arms=[cls]", "plasticity=exponential"],
        {"plasticity.start": rates(0, 1), "plasticity.tau_days": DAYS},
    ),
    "closing": (
        ["arms=[cls]", "plasticity=critical_period"],
        {
            "plasticity.closes": rates(0, 9),
            "plasticity.width": rates(1, 2, above=True),
            "plasticity.floor": real(0, 1, 0, 1),
        },
    ),
    "distil": (
        ["arms=[cls]", "consolidation=distil"],
        {
            "consolidation.objective.temperature": real(1, 4, above=True),
            "consolidation.objective.share": real(0, 1, 0, 1),
        },
    ),
    "momentum": (["arms=[cls]", "consolidation=momentum"], {"consolidation.optimizer.momentum": real(0, 1, 0.0, 1.0)}),
    "teacher": (["experiment=sun_2023_go_cls", "+arm.mine=[]", "arms=[mine]"], TEACHER),
}

CONTRADICTIONS = [  # each part is sound, together they are not
    ["rhythm=context_nights", "world.boundaries_known=false"],
    ["rhythm=context_nights", "world.order=iid"],
    ["replay=interleaved", "world.boundaries_known=false"],
    ["world.order=recurring", "world.per_context=7", "world.cycles=2"],
    ["world.eval_split=validation"],
    ["world.validation=0.6", "world.test=0.5"],
    ["world.contexts=10", "world.label_noise=0.1"],
    ["hippocampus.winners=60", "hippocampus.units=50"],
    ["experiment=sun_2023_go_cls", "arms=[one_snr1]", "hippocampus.eviction=balanced"],
    ["experiment=sun_2023_go_cls", "arms=[one_snr1]", "world.batch=1000"],
    ["hippocampus=lesion"],
    ["hippocampus=frozen"],
    ["world=arrays"],
    ["world=arrays", "world.x=none.npy", "world.y=none.npy"],
    ["hippocampus=store", "hippocampus.units=10"],
    ["replay=full_batch", "replay.batch=3"],
    ["rhythm=sleepless", "rhythm.steps_per_night=5"],
    ["neocortex=linear", "neocortex.activation=relu"],
    ["method=er", "arms=[cls]"],
    ["replay=dreamed"],
    ["replay=dreams_awake"],
    ["arms=[lesioned]", "arm.lesioned.overrides=['hippocampus=lesion','hippocampus.fraction=7']"],
    ["arms=[lesioned]", "arm.lesioned.overrides=['replay.batch=0']"],
    ["arms=[lesioned]", "arm.lesioned.overrides=['rhythm=context_nights','world.told=false']"],
]

PAGES = [  # whole files that a user may get wrong
    "arm: {a: [}",
    "arm: {a: []",
    "arm:\n\ta: []",
    "arm: 5",
    "arm: [a, b]",
    "arm: {a: text}",
    "arm: {a: 5}",
    "arm: {a: [5]}",
    "arm: {a: [hippocampus]}",
    "arm: {a: [[x=1]]}",
    "arm: {a: ['']}",
    "arm: {a: ['hippocampus=stor']}",
    "arm: {a: ['hippocampus.capcity=3']}",
    "arm: {a: {branch_from: b}}",
    "arm: {a: {branch_from: a}}",
    "arm: {a: [], b: {branch_from: a, branch_at: soon}}",
    "arm: {a: [], b: {branch_from: a, branch_at: -3d}}",
    "arm: {a: [], b: {branch_from: a, branch_at: 1.2.3d}}",
    "arm: {a: [], b: {branch_from: a, keep_parts: [cellar]}}",
    "arm: {a: [], b: {branch_from: a, keep_parts: hippocampus}}",
    "arm: {a: [], b: {branch_from: a, overrides: x}}",
    "arm: {a: [], b: {branch_from: a, doo: []}}",
    "arm: {a: [], b: {branch_at: 3d}}",
    "arm: {on: []}",
    "arm: {1: []}",
    "arm: {a b: []}",
    "arm: {a: []}\narm: {b: []}",
    "subjects: 2\nsubjects: 3",
    "subjects: on",
    "subjects: 010",
    "subjects: 1:30",
    "subjects: 1_6.5",
    "subjects: 2020-01-01",
    "subjects: .nan",
    "subjects: .inf",
    "subjects: ~",
    "subjects: '2'",
    "subjects: !!int '2'",
    "subjects: [2]",
    "seed: 0b",
    "days: 1:30",
    "debug: yes please",
    "wandb: false",
    "small: {a: 1}",
    "small: [5]",
    "claims: [x]",
    "claims: {x: 5}",
    "claims: {x: [1]}",
    "figures: text",
    "figures: {x: 5}",
    "probes: 5",
    "probes: {x: 5}",
    "probes: {x: {_target_: cls_sim.Accuracy, at: never}}",
    "probes: {x: {_target_: cls_sim.Acuracy}}",
    "probes: {x: {at: day.end}}",
    "title: [a]",
    "unknown: 1",
    "hippocampus: 5",
    "hippocampus: text",
    "hippocampus: [a]",
    "hippocampus: {capcity: 5}",
    "hippocampus: {capacity: {a: 1}}",
    "hippocampus: {1: 2}",
    "hippocampus: {_target_: cls_sim.Stor}",
    "hippocampus: {_target_: Store}",
    "world: {scenario: on}",
    "world: {scenario: '${scenari}'}",
    "world: {contexts: '${world.contexts}'}",
    "rhythm: {experiences_per_day: [1]}",
    "plasticity: {night_rate: {_target_: cls_sim.Nights}}",
    "plasticity: {night_rate: {_target_: cls_sim.Exponential, tau_days: 0}}",
    "plasticity: {night_rate: {_target_: cls_sim.Exponential, start: 0.1, tau: 3}}",
    "plasticity: {night_rate: {start: 0.1}}",
    "replay: {policy: {_target_: cls_sim.Uniform}}",
    "consolidation: {optimizer: {_target_: cls_sim.SupervisedLoss}}",
    "consolidation: {optimizer: adam}",
    "consolidation: {optimizer: 5}",
    "defaults: [override /world: digit]",
    "defaults:\n  - override /world: digit",
    "defaults:\n  - override /wrld: digits",
    "defaults:\n  - /world: teacher",
    "defaults: 5",
    "- a\n- b",
    "text",
    "a: b: c",
    "{",
    "%YAML 9.9\n---\na",
    "*nowhere",
    "'",
    '"\\q"',
    "? [a]\n: b",
    "<<: 5",
]


def typo(r: random.Random, key: str) -> str:
    """A key with a slip of the finger in its last word."""
    *above, word = key.split(".")
    at = r.randrange(len(word))
    slips = [word[:at] + word[at + 1 :], word[:at] + r.choice("qxz") + word[at:], word + r.choice("qxz"), word.upper()]
    slips += [word[:at] + "é" + word[at + 1 :], word + ".x", word + "[0]", word.replace("_", "-") + "-", f"{word} "]
    return ".".join([*above, r.choice([slip for slip in slips if slip not in ("", word)])])


def bad(r: random.Random) -> tuple[list[str], str | None]:
    """One way to be wrong: overrides, and a page of the user's own if it takes one."""
    base, settings = BASES[r.choice(list(BASES))]
    key, kind = r.choice(list(settings.items()))
    way = r.randrange(20)
    if way < 10:  # a wrong value
        return [*base, f"{key}={r.choice(kind.bad)}"], None
    if way < 13:  # a wrong key
        return [*base, f"{r.choice(('', '', '+', '++', '~'))}{typo(r, key)}={kind.good(r)}"], None
    if way == 13:  # an override that is none
        text = f"{key}={kind.good(r)}"
        odd = [
            text.replace("=", " "),
            text.replace("=", ":"),
            "=" + text,
            f"+~{text}",
            f"-{text}",
            f"--{text}",
            f"{key}",
            "",
        ]
        return [
            *base,
            r.choice([*odd, f" {text}", f"{key}.={kind.good(r)}", f".{text}", f"'{text}'", f"{key} = 1", "[]"]),
        ], None
    if way == 14:  # something taken away that must be there
        gone = r.choice(("world", "rhythm", "replay", "readout", "subjects", "seed", "days", "probes", "arm", "size"))
        return [*base, f"~{gone}"], None
    if way == 15:  # a setting of another kind of part, a level too deep, or too high
        part_kind, other = r.sample(experiments.PART_KINDS, 2)
        forms = [
            f"+{part_kind}.{key.replace('.', '_')}=1",
            f"+{other}.{part_kind}=1",
            f"{key}.x.y=1",
            f"+{part_kind}_{other}=1",
        ]
        forms += [f"{key.split('.')[-1]}s=1", f"+{part_kind}.a.b.c={{d: [1]}}"]
        return [*base, r.choice(forms)], None
    if way == 16:
        return ["arms=[cls]", *r.choice(CONTRADICTIONS)], None
    if way == 17:  # deep, long or odd
        depth = r.randint(30, 300)
        forms = [f"{key}={'[' * depth}{']' * depth}", f"{key}={{{'a: {' * depth}{'}' * depth}}}", f"{key}={'9' * 6000}"]
        forms += [
            f"{key}='{chr(r.choice((0, 7, 27, 0x202E, 0xD800)))}'",
            f"{key}={'x' * 30_000}",
            f"{key}=[1",
            f"{key}={{a",
        ]
        return [*base, r.choice(forms)], None
    page = r.choice(PAGES)
    return ["experiment=mine"], page if way == 18 else f"{page}\ntitle: number {r.randrange(10**6)}"


def fitting(r: random.Random) -> list[str]:
    """A good configuration: several settings, all within their ranges."""
    base, settings = BASES[r.choice(list(BASES))]
    keys = r.sample(list(settings), min(len(settings), r.randint(1, 6)))
    keys = [key for key in keys if key not in ("arms", "experiment", "small", "size")]
    told = [f"{key}={settings[key].good(r)}" for key in keys]
    if any("=[" in text for text in told):  # perhaps a number for each subject
        told = [text for text in told if not text.startswith("subjects=")] + ["subjects=1"]
    return [*base, *told]


def different(make: Callable[[random.Random], Any], number: int) -> list[Any]:
    r, found = random.Random(20240229), {}
    while len(found) < number:
        one = make(r)
        found.setdefault(repr(one), one)
    return list(found.values())


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "here").mkdir()
    (tmp_path / "theirs").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "theirs"


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("number", few_or_many(20, 100, 1000))
def test_all_are_refused_in_one_line(elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys, figure, number: int):
    """Through the console door, in this process: nothing is so much as begun."""
    (elsewhere / "experiment").mkdir()
    monkeypatch.setattr(sys, "argv", ["cls-sim"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setattr(run_directory, "opened", accepted)
    wrong = []
    for overrides, page in different(bad, number):
        if page is not None:
            (elsewhere / "experiment" / "mine.yaml").write_text(f"# @package _global_\n{page}\n")
        try:
            code = door.main(["--config-dir", str(elsewhere), *overrides])
            said = capsys.readouterr()
            line = said.err.removesuffix("\n")
            if code != 2 or said.out or not line.isprintable() or len(line) > 3000 or line.count(":") < 3:
                wrong.append((overrides, page, f"{code} {said}"))
            elif not line.startswith("cls-sim: error: ") or ";" not in line:
                wrong.append((overrides, page, line))
        except Exception as error:
            wrong.append((overrides, page, f"{type(error).__name__}: {error}"))
    left = list(Path.cwd().iterdir())
    assert not wrong, f"{len(wrong)} of {number}:\n" + "\n".join(f"{o} {p!r} -> {e}"[:600] for o, p, e in wrong[:40])
    assert not left
    figure(f"{number} bad ones: {number} exits with 2 in one line, {len(wrong)} tracebacks, {len(left)} folders left")


def accepted(_: Any) -> Any:
    raise AssertionError("accepted")


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("number", few_or_many(5, 20, 200))
def test_good_ones_are_accepted(elsewhere: Path, figure, number: int):
    wrong = []
    for overrides in different(fitting, number):
        try:
            for arm in experiments.read(overrides).arms.values():
                if arm.origin is None:
                    experiments.make_life(arm.cfg, 1)
        except Exception as error:
            wrong.append((overrides, f"{type(error).__name__}: {error}"))
    assert not wrong, f"{len(wrong)} of {number}:\n" + "\n".join(f"{o} -> {e}"[:600] for o, e in wrong[:40])
    assert not list(Path.cwd().iterdir())
    figure(f"{number} good ones: {number} accepted")


def test_a_key_that_only_some_experiments_declare_is_refused_in_words():
    """The error suggested the very key that it refused."""
    with pytest.raises(cs.ConfigError, match=r"scenario: is not a key of this experiment; .*world\.scenario"):
        cs.build("experiment=digits", "scenario=task")
