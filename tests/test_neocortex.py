"""Neocortices: first weights from the subject's seed alone, answers those of the same network alone in PyTorch."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import cls_sim as cs
from cls_sim.core.errors import ConfigError
from cls_sim.neocortex.base import Neocortex
from cls_sim.neocortex.routed import Routed
from tests.lives import wraps


def network() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4))


NEEDED: dict[str, dict[str, Any]] = {"Module": {"module": network}, "Feedback": {"renew_every": 100}}  # no default fits
ROOM = [n for n, module in cs.VOCABULARY.items() if module.startswith("neocortex.") and not module.endswith("base")]
TENANTS = [name for name in ROOM if not wraps(name) and not issubclass(getattr(cs, name), Routed)]


def option(name: str) -> Neocortex:
    return getattr(cs, name)(**NEEDED.get(name, {}))


def spec_of(*seeds: int, **changes: Any) -> cs.Spec:
    return cs.Spec(**{"seeds": seeds or (0,), "inputs": (2, 3), "outputs": 4} | changes)


def begun(cortex: Neocortex, *seeds: int, **changes: Any) -> Neocortex:
    cortex.setup(spec_of(*seeds, **changes))
    return cortex


def inputs(s: int, b: int = 7, shape: tuple[int, ...] = (2, 3)) -> Tensor:
    return torch.randn(s, b, *shape, generator=torch.Generator().manual_seed(1))


# -- the contract, for every option ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", TENANTS)
def test_answers_have_the_shapes_that_begin_promised(name: str):
    cortex = option(name)
    spec = cortex.setup(spec_of(3, 4, 5))
    x = inputs(3)
    assert cortex.scores(x).shape == (3, 7, 4)
    assert cortex.features(x).shape == (3, 7, spec.features)
    assert torch.equal(cortex.answer(cortex.features(x)), cortex.scores(x))
    assert {n: tuple(w.shape) for n, w in cortex.weights.items()} == dict(spec.weights)
    assert all(w.is_leaf and w.requires_grad and w.shape[0] == 3 for w in cortex.weights.values())


@pytest.mark.parametrize("name", TENANTS)
def test_first_weights_are_the_same_in_any_company(name: str):
    together = begun(option(name), 3, 4, 5)
    for i, seed in enumerate((3, 4, 5)):
        alone = begun(option(name), seed)
        for weight, w in together.weights.items():
            assert torch.equal(w[i], alone.weights[weight][0])


@pytest.mark.parametrize("name", TENANTS)
def test_subjects_answer_alone_as_in_company(name: str):
    together, x = begun(option(name), 3, 4), inputs(2)
    for i, seed in enumerate((3, 4)):
        alone = begun(option(name), seed).scores(x[i : i + 1])
        assert torch.allclose(together.scores(x)[i], alone[0], atol=1e-6)


@pytest.mark.parametrize("name", TENANTS)
def test_a_shared_input_needs_no_copy_for_each_subject(name: str):
    cortex, x = begun(option(name), 3, 4), inputs(1)
    shared, copied = x.expand(2, *x.shape[1:]), x.repeat(2, 1, 1, 1)
    assert torch.allclose(cortex.scores(shared), cortex.scores(copied), atol=1e-6)


@pytest.mark.parametrize("name", TENANTS)
def test_other_weights_can_be_asked(name: str):
    cortex, other, x = begun(option(name), 0), begun(option(name), 9), inputs(1)
    for w in other.weights.values():
        w.data += 0.5
    assert torch.equal(cortex.scores(x, weights=other.weights), other.scores(x))
    assert not torch.equal(cortex.scores(x), other.scores(x))


@pytest.mark.parametrize("name", TENANTS)
def test_state_and_twins(name: str):
    """A state moves to a new cortex; a twin answers alike and has its own weights."""
    cortex, x = begun(option(name), 1, 2), inputs(2)
    for w in cortex.weights.values():
        w.data += torch.randn(w.shape)
    before = cortex.scores(x)
    heir = begun(option(name), 1, 2)
    heir.load(cortex.state())
    twin = copy.deepcopy(cortex)
    for w in cortex.weights.values():
        w.data.zero_()
    for other in (heir, twin):
        assert torch.equal(other.scores(x), before)
        assert all(w.is_leaf and w.requires_grad for w in other.weights.values())


@pytest.mark.parametrize("name", TENANTS)
def test_only_the_head_that_is_told_competes(name: str):
    heads = torch.zeros(2, 2, 4, dtype=torch.bool)
    heads[0, 0, :2] = heads[0, 1, 2:] = heads[1, 0, 1:3] = heads[1, 1, ::3] = True
    cortex, x = begun(option(name), 0, 1, heads=heads, task_id_known=True), inputs(2)
    context = torch.tensor([[0, 1, 1, 0, 0, 1, 0]] * 2)
    told, free = cortex.scores(x, context), cortex.scores(x)
    for i in range(2):
        allowed = heads[i][context[i]]
        assert torch.equal(told[i][allowed], free[i][allowed])
        assert (told[i][~allowed] < -1e8).all()


@pytest.mark.parametrize("name", TENANTS)
def test_the_global_generator_is_left_alone(name: str):
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    begun(option(name), 0, 1)
    assert torch.equal(torch.random.get_rng_state(), before)


# -- Mlp ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid", "linear"])
@pytest.mark.parametrize("bias", [True, False])
def test_mlp_is_pytorchs(activation: str, bias: bool):
    """Each subject's scores and gradients are those of the nn.Module that holds its weights."""
    cortex = begun(cs.Mlp(hidden=[5, 3], activation=activation, bias=bias), 0, 1)
    x = inputs(2)
    gradients = torch.autograd.grad(cortex.scores(x).square().sum(), list(cortex.weights.values()))
    act = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "linear": nn.Identity}[activation]
    for i in range(2):
        layers = [nn.Linear(n, m, bias=bias) for n, m in ((6, 5), (5, 3), (3, 4))]
        for number, layer in enumerate(layers):
            layer.weight.data = cortex.weights[f"weight{number}"].detach()[i].clone()
            if bias:
                layer.bias.data = cortex.weights[f"bias{number}"].detach()[i, :, 0].clone()
        scores = nn.Sequential(nn.Flatten(), layers[0], act(), layers[1], act(), layers[2])(x[i])
        assert torch.allclose(cortex.scores(x)[i], scores, atol=1e-6)
        scores.square().sum().backward()
        theirs = [p.grad for layer in layers for p in layer.parameters()]
        for mine, its in zip(gradients, theirs, strict=True):
            assert its is not None and torch.allclose(mine[i] if its.dim() == 2 else mine[i, :, 0], its, atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 40), max_size=3), st.integers(0, 2**62))
