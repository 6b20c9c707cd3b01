"""One budget of bytes for all that a subject keeps beside a plain cortex: kept by every method, or refused in one line."""

from __future__ import annotations

import copy
import math
import random
import re
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import cls_sim as cs
from cls_sim.commands.campaign.results import decides
from cls_sim.config import experiments
from cls_sim.config.builder import make
from cls_sim.core.budget import SHARE, fitted, taken
from cls_sim.core.errors import ConfigError, bytes_of
from cls_sim.running import runs
from cls_sim.running.jobs import budget
from cls_sim.storage.run_directory import config_hash
from tests.lives import live
from tests.test_methods import METHODS, possible, settings

CONF = experiments.conf_dir()
SMALL, LARGE = 9_200, 157_000
MARKS = 256  # bytes of a subject's counters, which `stored_bytes` leaves out
ASIDE = {"optimizer", "rule", "rules", "kept_x", "kept_y"}  # of optimisers; rows that wait for a step


def life_at(method: str, scenario: str, size: int) -> cs.Life:
    return experiments.make_life(settings(method, scenario) | {"budget": size}, 2, 0)


def beside(life: cs.Life) -> int:
    """The bytes of each subject beside a plain cortex, counted in the state itself."""
    tree, s = life.state(), life.spec.subjects
    cortex = tree["neocortex"]
    while not isinstance(cortex.get("weights"), dict):  # a wrap
        cortex = next(inner for inner in cortex.values() if isinstance(inner, dict) and "weights" in inner)
    weights = cortex.pop("weights")
    inner: Any = life.neocortex
    sizes = (math.prod(life.spec.inputs), *getattr(inner, "hidden", ()), life.spec.outputs)
    plain = 4 * sum((before + 1) * after for before, after in pairwise(sizes))
    columns = max(0, sum(w[0].nbytes for w in weights.values()) - plain) if hasattr(inner, "hidden") else 0
    if isinstance(life.hippocampus, cs.Compact):
        # The content has room for the labels, and a key is a function of both; context, experience and item are kept for
        # measurements only; inputs within 0 to 1 need no mean and deviation.
        unused = ("what", "mark", "mean", "spread") if life.hippocampus.code.unit.all() else ("what", "mark")
        kept = tree["hippocampus"] | tree["hippocampus"]["code"]
        tree["hippocampus"] = {n: v for n, v in kept.items() if n not in (*unused, "code")}
    return columns + sum(_bytes(tree[kind], s, triangles=kind == "hippocampus") for kind in SHARE)


def _bytes(tree: Any, subjects: int, triangles: bool) -> int:
    if isinstance(tree, dict):
        return sum(_bytes(value, subjects, triangles) for name, value in tree.items() if name not in ASIDE)
    size = tree.nbytes // subjects if tree.shape[:1] == (subjects,) else tree.nbytes
    if triangles and tree.ndim > 2 and tree.shape[-1] == tree.shape[-2]:
        value = torch.as_tensor(tree)
        if torch.allclose(value, value.mT, rtol=1e-3, atol=1e-4 * float(value.abs().max())):
            return size * (tree.shape[-1] + 1) // (2 * tree.shape[-1])
    return size


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_keeps_to_it_or_refuses_in_one_line(method: str, size: int):
    """The least budget that a refusal names is enough, and a byte less is not."""
    scenario = "class" if possible(method, "class") else "task"
    try:
        life = life_at(method, scenario, size)
    except ConfigError as refused:
        found = re.search(r"give at least ([\d,]+)$", str(refused))
        assert found and "\n" not in str(refused) and refused.key == "budget", refused
        least = int(found[1].replace(",", ""))
        assert least > size
        with pytest.raises(ConfigError, match="too few"):
            life_at(method, scenario, least - 1)
        life, size = life_at(method, scenario, least), least
    live(life, 24)  # of two contexts
    used = taken({kind: getattr(life, kind) for kind in SHARE}, 2)
    assert sum(used.values()) <= size and beside(life) <= size + MARKS
    assert budget(life)["bytes_used"] == sum(used.values())


@cache
def spec_of(option: str) -> cs.Spec:
    acts = option == "cognitive_map"
    inputs = (1000,) if option == "two_codes" else (8, 8)  # as many as its dentate gyrus has cells
    weights = {"weight0": (2, 12, 64), "bias0": (2, 12, 1), "weight1": (2, 3, 12)}
    more: dict[str, Any] = {"actions": 3, "task_id_known": False} if acts else {}
    return cs.Spec(
        seeds=(4, 5), inputs=inputs, outputs=3, batch=2, contexts=2, ends=(5, 10), features=12, weights=weights, **more
    )


OPTIONS = [file.stem for file in sorted((CONF / "hippocampus").glob("*.yaml"))]


def memory_of(option: str) -> Any:
    from cls_sim.config.composer import Composer

    return make("hippocampus", Composer().file("hippocampus", option)[1], wrapping=True)


