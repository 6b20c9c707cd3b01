"""The pages of docs/extend: every example runs, and every message that a page quotes is the one that is given."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import cls_sim as cs
from cls_sim.readout.base import Answer

PAGES = sorted((Path(__file__).resolve().parent.parent / "docs" / "extend").glob("*.md"))
LINES = 40  # of an example, without empty ones
X, Y = np.random.default_rng(0).normal(size=(120, 6)), np.arange(120) % 4


def examples(page: Path) -> list[str]:
    """The blocks of Python of a page; the first is its example."""
    return re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S)


def classes(name: str) -> dict[str, Any]:
    """What the example of a page defines, without the life that it runs."""
    code, namespace = examples(PAGES[0].parent / f"{name}.md")[0], {"__name__": "my_parts"}
    exec(re.split(r"^(?:life = |def dose|rng = )", code, maxsplit=1, flags=re.M)[0], namespace)
    return namespace


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_examples_of_a_page_run(page: Path):
    found = examples(page)
    assert found, f"{page.name} has no example"
    for code in found:
        assert sum(bool(line.strip()) for line in code.splitlines()) <= LINES
        exec(compile(code, page.name, "exec"), {"__name__": "example"})


def test_every_page_is_in_the_table_of_contents():
    index = (PAGES[0].parent / "index.md").read_text()
    assert all(f"\n{page.stem}\n" in index for page in PAGES if page.stem != "index")


def life(**parts: Any) -> cs.Life:
    given: dict[str, Any] = {
        "world": cs.Digits(contexts=2, per_context=12, batch=8),
        "rhythm": cs.Nights(experiences_per_day=6, steps_per_night=5),
        "plasticity": 0.003,
        "neocortex": cs.Mlp(hidden=[16]),
        "hippocampus": cs.Store(capacity=100),
        "replay": cs.Uniform(batch=8),
        "subjects": 2,
    }
    return cs.Life(**given | parts)


def lived(**parts: Any) -> Any:
    return cs.run(life(**parts), progress=False)


def network(*layers: nn.Module) -> cs.Module:
    return cs.Module(module=lambda: nn.Sequential(*layers))


def changed(page: str, name: str, method: str, change: Callable[..., Any]) -> Any:
    """The part of a page's example with one method broken: `change(part, what the method gives)`."""
    kind = classes(page)[name]
    whole = getattr(kind, method)
    return type(name, (kind,), {method: lambda self, *a, **k: change(self, whole(self, *a, **k))})()


def without_spec(part: Any, spec: cs.Spec) -> cs.Spec:
    del part.spec
    return spec


class Dead(cs.Replay):
    def draw(self, hippocampus: Any, neocortex: Any, view: Any, clock: Any) -> cs.Batch:
        return hippocampus.fetch(hippocampus.traces().alive.int().argsort(dim=1)[:, :4])


def experiment(old: str, new: str) -> Any:
    """Study the experiment of the page on claims, with one text replaced."""
    import tempfile

    text = examples(PAGES[0].parent / "your_own_claim_and_figure.md")[0].split('"""')[1]
    assert old in text
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "experiment").mkdir()
        (Path(folder) / "experiment" / "mine.yaml").write_text(text.replace(old, new))
        return cs.study("experiment=mine", "subjects=1", folders=[folder])


