"""Features that an encoder has made elsewhere, as a stream."""

from __future__ import annotations

from os import PathLike
from typing import Any

from cls_sim.core.errors import ConfigError, refuse_if
from cls_sim.core.settings import setting
from cls_sim.world.arrays import GIVEN, Given, data_of
from cls_sim.world.files import npz_names, read_array
from cls_sim.world.table import Data, in_bytes

NAMES = {"x": "features", "y": "labels"}  # the second name of an array in a .npz file


class Features(Given):
    """Features of any encoder as a stream: the codes of a frozen lower cortex, made once, elsewhere.

    x                features [n, f], float or uint8
    y                labels 0 … c-1 [n]; None: the array `y` or `labels` of the .npz file x
    x_test, y_test   a test set of its own; None: `x_test` and `y_test` of the .npz file x if it has them, else a share
                     `test` of x, y is held out
    context          the context of each row, whole numbers 0 … k-1 [n]; None: classes are split into `contexts`
    context_test     the same for the test set
    contexts         their number; None: as many as `context` has; without `context` 5
    bytes            True: float features become one byte each, scaled by the training rows as in Encoded, and are
                     stored as bytes; False: they stay float32, unscaled

    Further settings as in Stream.

    Each of the first six is an array, or the path of a .npy, .npz or .csv file, read as in Arrays.  A .npz file may
    hold several of them under their own names (or `features`, `labels`, `features_test`, `labels_test`); in a file
    that is given as x_test, the names `x` and `y` mean the test set.  uint8 features are bytes b, presented as b / 255.

    Raises ConfigError, with the name of the setting or the path of the file, for what Arrays refuses, for inputs that
    are not vectors, and for labels that are not there.

    Source: features as streams for latent replay, Hayes et al. 2020, REMIND; Pellegrini et al. 2020.

    >>> import numpy as np
    >>> from cls_sim.core.part import Spec
    >>> x, y = np.random.default_rng(0).random((90, 4)), np.arange(90) % 6
    >>> Features(x=x, y=y, contexts=3, bytes=True).setup(Spec()).quantum == 1 / 255
    True
    """

    bytes: bool = setting(False)

    def _read(self) -> Data:
        given = {name: vars(self).pop(name) for name in GIVEN}
        learnt, asked = _file(given["x"]), _file(given["x_test"])
        packed = {"y": learnt, "x_test": learnt, "y_test": asked or learnt}
        for name in GIVEN:
            given[name] = _array(name, given[name], packed.get(name), own=name == "y_test" and asked is not None)
        if given["y"] is None:
            place = "is not given" if learnt is None else f"is not given, and {learnt} holds no array y or labels"
            raise ConfigError("y", place, "give labels, or one .npz file with the arrays x and y")
        data = data_of(**given)
        reason = f"has inputs of shape {list(data.x.shape[1:])}, which are not vectors of features"
        refuse_if(data.x.ndim != 2, "x", reason, "use world=arrays, or world=encoded to encode them")
        return in_bytes(data) if self.bytes and data.quantum is None else data


def _file(value: Any) -> str | PathLike[str] | None:
    """The path of a .npz file; None for anything else."""
    return value if isinstance(value, (str, PathLike)) and str(value).endswith(".npz") else None


def _array(key: str, value: Any, packed: str | PathLike[str] | None = None, own: bool = False) -> Any:
    """The array with this key: as given, or of the given .npz file; if nothing is given, of the file `packed`.

    own  whether this file holds a test set only, in which `x` and `y` mean those of the test set
    """
    file = packed if value is None else _file(value)
    if file is None:
        return value
    bare, test = key.removesuffix("_test"), "_test" if key.endswith("_test") else ""
    known = [key, NAMES.get(bare, bare) + test]
    known += [bare, NAMES.get(bare, bare)] if own or value is not None else []
    there = npz_names(file)
    found = next((name for name in known if name in there), None)
    if found is None and value is None:
        return None
    return read_array(found or key, file)
