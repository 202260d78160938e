"""What was handed out to a strategy under one name: whether it is a history, prices, or a few settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np

from ..market.candles import Candles
from .other_future import NUMBER, NUMBER_BYTES, OtherFuture

_SMALL: Final = 64  # numbers: a row, a line


class SeenData:
    """What was handed out under one name."""

    def __init__(self) -> None:
        self.recognised = False
        self.numbers: list[float] = []
        self.count = 0
        self._texts: dict[type, set[str]] = {}

    def add(self, value: Any, future: OtherFuture) -> None:
        """Note one thing that was handed out."""
        if not self.recognised:
            self.recognised = any(one.of(value) is not value for one in (future, replace(future, exchange=True)))
        numbers = _numbers(value)
        self.count = max(self.count, len(numbers))
        if len(numbers) <= _SMALL:
            self.numbers += numbers
            self._texts.setdefault(type(value), set()).add(repr(value))

    @property
    def is_settings(self) -> bool:
        """Whether it was always the same few numbers."""
        return self.count <= _SMALL and all(len(texts) == 1 for texts in self._texts.values())


def _numbers(value: Any) -> list[float]:
    """The numbers with a fraction in something small that was handed out: a row, a line of text, one number."""
    if isinstance(value, (float, np.floating)):
        return [float(value)]
    if isinstance(value, (bytes, bytearray)):
        return [float(one.group()) for one in NUMBER_BYTES.finditer(bytes(value))]
    if isinstance(value, str):
        return [float(one.group()) for one in NUMBER.finditer(value)]
    if isinstance(value, (list, tuple)):
        return [number for item in value for number in _numbers(item)]
    if isinstance(value, Mapping):
        return [number for item in value.values() for number in _numbers(item)]
    if isinstance(value, Candles):
        return [float(number) for number in value.close]
    return [float(number) for number in np.asarray(value).ravel()] if isinstance(value, np.ndarray) else []