class Restless(nn.Module):
    """Dropout that is on in evaluation mode."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.dropout(x, 0.5)


REFUSED: list[tuple[str, Callable[[], Any]]] = [
    ("index", lambda: type("Half", (cs.Replay,), {})()),
    ("index", lambda: classes("index")["Threshold"](threshold=2)),
    ("index", lambda: life(hippocampus=cs.Store)),
    ("index", lambda: life(readout=cs.Uniform())),
    (
        "index",
        lambda: lived(
            readout=changed("index", "Threshold", "answer", lambda _, a: Answer(a.scores[..., 0], a.source, a.novelty))
        ),
    ),
    ("your_own_network", lambda: life(neocortex=nn.Linear(64, 10))),
    ("your_own_network", lambda: life(neocortex=network(nn.Linear(64, 10), Restless()))),
    (
        "your_own_network",
        lambda: life(neocortex=network(nn.Linear(64, 10), nn.BatchNorm1d(10, track_running_stats=False))),
    ),
    ("your_own_network", lambda: life(neocortex=network(nn.Linear(64, 9)))),
    ("your_own_network", lambda: life(neocortex=network(nn.Linear(32, 10)))),
    ("your_own_memory", lambda: life(hippocampus=changed("your_own_memory", "Latest", "setup", without_spec))),
    (
        "your_own_memory",
        lambda: lived(
            hippocampus=changed(
                "your_own_memory", "Latest", "recall", lambda _, r: replace(r, scores=r.scores[..., :-1])
            )
        ),
    ),
    (
        "your_own_memory",
        lambda: lived(
            hippocampus=changed("your_own_memory", "Latest", "recall", lambda _, r: replace(r, match=r.match + 7))
        ),
    ),
    ("your_own_memory", lambda: life(hippocampus=classes("your_own_memory")["Latest"](), replay=cs.Dreamed(batch=4))),
    (
        "your_own_memory",
        lambda: life(hippocampus=classes("your_own_memory")["Latest"]()).twin(
            hippocampus=lambda part: cs.Lesion(part, fraction=0.5)
        ),
    ),
    ("your_own_replay", lambda: lived(replay=changed("your_own_replay", "Youngest", "draw", lambda _, batch: batch.x))),
    (
        "your_own_replay",
        lambda: lived(
            replay=changed("your_own_replay", "Youngest", "draw", lambda _, batch: batch.with_(weight=-batch.weights()))
        ),
    ),
    ("your_own_replay", lambda: lived(replay=Dead())),
    (
        "your_own_rhythm",
        lambda: lived(rhythm=changed("your_own_rhythm", "Weekends", "asleep", lambda _, asleep: asleep * 1.0)),
    ),
    ("your_own_rhythm", lambda: life().twin(rhythm=classes("your_own_rhythm")["Weekends"]())),
    ("your_own_plasticity", lambda: life(plasticity=-0.1)),
    (
        "your_own_plasticity",
        lambda: lived(plasticity=changed("your_own_plasticity", "Waning", "rate", lambda _, rate: rate[0])),
    ),
    (
        "your_own_plasticity",
        lambda: lived(plasticity=changed("your_own_plasticity", "Waning", "rate", lambda _, rate: rate - 1)),
    ),
    ("your_own_plasticity", lambda: life().twin(plasticity="fast")),  # type: ignore[arg-type]
    ("your_own_consolidation", lambda: type("Half", (cs.Consolidation,), {"step": None})()),
    (
        "your_own_consolidation",
        lambda: lived(
            consolidation=changed("your_own_consolidation", "SignDescent", "loss", lambda _, loss: loss.mean(1))
        ),
    ),
    ("your_own_data", lambda: cs.Arrays(x=X, y=Y * 1.0)),
    ("your_own_data", lambda: cs.Arrays(x=X, y=Y + 1)),
    ("your_own_data", lambda: cs.Arrays(x=X, y=np.array(["cat", "dog"] * 60))),
    ("your_own_data", lambda: cs.Arrays(x=X, y=np.eye(4, dtype=int)[Y])),
    ("your_own_data", lambda: cs.Arrays(x=np.where(X > 2, np.nan, X), y=Y)),
    ("your_own_data", lambda: cs.Arrays(x=X[:, 0], y=Y)),
    ("your_own_data", lambda: cs.Arrays(x=np.zeros((120, 8, 8, 3), np.uint8), y=Y)),
    ("your_own_data", lambda: cs.Arrays(x=np.ma.masked_greater(X, 2), y=Y)),
    ("your_own_probe", lambda: life(probes=[cs.Accuracy()])),  # type: ignore[arg-type]
    ("your_own_probe", lambda: life(probes={"accuracy": cs.Accuracy})),
    ("your_own_probe", lambda: lived(probes={"norm": lambda life: torch.zeros(3)})),
    ("your_own_probe", lambda: cs.at(cs.Accuracy(), "week.end")),
    ("your_own_claim_and_figure", lambda: experiment("# @package _global_\n", "")),
    ("your_own_claim_and_figure", lambda: experiment("/world: digits", "/world: digitz")),
    ("your_own_claim_and_figure", lambda: experiment("replay=disrupted", "replay=disruptd")),
    ("your_own_claim_and_figure", lambda: experiment("by: 0.05", "bye: 0.05")),
    ("your_own_claim_and_figure", lambda: experiment("than: disrupted", "than: nobody")),
    ("your_own_claim_and_figure", lambda: experiment("must_fail: [replay_is_needed]", "must_fail: [grows]")),
    ("your_own_wrap", lambda: classes("your_own_wrap")["WeakEncoding"](cs.Uniform())),
    ("your_own_wrap", lambda: classes("your_own_wrap")["WeakEncoding"](cs.Store(), share=1.5)),
    ("your_own_wrap", lambda: cs.build("experiment=digits", "arms=[cls]", "hippocampus=lesion")),
]


def message(make: Callable[[], Any]) -> str:
    with pytest.raises(cs.ConfigError) as refused:
        make()
    return str(refused.value)


@pytest.mark.parametrize("page", dict.fromkeys(page for page, _ in REFUSED))
def test_a_page_quotes_the_messages_that_are_given(page: str):
    quoted = (PAGES[0].parent / f"{page}.md").read_text().split("```text\n")[1].split("```")[0].splitlines()
    assert quoted == [message(make) for name, make in REFUSED if name == page]


def test_parts_of_a_module_of_ones_own_from_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As the pages say: `--allow my_parts --config-dir conf`, one YAML file for each part."""
    modules = {"your_own_memory": "latest", "your_own_replay": "youngest", "your_own_rhythm": "weekends"}
    modules |= {"your_own_plasticity": "waning", "your_own_consolidation": "sign", "index": "threshold"}
    for page, name in modules.items():
        text = (PAGES[0].parent / f"{page}.md").read_text()
        code = re.split(r"^(?:life = |def dose)", examples(PAGES[0].parent / f"{page}.md")[0], maxsplit=1, flags=re.M)[
            0
        ]
        (tmp_path / f"extend_{name}.py").write_text(code)
        ((file, yaml),) = re.findall(rf"^# conf/(\w+/{name}\.yaml)\n(.*?)^```", text, re.M | re.S)
        (tmp_path / "conf" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "conf" / file).write_text(yaml.replace("my_parts.", f"extend_{name}."))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("CLS_SIM_ALLOW", ",".join(f"extend_{name}" for name in modules.values()))
    chosen = ["hippocampus=latest", "replay=youngest", "rhythm=weekends", "plasticity=waning", "consolidation=sign"]
    made = cs.build("experiment=digits", "arms=[cls]", "subjects=1", *chosen, folders=[str(tmp_path / "conf")])
    assert type(made.hippocampus).__name__ == "Latest" and type(made.rhythm).__name__ == "Weekends"
    with pytest.raises(cs.ConfigError, match="--allow"):
        monkeypatch.setenv("CLS_SIM_ALLOW", "")
        cs.build("experiment=digits", "arms=[cls]", "replay=youngest", folders=[str(tmp_path / "conf")])


