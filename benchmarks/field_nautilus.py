"""The strategy of ``field_case.py`` in nautilus_trader: bars of its own aggregation, indicators, bracket orders."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from field_case import FAST, FEE, SLOW, STOP, TARGET, Trade, frame, measure


def imports() -> str:
    """Import it with what a run needs."""
    import nautilus_trader.backtest.engine  # noqa: F401 -- it is what is measured

    return version("nautilus_trader")


def load(path: str) -> Any:
    """Its bars, and the instrument."""
    from decimal import Decimal

    from nautilus_trader.model.currencies import BTC, USDT
    from nautilus_trader.model.data import BarType
    from nautilus_trader.model.identifiers import InstrumentId, Symbol, Venue
    from nautilus_trader.model.instruments import CurrencyPair
    from nautilus_trader.model.objects import Price, Quantity
    from nautilus_trader.persistence.wranglers import BarDataWrangler

    instrument = CurrencyPair(
        instrument_id=InstrumentId(Symbol("BTCUSDT"), Venue("BINANCE")),
        raw_symbol=Symbol("BTCUSDT"),
        base_currency=BTC,
        quote_currency=USDT,
        price_precision=6,
        size_precision=6,
        price_increment=Price.from_str("0.000001"),
        size_increment=Quantity.from_str("0.000001"),
        ts_event=0,
        ts_init=0,
        maker_fee=Decimal(str(FEE)),
        taker_fee=Decimal(str(FEE)),
    )
    minutes = BarType.from_str("BTCUSDT.BINANCE-1-MINUTE-LAST-EXTERNAL")
    table = frame(path, ("open", "high", "low", "close", "volume"))
    table.index = table.index.tz_localize("UTC") + table.index.to_series().diff().min()  # bars bear their close
    return instrument, BarDataWrangler(minutes, instrument).process(table)


def run(data: Any) -> list[Trade]:
    """A run with its reports."""
    from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
    from nautilus_trader.config import LoggingConfig
    from nautilus_trader.indicators import SimpleMovingAverage
    from nautilus_trader.model.currencies import BTC, USDT
    from nautilus_trader.model.data import BarType
    from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
    from nautilus_trader.model.identifiers import Venue
    from nautilus_trader.model.objects import Money
    from nautilus_trader.trading.strategy import Strategy

    instrument, bars = data

    class SmaCross(Strategy):
        def __init__(self) -> None:
            super().__init__()
            self.quarters = BarType.from_str("BTCUSDT.BINANCE-15-MINUTE-LAST-INTERNAL@1-MINUTE-EXTERNAL")
            self.fast, self.slow = SimpleMovingAverage(FAST), SimpleMovingAverage(SLOW)
            self.was_above = True

        def on_start(self) -> None:
            self.register_indicator_for_bars(self.quarters, self.fast)
            self.register_indicator_for_bars(self.quarters, self.slow)
            self.subscribe_bars(self.quarters)

        def on_bar(self, bar: Any) -> None:
            if not self.slow.initialized:
                return
            above = self.fast.value > self.slow.value
            if above and not self.was_above and self.portfolio.is_flat(instrument.id):
                price = float(bar.close)
                self.submit_order_list(
                    self.order_factory.bracket(
                        instrument_id=instrument.id,
                        order_side=OrderSide.BUY,
                        quantity=instrument.make_qty(0.001),  # less than any minute traded
                        tp_price=instrument.make_price(price * TARGET),
                        sl_trigger_price=instrument.make_price(price * STOP),
                        tp_post_only=False,
                    )
                )
            self.was_above = above

    engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True)))
    engine.add_venue(
        venue=Venue("BINANCE"),
        oms_type=OmsType.NETTING,
        account_type=AccountType.CASH,
        base_currency=None,
        starting_balances=[Money(100_000_000, USDT), Money(10, BTC)],
        bar_execution=True,
    )
    engine.add_instrument(instrument)
    engine.add_data(bars, validate=False)
    engine.add_strategy(SmaCross())
    engine.run()
    positions = engine.trader.generate_positions_report().dropna(subset=["ts_closed"])
    engine.get_result()
    engine.dispose()
    return [
        (int(a.timestamp() * 1000), float(b), int(c.timestamp() * 1000) - 60_000, float(d))
        for a, b, c, d in positions[["ts_opened", "avg_px_open", "ts_closed", "avg_px_close"]].itertuples(index=False)
    ]


if __name__ == "__main__":
    measure(imports, load, run)
