"""Consolidation: each subject's steps are those of torch.optim on its own loss; who does not learn does not move."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div

import cls_sim as cs
from cls_sim.consolidation.base import Consolidation
from cls_sim.core.errors import ConfigError
from cls_sim.core.optimizers import Optimizer
from cls_sim.neocortex.base import Neocortex
from tests.lives import wraps

ROOM = [n for n, module in cs.VOCABULARY.items() if module.startswith("consolidation.") and not module.endswith("base")]
TENANTS = [name for name in ROOM if issubclass(getattr(cs, name), Consolidation) and not wraps(name)]


class ClippedSgd(torch.optim.SGD):
    def step(self, closure: Any = None) -> None:
        torch.nn.utils.clip_grad_norm_(self.param_groups[0]["params"], 0.5)
        super().step()


RULES: dict[str, Callable[[], Optimizer]] = {
    "sgd": cs.Sgd,
    "momentum": cs.Momentum,
    "adam": cs.Adam,
    "clipped": lambda: cs.Clipped(optimizer=cs.Sgd(), norm=0.5),
}
PEERS: dict[str, Callable[[Any, float], torch.optim.Optimizer]] = {
    "sgd": lambda p, lr: torch.optim.SGD(p, lr),
    "momentum": lambda p, lr: torch.optim.SGD(p, lr, momentum=0.9),
    "adam": lambda p, lr: torch.optim.Adam(p, lr),
    "clipped": lambda p, lr: ClippedSgd(p, lr),
}


def spec_of(*seeds: int, **changes: Any) -> cs.Spec:
    sizes = {"seeds": seeds or (0,), "inputs": (6,), "outputs": 4, "batch": 8, "contexts": 2, "ends": (100, 200)}
    return cs.Spec(**sizes | changes)


def settled(
    *seeds: int, descent: Consolidation | None = None, cortex: Neocortex | None = None, **changes: Any
) -> tuple[Neocortex, Consolidation]:
    """A cortex and what moves it, begun for these subjects."""
    cortex, descent = cortex or cs.Averaged(cs.Mlp(hidden=[5])), descent or cs.Descent()
    descent.setup(cortex.setup(spec_of(*seeds, **changes)))
    return cortex, descent


def lesson(*seeds: int, step: int = 0, rows: int = 8, **others: Any) -> cs.Batch:
    """What each subject lives at this step, whoever else is there."""
    xs, ys = [], []
    for seed in seeds:
        g = torch.Generator().manual_seed(1000 * seed + step)
        xs.append(torch.randn(rows, 6, generator=g))
        ys.append(torch.randint(4, (rows,), generator=g))
    return cs.Batch.lived(torch.stack(xs), torch.stack(ys), **others)


def values(cortex: Neocortex) -> dict[str, Tensor]:
    return {name: w.detach().clone() for name, w in cortex.weights.items()}


def learn(cortex: Neocortex, descent: Consolidation, seeds: tuple[int, ...], steps: range, rate: Any) -> None:
    rate = np.broadcast_to(np.asarray(rate, np.float64), (len(seeds),))
    for step in steps:
        descent.step(cortex, lesson(*seeds, step=step), rate, None)  # pyright: ignore[reportArgumentType]


def made(name: str) -> Consolidation:
    """An option; synapses that change by chance do so at once."""
    return getattr(cs, name)(**{"Cascade": {"gain": 1e4}, "Partition": {"gain": 1e4, "regions": 2}}.get(name, {}))


def step(cortex: Neocortex, descent: Consolidation, batch: cs.Batch, *rate: float) -> None:
    descent.step(cortex, batch, np.array(rate), None)  # pyright: ignore[reportArgumentType]


# -- the contract, for every option ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", TENANTS)
def test_one_does_not_move_at_rate_zero_nor_without_rows(name: str):
    """Neither weights nor anything that is remembered, bit for bit; the others move as if alone."""
    cortex, option = settled(0, 1, 2, descent=made(name))
    learn(cortex, option, (0, 1, 2), range(3), 0.01)
    before, memory = values(cortex), tenant_rows(option.state(), 3)
    present = torch.ones(3, 8)
    present[1] = 0
    step(cortex, option, lesson(0, 1, 2, step=3, weight=present), 0.0, 0.01, 0.01)
    assert all(torch.equal(w[:2], before[weight][:2]) for weight, w in values(cortex).items())
    assert any(not torch.equal(w[2], before[weight][2]) for weight, w in values(cortex).items())
    for mine, its in zip(tenant_rows(option.state(), 3), memory, strict=True):
        assert torch.equal(mine[:2], its[:2])


def tenant_rows(tree: Any, subjects: int) -> list[Tensor]:
    """Copies of everything in a state that belongs to subjects."""
    if isinstance(tree, dict):
        return [leaf for branch in tree.values() for leaf in tenant_rows(branch, subjects)]
    leaf = torch.as_tensor(tree).clone()
    return [leaf] if leaf.dim() and len(leaf) == subjects else []


@pytest.mark.parametrize("name", TENANTS)
def test_alone_as_in_company(name: str):
    seeds = (3, 4, 5)
    together, option = settled(*seeds, descent=made(name))
    learn(together, option, seeds, range(50), 0.005)
    for i, seed in enumerate(seeds):
        alone, its = settled(seed, descent=made(name))
        learn(alone, its, (seed,), range(50), 0.005)
        for weight, w in together.weights.items():
            assert torch.allclose(w[i], alone.weights[weight][0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", TENANTS)
def test_a_state_or_a_twin_goes_on_bit_for_bit(name: str):
    cortex, option = settled(0, 1, descent=made(name))
    learn(cortex, option, (0, 1), range(5), 0.01)
    twin, twins = copy.deepcopy(cortex), copy.deepcopy(option)
    heir, heirs = settled(0, 1, descent=made(name))
    heir.load(copy.deepcopy(cortex.state()))
    heirs.load(copy.deepcopy(option.state()))
    for pair in ((cortex, option), (twin, twins), (heir, heirs)):
        learn(*pair, (0, 1), range(5, 8), [0.01, 0.02])
        learn(*pair, (0, 1), range(8, 10), 0.01)
    for weight, w in cortex.weights.items():
        assert torch.equal(w, twin.weights[weight]) and torch.equal(w, heir.weights[weight])


@pytest.mark.parametrize("name", TENANTS)
def test_learning_lowers_the_loss_and_looking_at_it_changes_nothing(name: str):
    cortex, option = settled(0, 1, descent=made(name))
    batch, before = lesson(0, 1), values(cortex)
    first = option.loss(cortex, batch)
    assert first.shape == (2, 8) and not first.requires_grad
    assert all(torch.equal(w, before[n]) for n, w in values(cortex).items())
    for _ in range(30):
        step(cortex, option, batch, 0.01, 0.01)
    assert (option.loss(cortex, batch).mean(1) < first.mean(1)).all()


# -- rules: torch.optim, step for step ------------------------------------------------------------------------


def peer(cortex: Neocortex, i: int) -> nn.Module:
    """The same network as subject i's, in PyTorch."""
    net = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4))
    for layer, number in ((net[0], 0), (net[2], 1)):
        layer.weight.data = cortex.weights[f"weight{number}"].detach()[i].clone()  # pyright: ignore
        layer.bias.data = cortex.weights[f"bias{number}"].detach()[i, :, 0].clone()  # pyright: ignore
    return net


