"""A world seen through a frozen lower cortex: latent replay."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.errors import ConfigError, refuse_if
from cls_sim.core.part import Spec
from cls_sim.core.settings import part, setting
from cls_sim.world.encoders import ROWS, Encoder, Youth, fingerprint
from cls_sim.world.files import places
from cls_sim.world.stream import Stream
from cls_sim.world.table import Data, in_bytes
from cls_sim.world.wraps import Seen

_LATEST: dict[object, Data] = {}  # the codes made last in this process
LONG = 2.0  # seconds from which codes are kept in the cache


class Encoded(Seen):
    """The subject sees, stores and replays the codes of a frozen lower cortex instead of its inputs (latent replay).

        code_f = round(255 · clip((z_f - lo_f) / (hi_f - lo_f), 0, 1)) / 255,    z = encoder(x)

    world    a stream, such as Cifar10, Mnist or Arrays
    encoder  Pretrained, Youth or EfficientNetLite0: the lower cortex, shared by all subjects
    bytes    True: codes are quantised to one byte per feature, as above, and stored as bytes; False: float32 codes z

    Each input is encoded once, before the life; lo and hi are the smallest value and the 99.9th percentile of each
    feature over the training data.  Codes that take more than two seconds are kept in the
    user's cache.

    Raises ConfigError for a world that is not a stream, and for a Youth where subjects differ in their first context or
    in the rows that are held out.

    Source: latent replay, Pellegrini et al. 2020; REMIND, Hayes et al. 2020.

    >>> from torch import nn
    >>> from cls_sim.world.digits import Digits
    >>> from cls_sim.world.encoders import Pretrained
    >>> world = Encoded(Digits(), encoder=Pretrained(module=lambda: nn.Linear(64, 20)))
    >>> world.setup(Spec(seeds=(0, 1))).inputs
    (20,)
    """

    encoder: Encoder = part(Encoder, "give Pretrained, Youth or another Encoder")
    bytes: bool = setting(True)

    def setup(self, spec: Spec) -> Spec:
        if not isinstance(self.world, Stream):
            reason = f"is a {type(self.world).__name__}, whose inputs are not a data set"
            raise ConfigError("world", reason, "give a stream, such as Digits, Mnist, Cifar10 or Arrays")
        self.world.recode = self._recoded
        return super().setup(spec)

    @torch.no_grad()
    def _recoded(self, data: Data) -> Data:
        """The data with codes in place of inputs."""
        refuse_if(data.own, "world", "has different inputs for each subject", "use one data set for all")
        first = self._first(data)
        net = self.encoder.network(_floats(data.x[first], data.quantum), data.y[first])
        net.eval()
        told = fingerprint(self.encoder, net), self.bytes, _hashed(data), data.tests and _hashed(data.tests)
        if told not in _LATEST:  # the arms of an experiment see the same data, one after another
            _LATEST.clear()
            _LATEST[told] = self._encoded(net, data)
        made = _LATEST[told]
        asked = made.tests
        tests = None if data.tests is None or asked is None else replace(data.tests, x=asked.x, quantum=asked.quantum)
        return replace(data, x=made.x, quantum=made.quantum, tests=tests)

    def _encoded(self, net: torch.nn.Module, data: Data) -> Data:
        learnt = self._codes(net, data)
        asked = None if data.tests is None else self._codes(net, data.tests)
        tests = None if data.tests is None or asked is None else replace(data.tests, x=asked, quantum=None)
        coded = replace(data, x=learnt, quantum=None, tests=tests)
        return in_bytes(coded) if self.bytes else coded

    def _first(self, data: Data) -> np.ndarray:
        """The rows of the first context."""
        stream = self.world
        assert isinstance(stream, Stream)
        if isinstance(self.encoder, Youth):
            remedy = "use another encoder"
            reason = "is Youth, and the first context differs between subjects"
            refuse_if(stream.shuffle_classes, "encoder", reason, f"set shuffle_classes=false, or {remedy}")
            reason = "is Youth, which would learn held-out rows: they are drawn from the data, for each subject"
            remedy = f"give a separate test set and validation=0, or {remedy}"
            refuse_if(data.tests is None or stream.validation, "encoder", reason, remedy)
        if data.context is not None:
            return np.flatnonzero(data.context == 0)
        first = data.y < data.classes // stream.contexts if data.split_by_class else np.ones(len(data.y), bool)
        return np.flatnonzero(first)

    def _codes(self, net: torch.nn.Module, data: Data) -> np.ndarray:
        """The codes float32 [n, f] of all inputs, from the cache if they are there."""
        key = hashlib.sha256(fingerprint(self.encoder, net).encode())
        key.update(np.ascontiguousarray(data.x).data)
        path = places("codes")[-1] / f"{key.hexdigest()[:32]}.npy"
        try:
            found = np.load(path, allow_pickle=False)
            if found.dtype == np.float32 and found.ndim == 2 and len(found) == len(data.x):
                return found
        except (OSError, ValueError, EOFError):
            pass
        start = time.monotonic()
        parts = (_floats(data.x[i : i + ROWS], data.quantum) for i in range(0, len(data.x), ROWS))
        codes = torch.cat([self.encoder.codes(net, part) for part in parts]).float()
        if codes.dim() != 2 or not codes.isfinite().all():
            raise ConfigError("encoder", f"makes codes {list(codes.shape[1:])}", "make one finite vector per input")
        if time.monotonic() - start > LONG:
            _keep(path, codes.numpy())
        return codes.numpy()


def _hashed(data: Data) -> str:
    """A hash of the inputs."""
    return hashlib.sha256(np.ascontiguousarray(data.x).data).hexdigest() + str((data.x.shape, data.quantum))


def _floats(x: np.ndarray, quantum: float | None) -> Tensor:
    rows = torch.from_numpy(np.ascontiguousarray(x))
    return rows if quantum is None else rows * quantum


def _keep(path: os.PathLike[str], codes: np.ndarray) -> None:
    """Write codes to the cache; a cache that cannot be written is no error."""
    folder = os.path.dirname(path)
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, suffix=".part", delete=False) as file:
            np.save(file, codes)
        os.replace(file.name, path)
    except OSError:
        return
