"""What a run accepts: a name, a value or something like it, made into what the engine works with."""

from __future__ import annotations

from typing import Literal

from ..errors import UsageError
from ..ports import CandleSource
from .build import as_moment, as_source, make_frame, make_strategy, rebuilt
from .registry import AnyFunction, Exchange, Frame, Strategy, registry


def resolve_exchange(exchange: str | Exchange | CandleSource | AnyFunction) -> Exchange:
    """A name, an exchange, a source or a function as an exchange."""
    found = _exchange(exchange)
    for step in registry.middleware:
        found = step(found)
    return found


def _exchange(exchange: str | Exchange | CandleSource | AnyFunction) -> Exchange:
    if isinstance(exchange, str):
        return registry.exchanges.get(exchange)
    if isinstance(exchange, Exchange):
        return exchange
    name = getattr(exchange, "name", None) or getattr(exchange, "__name__", "exchange")
    return Exchange(str(name), as_source(str(name), exchange))


def resolve_strategy(chosen: str | Strategy | AnyFunction, *, interval: str | None = None) -> Strategy:
    """A name, a strategy or a function as a strategy; ``interval`` is for functions (default ``"1m"``)."""
    if isinstance(chosen, str):
        chosen = registry.strategies.get(chosen)
    if isinstance(chosen, Strategy):
        if interval is None or interval == chosen.interval:
            return chosen
        return rebuilt(chosen, interval=interval)
    name = getattr(chosen, "__name__", type(chosen).__name__)
    return make_strategy(name, chosen, interval=interval or "1m")


def resolve_frame(frame: str | Frame | tuple[object, object]) -> Frame:
    """A name, a frame, a pair of moments, or ``"2022-01-01:2022-02-01"`` as a frame."""
    if isinstance(frame, Frame):
        return frame
    if isinstance(frame, str):
        if frame in registry.frames.items:
            return registry.frames.get(frame)
        start, separator, end = _split_span(frame)
        if separator:
            return make_frame(None, start, end)
        return registry.frames.get(frame)
    pair: object = frame
    if isinstance(pair, (tuple, list)) and len(pair) == 2:
        return make_frame(None, pair[0], pair[1])
    raise UsageError(f"a frame is a name, a pair (start, end), or 'start:end', got {frame!r:.80}")


def _split_span(text: str) -> tuple[str, Literal[":", ""], str]:
    """``"2022-01-01 10:00:2022-02-01"``: the colon between two moments is one that leaves two moments."""
    for at, letter in enumerate(text):
        if letter == ":":
            try:
                as_moment(text[:at])
                as_moment(text[at + 1 :])
            except UsageError:
                continue
            return text[:at], ":", text[at + 1 :]
    return text, "", ""
