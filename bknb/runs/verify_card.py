"""Verifying run cards: run a card again and list what differs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ..config import Settings, get_config
from ..domain.html import Html, element, fragment
from ..engine.registration_checks import make_frame
from ..engine.registry import Frame, Strategy, registry
from ..errors import UnknownName, UsageError
from ..provenance.card import Card
from ..provenance.card_differences import MOVED_DEFAULTS, Difference
from ..provenance.portfolio_card import AnyCard, PortfolioCard, differences_of, read_card
from ..provenance.source_code_and_hash import ASKED_AT
from ..provenance.strategy_hash import running

if TYPE_CHECKING:
    from ..domain.costs import Costs
    from ..engine.plan import StrategyLike
    from .backtest import AccountLike, BenchmarkLike, SizingLike
    from .portfolio import ExchangesLike
    from .portfolio_result import PortfolioResult
    from .result import Result


@dataclass(frozen=True, slots=True)
class Verification:
    """The outcome of running a card again; true where nothing differs.

    Attributes
    ----------
    card : Card or PortfolioCard
        The card that was verified.
    result : Result or PortfolioResult
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

    card: AnyCard
    result: Result | PortfolioResult
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
        if isinstance(self.card, PortfolioCard):
            name = f"portfolio {self.card.name} of {len(self.card.legs)} legs"
        count = sum(part.count for part in self.result.card.data)
        if self.same:
            return f"{name}: the same ({outcome.trades} trades, {count:,} candles, digest {outcome.digest[:12]})"
        if self.same_outcome:
            return f"{name}: the same {outcome.trades} trades, though something differs"
        if all(part.kind == "rules" for part in self.differences):
            return f"{name}: not comparable"
        return f"{name}: NOT the same"

    def _of_indicators(self) -> str:
        """What to know of an outcome that differs where indicators were made with something else; empty: nothing."""
        from .card_of_result import INDICATORS_BY, OF_INDICATORS

        legs = self.card.legs if isinstance(self.card, PortfolioCard) else (self.card,)
        if self.same_outcome or not any(INDICATORS_BY in leg.made_with for leg in legs):
            return ""
        named = [name for name in OF_INDICATORS if any(f"{name}: " in part.text for part in self.surroundings)]
        if not named:
            return ""
        return (
            f"its indicators are the same to the last bit with the same {', '.join(named)} alone, and to about twelve "
            "digits with others: where values are as near as that, a strategy may decide otherwise"
        )

    def __repr__(self) -> str:
        lines = [self._head(), *(f"  {part.kind:<8} {part.text}" for part in self.differences)]
        if self.surroundings:
            lines.append(f"  made with something else: {'; '.join(part.text for part in self.surroundings)}")
        if text := self._of_indicators():
            lines.append(f"  {text}")
        return "\n".join(lines)

    def _repr_html_(self) -> Html:
        left = "text-align:left"
        rows = (
            element("tr", element("th", part.kind, style=left), element("td", part.text, style=left))
            for part in (*self.differences, *self.surroundings)
        )
        told = element("div", text) if (text := self._of_indicators()) else None
        head = element("b", f"{'✔' if self.same else '✘'} {self._head()}")
        return fragment(element("div", head, role="status"), element("table", *rows), told)


