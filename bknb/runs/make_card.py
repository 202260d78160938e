"""Run cards of results, and running a card again."""

from __future__ import annotations

import functools
import hashlib
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ..config import Settings, get_config
from ..engine.build import make_frame
from ..engine.registry import Exchange, Frame, Strategy, get_risk, registry
from ..errors import UnknownName, UsageError
from ..ports import CandleSource
from ..provenance.candle_fingerprint import fingerprint
from ..provenance.card import Card, Difference, outcome_of
from ..provenance.source_code import Code, read_code, value_text

if TYPE_CHECKING:
    from ..engine.backtest import Plan
    from ..live.run import LivePlan
    from .result import Result

_ALWAYS = ("numpy", "pandas", "msgspec")


def code_of(plan: Plan | LivePlan) -> Code:
    """Source text of what a plan will call: the strategy, then its risk rules, then what they call."""
    strategy = plan.strategy
    starts = [getattr(strategy, name, None) for name in ("get_signal", "get_signals")]
    if strategy.risk is not None:
        starts += [rule.validate for rule in get_risk(strategy.risk).validations]
    code = read_code(*(start for start in starts if start is not None))
    parameters = getattr(strategy, "params", None) or {}
    named = {f"parameter {name}": value_text(value) for name, value in dict(parameters).items()}
    return msgspec.structs.replace(code, values={**named, **code.values})


def card_of(result: Result, plan: Plan | LivePlan, code: Code, candles: dict[tuple[str, str], Any]) -> Card:
    """The card of a finished run."""
    outcome = outcome_of(
        result.rows(), trades=len(result.trades), rejected=len(result.rejected), refused=len(result.refused)
    )
    frame = getattr(plan, "frame", None)  # a live run has none
    return Card(
        kind=result.mode,
        strategy=plan.strategy.name,
        symbol=plan.symbol,
        exchange=plan.exchange.name,
        interval=plan.strategy.interval,
        execution=plan.execution,
        frame=result.frame,
        start=result.start,
        end=result.end if frame is None else frame.end,
        frame_interval="1m" if frame is None else frame.interval,
        risk=plan.strategy.risk,
        allow_gaps=plan.allow_gaps,
        stopped=result.stopped,
        given=getattr(plan, "given", ()),
        # all as floats: a notebook's front end writes 20.0 as 20, and the checksum must not care
        settings={name: float(value) for name, value in msgspec.structs.asdict(plan.settings).items()},
        code=code,
        data=tuple(
            fingerprint(part, exchange=plan.exchange.name, symbol=symbol, interval=interval)
            for (symbol, interval), part in sorted(candles.items())
        ),
        made_with={**made_with(code.packages), "candles from": _source_text(plan.exchange)},
        outcome=outcome,
        notes=code.notes,
    )


def _source_text(exchange: Exchange) -> str:
    """What kind of source gave the candles, and its name: ``DemoSource demo``, ``FrameSource btc.csv``."""
    return f"{exchange.source.__class__.__name__} {exchange.source.name}"


def made_with(packages: tuple[str, ...] = ()) -> dict[str, str]:
    """Versions of Python, bknb and packages, and the platform."""
    found = {
        "python": platform.python_version(),
        "platform": f"{sys.platform} {platform.machine()}",
        "bknb": str(sys.modules["bknb"].__version__),
        "bknb code": _own_digest(),
    }
    names = dict.fromkeys([*_ALWAYS, *(name for name in packages if name not in sys.stdlib_module_names)])
    for name in names:
        distribution = _distribution(name)
        if distribution is not None:
            found[name] = distribution
    return found


