"""Verifying run cards: run a card again and list what differs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ..config import Settings, get_config
from ..domain.html import Html, element, fragment
from ..engine.build import make_frame
from ..engine.registry import Exchange, Frame, Strategy, registry
from ..errors import UnknownName, UsageError
from ..ports import CandleSource
from ..provenance.card import MOVED_DEFAULTS, Card, Difference
from ..provenance.source_walk import ASKED_AT
from ..provenance.strategy_hash import running

if TYPE_CHECKING:
    from .result import Result


@dataclass(frozen=True, slots=True)
class Verification:
    """The outcome of running a card again; true where nothing differs.

    Attributes
    ----------
    card : Card
        The card that was verified.
    result : Result
        The result of the new run.
    differences : tuple of Difference
        Candles, lines, values, settings and outcomes that differ from the card.
    surroundings : tuple of Difference
        Versions and platform that differ from the card, which is no fault by itself.

    Examples
    --------
    >>> import bknb
    >>> @bknb.strategy("rests", interval="1h")
    ... def get_signal(ctx):
    ...     return None
    >>> card = bknb.backtest("BTCUSDT", strategy="rests", exchange="demo", frame="2024-01-01:2024-01-02").card
    >>> verification = bknb.verify(card)
    >>> isinstance(verification, bknb.Verification), verification.same
    (True, True)
    """

    card: Card
    result: Result
    differences: tuple[Difference, ...]
    surroundings: tuple[Difference, ...]

    @property
    def same(self) -> bool:
        """Whether inputs and outcome are the same."""
        return not self.differences

    @property
    def same_outcome(self) -> bool:
        """Whether every trade is the same to the last bit."""
        return self.card.outcome.digest == self.result.card.outcome.digest

    def __bool__(self) -> bool:
        return self.same

    def _head(self) -> str:
        name = f"{self.card.strategy} on {self.card.symbol}"
        outcome = self.result.card.outcome
        count = sum(part.count for part in self.result.card.data)
        if self.same:
            return f"{name}: the same ({outcome.trades} trades, {count:,} candles, digest {outcome.digest[:12]})"
        if self.same_outcome:
            return f"{name}: the same {outcome.trades} trades, though something differs"
        if all(part.kind == "rules" for part in self.differences):
            return f"{name}: not comparable"
        return f"{name}: NOT the same"

    def __repr__(self) -> str:
        lines = [self._head(), *(f"  {part.kind:<8} {part.text}" for part in self.differences)]
        if self.surroundings:
            lines.append(f"  made with something else: {'; '.join(part.text for part in self.surroundings)}")
        return "\n".join(lines)

    def _repr_html_(self) -> Html:
        left = "text-align:left"
        rows = (
            element("tr", element("th", part.kind, style=left), element("td", part.text, style=left))
            for part in (*self.differences, *self.surroundings)
        )
        head = element("b", f"{'✔' if self.same else '✘'} {self._head()}")
        return fragment(element("div", head, role="status"), element("table", *rows))


def verify(
    card: Card | str | Path | Result,
    *,
    strategy: str | Strategy | Callable[..., Any] | None = None,
    exchange: str | Exchange | CandleSource | Callable[..., Any] | None = None,
    frame: str | Frame | tuple[object, object] | None = None,
    execution: str | None = None,
    settings: Settings | dict[str, Any] | None = None,
) -> Verification:
    """Run a card again, here and now, and return what differs.

    Strategy, exchange and frame are looked up by the names on the card; settings are those of ``get_config()``, with
    what the original call set itself. So a line, a candle or a setting that was changed since is found and named.
    A default that another version of bknb had is repeated. Where the execution model fills at other prices since the
    card was made, that is told, and outcomes are not compared.

    Parameters
    ----------
    card
        A card, the path of a saved one, or a result.
    strategy, exchange, frame, execution, settings
        Use these in place of what the names on the card mean here.

    Raises
    ------
    UnknownName
        The strategy, the exchange or a series of the card is not registered here, and none was given.
    UsageError
        The run of the card was stopped before its end, so it cannot be repeated.
    StateError
        The file is not a run card, or was changed.

    Examples
    --------
    >>> import bknb
    >>> def get_signal(price):
    ...     return None
    >>> result = bknb.backtest("BTCUSDT", strategy=get_signal, exchange="demo", frame="2024-01-01:2024-01-02")
    >>> bool(bknb.verify(result.card, strategy=get_signal))
    True
    """
    from ..engine.plan import plan_backtest
    from .backtest import BacktestTask
    from .result import Result

    if isinstance(card, Result):
        card = card.card
    elif not isinstance(card, Card):
        card = Card.load(card)
    if card.kind != "backtest":
        raise UsageError(
            "a live run cannot be repeated\nbacktest the same strategy over that time and compare the trades"
        )
    if card.stopped:
        raise UsageError(
            "this card is of a run that was stopped before its end; it cannot be repeated\nverify a card of a whole run"
        )
    chosen: Any = card.strategy if strategy is None else strategy
    if chosen == card.strategy and card.strategy not in registry.strategies.names():
        raise UnknownName("strategy", card.strategy, known=registry.strategies.names())
    for part in card.series:
        registry.series.get(part.name)
    is_function = not isinstance(chosen, (str, Strategy))
    plan = plan_backtest(
        card.symbol,
        strategy=chosen,
        exchange=card.exchange if exchange is None else exchange,
        frame=_frame(card) if frame is None else frame,
        interval=card.interval if is_function or "interval" in card.given else None,
        at=_at(card) if is_function or "at" in card.given else None,
        execution=execution or (card.execution if is_function or "execution" in card.given else None),
        settings=_settings(card) if settings is None else settings,
        allow_gaps=card.allow_gaps,
        base=card.base if "base" in card.given else None,
    )
    with running(plan.strategy):
        result = BacktestTask(plan).start().wait_or_stop()
    found = card.diff(result.card)
    # what is given as an object in place of a name has another name, and that is no difference
    given = (("strategy", is_function), ("exchange", exchange is not None and not isinstance(exchange, str)))
    named = tuple(f"{what}: " for what, is_given in given if is_given)
    decisive = tuple(part for part in found if part.kind != "with" and not _only_named(part, named))
    return Verification(card, result, decisive, tuple(part for part in found if part.kind == "with"))


def _at(card: Card) -> str | None:
    """The schedule by which the strategy of a card was asked, if it had one."""
    at = card.code.values.get(ASKED_AT)
    return None if at is None else at.removesuffix(", late")


def _only_named(part: Difference, named: tuple[str, ...]) -> bool:
    return part.kind == "run" and part.text.startswith(named)


def _frame(card: Card) -> Frame:
    if card.frame is not None and card.frame in registry.frames.items:
        return registry.frames.get(card.frame)
    return make_frame(card.frame, card.start, card.end, card.frame_interval)


def _settings(card: Card) -> dict[str, Any]:
    """What the original call set, and defaults of its version that this one replaced."""
    theirs = msgspec.structs.asdict(msgspec.convert(card.settings, Settings, strict=False))
    ours = msgspec.structs.asdict(get_config())
    return {
        name: theirs[name]
        for name, now in ours.items()
        if name in card.settings
        and (f"setting {name}" in card.given or (card.format == 1 and MOVED_DEFAULTS.get(name) == (theirs[name], now)))
    }
