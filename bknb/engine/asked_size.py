"""The size that a leg wants for an order: what is known is put together, and its sizing is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from ..domain.costs import CostRequest, Costs, fill_costs
from ..domain.signal_events import Reason
from ..domain.size_inputs import ClosedTrades, SizeRequest, WantedSize
from ..domain.sizes import AtrRisk, SizeFunction, wanted_size
from ..domain.sizing_methods import Sizing
from ..domain.text import error_text
from ..errors import NotEnoughData
from .average_true_range import average_true_range
from .position_size import calculated

if TYPE_CHECKING:
    from ..domain.risk import Reserve
    from ..domain.sizes import Size
    from ..market.window import Window
    from .account_plan import LegMoney

_ATR = AtrRisk(1.0)  # what a registered sizing by average true range is measured over


def asked_size(
    money: LegMoney,
    command: Reserve,
    order: CostRequest,
    *,
    equity: float,
    free: float,
    closed: ClosedTrades,
    window: Window,
) -> WantedSize | Reason:
    """What the sizing of a leg wants, or why it wants nothing.

    Parameters
    ----------
    money
        What the leg has of its account.
    command, order
        What is to be opened, and as it would fill at the price that its answer implies.
    equity, free
        Of the account, quote currency.
    closed
        Trades of the leg that were closed before.
    window
        Its candles.
    """
    if equity <= 0.0:
        return Reason("no_cash", f"no equity is left: the account is worth {equity:.8g}")
    candidate, sizing = command.candidate, money.sizing
    request = SizeRequest(
        symbol=candidate.symbol,
        strategy=candidate.strategy,
        position=candidate.position,
        when=command.when,
        entry=order.price,
        price_stop_loss=candidate.price_stop_loss,
        equity=equity,
        free=free,
        atr=_atr(sizing, window, candidate.symbol, command.when),
        closed=closed,
        costs_percent=_round_trip(replace(order, quantity=equity / order.price), money.costs),
        leverage=money.account.leverage,
    )
    try:
        wanted = wanted_size(sizing, request)
        if isinstance(sizing, Sizing) and isinstance(wanted, WantedSize) and wanted.units is not None:
            inputs = {"symbol": request.symbol, "balance": equity, "price_open": request.entry}
            calculated(sizing, wanted.units, inputs | {"price_stop_loss": request.price_stop_loss})
        return wanted
    except Exception as error:  # noqa: BLE001 -- a sizing function raises whatever it likes
        text = error_text(error) or type(error).__name__
        return Reason("size", f"the sizing function raised: {text}; answer a number, 0 for none")


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
