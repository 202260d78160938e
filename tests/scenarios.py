"""A table language for small markets: hand-written candles around a flat 100, a signal, and what must come of it.

Minute 0 is the first moment of the frame; ``m3`` is the candle that opens three minutes later. An expectation is a
list of lines such as ``opened 100 @m0``, ``closed stop_loss 95 @m3 ambiguous`` or ``cancelled timeout @m120``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import bknb
import bknb.exchanges

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ORIGIN = 1_704_067_200_000  # 2024-01-01 00:00 UTC
MINUTE = 60_000
PRICES = ("price_open", "price_take_profit", "price_stop_loss")

Candle = tuple[float, float, float, float]


@dataclass(frozen=True)
class Scenario:
    """One small world.

    ``candles`` maps a minute to (open, high, low, close); all other minutes are flat. ``answers`` are what the
    strategy says at its first, second … question, ``None`` at all later ones.
    """

    name: str
    answers: tuple[Mapping[str, Any] | None, ...]
    candles: Mapping[int, Candle] = field(default_factory=dict)
    end: int = 30
    data_end: int | None = None
    volume: Mapping[int, float] = field(default_factory=dict)
    pessimistic: Sequence[str] = ()
    touch: Sequence[str] = ()
    flat: float = 100.0

    def rows(self) -> list[tuple[float, ...]]:
        """The one-minute candles as rows, with an hour before the frame."""
        last = self.end + 10 if self.data_end is None else self.data_end
        flat = (self.flat,) * 4
        return [
            (ORIGIN + k * MINUTE, *self.candles.get(k, flat), self.volume.get(k, 100.0)) for k in range(-60, last + 1)
        ]

    def mirrored(self) -> Scenario:
        """The mirrored world: every price p becomes 200 - p, a long becomes a short."""
        return replace(
            self,
            name=f"{self.name} (mirrored)",
            answers=tuple(None if answer is None else _flip_answer(answer) for answer in self.answers),
            candles={
                k: (200 - open_, 200 - low, 200 - high, 200 - close)
                for k, (open_, high, low, close) in self.candles.items()
            },
            pessimistic=[_flip_line(line) for line in self.pessimistic],
            touch=[_flip_line(line) for line in self.touch],
            flat=200 - self.flat,
        )


def _flip_answer(answer: Mapping[str, Any]) -> dict[str, Any]:
    flipped = {name: 200 - value if name in PRICES else value for name, value in answer.items()}
    return flipped | {"position": "short" if answer["position"] == "long" else "long"}


def _flip_line(line: str) -> str:
    return " ".join(f"{200 - float(word):.10g}" if word[0].isdigit() else word for word in line.split())


def long(take: float, stop: float, minutes: int = 10, at: float | None = None) -> dict[str, Any]:
    """A long signal; ``at`` is its limit."""
    signal: dict[str, Any] = {
        "position": "long",
        "price_take_profit": take,
        "price_stop_loss": stop,
        "minute_estimated_time": minutes,
    }
    return signal if at is None else signal | {"price_open": at}


def minute(moment: int) -> str:
    """A moment as ``m3``."""
    whole, rest = divmod(moment - ORIGIN, MINUTE)
    assert rest == 0
    return f"m{whole}"


def line(event: Any) -> str:
    """An event as a line of an expectation."""
    at = f"@{minute(event.when)}"
    match event:
        case bknb.Scheduled() | bknb.Opened():
            return f"{event.action} {event.signal.price_open:.10g} {at}"
        case bknb.Closed():
            assert event.closed_at == event.when
            doubt = " ambiguous" if event.ambiguous else ""
            return f"closed {event.close_reason} {event.price_close:.10g} {at}{doubt}"
        case bknb.Cancelled():
            assert event.closed_at == event.when
            return f"cancelled {event.reason} {at}"
        case _:
            raise AssertionError(f"nobody expects {event!r}")


def play(scenario: Scenario, execution: str, *, asked: list[int] | None = None) -> bknb.Result:
    """Run the world with an execution model; ``asked`` collects the moments of the questions."""
    moments = [] if asked is None else asked

    def get_signal(when: Any) -> Mapping[str, Any] | None:
        moments.append(round(when.timestamp() * 1000))
        count = len(moments)
        return scenario.answers[count - 1] if count <= len(scenario.answers) else None

    return bknb.backtest(
        "BTCUSDT",
        strategy=get_signal,
        interval="1m",
        exchange=source(scenario.rows()),
        frame=(ORIGIN, ORIGIN + scenario.end * MINUTE),
        execution=execution,
    )


def source(rows: Sequence[Sequence[float]]) -> bknb.exchanges.FrameSource:
    """An exchange that serves these rows (open time in ms, open, high, low, close, volume)."""
    import pandas as pd

    names = ["timestamp", "open", "high", "low", "close", "volume"]
    frame = pd.DataFrame(rows, columns=names)
    frame["timestamp"] = frame["timestamp"].astype("int64")
    return bknb.exchanges.from_frame(frame)
