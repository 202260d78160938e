"""``bknb.PositionSize``: how much to buy, by a registered sizing."""

from __future__ import annotations

from typing import Any

from ..domain import sizing_formulas as rules
from ..domain.sizing_formulas import Sizing
from .registry import registry


class PositionSize:
    """How much to buy, by a registered sizing: units of what is traded, not rounded to an exchange's steps.

    Examples
    --------
    >>> import bknb
    >>> _ = bknb.add_sizing("two percent", method="fixed-percentage", risk_percentage=2)
    >>> bknb.PositionSize.fixed_percentage("BTCUSDT", balance=10_000, price_open=50_000, price_stop_loss=49_000,
    ...                                    sizing="two percent")
    0.2
    """

    @staticmethod
    def fixed_percentage(
        symbol: str, *, balance: float, price_open: float, price_stop_loss: float, sizing: str | Sizing
    ) -> float:
        """Units whose loss at the stop is a fixed part of the balance."""
        chosen = _sizing(sizing)
        quantity = rules.fixed_percentage(
            chosen, balance=balance, price_open=price_open, price_stop_loss=price_stop_loss
        )
        return calculated(
            chosen,
            quantity,
            {"symbol": symbol, "balance": balance, "price_open": price_open, "price_stop_loss": price_stop_loss},
        )

    @staticmethod
    def kelly_criterion(
        symbol: str,
        *,
        balance: float,
        price_open: float,
        win_rate: float,
        win_loss_ratio: float,
        sizing: str | Sizing,
    ) -> float:
        """Units of a position worth a part of the Kelly stake: a notional for a stake that a loss takes whole.

        ``win_rate`` is a share 0..1, ``win_loss_ratio`` the average win over the average loss. Where a loss is one at
        a stop, ``kelly_at_stop`` is the position that grows fastest.
        """
        chosen = _sizing(sizing)
        odds = {"win_rate": win_rate, "win_loss_ratio": win_loss_ratio}
        quantity = rules.kelly_criterion(chosen, balance=balance, price_open=price_open, **odds)
        return calculated(chosen, quantity, {"symbol": symbol, "balance": balance, "price_open": price_open, **odds})

    @staticmethod
    def kelly_at_stop(
        symbol: str,
        *,
        balance: float,
        price_open: float,
        price_stop_loss: float,
        win_rate: float,
        win_loss_ratio: float,
        costs_percent: float = 0.0,
        sizing: str | Sizing,
    ) -> float:
        """Units of a part of the position that grows fastest where a loss is one at the stop (Kelly 1956, Thorp 2006).

        The Kelly stake divided by the share of the position that is lost at the stop, ``costs_percent`` of a round trip
        included; it may be worth more than the balance. ``sizing`` is a ``"kelly-criterion"``.

        Examples
        --------
        >>> import bknb
        >>> _ = bknb.add_sizing("quarter", method="kelly-criterion")
        >>> units = bknb.PositionSize.kelly_at_stop("BTCUSDT", balance=10_000, price_open=50_000,
        ...     price_stop_loss=49_000, win_rate=0.55, win_loss_ratio=1.5, sizing="quarter")
        >>> round(units, 9)
        0.625
        """
        chosen = _sizing(sizing)
        inputs: dict[str, float] = {
            "balance": balance,
            "price_open": price_open,
            "price_stop_loss": price_stop_loss,
            "win_rate": win_rate,
            "win_loss_ratio": win_loss_ratio,
            "costs_percent": costs_percent,
        }
        return calculated(chosen, rules.kelly_at_stop(chosen, **inputs), {"symbol": symbol, **inputs})

    @staticmethod
    def atr_based(symbol: str, *, balance: float, price_open: float, atr: float, sizing: str | Sizing) -> float:
        """Units whose loss over some average true ranges (quote currency) is a fixed part of the balance."""
        chosen = _sizing(sizing)
        quantity = rules.atr_based(chosen, balance=balance, price_open=price_open, atr=atr)
        return calculated(
            chosen, quantity, {"symbol": symbol, "balance": balance, "price_open": price_open, "atr": atr}
        )


def _sizing(sizing: str | Sizing) -> Sizing:
    return sizing if isinstance(sizing, Sizing) else registry.sizings.get(sizing)


def calculated(sizing: Sizing, quantity: float, inputs: dict[str, Any]) -> float:
    """A quantity that a sizing gave (units of what is traded), once its ``on_calculate`` was called with it."""
    on_calculate = registry.sizing_callbacks.items.get(sizing.name)
    if on_calculate is not None and registry.sizings.items.get(sizing.name) == sizing:
        on_calculate(quantity, inputs)
    return quantity
