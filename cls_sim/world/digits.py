"""Handwritten digits of 8 x 8 pixels, shipped with the package."""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

import numpy as np

from cls_sim.world.files import read_bytes
from cls_sim.world.settings import StreamSettings
from cls_sim.world.stream import Stream
from cls_sim.world.table import Data


class Digits(Stream):
    """1,797 images of handwritten digits, 8 x 8 pixels of 0 to 16, ten classes; no download.

    Inputs are raw/16 in [0, 1], 64 in a row.  Settings as in Stream; `test` is .15 unless given.

    Source: Alpaydin & Kaynak (1998), Optical Recognition of Handwritten Digits, UCI; CC BY 4.0 (see digits.md).

    >>> from cls_sim.core.part import Spec
    >>> Digits(contexts=2).setup(Spec(seeds=(0, 1))).outputs
    10
    """

    def __init__(self, **protocol: Unpack[StreamSettings]):
        super().__init__(**protocol)

    def data(self, seeds: tuple[int, ...] = (0,)) -> Data:
        content = read_bytes(Path(__file__).with_name("digits.csv.gz"), "install the package again")
        table = np.loadtxt(content.decode().splitlines(), delimiter=",", dtype=np.uint8)
        return Data(x=np.ascontiguousarray(table[:, :-1]), y=table[:, -1].astype(np.int64), quantum=1 / 16)