def assert_same(cortex: Neocortex, i: int, net: nn.Module) -> None:
    for mine, its in zip(cortex.weights.values(), net.parameters(), strict=True):
        mine = mine[i] if its.dim() == 2 else mine[i, :, 0]
        assert torch.allclose(mine, its, rtol=2e-5, atol=2e-6), (mine - its).abs().max()


@pytest.mark.parametrize("rates", [(0.01, 0.01), (0.002, 0.03)], ids=["one rate", "a rate each"])
@pytest.mark.parametrize("rule", RULES)
def test_fifty_steps_are_those_of_torch_optim(rule: str, rates: tuple[float, float]):
    cortex, descent = settled(0, 1, descent=cs.Descent(optimizer=RULES[rule]()))
    nets = [peer(cortex, i) for i in range(2)]
    learn(cortex, descent, (0, 1), range(50), rates)
    for i, (net, rate) in enumerate(zip(nets, rates, strict=True)):
        optimiser = PEERS[rule](net.parameters(), rate)
        for k in range(50):
            batch = lesson(i, step=k)
            optimiser.zero_grad()
            cross_entropy(net(batch.x[0]), batch.y[0]).backward()
            optimiser.step()
        assert_same(cortex, i, net)


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=8, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.sampled_from([0.01, 0.03])), min_size=1, max_size=15))
def test_subjects_that_skip_steps_keep_their_own_count(rule: str, steps: list[tuple[bool, bool, float]]):
    """Any mixture of steps together, apart and not at all is each subject's own torch.optim."""
    cortex, descent = settled(0, 1, descent=cs.Descent(optimizer=RULES[rule]()))
    nets = [peer(cortex, i) for i in range(2)]
    optimisers = [PEERS[rule](net.parameters(), 0.01) for net in nets]
    for k, (first, second, rate) in enumerate(steps):
        step(cortex, descent, lesson(0, 1, step=k), first * rate, second * 0.01)
        for i, eta in enumerate((first * rate, second * 0.01)):
            if not eta:
                continue
            batch = lesson(i, step=k)
            optimisers[i].param_groups[0]["lr"] = eta
            optimisers[i].zero_grad()
            cross_entropy(nets[i](batch.x[0]), batch.y[0]).backward()
            optimisers[i].step()
    for i in range(2):
        assert_same(cortex, i, nets[i])


