"""Provenance of results: source code, candles and strategy as hashes, and the run card that holds them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..market.kept_indicator_values import keep_with

if TYPE_CHECKING:
    from ..market.kept_indicator_values import KeptValues


def _kept(*given: Any) -> KeptValues | None:
    from .indicator_values_on_disk import kept  # few runs keep values of indicators

    return kept(*given)


keep_with(_kept)