def test_a_network_a_wrap_a_probe_and_data_from_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What the other pages say of YAML: nested parts, a wrap from birth and in a branch, a probe, files of data."""
    network = "from torch import nn\n\n\nclass Network(nn.Sequential):\n    def __init__(self):\n"
    network += "        super().__init__(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4))\n"
    code = {"network": network}
    for page in ("your_own_wrap", "your_own_probe"):
        found = examples(PAGES[0].parent / f"{page}.md")[0]
        code[page] = re.split(r"^life = ", found, maxsplit=1, flags=re.M)[0]
    for name, text in code.items():
        (tmp_path / f"extend_{name}.py").write_text(text)
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", Y)
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    (tmp_path / "conf" / "neocortex").mkdir()
    (tmp_path / "conf" / "world").mkdir()
    (tmp_path / "conf" / "hippocampus").mkdir()
    (tmp_path / "conf" / "neocortex" / "mine.yaml").write_text(
        "_target_: cls_sim.Module\nmodule: {_target_: extend_network.Network}\n"
    )
    (tmp_path / "conf" / "hippocampus" / "weak.yaml").write_text(
        "_target_: extend_your_own_wrap.WeakEncoding\nshare: 0.5\n"
    )
    (tmp_path / "conf" / "hippocampus" / "weak_store.yaml").write_text(
        "_target_: extend_your_own_wrap.WeakEncoding\nhippocampus: {_target_: cls_sim.Store, capacity: 50}\nshare: 0.5\n"
    )
    (tmp_path / "conf" / "world" / "mine.yaml").write_text(
        f"_target_: cls_sim.Arrays\nx: {tmp_path}/x.npy\ny: {tmp_path}/y.npy\ncontexts: 2\nper_context: 10\nbatch: 8\n"
    )
    (tmp_path / "conf" / "experiment" / "mine.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /world: mine\n  - override /neocortex: mine\n"
        "  - override /hippocampus: store\nsubjects: 2\nrhythm: {experiences_per_day: 5, steps_per_night: 5}\n"
        "probes:\n  confidence: {_target_: extend_your_own_probe.Confidence, at: [day.end, life.end]}\n"
        "arm:\n  cls: []\n"
        "  weak: {branch_from: cls, branch_at: 2d, overrides: [hippocampus=weak, hippocampus.share=0.2]}\n"
        "  weak_from_birth: [hippocampus=weak_store]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)  # ./conf is found
    monkeypatch.setenv("CLS_SIM_ALLOW", ",".join(f"extend_{name}" for name in code))
    found = cs.study("experiment=mine")
    assert set(found.readings) == {"cls", "weak", "weak_from_birth"}
    assert all("confidence" in trace.names() for trace in found.traces.values())
