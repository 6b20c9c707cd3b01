"""Data of people: tables are read or refused in one line; claims and fits judge a model by them; numbers are recovered."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import cls_sim as cs
from cls_sim import people
from cls_sim.__main__ import main
from cls_sim.claims import check, data
from cls_sim.commands.fit.search import Fit, fit
from cls_sim.core.errors import ConfigError
from cls_sim.storage.case import Case

EBBINGHAUS = "experiment=ebbinghaus_1885"
TWO = ["over=hippocampus.early=0.2..0.9", "over=hippocampus.transfer=0.05..1"]


def table(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


BAD = {
    "no such columns": "a,b\n1,2\n",
    "no lines": "cell,mean,sem\n",
    "a ragged line": "cell,mean,sem\nx,1\n",
    "a word": "cell,mean,sem\nx,much,1\n",
    "not finite": "cell,mean,sem\nx,nan,1\n",
    "no spread": "cell,mean,sem\nx,1,0\n",
    "a negative error": "cell,mean,sem\nx,1,-1\n",
    "a cell twice": "cell,mean,sem\nx,1,1\nx,2,1\n",
    "a cell without a name": "cell,mean,sem\n,1,1\n",
    "one person": "subject,cell,value\na,x,1\n",
    "a person twice": "subject,cell,value\na,x,1\na,x,2\nb,x,3\n",
    "all the same": "subject,cell,value\na,x,1\nb,x,1\nc,x,1\nd,x,1\n",
    "open quotes": 'cell,mean,sem\n"x,1,1\n',
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_a_bad_table_is_refused_in_one_line(text: str, tmp_path: Path, capsys: pytest.CaptureFixture):
    path = table(tmp_path / "t.csv", text)
    assert main(["fit", EBBINGHAUS, f"data={path}", *TWO]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and path in said


@pytest.mark.parametrize(
    "words",
    [
        ["data=nowhere.csv", *TWO],
        ["data=table.txt", *TWO],
        TWO,
        ["data=ebbinghaus_1885"],
        ["data=ebbinghaus_1885", "over=hippocampus.early=0.1,0.2"],
        ["data=ebbinghaus_1885", "over=hippocampus.wrong=0.1..0.2"],
        ["data=ebbinghaus_1885", "over=hippocampus.copying=0.1..0.2"],
        ["data=ebbinghaus_1885", *TWO, "trials=5"],
        ["data=ebbinghaus_1885", *TWO, "trials=900", "subjects=2"],
        ["data=ebbinghaus_1885", *TWO, "first=3"],
        ["data=ebbinghaus_1885", *TWO, "arm=lif"],
        ["data=ebbinghaus_1885", *[f"over=hippocampus.{key}=0.1..0.2" for key in "abcde"]],
        ["data=audrain_2022", *TWO, "trials=10", "rounds=1"],
    ],
    ids=str,
)
def test_what_cannot_be_fitted_is_refused_in_one_line(words: list[str], capsys: pytest.CaptureFixture):
    assert main(["fit", EBBINGHAUS, "world.times=[9]", "days=0.25", *words]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_number_that_the_arm_or_its_origin_sets_is_not_fitted():
    """It had no effect, and the range of the fit was that of the search."""
    for arm in ("fitted_without_nights", "fitted_without_schema"):  # one branches from an arm that sets the number
        with pytest.raises(ConfigError, match=r"hippocampus.intensity: is set by the arm fitted_without"):
            fit("experiment=audrain_2022_schemas", data="audrain_2022", arm=arm, over="hippocampus.intensity=0.3..2")


def test_every_second_person_is_held_out(tmp_path: Path):
    lines = [f"p{i},{cell},{i + 10 * (cell == 'y')}" for i in range(7) for cell in "xy"]
    path = table(tmp_path / "t.csv", "\n".join(["subject,cell,value", *lines]))
    whole, fitted, judged = (people.read(path, half) for half in people.HALVES)
    assert fitted.mean.tolist() == [3, 13] and judged.mean.tolist() == [3, 13] and fitted.sem[0] > whole.sem[0]
    assert judged.sem[0] == pytest.approx(np.std([1, 3, 5], ddof=1) / 3**0.5)
    with pytest.raises(ConfigError, match="half of the people"):
        people.read(table(tmp_path / "m.csv", "cell,mean,sem\nx,1,1\n"), "judged")


def test_the_published_effects_are_in_the_tables():
    pairs = people.read("audrain_2022").of([f"congruent details {when}" for when in ("short", "long")])
    assert pairs.mean == pytest.approx([0.709, 0.484], abs=0.001) and pairs.sem == pytest.approx(
        [0.038, 0.036], abs=0.001
    )
    effect = people.read("harlow_2023").of(["effect"])
    assert abs(effect.mean[0]) < 2 * effect.sem[0], "about nothing"
    with pytest.raises(ConfigError, match="no cell"):
        effect.of(["placebo"])


def test_the_power_law_is_the_best_of_the_simple_laws_for_ebbinghaus():
    his, days = people.read("ebbinghaus_1885"), [19 / 1440, 63 / 1440, 525 / 1440, 1, 2, 6, 31]
    found = {law: people.aic(his, people.fitted(his, days, law)[1], free) for law, free in people.FREE.items()}
    assert found["savings"] < found["power"] < found["compartments"] < found["logarithm"] < found["exponential"]
    assert found["power"] == pytest.approx(14.35, abs=0.05), "scipy.optimize.least_squares finds 14.36"
    with pytest.raises(ConfigError, match="x"):
        people.fitted(his, days[1:], "power")


def case(**arms: list[float]) -> Case:
    """Five subjects around each of these numbers."""
    spread = np.linspace(-0.001, 0.001, 5)
    return Case({}, {arm: {f"r{i}": v + spread for i, v in enumerate(values)} for arm, values in arms.items()})


def test_a_model_holds_if_its_means_are_inside(tmp_path: Path):
    path = table(tmp_path / "t.csv", "cell,mean,sem\nx,0.5,0.1\ny,0.2,0.1\n")
    points = {"x": "r0", "y": "r1"}
    inside = data.data(case(m=[0.65, 0.1]), path, arm="m", points=points)
    assert inside.passed and inside.more["cells"] == pytest.approx({"x": 1.5, "y": -1.0})
    outside = data.data(case(m=[0.75, 0.1]), path, arm="m", points=points)
    assert not outside.passed and outside.value == pytest.approx(2.5)
    assert data.data(case(m=[0.75, 0.1]), path, arm="m", points=points, share=0.5).passed
    across = data.data(case(a=[0.5], b=[0.9]), path, arms={"a": "x", "b": "y"}, reading="r0")
    assert across.value == pytest.approx(7.0)
    better = data.data_better(case(m=[0.5, 0.2], n=[0.7, 0.2]), path, "m", points, free=1, than="n", than_free=0, by=1)
    assert better.value == pytest.approx(2.0) and better.passed and better.more["interval"][0] < 2
    assert not data.data_better(case(m=[0.7, 0.2], n=[0.5, 0.2]), path, "m", points, free=0, than="n").passed
    ordered = data.data_order(case(a=[0.6], b=[0.1]), path, arms={"a": "x", "b": "y"}, reading="r0", at_least=1.0)
    assert ordered.passed
    assert not data.data_order(case(a=[0.1], b=[0.6]), path, arms={"a": "x", "b": "y"}, reading="r0", at_least=0).passed
    with pytest.raises(ConfigError, match="points"):
        data.data(case(m=[0.5]), path)
    with pytest.raises(ConfigError, match="there is no arm"):
        check({"it": {"kind": "data", "table": path, "arm": "k", "points": points}}, ["m"])


def test_one_mean_of_people_beside_several_models_is_a_band(tmp_path: Path):
    from cls_sim.figures.people import people as drawn

    path = table(tmp_path / "t.csv", "cell,mean,sem\nx,0.5,0.1\ny,0.2,0.1\n")
    values = [np.array([0.4, 0.6])] * 2
    for cells, patches in ((["x", "x"], 1), (["x", "y"], 0)):
        (axes,) = drawn(str(path), {"": {"m": (cells, values)}}, ticks=["1", "2"]).axes
        assert len(axes.patches) == patches and "people" in axes.get_legend_handles_labels()[1]


def test_a_fit_finds_the_numbers_that_made_the_table(tmp_path: Path):
    """Savings of a life with known numbers, with noise: both come back within their ranges, and near."""
    days = [EBBINGHAUS, "world.times=[135,130,100,60,10]", "days=2.9375"]
    true = {"hippocampus.early": 0.4, "hippocampus.transfer": 0.5}
    made = cs.study(
        *days,
        "claims=null",
        "ablation=null",
        "arms=[life]",
        "subjects=1",
        *(f"{key}={value}" for key, value in true.items()),
    )
    strength = made.traces["life"].last("strength")[0] + np.array([0.004, -0.003, 0.002, -0.004, 0.001])
    rows = [f"strength[{i}],{value},0.005" for i, value in enumerate(strength)]
    path = table(tmp_path / "t.csv", "\n".join(["cell,mean,sem", *rows]))
    over = [one.removeprefix("over=") for one in TWO]
    found = fit(*days, data=path, over=over, trials=60, rounds=4, fresh=1)
    for key, value in true.items():
        low, high = found.ranges[key]
        assert low - 0.02 < value < high + 0.02 and found.numbers[key] == pytest.approx(value, rel=0.06)
        assert found.recovery[key] > 0.8
    assert max(map(abs, found.distances.values())) < 2 and not found.judged.halved
    assert "hippocampus.early" in repr(found) and found.figure(x=[1, 6, 36, 76, 126], log=True)


def test_numbers_come_back_from_tables_that_the_model_made(tmp_path: Path):
    """With small errors each number comes back; with large ones none does, and the correlation says so."""
    days = [EBBINGHAUS, "world.times=[135,130,60,10]", "days=2.9375"]
    over, found = [one.removeprefix("over=") for one in TWO], []
    for sem in (0.005, 3.0):
        path = table(
            tmp_path / f"{sem}.csv", "\n".join(["cell,mean,sem", *(f"strength[{i}],0.4,{sem}" for i in range(4))])
        )
        found.append(fit(*days, data=path, over=over, trials=40, rounds=3, fresh=1, recover=8))
    sure, unsure = (one.recovered for one in found)
    assert sure and unsure and min(found[0].recovery.values()) > 0.8 > min(found[1].recovery.values())
    for key, true in sure.true.items():
        assert len(true) == 8 and found[0].entries()["recovered"][key]["true"] == true.tolist()
    assert np.abs(np.log(sure.fitted["hippocampus.early"] / sure.true["hippocampus.early"])).max() < 0.15
    assert "8 tables that the model made" in repr(found[0]) and sure.figure().data()


def test_the_command_writes_the_fit_and_a_method(tmp_path: Path, capsys: pytest.CaptureFixture):
    path = table(tmp_path / "t.csv", "cell,mean,sem\nstrength[0],0.6,0.05\n")
    words = ["fit", EBBINGHAUS, "world.times=[9]", "days=0.25", f"data={path}", "over=hippocampus.early=0.2..0.9"]
    assert main([*words, "trials=20", "rounds=2", "fresh=1", "recover=4", f"out={tmp_path}/out"]) == 0
    told = json.loads((tmp_path / "out" / "fit.json").read_text())
    assert told["distances"]["strength[0]"] == pytest.approx(0, abs=0.5) and (tmp_path / "out" / "fit.png").is_file()
    assert len(told["recovered"]["hippocampus.early"]["fitted"]) == 4 and (tmp_path / "out" / "recovery.png").is_file()
    assert "within 2 standard errors" in capsys.readouterr().out
    (arm,) = cs_read(["experiment=ebbinghaus_1885", "method=fitted"], tmp_path / "out" / "conf")
    assert arm.cfg["hippocampus"]["early"] == pytest.approx(told["numbers"]["hippocampus.early"], rel=1e-3)
    assert main([*words, "trials=20", f"out={tmp_path}/out"]) == 2


def cs_read(overrides: list[str], folder: Path) -> Any:
    from cls_sim.config import experiments

    return experiments.read(overrides, [str(folder)]).arms.values()


def test_held_out_people_are_told_apart():
    half = people.People(("x",), np.array([0.5]), np.array([0.1]), persons=True, halved=True)
    told: dict[str, Any] = {"numbers": {"a": 1.0}, "ranges": {"a": (0.5, 2.0)}, "recovery": {"a": 0.9}, "least": 1.0}
    told |= {"experiment": "e", "arm": "m", "table": "t", "fitted": half, "judged": half, "settings": 3}
    found = Fit(**told, means={"x": np.array([0.9, 0.7])})
    assert found.entries()["held_out"] and found.distances == {"x": pytest.approx(3.0)}
    assert "0 of 1 cells within 2 standard errors of held-out people" in repr(found)
    assert SimpleNamespace(**found.entries()).aic == 3.0


# -- parts ----------------------------------------------------------------------------------------------------


def stories(curriculum: str, subjects: int = 4, **settings: Any) -> float:
    life = cs.Life(
        world=cs.Schemas(curriculum=curriculum, training=80, test=16),
        neocortex=cs.Linear(),
        hippocampus=cs.Causes(**{"stickiness": 60.0, "fade": 0.05} | settings),
        rhythm=cs.Sleepless(experiences_per_day=96),
        plasticity=0.0,
        replay=cs.Uniform(),
        readout=cs.HippocampusReadout(),
        probes={"late": cs.Prequential(since=80).at("every 1")},
        subjects=subjects,
    )
    readings = cs.run(life, progress=False).reading("late")[1]
    assert np.isnan(readings[:79]).all() and not np.isnan(readings[79:-1]).any()
    return float(np.nanmean(readings))


def test_sticky_causes_learn_in_blocks_and_not_in_a_mixture():
    assert stories("blocked") > 0.95 and stories("interleaved") < 0.7
    assert stories("interleaved", stickiness=0.0) > 0.95, "without stickiness a mixture is told apart, too"
    assert stories("blocked", causes=1) < 0.75, "one cause holds both"
    with pytest.raises(ConfigError, match="cue"):
        stories("blocked", cue=8)


def test_the_place_alone_tells_the_schema_and_the_state_alone_does_not_tell_what_follows():
    world = cs.Schemas(curriculum="middle", training=16, test=4)
    world.setup(cs.Spec(seeds=(0, 1, 2)))
    both = [world.evaluation(k) for k in (0, 1)]
    for k, rows in enumerate(both):
        assert (rows.x[..., k] == 1).all() and (rows.x.sum(2) == 2).all()
    same = (both[0].x[0, :, None, 2:] == both[1].x[0, None, :, 2:]).all(2)
    differ = both[0].y[0, :, None] != both[1].y[0, None]
    assert same.any() and differ[same].all()


def test_the_cortex_tells_the_gist_and_the_hippocampus_the_details():
    life = cs.Life(
        world=cs.Cohorts(times=[0, 0], items=400),
        neocortex=cs.Linear(),
        hippocampus=cs.Copies(intensity=1.0, decline=0.5, transfer=2.0, awake=0.5, steps_per_night=2),
        rhythm=cs.Nights(experiences_per_day=1, steps_per_night=2),
        plasticity=cs.WakeNight(wake_rate=0.0, night_rate=1.0),
        replay=cs.Dreamed(batch=1),
        consolidation=cs.Descent(optimizer=cs.Sgd(), objective=cs.Hebb(), reduction="sum"),
        probes={"pairs": cs.DetailsAndGist(guess=0.0)},
    )
    found = cs.run(life, days=8, progress=False).reading("pairs", "day.end")[1]
    details, coarse = found[:, 0].T
    assert details[0] == pytest.approx(1 - np.exp(-1), abs=0.08) and details[-1] < 0.1
    assert coarse[0] == pytest.approx(np.exp(-1) * (1 - np.exp(-1)), abs=0.06) and coarse[-1] > coarse[0]


def test_copies_fade_by_day_too_and_the_early_phase_first():
    def left(**settings: Any) -> float:
        life = cs.Life(
            world=cs.Cohorts(times=[0], items=3),
            neocortex=cs.Linear(),
            hippocampus=cs.Copies(**{"intensity": 1.0, "decline": 0.5, "stochastic": False} | settings),
            rhythm=cs.Sleepless(experiences_per_day=4),
            plasticity=0.0,
            replay=cs.Dreamed(batch=1),
            probes={"strength": cs.MemoryStrength(of="both")},
        )
        return float(cs.run(life, days=1, progress=False).last("strength")[0, 0])

    assert left() == 1.0 and left(awake=1.0) == pytest.approx(np.exp(-0.5 * 0.75), rel=1e-5)
    early = left(awake=1.0, early=0.6, early_decline=2.0)
    assert early == pytest.approx(0.4 * np.exp(-0.375) + 0.6 * np.exp(-1.5), rel=1e-5)


def test_panels_side_by_side_have_the_names_of_their_own_cells():
    from cls_sim.figures.people import people as drawn

    cells = [["sham", "stimulation", "effect"], ["effect", "sham"]]
    panels = {str(i): {"m": (some, [np.zeros(5)] * len(some))} for i, some in enumerate(cells)}
    pages = drawn("harlow_2023", panels, joined=False).axes[:2]
    assert [[label.get_text() for label in axes.get_xticklabels()] for axes in pages] == cells
    assert pages[0].get_ylim() == pages[1].get_ylim()
