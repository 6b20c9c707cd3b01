"""Types of the numpy arrays that parts exchange."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Flags = NDArray[np.bool_]
"""True or False, usually one for each subject: bool [s]."""
Counts = NDArray[np.int64]
"""Experiences, replay steps, nights: int64 [s]."""
Numbers = NDArray[np.floating]
"""Ages, learning rates, readings: float64 [s]."""
