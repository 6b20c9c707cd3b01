"""Names for the types of arrays that parts pass to one another, and the way from numpy to torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Flags = NDArray[np.bool_]
"""True or False, as a rule for each subject: bool [s]."""
Counts = NDArray[np.int64]
"""Experiences, replay steps, nights: int64 [s]."""
Numbers = NDArray[np.floating]
"""Ages, learning rates, readings: float64 [s]."""

from_numpy: Callable[[NDArray[Any]], Tensor] = torch.from_numpy  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
"""`torch.from_numpy`, which has no type of its own: the tensor shares the array's memory."""
