"""Retrograde amnesia in closed form: hippocampal copies that decay, and cortical copies that they produce.

age        days since an item was learned; a lesion removes the whole hippocampus at that age
intensity  μ₁, mean number of hippocampal copies of a new item
decline    a₁, loss rate of hippocampal copies per day
transfer   μ₂, cortical copies that each hippocampal copy makes per day; cortical copies are permanent
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from cls_sim.core.arrays import Numbers


def chain_control(age: ArrayLike, intensity: float, decline: float, transfer: float) -> Numbers:
    """Recall of the Memory Chain Model: p = 1 - exp(-(r₁ + r₂)), r₁ = μ₁ e^(-a₁t), r₂ = (μ₁μ₂ / a₁) (1 - e^(-a₁t)).

    Source: Murre, Chessa & Meeter 2013, with a cortex that does not decline.

    >>> chain_control([0, 1, 7, 28], intensity=2.0, decline=0.1, transfer=0.03).round(3).tolist()
    [0.865, 0.845, 0.726, 0.496]
    """
    first, second = _intensities(age, intensity, decline, transfer)
    return -np.expm1(-(first + second))


def chain_lesion(age: ArrayLike, intensity: float, decline: float, transfer: float) -> Numbers:
    """Recall of the Memory Chain Model after a full lesion: p = 1 - exp(-r₂), which increases with age (Ribot).

    >>> chain_lesion([0, 1, 7, 28], intensity=2.0, decline=0.1, transfer=0.03).round(3).tolist()
    [0.0, 0.055, 0.261, 0.431]
    """
    return -np.expm1(-_intensities(age, intensity, decline, transfer)[1])


def relative_gradient(age: ArrayLike, decline: float, transfer: float) -> Numbers:
    """rr(t) = ln(1 - p_lesion) / ln(1 - p_control) = r₂ / (r₁ + r₂), independent of the intensity.

    >>> relative_gradient([0, 1, 7, 28], decline=0.1, transfer=0.03).round(3).tolist()
    [0.0, 0.031, 0.233, 0.822]
    """
    first, second = _intensities(age, 1.0, decline, transfer)
    return second / (first + second)


def branching_control(age: ArrayLike, intensity: float, decline: float, transfer: float) -> Numbers:
    """Recall if each copy makes cortical copies: p = 1 - exp(-μ₁ (1 - a₁ (1 - e^(-bt)) / b)), b = a₁ + μ₂.

    The cortical copies of one hippocampal copy are correlated, so fewer items have at least one copy than in the Memory
    Chain Model.

    >>> branching_control([0, 7], intensity=2.0, decline=0.1, transfer=0.03).round(3).tolist()
    [0.865, 0.661]
    """
    both = decline + transfer
    gone = -np.expm1(-both * np.asarray(age, np.float64)) / both
    return -np.expm1(-intensity * (1.0 - decline * gone))


def branching_lesion(age: ArrayLike, intensity: float, decline: float, transfer: float) -> Numbers:
    """Recall of `branching_control` after a full lesion: p = 1 - exp(-μ₁μ₂ (1 - e^(-bt)) / b).

    >>> branching_lesion([0, 7], intensity=2.0, decline=0.1, transfer=0.03).round(3).tolist()
    [0.0, 0.241]
    """
    both = decline + transfer
    return -np.expm1(-intensity * transfer * -np.expm1(-both * np.asarray(age, np.float64)) / both)


def compartment_cortex(
    age: ArrayLike, intensity: float, decline: float, transfer: float, cortical_decline: float
) -> Numbers:
    """Cortical strength in the two-compartment model: S_c = C S₀ (e^(-D_c t) - e^(-D_h t)) / (D_h - D_c).

    dS_h/dt = -D_h S_h, dS_c/dt = C S_h - D_c S_c; the peak is at ln(D_h / D_c) / (D_h - D_c).

    Source: McClelland, McNaughton & O'Reilly 1995.

    >>> compartment_cortex([0, 40], intensity=1.0, decline=0.1, transfer=0.05, cortical_decline=0.002).round(3).tolist()
    [0.0, 0.462]
    """
    t = np.asarray(age, np.float64)
    left = np.exp(-cortical_decline * t) - np.exp(-decline * t)
    return transfer * intensity * left / (decline - cortical_decline)


def compartment_both(
    age: ArrayLike, intensity: float, decline: float, transfer: float, cortical_decline: float
) -> Numbers:
    """Total strength in the two-compartment model: S_h + S_c, S_h = S₀ e^(-D_h t).

    >>> compartment_both([0, 40], intensity=1.0, decline=0.1, transfer=0.05, cortical_decline=0.002).round(3).tolist()
    [1.0, 0.48]
    """
    hippocampal = intensity * np.exp(-decline * np.asarray(age, np.float64))
    return hippocampal + compartment_cortex(age, intensity, decline, transfer, cortical_decline)


def _intensities(age: ArrayLike, intensity: float, decline: float, transfer: float) -> tuple[Numbers, Numbers]:
    """r₁ and r₂."""
    t = np.asarray(age, np.float64)
    return intensity * np.exp(-decline * t), -intensity * transfer / decline * np.expm1(-decline * t)
