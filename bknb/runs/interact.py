"""Sliders over the parameters of a strategy: each combination is a backtest, counted in the ledger of tries."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from ..config import Settings
from ..domain.interval import MINUTE
from ..domain.slider_values import nearest, slider_values
from ..engine.plan import ExchangeLike, FrameLike, Plan, StrategyLike, plan_backtest
from ..engine.registration_checks import with_params
from ..errors import UsageError
from ..frontend import frontend
from ..provenance.strategy_hash import running
from ..sweeps.prepared_candles import goes_compiled
from .aside import aside
from .compiling_told import compiling_told
from .look import Look, Looks

if TYPE_CHECKING:
    from ..domain.schedules import Schedule
    from ..domain.slider_values import Values
    from .look import Floats, Times
    from .result import Result

_ASKED: Final = (
    "{what} is asked at each moment, so a combination takes as long as a backtest; "
    "get_signals(candles), which answers for all candles at once, takes milliseconds"
)
_BY_EVENTS: Final = "{what} goes through the event engine, so a combination takes as long as a backtest"


class Interact:
    """Sliders over the parameters of one strategy on one symbol; made by :func:`bknb.interact`.

    At the end of a cell it shows itself: sliders, equity, figures, and how many strategies were tried on these candles.

    Attributes
    ----------
    symbol, strategy, exchange, execution : str
        What is run on what.
    start, end : int
        First and last moment of the frame, UTC ms.
    values : dict of str to tuple
        The values of each slider, in order.
    shown : Look
        The combination that is shown: ``shown.params``, ``shown.account`` as of a result, ``shown.tries``.
    warnings : list of str
        What there is to say about candles, rows and the ledger of tries.
    """

    def __init__(self, plan: Plan, values: Mapping[str, Values]) -> None:
        self.values = dict(values)
        self.warnings: list[str] = []
        self._lock = threading.Lock()
        self._seen: set[str] = set()
        self._watchers: list[Callable[[], object]] = []
        self._looks = aside(lambda: Looks(plan, self._warn))
        self._plan = self._looks.plan
        known = plan.strategy.parameters
        self._at = {name: nearest(each, known.get(name)) for name, each in self.values.items()}
        self.symbol, self.strategy, self.exchange = plan.symbol, plan.strategy.name, plan.exchange.name
        self.execution: str = plan.execution
        self.start, self.end = plan.frame.start, plan.frame.last
        self.shown: Look = self.place(list(self._at.values()))

    def _warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)

    @property
    def places(self) -> list[int]:
        """The place of each slider among its values, in the order of ``values``."""
        return [*self._at.values()]

    @property
    def params(self) -> dict[str, Any]:
        """The value of each slider."""
        return {name: self.values[name][at] for name, at in self._at.items()}

    @property
    def looks(self) -> int:
        """How many different combinations were looked at."""
        return len(self._seen)

    @property
    def prices(self) -> tuple[Times, Floats]:
        """Moments at which base bars close (UTC ms), and their closing prices."""
        return self._looks.prices

    @property
    def slow(self) -> str:
        """Why a combination takes long, and what would not; empty where it takes milliseconds."""
        strategy = self._plan.strategy
        if strategy.get_signals is None:
            return _ASKED.format(what="get_weight" if strategy.weights is not None else "get_signal")
        if strategy.risk is not None or strategy.manage is not None or strategy.places > 1:
            kinds = (("a risk profile", strategy.risk), ("a manage", strategy.manage), ("several places", True))
            return _BY_EVENTS.format(what=f"a strategy with {next(kind for kind, given in kinds if given is not None)}")
        if self._plan.base == MINUTE and self.shown.by_events:
            return _BY_EVENTS.format(what="what buys or leaves in parts")
        return ""

    def move(self, **params: Any) -> Look:
        """Move sliders, also those on the page, and return the backtest there, which is ``shown`` from then on.

        Raises
        ------
        UsageError
            For a parameter without a slider, or a value that its slider has not.

        Examples
        --------
        >>> import bknb
        >>> def get_signals(candles, up=1.02):
        ...     return {"position": 1, "price_take_profit": candles.close * up, "minute_estimated_time": 240,
        ...             "price_stop_loss": candles.close * 0.98}
        >>> found = bknb.interact("BTCUSDT", strategy=get_signals, values={"up": "1.01:1.03:0.01"}, exchange="demo",
        ...                       frame=("2024-01-01", "2024-01-03"), interval="1h")
        >>> found.move(up=1.03).params, found.looks
        ({'up': 1.03}, 2)
        """
        places = dict(self._at)
        for name, value in params.items():
            if name not in self.values:
                raise UsageError(f"there is no slider over {name!r}\nsliders: {', '.join(self.values)}")
            at = nearest(self.values[name], value)
            if self.values[name][at] != value:
                raise UsageError(f"the slider over {name} has no {value!r}\nthe nearest is {self.values[name][at]!r}")
            places[name] = at
        return self.place([*places.values()])

    def place(self, places: list[int]) -> Look:
        """Move every slider to a place among its values, in the order of ``values``; as ``move``."""
        at = {
            name: min(max(place, 0), len(values) - 1)
            for (name, values), place in zip(self.values.items(), places, strict=True)
        }
        params = {name: self.values[name][place] for name, place in at.items()}
        with self._lock:
            look = aside(lambda: self._looks.at(params))
            self._at, self.shown = at, look
            self._seen.add(repr(params))
        for told in (*self._watchers,):
            told()
        return look

    def watch(self, told: Callable[[], object]) -> None:
        """Have a function called after each move, whoever moved the sliders; for what shows them."""
        self._watchers.append(told)

    def unwatch(self, told: Callable[[], object]) -> None:
        """Call a function of ``watch`` no longer."""
        if told in self._watchers:
            self._watchers.remove(told)

    def result(self) -> Result:
        """The backtest of the combination that is shown, as ``bknb.backtest`` returns it."""
        from .backtest import BacktestTask

        task = BacktestTask(replace(self._plan, strategy=with_params(self._plan.strategy, self.params)))
        with running(self._plan.strategy):
            task.start()
            return task.wait_or_stop()

    def _ipython_display_(self) -> None:
        frontend().show_sliders(self)

    def __repr__(self) -> str:
        from ..reports.sliders_report import sliders_text

        return sliders_text(self)


def interact(
    symbol: str,
    *,
    strategy: StrategyLike,
    values: Mapping[str, Any],
    exchange: ExchangeLike,
    frame: FrameLike,
    interval: str | None = None,
    at: Schedule | str | None = None,
    execution: str | None = None,
    settings: Settings | dict[str, Any] | None = None,
    allow_gaps: bool = False,
    base: str | None = None,
    params: Mapping[str, Any] | None = None,
) -> Interact:
    """Sliders over the parameters of a strategy, redrawn as they move.

    Every combination is a backtest without a capital. One of a vectorised strategy (``get_signals``) goes through the
    compiled loop of sweeps, a year of minutes in milliseconds, and its account is that of the backtest to the last bit;
    any other strategy takes as long as a backtest does. Each combination that was computed is written into the ledger
    of tries, and counted by ``bknb.belief``; the same combination twice is one try.

    Parameters
    ----------
    symbol, strategy, exchange, frame, interval, at, execution, settings, allow_gaps, base
        As in ``bknb.backtest``.
    values
        For each parameter with a slider its values: a text such as ``"5:50"``, ``"0.5:2:0.1"`` with a step, ``"a,b"``;
        or a range, a list, an array. A slider begins at the default of the parameter, or the value nearest to it.
    params
        Parameters of the strategy, by name; of one with a slider, where it begins.

    Returns
    -------
    Interact
        Shows its sliders at the end of a cell. ``.shown`` is the combination, ``.move(fast=10)`` moves a slider,
        ``.result()`` is the backtest there.

    Raises
    ------
    UnknownName, UsageError
        Names, parameters or values that cannot be.
    MissingDependency
        Without numba, for a vectorised strategy: ``pip install 'bknb[sweep]'``.

    Examples
    --------
    >>> import bknb
    >>> def get_signals(candles, up=1.02, down=0.98):
    ...     return {"position": 1, "price_take_profit": candles.close * up, "price_stop_loss": candles.close * down,
    ...             "minute_estimated_time": 240}
    >>> found = bknb.interact("BTCUSDT", strategy=get_signals, values={"up": "1.01:1.05:0.01"}, exchange="demo",
    ...                       frame=("2024-01-01", "2024-01-03"), interval="1h")
    >>> found.params, found.shown.account["positions"], len(found.result().trades)
    ({'up': 1.02}, 13, 13)
    """
    given = slider_values(values)
    run = (symbol, strategy, exchange, frame, interval, execution, settings)
    plan = plan_backtest(*run, at=at, allow_gaps=allow_gaps, base=base, params=params)
    from ..engine.strategy_checks import checked_params

    chosen = plan.strategy
    checked_params(chosen.name, chosen.get_signals or chosen.get_signal, given, manage=chosen.manage)
    told = compiling_told(f"sliders of {chosen.name} {symbol}") if goes_compiled(chosen) else nullcontext()
    with told:
        return Interact(plan, given)
