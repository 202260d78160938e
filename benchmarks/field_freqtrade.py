"""The strategy of ``field_case.py`` in freqtrade: candles of 15 minutes, one-minute ones as its detail.

It asks the exchange for its markets before a backtest begins; here they are told, so that none is asked. Its target
counts fees, so it runs without any: they change no fill. Candles lie on the disk, as it takes them from there.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
from pathlib import Path
from typing import Any

from field_case import FAST, SLOW, Trade, frame, measure

PAIR = "BTC/USDT"
STRATEGY = f"""
from freqtrade.strategy import IStrategy


class SmaCross(IStrategy):
    timeframe = "15m"
    minimal_roi = {{"0": 0.02}}
    stoploss = -0.01
    startup_candle_count = 0
    process_only_new_candles = True

    def populate_indicators(self, dataframe, metadata):
        dataframe["fast"] = dataframe["close"].rolling({FAST}).mean()
        dataframe["slow"] = dataframe["close"].rolling({SLOW}).mean()
        return dataframe

    def populate_entry_trend(self, dataframe, metadata):
        above = dataframe["fast"] > dataframe["slow"]
        known = dataframe["slow"].shift(1).notna()
        dataframe.loc[above & ~above.shift(1, fill_value=True) & known, "enter_long"] = 1
        return dataframe

    def populate_exit_trend(self, dataframe, metadata):
        return dataframe
"""
MARKET = {
    "id": "BTCUSDT", "symbol": PAIR, "base": "BTC", "quote": "USDT", "settle": None, "active": True, "type": "spot",
    "spot": True, "margin": False, "swap": False, "future": False, "option": False, "contract": False,
    "linear": None, "inverse": None, "contractSize": None, "taker": 0.0, "maker": 0.0,
    "precision": {"price": 1e-6, "amount": 1e-8},
    "limits": {name: {"min": None, "max": None} for name in ("amount", "price", "cost", "leverage")}, "info": {},
}  # fmt: skip


def imports() -> str:
    """Import it with what a run needs."""
    import freqtrade
    import freqtrade.optimize.backtesting

    logging.disable(logging.CRITICAL)
    return str(freqtrade.__version__)


def load(path: str) -> Any:
    """Candles in its files, and its configuration."""
    from freqtrade.exchange import Exchange

    def told(self: Any, *_: Any, **__: Any) -> None:
        self._markets = {PAIR: MARKET}
        for api in (self._api, self._api_async):
            api.set_markets([MARKET])

    Exchange.reload_markets = told
    folder = Path.cwd() / "user_data"
    (folder / "data").mkdir(parents=True)
    (folder / "strategies").mkdir()
    (folder / "strategies" / "sma_cross.py").write_text(STRATEGY, encoding="utf-8")
    minutes = frame(path, ("open", "high", "low", "close", "volume"))
    minutes.index = minutes.index.tz_localize("UTC").rename("date")
    how = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
    for timeframe, table in (("1m", minutes), ("15m", minutes.resample("15min").agg(how))):
        table.reset_index().to_feather(folder / "data" / f"BTC_USDT-{timeframe}.feather")
    return folder


def configuration(folder: Path) -> dict[str, Any]:
    """Its options."""
    from freqtrade.configuration import Configuration
    from freqtrade.enums import RunMode

    given = {
        "stake_currency": "USDT", "stake_amount": 100_000, "dry_run": True, "dry_run_wallet": 100_000_000,
        "max_open_trades": 1, "trading_mode": "spot", "fee": 0.0, "dataformat_ohlcv": "feather",
        "exchange": {"name": "binance", "key": "", "secret": "", "pair_whitelist": [PAIR], "pair_blacklist": []},
        "pairlists": [{"method": "StaticPairList"}], "entry_pricing": {"price_side": "same"},
        "exit_pricing": {"price_side": "same"},
    }  # fmt: skip
    file = folder / "config.json"
    file.write_text(json.dumps(given), encoding="utf-8")
    arguments = {
        "config": [str(file)], "user_data_dir": str(folder), "datadir": str(folder / "data"), "strategy": "SmaCross",
        "timeframe_detail": "1m", "export": "none", "backtest_cache": "none", "timerange": "20230101-20240101",
        "fee": 0.0,
    }  # fmt: skip
    return dict(Configuration(arguments, RunMode.BACKTEST).get_config())


def run(folder: Path) -> list[Trade]:
    """A run with its statistics."""
    from freqtrade.optimize.backtesting import Backtesting

    with contextlib.redirect_stdout(io.StringIO()):
        backtesting = Backtesting(configuration(folder))
        backtesting.start()
    table = backtesting.all_bt_content["SmaCross"]["results"]
    backtesting.cleanup()
    return [
        (int(a.timestamp() * 1000), float(b), int(c.timestamp() * 1000), float(d))
        for a, b, c, d in table[["open_date", "open_rate", "close_date", "close_rate"]].itertuples(index=False)
    ]


if __name__ == "__main__":
    measure(imports, load, run)
