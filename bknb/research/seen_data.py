"""What was handed out to a strategy under one name: whether it is a history, prices, or a few settings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from .market_values import OtherFuture, price_numbers

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
        numbers = price_numbers(value)
        self.count = max(self.count, len(numbers))
        if len(numbers) <= _SMALL:
            self.numbers += numbers
            self._texts.setdefault(type(value), set()).add(repr(value))

    @property
    def is_settings(self) -> bool:
        """Whether it was always the same few numbers."""
        return self.count <= _SMALL and all(len(texts) == 1 for texts in self._texts.values())
