"""The sizing of a leg: what is known of an order is put together, and how much is wanted of it is asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec.structs import replace

from ..domain.costs import CostRequest, Costs, fill_costs
from ..domain.entry_ladder import average_entry
from ..domain.formatting import utc_text
from ..domain.percent_risk_and_kelly_sizes import AtrRisk, SizeFunction, wanted_size
from ..domain.quantity_step_and_least_amount import EXACT
from ..domain.signal import OpenSignal, ScheduledSignal, sign_of
from ..domain.signal_events import Reason
from ..domain.size_request import ClosedTrades, SizeRequest, WantedSize
from ..domain.sizing_formulas import Sizing
from ..domain.text import error_text
from ..domain.trailing_and_breakeven_stops import percent_stop
from ..errors import NotEnoughData
from .average_true_range import average_true_range
from .position_size import calculated

if TYPE_CHECKING:
    from ..domain.percent_risk_and_kelly_sizes import Size
    from ..domain.risk_request_and_verdict import Reserve
    from ..market.window import Window
    from .account_plan import LegMoney

_ATR = AtrRisk(1.0)  # what a registered sizing by average true range is measured over


class LegSizing:
    """Asks the sizing of a leg how much it wants.

    Parameters
    ----------
    money
        What the leg has of its account.
    window
        Its candles.
    warn
        Called once with a text, where more is wanted than the account can hold.
    tick
        The smallest step of its prices (quote currency), where it is known.

    Attributes
    ----------
    closed
        The trades of the leg that were closed before.
    """

    def __init__(
        self, money: LegMoney, window: Window, warn: Callable[[str], object], *, tick: float | None = None
    ) -> None:
        self._money, self._window, self._warn, self._tick = money, window, warn, tick
        self.closed = ClosedTrades()
        self._warned = False

    def of(self, candidate: OpenSignal | ScheduledSignal) -> Size | SizeFunction | Sizing:
        """What says how large an order is: its own size, else that of the leg."""
        if not candidate.own_size:
            return self._money.sizing
        from ..domain.size_of_signal import size_of_text  # few signals have one

        return size_of_text(candidate.own_size)

    def wanted(self, command: Reserve, order: CostRequest, *, equity: float, free: float) -> WantedSize | Reason:
        """What is wanted of an order, or why nothing is.

        Parameters
        ----------
        command, order
            What is to be opened, and as it would fill at the price that its answer implies.
        equity, free
            Of the account, quote currency.
        """
        if equity <= 0.0:
            return Reason("no_cash", f"no equity is left: the account is worth {equity:.8g}")
        candidate, sizing, costs = command.candidate, self.of(command.candidate), self._money.costs
        entry = average_entry(candidate, order.price) if candidate.rungs else order.price
        request = SizeRequest(
            symbol=candidate.symbol,
            strategy=candidate.strategy,
            position=candidate.position,
            when=command.when,
            entry=entry,
            price_stop_loss=self._stop_of(candidate, entry),
            equity=equity,
            free=free,
            atr=_atr(sizing, self._window, candidate.symbol, command.when),
            closed=self.closed,
            costs_percent=_round_trip(replace(order, quantity=equity / order.price), costs),
            leverage=self._money.account.leverage,
        )
        asking = candidate.symbol, command.when
        try:
            found = wanted_size(sizing, request, atr_of=lambda size: _atr(size, self._window, *asking))
            if isinstance(sizing, Sizing) and isinstance(found, WantedSize) and found.units is not None:
                inputs = {"symbol": request.symbol, "balance": equity, "price_open": request.entry}
                calculated(sizing, found.units, inputs | {"price_stop_loss": request.price_stop_loss})
        except Exception as error:  # noqa: BLE001 -- a sizing function raises whatever it likes
            text = f"the sizing function raised {type(error).__name__}: {error_text(error) or 'without a text'}"
            return Reason("size", f"{text}; answer a number, 0 for none")
        if isinstance(found, WantedSize):
            whole = candidate.size if candidate.whole is None else candidate.whole
            self._tell_too_much(found if whole is None else found.times(whole), request)
            found = found if candidate.size is None else found.times(candidate.size)
            if found.money is not None and candidate.rungs:  # shares are of the quantity
                found = WantedSize(found.money * order.price / entry)
        return found

    def _stop_of(self, candidate: OpenSignal | ScheduledSignal, entry: float) -> float | None:
        """The stop of what enters at a price, both in quote currency."""
        if candidate.stop_percent is None:
            return candidate.price_stop_loss
        return percent_stop(candidate.stop_percent, sign_of(candidate.position), entry, self._tick)

    def _tell_too_much(self, wanted: WantedSize, request: SizeRequest) -> None:
        """Warn once where more is wanted than the account can hold: it is scaled to what is free."""
        value, most = wanted.value(request.entry), request.equity * request.leverage
        if value > most * (1 + EXACT) and not self._warned:
            self._warned = True
            self._warn(
                f"the sizing wanted {value:,.8g} at {utc_text(request.when)} and the account can hold {most:,.8g}, an "
                f"equity of {request.equity:,.8g} times {request.leverage:g}: it buys what is free, then and later"
            )


def _round_trip(order: CostRequest, costs: Costs) -> float:
    """What a round trip costs, percent of the position, were all of the equity in it."""
    cost = fill_costs(order, costs)
    return 2 * (cost.fee_percent + cost.slippage_percent)


def _atr(sizing: Size | SizeFunction | Sizing, window: Window, symbol: str, when: int) -> float | None:
    """The average true range that a sizing asks for, quote currency; ``None``: it asks for none, or has none yet."""
    size = _ATR if isinstance(sizing, Sizing) and sizing.method == "atr-based" else sizing
    if not isinstance(size, AtrRisk):
        return None
    try:
        candles = window.newest(symbol, size.interval, size.length + 1, when)
    except NotEnoughData:
        return None
    return average_true_range(candles.high, candles.low, candles.close)