def test_first_weights_of_any_mlp_follow_lecuns_law(hidden: list[int], seed: int):
    cortex = begun(cs.Mlp(hidden=hidden), seed)
    for layer, fan_in in enumerate([6, *hidden]):
        for name in (f"weight{layer}", f"bias{layer}"):
            assert cortex.weights[name].abs().max() <= 1 / math.sqrt(fan_in)


def test_first_weights_fill_their_range_evenly():
    w = begun(cs.Mlp(hidden=[200]), 0, inputs=(100,)).weights["weight0"].detach()
    assert abs(w.mean()) < 2e-3 and abs(w.std() - 0.1 / math.sqrt(3)) < 1e-3


def test_gain_scales_the_first_weights_of_each_subject():
    plain, scaled = begun(cs.Mlp(hidden=[5]), 7, 8), begun(cs.Mlp(hidden=[5], gain=[0.5, 3.0]), 7, 8)
    for name, w in plain.weights.items():
        assert torch.allclose(scaled.weights[name], w * torch.tensor([0.5, 3.0])[:, None, None])


def test_an_mlp_without_hidden_layers_reads_its_inputs():
    cortex, x = begun(cs.Mlp(hidden=[]), 0), inputs(1)
    assert torch.equal(cortex.features(x), x.flatten(2))
    assert list(cortex.weights) == ["weight0", "bias0"]


# -- Linear ---------------------------------------------------------------------------------------------------


def test_a_linear_student_starts_at_nothing():
    cortex = begun(cs.Linear(bias=True), 0, 1)
    assert (cortex.scores(inputs(2)) == 0).all()
    assert torch.equal(cortex.features(inputs(2)), inputs(2).flatten(2))


def test_init_is_the_spread_of_the_first_weights():
    w = begun(cs.Linear(init=[0.5, 2.0]), 0, 1, inputs=(5000,)).weights["weight0"].detach()
    assert torch.allclose(w.std((1, 2)), torch.tensor([0.5, 2.0]), rtol=0.05)


# -- Module ---------------------------------------------------------------------------------------------------


def test_a_module_is_the_same_network_as_an_mlp():
    """Same weights, same scores, features and gradients."""
    mlp, module, x = begun(cs.Mlp(hidden=[5]), 0, 1), begun(cs.Module(module=network), 0, 1), inputs(2)
    for layer, name in enumerate(("1", "3")):
        module.weights[f"{name}.weight"].data = mlp.weights[f"weight{layer}"].detach().clone()
        module.weights[f"{name}.bias"].data = mlp.weights[f"bias{layer}"].detach()[:, :, 0].clone()
    assert torch.allclose(module.scores(x), mlp.scores(x), atol=1e-6)
    assert torch.allclose(module.features(x), mlp.features(x), atol=1e-6)
    mine, its = (
        torch.autograd.grad(c.scores(x).square().sum(), w)
        for c, w in (
            (module, [module.weights[n] for n in ("1.weight", "3.weight")]),
            (mlp, [mlp.weights[n] for n in ("weight0", "weight1")]),
        )
    )
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(mine, its, strict=True))


