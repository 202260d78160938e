"""A source in a variable of a strategy, watched for candles that had not closed when the strategy fetched them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..domain.interval import interval_ms
from ..engine.registry import Exchange
from ..market.calls_in_threads import candles_from
from ..market.candle_closes import closes_of
from ..market.candles import Candles
from ..market.source_hours import bar_grid_of
from ..research.answers_compared_as_trades import Answer, answer_text
from ..research.lookahead_report import Finding
from ..research.variables import Variable


class RecordingSource:
    """A source in a variable of the strategy; records candles that had not closed at the moment of the question."""

    def __init__(self, source: Any, when: int, seen: list[tuple[str, int]]) -> None:
        self._source, self._when, self._seen = source, when, seen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    async def get_candles(self, symbol: str, interval: str, since: int, limit: int) -> Any:
        """Return the answer of the source; later candles are recorded."""
        answer: Any = await candles_from(self._source, symbol, interval, since, limit)
        if isinstance(answer, Candles) and len(answer):
            closes = closes_of(answer.timestamp, interval_ms(interval), bar_grid_of(self._source, symbol))
            late = answer.timestamp[closes > self._when]
            if len(late):
                self._seen.append((symbol, int(late[0])))
        return answer


def is_source(value: object) -> bool:
    """Whether a value hands out candles: an exchange, or a source."""
    return isinstance(value, Exchange) or (hasattr(value, "get_candles") and hasattr(value, "intervals"))


def fetched_too_early(variable: Variable, moments: Sequence[int], ask: Callable[[int], Answer]) -> Finding | None:
    """A finding where candles that had not closed were fetched through a variable, asked at moments (UTC ms)."""
    value = variable.value
    for when in moments:
        seen: list[tuple[str, int]] = []
        inside = value.source if isinstance(value, Exchange) else value
        recording: Any = RecordingSource(inside, when, seen)
        if isinstance(value, Exchange):
            recording = Exchange(value.name, recording, value.callbacks)
        with variable.replaced(recording):
            answer = ask(when)
        if seen:
            symbol, candle = seen[0]
            return Finding(
                kind="future",
                what=f"candles of {symbol} fetched through the variable {variable.name} before they had closed",
                how=f"{variable.name} was watched while it was asked",
                when=when,
                candle=candle,
                signal=answer_text(answer),
            )
    return None