def verify(
    card: Card | PortfolioCard | str | Path | Result | PortfolioResult,
    *,
    strategy: StrategyLike | Mapping[str, StrategyLike] | None = None,
    exchange: ExchangesLike | None = None,
    frame: str | Frame | tuple[object, object] | None = None,
    execution: str | None = None,
    settings: Settings | dict[str, Any] | None = None,
    capital: float | None = None,
    sizing: SizingLike | Mapping[str, SizingLike] | None = None,
    account: AccountLike | Mapping[str, AccountLike] | None = None,
    costs: Costs | Mapping[str, Costs] | None = None,
    benchmark: BenchmarkLike | None = None,
) -> Verification:
    """Run a card again, here and now, and return what differs.

    Strategy, exchange and frame are looked up by the names on the card; settings are those of ``get_config()``, with
    what the original call set itself. So a line, a candle or a setting that was changed since is found and named.
    A default that another version of bknb had is repeated. Where the execution model fills at other prices since the
    card was made, that is told, and outcomes are not compared.

    Parameters
    ----------
    card
        A card, the path of a saved one or of the HTML file of a report that holds one, or a result; of a run or of a
        portfolio.
    strategy, exchange, frame, execution, settings
        Use these in place of what the names on the card mean here; of a portfolio ``strategy`` may be a mapping by the
        names on the card, and ``exchange`` one by symbol.
    capital, sizing, account, costs, benchmark
        Use these in place of those on the card. A function that says a size or a cost is looked up by its module and
        its name; one that another function made, and a benchmark that is a series, have to be given.

    Raises
    ------
    UnknownName
        The strategy, the exchange or a series of the card is not registered here, and none was given.
    UsageError
        The run of the card was stopped before its end, so it cannot be repeated; or it had a function or a series that
        is not known here, and none was given.
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
    found = _card_of(card)
    money = {"capital": capital, "sizing": sizing, "account": account, "costs": costs, "benchmark": benchmark}
    given: dict[str, Any] = {"frame": frame, "execution": execution, "settings": settings, **money}
    if isinstance(found, PortfolioCard):
        from .verify_portfolio import verify_portfolio

        return verify_portfolio(found, strategy=strategy, exchange=exchange, **given)
    for name, value in (("strategy", strategy), ("exchange", exchange)):
        if isinstance(value, Mapping):
            raise UsageError(f"{name}= is a mapping, and the card is of one run\ngive the one {name}")
    return _verify_run(found, strategy=strategy, exchange=exchange, **given)


def _card_of(card: Any) -> AnyCard:
    """The card that was given, itself or as its file or its result."""
    from .portfolio_result import PortfolioResult
    from .result import Result

    if isinstance(card, Result | PortfolioResult):
        return card.card
    return card if isinstance(card, Card | PortfolioCard) else read_card(card)


def check_repeatable(card: AnyCard) -> None:
    """Raise ``UsageError`` for the card of a live run, and for one that was stopped."""
    runs = (card,) if isinstance(card, Card) else card.legs
    if any(run.kind != "backtest" for run in runs):
        raise UsageError(
            "a live run cannot be repeated\nbacktest the same strategy over that time and compare the trades"
        )
    if card.stopped:
        raise UsageError(
            "this card is of a run that was stopped before its end; it cannot be repeated\nverify a card of a whole run"
        )


def check_registered(legs: Iterable[tuple[Card, object]]) -> None:
    """Raise ``UnknownName`` where the strategy that a leg is run with, or a series, is not registered here."""
    for card, chosen in legs:
        if isinstance(chosen, str) and chosen == card.strategy and chosen not in registry.strategies.names():
            raise UnknownName("strategy", card.strategy, known=registry.strategies.names())
        for part in card.series:
            registry.series.get(part.name)


def _verify_run(
    card: Card, *, strategy: Any, exchange: Any, frame: Any, execution: str | None, settings: Any, **money: Any
) -> Verification:
    """Run the card of one run again."""
    from .account_on_card import given_again
    from .backtest import BacktestTask
    from .plan_of_backtest import plan_run

    check_repeatable(card)
    chosen: Any = card.strategy if strategy is None else strategy
    check_registered([(card, chosen)])
    is_function = not isinstance(chosen, (str, Strategy))
    plan = plan_run(
        card.symbol,
        strategy=chosen,
        exchange=card.exchange if exchange is None else exchange,
        frame=frame_of(card) if frame is None else frame,
        interval=card.interval if is_function or "interval" in card.given else None,
        at=schedule_of(card) if is_function or "at" in card.given else None,
        execution=execution or (card.execution if is_function or "execution" in card.given else None),
        settings=settings_of(card) if settings is None else settings,
        allow_gaps=card.allow_gaps,
        base=card.base if "base" in card.given else None,
        **given_again(card.account, card.benchmark, money),
    )
    with running(plan.strategy, *(() if plan.account is None else plan.account.functions)):
        result = BacktestTask(plan).start().wait_or_stop()
    # what is given as an object in place of a name has another name, and that is no difference
    given = (("strategy", is_function), ("exchange", exchange is not None and not isinstance(exchange, str)))
    named = tuple(f"{what}: " for what, is_given in given if is_given)
    return verification_of(card, result, named)


def verification_of(card: AnyCard, result: Any, named: tuple[str, ...]) -> Verification:
    """The differences of a card and a new run; ``named``: how those begin that are of what was given as an object."""
    found = differences_of(card, result.card)
    runs = [*result.legs.values()] if isinstance(card, PortfolioCard) else [result]
    chosen = dict.fromkeys(run.run_record.plan.why_base for run in runs)  # of bars that the card was not made over
    whys = [Difference(kind="run", text=why) for why in chosen if why]
    decisive = [part for part in found if part.kind != "with" and not _only_named(part, named)]
    return Verification(card, result, (*whys, *decisive), tuple(part for part in found if part.kind == "with"))


def schedule_of(card: Card) -> str | None:
    """The schedule by which the strategy of a card was asked, if it had one."""
    at = card.code.values.get(ASKED_AT)
    return None if at is None else at.removesuffix(", late")


def _only_named(part: Difference, named: tuple[str, ...]) -> bool:
    return part.kind == "run" and part.text.startswith(named)


def frame_of(card: Card) -> Frame:
    """The frame of a card: the one that is registered under its name, or a new one."""
    if card.frame is not None and card.frame in registry.frames.items:
        return registry.frames.get(card.frame)
    return make_frame(card.frame, card.start, card.end, card.frame_interval)


def settings_of(card: Card) -> dict[str, Any]:
    """What the original call set, and defaults of its version that this one replaced."""
    theirs = msgspec.structs.asdict(msgspec.convert(card.settings, Settings, strict=False))
    ours = msgspec.structs.asdict(get_config())
    return {
        name: theirs[name]
        for name, now in ours.items()
        if name in card.settings
        and (f"setting {name}" in card.given or (card.format == 1 and MOVED_DEFAULTS.get(name) == (theirs[name], now)))
    }
