"""The precision of matrix products."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from cls_sim.core.errors import refuse_if


def has_bf16() -> bool:
    """Whether this processor multiplies numbers in bfloat16 (AVX-512 BF16 or AMX)."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()  # pyright: ignore[reportPrivateUsage]


def possible(cfg: Mapping[str, Any]) -> None:
    """Raise ConfigError if `precision` is bf16 and the device does not have it."""
    if cfg.get("precision") != "bf16":
        return
    refuse_if(cfg["device"] != "cpu", "precision", "bf16 is for device=cpu", "give precision=float32")
    refuse_if(not has_bf16(), "precision", "this processor has no products in bf16", "give precision=float32")


@contextmanager
def products(cfg: Mapping[str, Any]) -> Iterator[None]:
    """While it lasts, matrix products have the precision of this configuration.

    With bf16, the factors of large products are rounded to 8 bits and their sums are float32; weights, memories and
    the state of the optimizer are float32 always.  Raises ConfigError if the device does not have it.
    """
    possible(cfg)
    if cfg.get("precision") != "bf16":
        yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
