"""Images: convolutional cortices, dropout and batch normalisation, crops and mirrors, networks of one's own."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import cls_sim as cs
from cls_sim.core.batch import LIVED, STORED, Batch
from cls_sim.core.clock import Clock
from cls_sim.probes.evaluations import pieces
from tests.lives import live, small

CORTICES = {
    "slim": lambda: cs.SlimResNet18(width=4),
    "cnn": lambda: cs.Cnn4(channels=[4, 4, 8, 8]),
    "group": lambda: cs.Cnn4(channels=[4, 4, 8, 8], norm="group"),
}


def dropping() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 10))


def test_the_slim_resnet_has_the_published_number_of_weights():
    """About 1.09 million (Lopez-Paz & Ranzato 2017; Caccia et al. 2022)."""
    cortex = cs.SlimResNet18()
    spec = cortex.setup(cs.Spec(inputs=(3, 32, 32), outputs=10))
    assert spec.features == 160 and sum(w[0].numel() for w in cortex.weights.values()) == 1_094_750


@pytest.mark.parametrize("name", CORTICES)
def test_a_cortex_learns_as_plain_pytorch_does(name: str):
    """Three steps of SGD beside a loop over one network: weights and running statistics are those of the loop."""
    cortex = CORTICES[name]()
    cortex.setup(cs.Spec(seeds=(5, 6), inputs=(3, 16, 16), outputs=4))
    source = torch.Generator().manual_seed(0)
    nets = [cortex.module() for _ in range(2)]  # pyright: ignore[reportCallIssue]
    for i, net in enumerate(nets):
        net.load_state_dict({n: w[i].detach() for n, w in (cortex.weights | cortex.running | cortex.fixed).items()})
        net.train()
    for _ in range(3):
        x, y = torch.rand(2, 8, 3, 16, 16, generator=source), torch.randint(0, 4, (2, 8), generator=source)
        batch = Batch.lived(x, y)
        with cortex.learning(batch):
            loss = nn.functional.cross_entropy(cortex.scores(batch.x).flatten(0, 1), y.flatten(), reduction="none")
            slopes = torch.autograd.grad(loss.view(2, 8).mean(1).sum(), list(cortex.weights.values()))
        cortex.after_step(batch, np.ones(2, bool))
        with torch.no_grad():
            for w, slope in zip(cortex.weights.values(), slopes, strict=True):
                w -= 0.1 * slope
        for i, net in enumerate(nets):
            net.zero_grad()
            nn.functional.cross_entropy(net(x[i]), y[i]).backward()
            with torch.no_grad():
                for w in net.parameters():
                    assert w.grad is not None
                    w -= 0.1 * w.grad
    for i, net in enumerate(nets):
        for n, t in net.state_dict().items():
            mine = (cortex.weights | cortex.running | cortex.fixed)[n][i]
            assert torch.allclose(mine.float(), t.float(), atol=1e-5), n


@pytest.mark.parametrize("name", CORTICES)
def test_a_subject_alone_is_the_subject_in_company(name: str):
    rule = cs.Descent(optimizer=cs.Sgd())  # Adam amplifies rounding where a gradient is zero
    make = lambda s, seed: live(small(s, seed, neocortex=CORTICES[name](), consolidation=rule), 30)  # noqa: E731
    together, alone = make(3, 0), make(1, 2)
    for n, w in together.neocortex.weights.items():
        assert torch.allclose(w[2], alone.neocortex.weights[n][0], atol=1e-4), n


def test_flat_squares_and_images_without_channels_are_images():
    for inputs in ((64,), (8, 8), (1, 8, 8)):
        cortex = cs.Cnn4(channels=[2, 2, 2, 2])
        cortex.setup(cs.Spec(inputs=inputs, outputs=3))
        assert cortex.scores(torch.zeros(1, 5, *inputs)).shape == (1, 5, 3)
    with pytest.raises(cs.ConfigError, match=r"needs images, and inputs are \[7\]"):
        cs.Cnn4().setup(cs.Spec(inputs=(7,), outputs=3))
    with pytest.raises(cs.ConfigError, match="mean: has 2 numbers for 3 channels"):
        cs.SlimResNet18(mean=[0.5, 0.5]).setup(cs.Spec(inputs=(3, 8, 8), outputs=3))


def test_evaluations_ask_a_slim_resnet_at_least_fifty_rows_at_once():
    world = cs.Arrays(x=np.zeros((120, 3, 32, 32), np.uint8), y=np.arange(120) % 2, contexts=1, test=0.5)
    for subjects in (1, 4):
        life = small(subjects, world=world, neocortex=cs.SlimResNet18())
        sizes = [x.shape[1] for x, _ in pieces(life, life.world.evaluation(0))]
        assert sizes[0] >= 50


# -- dropout --------------------------------------------------------------------------------------------------


def test_dropout_depends_on_the_subject_and_its_step_only():
    make = lambda s, seed: small(s, seed, neocortex=cs.Module(module=dropping))  # noqa: E731
    together, alone = live(make(3, 0), 30), live(make(1, 2), 30)
    for n, w in together.neocortex.weights.items():
        assert torch.allclose(w[2], alone.neocortex.weights[n][0], atol=1e-4), n
    assert together.neocortex.steps.tolist() == [alone.neocortex.steps[0]] * 3 and alone.neocortex.steps[0] > 0


def test_dropout_is_off_in_evaluations_and_on_in_a_step():
    life = small(1, neocortex=cs.Module(module=dropping))
    cortex, x = life.neocortex, life.world.evaluation(0).x
    assert torch.equal(cortex.scores(x), cortex.scores(x))
    batch = Batch.lived(x, torch.zeros(x.shape[:2], dtype=torch.int64))
    state = torch.random.get_rng_state()
    with cortex.learning(batch):
        first, again = cortex.scores(batch.x), cortex.scores(batch.x)
    assert torch.equal(first, again) and not torch.equal(first, cortex.scores(x))
    assert torch.equal(torch.random.get_rng_state(), state)
    cortex.after_step(batch, np.ones(1, bool))
    with cortex.learning(batch):
        assert not torch.equal(cortex.scores(batch.x), first)


def test_a_life_with_dropout_goes_on_from_its_state():
    whole = live(small(2, neocortex=cs.Module(module=dropping)), 40)
    half = live(small(2, neocortex=cs.Module(module=dropping)), 25)
    heir = small(2, neocortex=cs.Module(module=dropping))
    heir.load(half.state())
    live(heir, 40)
    for n, w in whole.neocortex.weights.items():
        assert torch.equal(w, heir.neocortex.weights[n]), n


# -- crops and mirrors ----------------------------------------------------------------------------------------


def photographs(rows: int = 200) -> Batch:
    x = torch.rand(2, rows, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    batch = Batch.lived(x, torch.zeros(2, rows, dtype=torch.int64))
    return batch.with_(source=batch.source + 1)


def altered(policy: cs.CropFlip, batch: Batch, seeds: tuple[int, ...] = (0, 1)) -> Tensor:
    policy.setup(cs.Spec(seeds=seeds, inputs=tuple(batch.x.shape[2:]), outputs=3))
    return policy.alter(batch, "night", np.full(len(seeds), 3)).x


def test_every_row_is_one_of_the_crops_of_its_image():
    batch = photographs()
    found = altered(cs.CropFlip(cs.Uniform(), crop=1, flip=0.5), batch)
    padded = nn.functional.pad(batch.x, (1, 1, 1, 1))
    crops = [padded[..., dy : dy + 6, dx : dx + 6] for dy in range(3) for dx in range(3)]
    crops += [crop.flip(-1) for crop in crops]
    equal = torch.stack([(crop == found).flatten(2).all(-1) for crop in crops])
    assert (equal.sum(0) == 1).all()
    share = equal.float().mean((1, 2))
    assert share.min() > 0.02 and share.max() < 0.1  # 1/18 each


def test_mirrors_come_as_often_as_asked():
    batch = photographs(400)
    same = (altered(cs.CropFlip(cs.Uniform(), crop=0, flip=0.25), batch) == batch.x).flatten(2).all(-1)
    assert abs(same.float().mean() - 0.75) < 0.05
    assert torch.equal(altered(cs.CropFlip(cs.Uniform(), crop=0, flip=1.0), batch), batch.x.flip(-1))


def test_colour_changes_brightness_contrast_and_saturation_of_a_row_as_a_whole():
    batch = photographs(5)
    found = altered(cs.CropFlip(cs.Uniform(), crop=0, flip=0.0, colour=0.4), batch)
    assert not torch.equal(found, batch.x)
    grey = batch.with_(x=batch.x[:, :, :1].expand_as(batch.x))
    still = altered(cs.CropFlip(cs.Uniform(), crop=0, flip=0.0, colour=0.4), grey)
    assert torch.allclose(still[:, :, 0], still[:, :, 1], atol=1e-6)  # grey stays grey
    flat = batch.with_(x=torch.full_like(batch.x, 0.5))
    bright = altered(cs.CropFlip(cs.Uniform(), crop=0, flip=0.0, colour=0.4), flat)
    assert (bright >= 0.3 - 1e-6).all() and (bright <= 0.7 + 1e-6).all() and bright.std() > 0.01


def test_a_subject_in_company_sees_the_same_crops():
    batch = photographs(20)
    together = altered(cs.CropFlip(cs.Uniform()), batch)
    alone = altered(
        cs.CropFlip(cs.Uniform()), batch.with_(**{n: getattr(batch, n)[1:] for n in ("x", "y", "source")}), (1,)
    )
    assert torch.equal(together[1:], alone)


@pytest.mark.parametrize("lived", [True, False])
def test_the_cortex_sees_experience_altered_and_the_hippocampus_does_not(lived: bool):
    world = cs.Arrays(
        x=np.random.default_rng(0).integers(0, 256, (60, 3, 6, 6), np.uint8), y=np.arange(60) % 2, contexts=1
    )
    policy = cs.CropFlip(cs.Interleaved(cs.Uniform(batch=4), only_old=False), lived=lived)
    life = small(2, world=world, replay=policy, neocortex=cs.Mlp(hidden=[8]), hippocampus=cs.Store(capacity=400))
    live(life, 3)
    now = life.world.next(life.clock)
    batch = policy.training_batch(now, life.hippocampus, life.neocortex, life.view, life.clock)
    mine = batch.source[0] == LIVED
    assert torch.equal(batch.x[0][mine], now.x[0]) != lived
    stored = life.hippocampus.state()
    assert stored and (life.world.train(0).x[0].flatten(1)[:, None] == _kept(life)[None]).all(-1).any(0).all()


def _kept(life: cs.Life) -> Tensor:
    assert life.view.stored is not None
    batch = life.view.stored()
    return batch.x[0][batch.present()[0]].flatten(1)


# -- a network of one's own from the command line -------------------------------------------------------------

NETS = """
from torch import nn

