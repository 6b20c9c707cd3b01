"""The way from numpy to torch, with its type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from_numpy: Callable[[NDArray[Any]], Tensor] = torch.from_numpy  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
"""`torch.from_numpy`, which has no type of its own: the tensor shares the array's memory."""