@pytest.mark.parametrize("rates", [(0.01, 0.01), (0.01, 0.03)], ids=["one rate", "a rate each"])
@pytest.mark.parametrize("rule", ["momentum", "adam"])
def test_the_average_of_a_gradient_that_ended_does_not_become_subnormal(rule: str, rates: tuple[float, float]):
    """A processor computes with subnormal numbers up to a hundred times slower; the weights stay those of PyTorch."""
    rule_, weights = RULES[rule](), {"w": torch.ones(2, 4)}
    rule_.setup(cs.Spec(seeds=(0, 1), weights={"w": (2, 4)}))
    peers = [torch.ones(4, requires_grad=True) for _ in rates]
    optimisers = [PEERS[rule]([one], rate) for one, rate in zip(peers, rates, strict=True)]
    size = torch.ones(2, 4)
    for step_ in range(1200):
        slope = torch.arange(1.0, 5.0) * (step_ < 20)
        rule_.update(weights, {"w": slope.expand(2, 4).clone()}, np.array(rates), np.ones(2, bool))
        size = getattr(rule_, "mean" if rule == "adam" else "velocity")["w"].abs()
        assert not ((size > 0) & (size < 2.0**-126)).any()
        for one, optimiser in zip(peers, optimisers, strict=True):
            one.grad = slope.clone()
            optimiser.step()
    assert not size.any()
    assert torch.allclose(weights["w"], torch.stack([one.detach() for one in peers]), rtol=2e-5, atol=0)


@pytest.mark.parametrize("rule", RULES)
def test_a_subject_that_diverged_leaves_the_others_their_bits(rule: str):
    """Numbers that are no longer finite stay with their subject, on both ways through the rule."""
    both, descent = settled(0, 1, descent=cs.Descent(optimizer=RULES[rule]()))
    well, its = settled(0, 1, descent=cs.Descent(optimizer=RULES[rule]()))
    both.weights["weight0"].data[1] = float("nan")
    for rate in (0.01, [0.01, 0.02], [0.01, 0.0]):
        learn(both, descent, (0, 1), range(3), rate)
        learn(well, its, (0, 1), range(3), rate)
    assert all(torch.equal(w[0], well.weights[name][0]) for name, w in both.weights.items())
    assert both.weights["weight1"][1].isnan().any()


def test_an_idle_subject_is_not_harmed_by_a_gradient_that_is_no_number():
    cortex, descent = settled(0, 1)
    before = values(cortex)
    batch = lesson(0, 1)
    batch.x[1] = float("inf")
    step(cortex, descent, batch, 0.01, 0.0)
    assert all(torch.equal(w[1], before[name][1]) for name, w in values(cortex).items())
    learn(cortex, descent, (0, 1), range(1), 0.01)
    assert all(w.isfinite().all() for w in cortex.weights.values())


def test_torch_optim_is_never_imported():
    code = """if True:
        import sys, numpy as np, torch, cls_sim as cs
        cortex, descent = cs.Mlp(hidden=[3]), cs.Descent()
        before = set(sys.modules)
        descent.setup(cortex.setup(cs.Spec(inputs=(2,), outputs=2)))
        batch = cs.Batch.lived(torch.ones(1, 2, 2), torch.zeros(1, 2, dtype=torch.int64))
        descent.step(cortex, batch, np.ones(1), None)
        heavy = ("torch._dynamo", "torch.optim", "torch._inductor")
        assert not [name for name in set(sys.modules) - before if name.startswith(heavy)]
    """
    subprocess.run([sys.executable, "-c", code], check=True)