@pytest.mark.parametrize("option", OPTIONS)
def test_a_hippocampus_is_the_largest_that_fits(option: str):
    memory, draw = memory_of(option), random.Random(option)
    if not getattr(memory, "sized", ""):
        return
    spec = spec_of(option)
    if option == "operator":  # its code is of texts
        memory.hippocampus.code = None
    memory.resize(1)
    memory.setup(spec)
    least = int(memory.stored_bytes()[0])
    for size in (least, *(least + draw.randrange(10**6) for _ in range(4))):
        fitted(memory, cs.Spec(**{**vars(spec), "budget": size}))
        memory.setup(spec)
        n = getattr(memory, memory.sized)
        assert memory.stored_bytes()[0] <= size
        memory.resize(n + 1)
        memory.setup(spec)
        assert memory.stored_bytes()[0] > size


def test_it_is_written_as_a_number_or_with_a_unit():
    draw = random.Random(0)
    for _ in range(200):
        n, (unit, size) = draw.randrange(10**6), draw.choice([("B", 1), ("kB", 10**3), ("MB", 10**6), ("GB", 10**9)])
        assert bytes_of("budget", f"{n}{unit}") == bytes_of("budget", f"{n} {unit}") == n * size
        assert bytes_of("budget", n) == n
    for bad in (
        "",
        "kB",
        "1.5B",
        "0.0001kB",
        "-1kB",
        "1KB",
        "1KiB",
        "1e3kB",
        "1kB1",
        "nan",
        "1" * 30,
        1.5,
        True,
        [],
        -1,
        2**63,
    ):
        with pytest.raises(ConfigError, match=r"^budget: .*; give a whole number of bytes"):
            bytes_of("budget", bad)


def digits(**changes: Any) -> cs.Life:
    parts: dict[str, Any] = {
        "world": cs.Digits(per_context=8, batch=4),
        "neocortex": cs.Mlp(hidden=[8]),
        "hippocampus": cs.Store(),
        "rhythm": cs.Nights(experiences_per_day=4, steps_per_night=3),
        "plasticity": 0.01,
        "replay": cs.Uniform(batch=4),
        "subjects": 2,
    }
    return cs.Life(**{**parts, **changes})


def ewc() -> cs.Descent:
    return cs.Descent(penalty=cs.QuadraticPenalty(importance=cs.Fisher(), strength=1.0))


def test_other_parts_come_first_and_the_hippocampus_takes_the_rest():
    plain, kept = digits(budget="9.2kB"), digits(budget="9.2kB", consolidation=ewc())
    copies = taken({kind: getattr(kept, kind) for kind in SHARE}, 2)["consolidation"]
    assert copies > 2 * 4 * sum(w[0].numel() for w in kept.neocortex.weights.values())
    assert plain.hippocampus.capacity == 9200 // 80 and kept.hippocampus.capacity == (9200 - copies) // 80  # pyright: ignore
    assert plain.spec.budget == 9200 and kept.spec.budget == 9200 - copies


def test_a_subject_has_the_same_size_alone_and_in_a_cohort_and_after_a_break():
    both, alone = digits(budget=5000), digits(budget=5000, subjects=1, seed=1)
    live(both)
    live(alone)
    assert torch.equal(both.hippocampus.traces().item[1], alone.hippocampus.traces().item[0])
    part, heir = digits(budget=5000), digits(budget=5000)
    live(part, 9)
    heir.load(copy.deepcopy(part.state()))
    assert torch.equal(live(heir).neocortex.weights["weight0"], both.neocortex.weights["weight0"])


def test_a_branch_keeps_to_the_budget():
    life = digits(budget=9200)
    live(life, 12)
    hurt = life.twin(hippocampus=cs.Lesion)
    assert hurt.hippocampus.capacity == life.hippocampus.capacity  # pyright: ignore
    fresh = life.twin(hippocampus=cs.Store(keep_scores=True))
    assert fresh.hippocampus.capacity == 9200 // 120  # pyright: ignore[reportAttributeAccessIssue]
    both = life.twin(hippocampus=cs.Store(), consolidation=ewc())
    assert both.hippocampus.capacity == both.spec.budget // 80 < 9200 // 80  # pyright: ignore
    again = both.twin(hippocampus=lambda memory: cs.Frozen(memory))
    assert again.hippocampus.capacity == both.hippocampus.capacity  # pyright: ignore
    with pytest.raises(ConfigError, match=r"^budget: 9,200 bytes are too few: consolidation takes .*; give at least"):
        life.twin(consolidation=ewc())
    for one in (hurt, fresh, both, again):
        live(one, 20)


class Hoarder(cs.Descent):
    """Keeps every batch that it learns."""

    def __init__(self):
        super().__init__()
        self.hoard = torch.zeros(2, 0, 64)

    def step(self, neocortex: Any, batch: Any, rate: np.ndarray, view: Any) -> None:
        self.hoard = torch.cat((self.hoard, batch.x.flatten(2)), 1)
        super().step(neocortex, batch, rate, view)