@functools.cache
def _distribution(module: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, packages_distributions, version  # 18 ms, for cards alone

    try:
        return version(module)
    except PackageNotFoundError:
        names = packages_distributions().get(module)
        return version(names[0]) if names else None


@functools.cache
def _own_digest() -> str:
    """The first digits of a digest of bknb's own source: a version number alone does not tell two states apart."""
    folder = Path(__file__).parent.parent
    made = hashlib.sha256()
    for path in sorted(folder.rglob("*.py"), key=lambda path: path.relative_to(folder).as_posix()):
        made.update(path.relative_to(folder).as_posix().encode())
        made.update(path.read_bytes().replace(b"\r\n", b"\n"))
    return made.hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Verification:
    """What came of running a card again. True where nothing differs.

    Attributes
    ----------
    card : Card
        The card that was verified.
    result : Result
        The result of here and now.
    differences : tuple of Difference
        Candles, lines, values, settings and outcomes that are not what they were.
    surroundings : tuple of Difference
        Versions and platform that are not what they were, which is no fault by itself.

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
        """Whether the same was run on the same candles and came to the same."""
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
        return f"{name}: NOT the same"

    def __repr__(self) -> str:
        lines = [self._head(), *(f"  {part.kind:<8} {part.text}" for part in self.differences)]
        if self.surroundings:
            lines.append(f"  made with something else: {'; '.join(part.text for part in self.surroundings)}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{part.kind}</th><td style='text-align:left'>{escape(part.text)}</td></tr>"
            for part in (*self.differences, *self.surroundings)
        )
        sign = "✔" if self.same else "✘"
        return f"<div role='status'><b>{sign} {escape(self._head())}</b></div><table>{rows}</table>"


def verify(
    card: Card | str | Path | Result,
    *,
    strategy: str | Strategy | Callable[..., Any] | None = None,
    exchange: str | Exchange | CandleSource | Callable[..., Any] | None = None,
    frame: str | Frame | tuple[object, object] | None = None,
    execution: str | None = None,
    settings: Settings | dict[str, Any] | None = None,
) -> Verification:
    """Run a card again, here and now, and say exactly what differs.

    Strategy, exchange and frame are looked up by the names on the card; settings are those of ``get_config()``, with
    what the original call set itself. So a line, a candle or a setting that was changed since is found and named.

    Parameters
    ----------
    card
        A card, the path of a saved one, or a result.
    strategy, exchange, frame, execution, settings
        Use these in place of what the names on the card mean here.

    Raises
    ------
    UnknownName
        The strategy or the exchange of the card is not registered here, and none was given.
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
    from .backtest import BacktestTask, plan_backtest
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
    is_function = not isinstance(chosen, (str, Strategy))
    plan = plan_backtest(
        card.symbol,
        strategy=chosen,
        exchange=card.exchange if exchange is None else exchange,
        frame=_frame(card) if frame is None else frame,
        interval=card.interval if is_function or "interval" in card.given else None,
        execution=execution or (card.execution if is_function or "execution" in card.given else None),
        settings=_settings(card) if settings is None else settings,
        allow_gaps=card.allow_gaps,
    )
    result = BacktestTask(plan).start().wait_or_stop()
    found = card.diff(result.card)
    # what is given as an object in place of a name has another name, and that is no difference
    given = (("strategy", is_function), ("exchange", exchange is not None and not isinstance(exchange, str)))
    named = tuple(f"{what}: " for what, is_given in given if is_given)
    decisive = tuple(part for part in found if part.kind != "with" and not _only_named(part, named))
    return Verification(card, result, decisive, tuple(part for part in found if part.kind == "with"))


def _only_named(part: Difference, named: tuple[str, ...]) -> bool:
    return part.kind == "run" and part.text.startswith(named)


def _frame(card: Card) -> Frame:
    if card.frame is not None and card.frame in registry.frames.items:
        return registry.frames.get(card.frame)
    return make_frame(card.frame, card.start, card.end, card.frame_interval)


def _settings(card: Card) -> dict[str, Any]:
    ours = msgspec.structs.asdict(get_config())
    return {
        name: type(now)(card.settings[name])
        for name, now in ours.items()
        if f"setting {name}" in card.given and name in card.settings
    }