# -- objectives and reductions --------------------------------------------------------------------------------


def test_the_sum_loss_makes_the_step_of_go_cls():
    """w ← w + η Xᵀ(y - X w), for each subject."""
    x, y = torch.randn(2, 9, 6), torch.randn(2, 9, 1)
    w = torch.zeros(2, 6, 1)
    cortex, descent = settled(
        0, 1, cortex=cs.Linear(), descent=cs.Descent(optimizer=cs.Sgd(), reduction="sum"), outputs=1, regression=True
    )
    for _ in range(20):
        step(cortex, descent, cs.Batch.lived(x, y), 0.01, 0.02)
        w = w + torch.tensor([0.01, 0.02])[:, None, None] * x.mT @ (y - x @ w)
    assert torch.allclose(cortex.weights["weight0"].mT, w, atol=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
def test_sum_is_mean_times_the_weight_of_the_rows(weighted: bool):
    weight = torch.tensor([[0.0, 1.0, 2.0, 0.5], [1.0, 0.0, 0.0, 3.0]]) if weighted else None
    batch = lesson(0, 1, rows=4, weight=weight)
    total = batch.weights().sum(1)
    gradients = []
    for reduction in ("sum", "mean"):
        cortex, descent = settled(0, 1, descent=cs.Descent(reduction=reduction))
        assert isinstance(descent, cs.Descent)
        gradients.append(descent.gradient(cortex, batch))
    for name, g in gradients[0].items():
        assert torch.allclose(g, gradients[1][name] * total[:, None, None], atol=1e-6)


def test_a_row_that_is_not_there_may_hold_anything():
    cortex, descent = settled(0)
    batch = lesson(0, rows=4, weight=torch.tensor([[1.0, 1.0, 1.0, 0.0]]))
    assert isinstance(descent, cs.Descent)
    clean = descent.gradient(cortex, lesson(0, rows=4).with_(x=batch.x[:, :3], y=batch.y[:, :3]))
    batch.y[0, 3] = -1
    for name, g in descent.gradient(cortex, batch).items():
        assert torch.allclose(g, clean[name], atol=1e-6)


def test_losses_of_rows():
    cortex, descent = settled(0, 1)
    batch = lesson(0, 1)
    expected = torch.stack([cross_entropy(cortex.scores(batch.x)[i], batch.y[i], reduction="none") for i in range(2)])
    assert torch.allclose(descent.loss(cortex, batch), expected, atol=1e-6)
    target = batch.with_(y=torch.randn(2, 8, 4))
    squared = 0.5 * (cortex.scores(batch.x) - target.y).square().sum(-1)
    assert torch.allclose(descent.loss(cortex, target), squared, atol=1e-6)


def test_a_context_counts_only_where_it_is_told():
    heads = torch.tensor([[[True, True, False, False], [False, False, True, True]]])
    batch = lesson(0).with_(y=torch.ones(1, 8, dtype=torch.int64), context=torch.zeros(1, 8, dtype=torch.int64))
    untold = settled(0, heads=heads)
    told = settled(0, heads=heads, task_id_known=True)
    assert (told[1].loss(told[0], batch) < untold[1].loss(untold[0], batch)).all()
    before = values(told[0])["weight1"]
    step(*told, batch, 0.1)
    moved = (values(told[0])["weight1"] != before).any(2)[0]
    assert moved.tolist() == [True, True, False, False]


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
def test_distillation_is_hintons(temperature: float):
    """Its gradient is that of T² KL(teacher || student) at temperature T, whatever the label."""
    student, teacher = torch.randn(1, 8, 4, requires_grad=True), torch.randn(1, 8, 4)
    batch = lesson(0).with_(scores=teacher)
    (mine,) = torch.autograd.grad(
        cs.DistillationLoss(temperature=temperature).row_losses(student, batch).sum(), student
    )
    soft = (student / temperature).log_softmax(-1)
    loss = kl_div(soft, (teacher / temperature).softmax(-1), reduction="sum") * temperature**2
    (its,) = torch.autograd.grad(loss, student)
    assert torch.allclose(mine, its, atol=1e-5)


def test_rows_without_soft_targets_teach_their_label():
    scores, batch = torch.randn(2, 8, 4), lesson(0, 1)
    label = cs.SupervisedLoss().row_losses(scores, batch)
    assert torch.equal(cs.DistillationLoss().row_losses(scores, batch), label)
    teacher = torch.randn(2, 8, 4)
    teacher[:, ::2] = float("nan")
    mixed = cs.DistillationLoss().row_losses(scores, batch.with_(scores=teacher))
    assert torch.equal(mixed[:, ::2], label[:, ::2]) and not torch.allclose(mixed[:, 1::2], label[:, 1::2])
    assert mixed.isfinite().all()


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_share_mixes_soft_targets_and_labels(share: float):
    scores, batch = torch.randn(2, 8, 4), lesson(0, 1).with_(scores=torch.randn(2, 8, 4))
    label, soft = cs.SupervisedLoss().row_losses(scores, batch), cs.DistillationLoss().row_losses(scores, batch)
    assert torch.allclose(
        cs.DistillationLoss(share=share).row_losses(scores, batch), share * soft + (1 - share) * label, atol=1e-5
    )


def test_soft_targets_in_regression_are_targets():
    scores, batch = torch.randn(1, 8, 4), lesson(0).with_(y=torch.zeros(1, 8, 4), scores=torch.ones(1, 8, 4))
    assert torch.allclose(cs.DistillationLoss().row_losses(scores, batch), 0.5 * (1 - scores).square().sum(-1))


# -- with any cortex ------------------------------------------------------------------------------------------


def test_a_module_learns_as_the_same_mlp_does():
    """Fifty steps of Adam on the same network, as a user's module and as an Mlp."""
    mlp, descent = settled(0, 1)

    def network() -> nn.Module:
        return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4))

    module, its = settled(0, 1, cortex=cs.Module(module=network))
    for layer, name in enumerate(("0", "2")):
        module.weights[f"{name}.weight"].data = mlp.weights[f"weight{layer}"].detach().clone()
        module.weights[f"{name}.bias"].data = mlp.weights[f"bias{layer}"].detach()[:, :, 0].clone()
    learn(mlp, descent, (0, 1), range(50), 0.01)
    learn(module, its, (0, 1), range(50), 0.01)
    for layer, name in enumerate(("0", "2")):
        w = module.weights[f"{name}.weight"]
        assert torch.allclose(w, mlp.weights[f"weight{layer}"], rtol=2e-5, atol=2e-6)


