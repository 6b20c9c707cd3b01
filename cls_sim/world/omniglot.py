"""Omniglot: handwritten characters, for learning from few examples."""

from __future__ import annotations

import io
import zipfile
import zlib
from functools import cache

import numpy as np
import torch

from cls_sim.core.batch import Batch
from cls_sim.core.draws import each
from cls_sim.core.errors import choice, whole
from cls_sim.core.part import Spec
from cls_sim.world.files import DataFileError, at_hand, reading
from cls_sim.world.listed import Listed

FILE, SIZE, CHARACTERS, DRAWERS = "images_background_small1.zip", 105, 136, 20
HOME = "https://github.com/brendenlake/omniglot"


class Omniglot(Listed):
    """A few drawings of each character, all of them in every experience; evaluations use drawings by other people.

    ways      number of characters, drawn for each subject out of 136; labels are their numbers
    drawings  drawings of each character in experience, by as many of the 20 drawers; evaluations use the others
    side      side in pixels: 105 divided by 1, 3, 5 or 7; blocks of the original are averaged

    Inputs are shares of ink in [0, 1], a vector of side x side; characters and drawers are drawn for each subject.
    The file images_background_small1.zip is read from the folder omniglot/ of $CLS_SIM_DATA_DIR.

    Source: Lake, Salakhutdinov & Tenenbaum 2015; MIT licence.

    >>> Omniglot(ways=20).side
    35
    """

    def __init__(self, *, ways: int = 20, drawings: int = 1, side: int = 35):
        self.ways = whole("ways", ways, 2, CHARACTERS)
        self.drawings = whole("drawings", drawings, 1, DRAWERS - 1)
        self.side = int(choice("side", str(side), [str(SIZE // block) for block in (1, 3, 5, 7)]))

    def setup(self, spec: Spec) -> Spec:
        side, block = self.side, SIZE // self.side
        ink = read().reshape(CHARACTERS, DRAWERS, side, block, side, block).sum((3, 5), dtype=np.uint8)
        images = torch.from_numpy(ink.reshape(CHARACTERS, DRAWERS, -1)).to(spec.device)
        character = each(spec.seeds, "omniglot.characters", lambda g: g.permutation(CHARACTERS)[: self.ways])
        drawers = np.tile(np.arange(DRAWERS), (self.ways, 1))
        drawer = each(spec.seeds, "omniglot.drawers", lambda g: g.permuted(drawers, axis=1))
        quantum = 1 / block**2

        def rows(drawers: torch.Tensor) -> Batch:
            c = character[:, :, None].expand_as(drawers)
            x = images[c.to(spec.device), drawers.to(spec.device)].flatten(1, 2).float().mul_(quantum)
            y = torch.arange(self.ways)[:, None].expand(drawers.shape[1:]).flatten().expand(spec.subjects, -1)
            item = (c * DRAWERS + drawers).flatten(1)
            return Batch.lived(x, y.to(spec.device), item=item.to(spec.device), context=torch.zeros_like(y))

        lived, self._exams = rows(drawer[..., : self.drawings]), [rows(drawer[..., self.drawings :])]
        spec = self._keep(spec, lived.x, lived.y, outputs=self.ways, items=CHARACTERS * DRAWERS, quantum=quantum)
        self._rows = self._rows.with_(item=lived.item)
        return spec


@cache
def read() -> np.ndarray:
    """All drawings, 1 where there is ink: uint8 [136 characters, 20 drawers, 105, 105]."""
    path, remedy = at_hand("Omniglot", "omniglot", FILE, HOME)
    with reading(path, remedy, zipfile.BadZipFile, zlib.error, ValueError), zipfile.ZipFile(path) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".png"))
        drawings = [_decoded(archive.open(name).read(2**16)) for name in names]
    if len(drawings) != CHARACTERS * DRAWERS:
        raise DataFileError(str(path), f"holds {len(drawings)} drawings, not {CHARACTERS * DRAWERS}", remedy)
    return np.stack(drawings).reshape(CHARACTERS, DRAWERS, SIZE, SIZE)


def _decoded(png: bytes) -> np.ndarray:
    """A black and white picture of 105 x 105 pixels, as ink: uint8 [105, 105]."""
    from matplotlib.image import imread

    try:
        paper = imread(io.BytesIO(png))
    except (OSError, SyntaxError):
        raise ValueError("holds a picture that is not a complete PNG") from None
    if paper.shape != (SIZE, SIZE):
        raise ValueError(f"holds a picture that is not {SIZE} x {SIZE} pixels of black and white")
    return (paper < 0.5).astype(np.uint8)