def test_a_memory_that_counts_in_bytes_takes_what_is_left():
    life = digits(budget=9200, hippocampus=cs.Compact(), consolidation=ewc())
    assert life.hippocampus.stored_bytes().tolist() == [life.spec.budget] * 2
    live(life)
    used = taken({kind: getattr(life, kind) for kind in SHARE}, 2)
    assert 9000 < sum(used.values()) <= 9200
    with pytest.raises(ConfigError, match=r"^budget: leaves 0 bytes to the hippocampus, .*; it needs \d+ or more$"):
        digits(budget=900, hippocampus=cs.Compact(), consolidation=ewc())


def test_what_grows_is_refused_when_it_exceeds_the_budget():
    life = digits(
        budget=3000, hippocampus=cs.NoHippocampus(), consolidation=Hoarder(), rhythm=cs.Sleepless(experiences_per_day=2)
    )
    with pytest.raises(
        ConfigError, match=r"^budget: 3,000 bytes are too few: consolidation takes 4,096; give at least"
    ):
        live(life)
    assert life.clock.experience.tolist() == [4, 4]


TINY = ["experiment=digits", "size=small", "subjects=2", "days=2", "figures=null", "claims={}"]


def test_arms_have_budgets_of_their_own_and_the_report_shows_what_they_use(tmp_path: Path):
    from cls_sim.commands.report import main as report

    arms = "arm={a: [], b: ['budget=5kB'], c: ['hippocampus=none', 'budget=null']}"
    folder, summary = runs.perform(
        experiments.read([*TINY, arms, "arms=[a,b,c]", "budget=9.2kB", f"out={tmp_path / 'run'}"]), quiet=True
    )
    told = {name: arm["budget"] for name, arm in summary["arms"].items()}
    assert [told[name].get("bytes_allowed") for name in "abc"] == [9200, 5000, None]
    for name in "ab":
        assert 0 < told[name]["bytes_used"] == told[name]["bytes_hippocampus"] <= told[name]["bytes_allowed"]
    report([str(folder), f"out={tmp_path / 'page'}"])
    page = next((tmp_path / "page").rglob("*.md")).read_text()
    assert "bytes allowed" in page and "9.2 kB" in page and "`a`: hippocampus" in page


def test_settings_that_contradict_it_are_refused_in_one_line():
    for asked, key in (
        (["budget=9.2kB", "hippocampus.capacity=3"], "hippocampus.capacity"),
        (["budget=9.2kB", "hippocampus=gaussians", "hippocampus.units=3"], "hippocampus.units"),
        (["arm={a: [], b: {branch_from: a, overrides: ['budget=5kB']}}"], "arm.b"),
        (["budget=lots"], "budget"),
        (["arm={a: ['budget=9 lots']}"], "arm.a.budget"),
    ):
        with pytest.raises(ConfigError) as caught:
            experiments.read([*TINY, *asked])
        assert caught.value.key == key and "\n" not in str(caught.value), caught.value
    experiments.read([*TINY, "budget=9.2kB", "hippocampus.winners=20"])


def test_a_new_life_that_keeps_a_hippocampus_has_as_much_left_for_it(tmp_path: Path):
    importance = "importance: {_target_: cls_sim.Fisher}"
    penalty = f"consolidation.penalty={{_target_: cls_sim.QuadraticPenalty, {importance}, strength: 1.0}}"
    arms = "arm={a: [], b: {branch_from: a, keep_parts: [hippocampus], overrides: ['readout=memory']}}"
    asked = [*TINY, arms, "arms=[a,b]", "budget=60kB"]
    runs.perform(experiments.read([*asked, f"out={tmp_path / 'run'}"]), quiet=True)
    other = [one.replace("'readout=memory'", f"'{penalty}'") for one in asked]
    with pytest.raises(ConfigError, match=r"budget: leaves [\d,]+ bytes to the hippocampus, and 60,000 in a"):
        runs.perform(experiments.read([*other, f"out={tmp_path / 'other'}"]), quiet=True)
    assert not (tmp_path / "other").exists()


def test_results_tell_it_however_it_is_written():
    sets = [["experiment=digits", *asked] for asked in ([], ["budget=null"], ["budget=157kB"], ["budget=157000"])]
    for of in (decides, lambda overrides: config_hash(experiments.read(overrides))):
        plain, usual, text, number = map(of, sets)
        assert plain == usual != text == number


def test_a_buffer_alone_learns_any_stream_anew_each_night():
    """GDumb keeps no copy of the cortex, and needs no contexts: a night takes the place of a context."""
    cfg = [
        "experiment=digits",
        "method=gdumb",
        "size=small",
        "subjects=2",
        "world.boundaries_known=false",
        "rhythm=nights",
    ]
    life = cs.build(*cfg, "rhythm.steps_per_night=5", "rhythm.experiences_per_day=4", "budget=9.2kB")
    first = {name: w.detach().clone() for name, w in life.neocortex.weights.items()}
    assert life.hippocampus.capacity > 100  # pyright: ignore[reportAttributeAccessIssue]
    for night in range(1, 4):
        while not (life.clock.asleep.all() and (life.clock.night == night).all()):
            life.step()
        life.step()
        away = max(float((w.detach() - first[name]).abs().max()) for name, w in life.neocortex.weights.items())
        assert 0 < away <= 0.02, "one step from birth"