def test_a_parameter_that_answers_nothing_stays():
    class Idle(nn.Module):
        def __init__(self):
            super().__init__()
            self.out, self.idle = nn.Linear(6, 4), nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(x)

    cortex, descent = settled(0, cortex=cs.Module(module=Idle))
    before = values(cortex)
    learn(cortex, descent, (0,), range(3), 0.01)
    assert torch.equal(values(cortex)["idle.weight"], before["idle.weight"])


# -- what is refused ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: cs.Descent(reduction="max"), "reduction"),
        (lambda: cs.Descent(optimizer="adam"), "optimizer"),
        (lambda: cs.Descent(objective=cs.Adam()), "objective"),
        (lambda: cs.Adam(beta1=1.0), "beta1"),
        (lambda: cs.Adam(beta2=-0.1), "beta2"),
        (lambda: cs.Adam(eps=0.0), "eps"),
        (lambda: cs.Clipped(optimizer=cs.SupervisedLoss()), "optimizer"),
        (lambda: cs.Clipped(optimizer=cs.Sgd(), norm=0.0), "norm"),
        (lambda: cs.Momentum(momentum=1.5), "momentum"),
        (lambda: cs.DistillationLoss(temperature=0.0), "temperature"),
        (lambda: cs.DistillationLoss(share=2), "share"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(make: Any, key: str):
    with pytest.raises(ConfigError) as refused:
        make()
    assert refused.value.key == key


def test_a_smoothed_label_asks_for_a_little_of_every_answer():
    scores = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    batch = cs.Batch.lived(torch.zeros(2, 3, 1), torch.tensor([[0, 1, 2], [3, 3, -1]]))
    log = scores.log_softmax(2)
    own = -log.gather(2, batch.y.clamp(min=0)[..., None])[..., 0]
    expected = (0.8 * own - 0.2 * log.mean(2)) * (batch.y >= 0)
    assert torch.allclose(cs.SupervisedLoss(smoothing=0.2).row_losses(scores, batch), expected, atol=1e-6)
    assert torch.allclose(cs.SupervisedLoss().row_losses(scores, batch), own * (batch.y >= 0), atol=1e-6)