def network(width=16):
    return nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))

class Network(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(64, 10))

made = network(8)
number = 3
"""


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "image_nets.py").write_text(NETS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("CLS_SIM_ALLOW", "image_nets")


@pytest.mark.parametrize(
    ("given", "width"),
    [("network", 16), ("network,width:5", 5), ("Network", None), ("made", 8)],
)
def test_a_function_a_class_or_a_network_can_be_named(nets: None, given: str, width: int | None):
    name, _, more = given.partition(",")
    module = f"neocortex.module={{_target_:image_nets.{name}{',' + more if more else ''}}}"
    life = cs.build("experiment=digits", "arms=[cls]", "subjects=2", "neocortex=module", module)
    shapes = [tuple(w.shape) for w in life.neocortex.weights.values()]
    assert shapes[0] == ((2, 10, 64) if width is None else (2, width, 64))
    first, second = (w for w in next(iter(life.neocortex.weights.values())))
    assert not torch.equal(first, second)


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("{_target_:image_nets.number}", "is not a network"),
        ("{_target_:image_nets.network,widht:3}", "is not a setting of network"),
        ("{_target_:image_nets.made,width:3}", "is a network, which has no settings"),
        ("{_target_:os.system}", "is not in the vocabulary"),
        ("{_target_:torch.nn.Linear}", "is not in the vocabulary"),
    ],
)
def test_what_is_no_network_is_refused(nets: None, module: str, said: str):
    with pytest.raises(cs.ConfigError, match=said):
        cs.build("experiment=digits", "arms=[cls]", "neocortex=module", f"neocortex.module={module}")


def test_a_copy_of_a_life_with_a_convolutional_cortex_lives_on_alike():
    life = live(small(1, neocortex=cs.Cnn4(channels=[2, 2, 2, 2])), 10)
    other = copy.deepcopy(life)
    live(life, 20), live(other, 20)
    assert all(torch.equal(w, other.neocortex.weights[n]) for n, w in life.neocortex.weights.items())


# -- layers at their own pace ---------------------------------------------------------------------------------


def periods(**settings: object) -> cs.LayerPeriods:
    return cs.LayerPeriods(cs.Mlp(hidden=[16, 12]), **settings)  # pyright: ignore[reportArgumentType]


def test_a_layer_stays_as_it_is_once_its_period_is_closed():
    life = small(2, neocortex=periods(close=[1.0, 3.0, float("inf")]))
    kept = []
    while life.clock.day[0] < 6:
        live(life, life.clock.tick + 1)
        kept.append((life.clock.day[0], {n: w.detach().clone() for n, w in life.neocortex.weights.items()}))
    for layer, close in (("weight0", 1.0), ("bias0", 1.0), ("weight1", 3.0), ("weight2", float("inf"))):
        early = [w[layer] for day, w in kept if day <= close]
        late = [w[layer] for day, w in kept if day > close]
        assert not torch.equal(early[0], early[-1])
        assert not late or all(torch.equal(w, late[0]) for w in late)


def three_layers() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 9), nn.ReLU(), nn.Linear(9, 9), nn.ReLU(), nn.Linear(9, 10))


@pytest.mark.parametrize("layers", [{"hidden": [16, 12]}, {"module": True}])
def test_a_frozen_layer_gets_no_gradient_and_no_optimizer(monkeypatch, layers: dict[str, object]):
    """The life is the same as with gradients for all layers, which are then undone."""

    def life() -> cs.Life:
        net = cs.Mlp(hidden=[16, 12]) if "hidden" in layers else cs.Module(module=three_layers)
        return small(3, neocortex=cs.LayerPeriods(net, close=[1.0, 0.0, float("inf")], rates=[1.0, 0.0, 1.0]))

    frozen = life()
    live(frozen, 100)
    still = frozen.neocortex.frozen()
    assert len(still) == 4 and all(who.all() for who in still.values())
    asked: list[int] = []
    update = cs.Adam.update
    monkeypatch.setattr(cs.Adam, "update", lambda self, w, *rest: (asked.append(len(w)), update(self, w, *rest))[1])
    live(frozen, 110)
    assert set(asked) == {2}
    monkeypatch.undo()
    monkeypatch.setattr(cs.LayerPeriods, "frozen", lambda _: {})
    plain = life()
    live(plain, 110)
    assert all(torch.equal(w, plain.neocortex.weights[n]) for n, w in frozen.neocortex.weights.items())


def test_a_layer_that_is_frozen_for_some_subjects_only():
    spec, clock = cs.Spec(seeds=(0, 1), inputs=(6,), outputs=3), Clock(2, 100)
    cortex, descent = periods(close=[1.0, 2.0, float("inf")]), cs.Descent()
    told = descent.setup(cortex.setup(spec))
    cortex.attach(told, clock)
    batch = Batch.lived(torch.rand(2, 5, 6), torch.tensor([[0, 1, 2, 0, 1]] * 2))
    before = descent.gradient(cortex, batch)
    clock.experience = np.array([50, 150])
    assert {name: who.tolist() for name, who in cortex.frozen().items()} == {
        name: [False, True] for name in ("weight0", "bias0")
    }
    after = descent.gradient(cortex, batch)
    for name, g in before.items():
        assert torch.equal(after[name][0], g[0]), name
        assert torch.equal(after[name][1], 0 * g[1] if name in cortex.frozen() else g[1]), name


def test_the_factor_of_a_layer_is_a_factor_of_its_learning_rate():
    rule = cs.Descent(optimizer=cs.Sgd())
    ours = live(small(1, neocortex=periods(rates=[0.5, 0.0, 2.0]), consolidation=rule), 7)  # the first steps by day
    plain = small(1, neocortex=cs.Mlp(hidden=[16, 12]), consolidation=cs.Descent(optimizer=cs.Sgd()))
    before = {n: w.detach().clone() for n, w in plain.neocortex.weights.items()}
    one = live(small(1, neocortex=periods(rates=[0.5, 0.0, 2.0]), consolidation=cs.Descent(optimizer=cs.Sgd())), 1)
    live(plain, 1)
    for n, factor in (("weight0", 0.5), ("weight1", 0.0), ("bias2", 2.0)):
        moved = plain.neocortex.weights[n] - before[n]
        assert torch.allclose(one.neocortex.weights[n] - before[n], factor * moved, atol=1e-7), n
    assert torch.equal(ours.neocortex.weights["bias1"], before["bias1"])


def test_plasticity_fades_after_a_period():
    cortex = periods(close=[2.0], fade=4.0)
    life = small(1, neocortex=cortex)
    life.clock.experience += 6 * 6  # six days
    assert cortex.factors()[0].round(6).tolist() == [round(float(np.exp(-1)), 6)]


def test_running_statistics_of_a_closed_layer_stay():
    cortex = cs.LayerPeriods(cs.Cnn4(channels=[2, 2, 2, 2]), close=[0.0, float("inf")])
    life = small(1, neocortex=cortex)
    before = {n: t.clone() for n, t in life.neocortex.running.items()}  # pyright: ignore[reportAttributeAccessIssue]
    live(life, 12)
    after = life.neocortex.running  # pyright: ignore[reportAttributeAccessIssue]
    lower = [n for n in cortex.members[0] if n.endswith("running_mean")]
    assert lower and all(torch.equal(before[n], after[n]) for n in lower)
    upper = [n for n in cortex.members[1] if n.endswith("running_mean")]
    assert upper and not any(torch.equal(before[n], after[n]) for n in upper)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"close": [1.0, 2.0], "rates": [1.0, 1.0, 1.0]}, "one number for each group"),
        ({"close": [1.0] * 9}, "has 9 groups for 3 layers"),
        ({"groups": [["weight0"], ["weight"]]}, "name weight0 more than once"),
        ({"groups": [["weight"]]}, "leave out bias0"),
        ({"groups": ["weight0"]}, "is not a list of names"),
        ({"rates": [-1.0]}, "out of range"),
        ({"close": []}, "is an empty list"),
    ],
)
def test_groups_that_do_not_fit_are_refused(settings: dict[str, object], said: str):
    with pytest.raises(cs.ConfigError, match=said):
        small(1, neocortex=periods(**settings))


@pytest.mark.parametrize("page", ["images", "latent_replay"])
def test_the_examples_of_a_page_run(page: str):
    text = (Path(__file__).parent.parent / "docs" / f"{page}.md").read_text()
    namespace: dict[str, object] = {}
    for code in re.findall(r"^```python\n(.*?)^```", text, re.M | re.S):
        exec(compile(code, page, "exec"), namespace)
    life = namespace["life"]
    assert isinstance(life, cs.Life) and life.over


def test_lived_and_replayed_rows_are_normalised_apart():
    """With `apart`, a step is two forward passes of plain PyTorch, first of what is lived; else it is one."""
    source = torch.Generator().manual_seed(0)
    x, y = torch.rand(1, 9, 3, 8, 8, generator=source), torch.arange(9)[None] % 4
    old = Batch.lived(x[:, 5:], y[:, 5:]).with_(source=torch.full((1, 4), STORED))
    batch = Batch.lived(x[:, :5], y[:, :5]).join(old)
    spec, found = cs.Spec(inputs=(3, 8, 8), outputs=4), {}
    for apart in (False, True):
        cortex = cs.Cnn4(channels=[4, 4, 8, 8], apart=apart)
        cortex.setup(spec)
        net = cortex.to_module().train()
        passes = [x[0, :5], x[0, 5:]] if apart else [x[0]]
        expected = torch.cat([net(rows) for rows in passes])
        with cortex.learning(batch):
            found[apart] = cortex.scores(batch.x)[0]
        cortex.after_step(batch, np.ones(1, bool))
        assert torch.allclose(found[apart], expected, atol=1e-5)
        for n, t in cortex.running.items():
            assert torch.allclose(t[0].float(), net.state_dict()[n].float(), atol=1e-6), n
    assert (found[True] - found[False]).abs().max() > 0.01


@pytest.mark.parametrize("replayed", [0, 1])
def test_apart_needs_two_rows_of_a_kind(replayed: int):
    """Without replayed rows nothing differs; a single one is normalised by the running statistics."""
    x, y = torch.rand(1, 6, 3, 8, 8, generator=torch.Generator().manual_seed(1)), torch.zeros(1, 6, dtype=torch.long)
    kind = torch.tensor([[LIVED] * (6 - replayed) + [STORED] * replayed])
    batch, out = Batch.lived(x, y).with_(source=kind), []
    for apart in (False, True):
        cortex = cs.Cnn4(channels=[4, 4, 8, 8], apart=apart)
        cortex.setup(cs.Spec(inputs=(3, 8, 8), outputs=4))
        with cortex.learning(batch):
            out.append(cortex.scores(batch.x)[0].detach())
    assert torch.equal(*out) == (replayed == 0) and all(t.isfinite().all() for t in out)
