"""OKX's linear perpetuals: isolated positions counted in contracts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from ..domain.broker_account import AccountPosition, BrokerMarket
from .exchange_profile import Request, SwapSettings, decimal_text, in_base
from .okx import Okx


class OkxSwap(Okx):
    """The profile of OKX's linear perpetuals; see :class:`bknb.brokers.exchange_profile.SwapProfile`."""

    market = "swap"
    abilities = replace(Okx.abilities, move="both", targets=True)  # so that what closes is sold before the stop goes
    kind = "SWAP"
    margin = "isolated"

    def positions(self) -> Request:
        """Ask for all positions."""
        return Request("private_get_account_positions", {"instType": self.kind})

    def positions_of(self, markets: Sequence[BrokerMarket], answer: Any) -> list[AccountPosition]:
        """The positions of an answer; those of markets that nobody asked about have the exchange's names.

        Their quantities are contracts, as nobody has asked how large one is there.
        """
        known = {market.id: market for market in markets}
        found = []
        for each in answer["data"]:
            market = known.get(each["instId"]) or BrokerMarket(symbol=str(each["instId"]))
            quantity = in_base(each["pos"], market)
            found.append(
                AccountPosition(
                    symbol=market.symbol, quantity=quantity, average_price=float(each["avgPx"] or 0.0) or None,
                    liquidation_price=float(each["liqPx"] or 0.0) or None,
                )
            )  # fmt: skip
        return [each for each in found if each.quantity]

    def settings(self, market: BrokerMarket) -> Request:
        """Ask for the leverage of isolated positions: each order says itself that its position is one."""
        return Request("private_get_account_leverage_info", {"instId": market.id, "mgnMode": self.margin})

    def settings_of(self, market: BrokerMarket, answer: Any) -> SwapSettings:
        """How they are kept."""
        (found,) = (each for each in answer["data"] if each["instId"] == market.id)
        return SwapSettings(str(found["mgnMode"]), float(found["lever"]))

    def set_up(self, market: BrokerMarket, *, found: SwapSettings, leverage: float) -> Sequence[Request]:  # noqa: ARG002 -- of every profile
        """Have isolated positions a leverage."""
        params = {"instId": market.id, "mgnMode": self.margin, "lever": decimal_text(leverage)}
        return (Request("private_post_account_set_leverage", params),)

    def maintenance(self, market: BrokerMarket) -> Request:
        """Ask at which margin a position is liquidated."""
        family = market.id.removesuffix("-SWAP")
        params = {"instType": self.kind, "tdMode": self.margin, "instFamily": family}
        return Request("public_get_public_position_tiers", params)

    def maintenance_of(self, market: BrokerMarket, quantity: float, price: float, answer: Any) -> float:  # noqa: ARG002 -- of every profile
        """The maintenance margin of a position (base and quote currency), in percent of its value."""
        tiers = [each for each in answer["data"] if in_base(each["minSz"], market) <= quantity]
        return max(float(each["mmr"]) for each in tiers) * 100