def test_a_modules_first_weights_are_those_of_its_seed():
    """They are what PyTorch draws after torch.manual_seed(seed), whether made by a function or copied."""
    net = network()
    for module in (network, net):
        cortex = begun(cs.Module(module=module), 11, 12)
        for i, seed in enumerate((11, 12)):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                expected = dict(network().named_parameters())
            assert all(torch.equal(w[i], expected[name]) for name, w in cortex.weights.items())


class Convolutional(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3)
        self.head = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.conv(x).relu().flatten(1))


def test_a_convolutional_module_answers_as_its_copies_would():
    cortex, x = begun(cs.Module(module=Convolutional), 0, 1, inputs=(1, 4, 4)), inputs(2, 5, (1, 4, 4))
    assert cortex.features(x).shape == (2, 5, 12)
    for i in range(2):
        net = Convolutional()
        net.load_state_dict({name: w.detach()[i] for name, w in cortex.weights.items()})
        assert torch.allclose(cortex.scores(x)[i], net(x[i]), atol=1e-5)


@pytest.mark.parametrize(
    "module",
    [
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(6, 4), nn.Softplus()),  # the last layer does not answer
        lambda: _Quadratic(),  # no linear layer at all
    ],
)
def test_without_a_linear_readout_the_features_are_the_scores(module: Any):
    cortex = begun(cs.Module(module=module), 0)
    assert torch.equal(cortex.features(inputs(1)), cortex.scores(inputs(1)))


class _Quadratic(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.ones(6, 4))

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1).square() @ self.w


def test_a_module_may_be_one_layer():
    cortex = begun(cs.Module(module=lambda: nn.Linear(6, 4)), 0, inputs=(6,))
    x = inputs(1, 7, (6,))
    assert torch.equal(cortex.features(x), x) and cortex.scores(x).shape == (1, 7, 4)


def test_parameters_without_gradient_stay():
    def frozen() -> nn.Module:
        net = network()
        net[1].requires_grad_(False)  # pyright: ignore[reportIndexIssue]
        return net

    cortex = begun(cs.Module(module=frozen), 0, 1)
    assert set(cortex.weights) == {"3.weight", "3.bias"}
    assert cortex.scores(inputs(2)).shape == (2, 7, 4)


def test_frozen_layers_of_a_network_given_as_an_object_are_copied_as_they_are():
    net = network()
    net[1].requires_grad_(False)  # pyright: ignore[reportIndexIssue]
    cortex = begun(cs.Module(module=net), 0, 1)
    assert isinstance(cortex, cs.Module)
    assert torch.equal(cortex.fixed["1.weight"][1], net[1].weight)  # pyright: ignore[reportIndexIssue]


# -- what is refused ------------------------------------------------------------------------------------------


class Restless(nn.Module):
    def __init__(self):
        super().__init__()
        self.out = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(nn.functional.dropout(x.flatten(1), 0.5))


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (lambda: nn.Linear(6, 4), "fails on an input"),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(6, 3)), r"has the output \[3\]"),
        (Restless, "draws random numbers in evaluation mode"),
        (lambda: "no network", "makes a str"),
        (nn.Linear, r"^module: Linear cannot be called without arguments .*; give a function without arguments"),
        (lambda width: nn.Linear(6, 4), "^module: <lambda> cannot be called without arguments"),
        (_Quadratic(), "has no reset_parameters"),
    ],
)
def test_a_module_that_does_not_fit_is_refused_in_one_line(module: Any, said: str):
    with pytest.raises(ConfigError, match=said) as refused:
        begun(cs.Module(module=module), 0, 1)
    assert refused.value.key == "module" and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: cs.Mlp(hidden=[400, 0]), "hidden[1]"),
        (lambda: cs.Mlp(hidden=400), "hidden"),
        (lambda: cs.Mlp(hidden="400"), "hidden"),
        (lambda: cs.Mlp(activation="rleu"), "activation"),
        (lambda: cs.Mlp(bias=1), "bias"),
        (lambda: cs.Mlp(gain=-1.0), "gain"),
        (lambda: begun(cs.Mlp(gain=[1.0, 2.0]), 0), "gain"),
        (lambda: cs.Linear(init=math.nan), "init"),
        (lambda: cs.Linear(bias="no"), "bias"),
        (lambda: cs.Module(module=3), "module"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(make: Any, key: str):
    with pytest.raises(ConfigError) as refused:
        make()
    assert refused.value.key == key
