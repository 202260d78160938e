"""The market rules of an exchange of ccxt: spellings of its symbols, and the steps of its prices and quantities."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from ..domain.costs import Costs, not_told
from ..errors import StateError, UnknownName, UsageError
from ..stores.atomic import write_whole
from ..stores.format_versions import read_json
from ..stores.sealed_values import Unreadable, seal, unseal


class MarketRule(msgspec.Struct, frozen=True, omit_defaults=True):
    """Names and number steps of one market, and its fees as shares of the traded value, where it says so."""

    id: str
    kind: str
    base: str
    quote: str
    price: float | None = None
    quantity: float | None = None
    taker: float | None = None
    maker: float | None = None


class MarketRules(msgspec.Struct, frozen=True):
    """The rules of every market of an exchange, by ccxt's own symbol."""

    mode: int
    padding: int
    read_at: int
    markets: dict[str, MarketRule]


_READERS: Final[Mapping[int, Callable[[bytes], MarketRules]]] = {1: partial(msgspec.json.decode, type=MarketRules)}
"""Version of cached market rules -> the function that reads them."""


def ccxt_symbol(rules: MarketRules, symbol: str, *, exchange: str) -> str:
    """The symbol of ccxt for a symbol as ccxt, as the exchange, or as base and quote together spell it."""
    markets = rules.markets
    if symbol in markets:
        return symbol
    same = [
        name
        for name, rule in markets.items()
        if rule.id == symbol or (rule.kind == "spot" and rule.base + rule.quote == symbol)
    ]
    if same:
        return min(same, key=lambda name: (markets[name].kind != "spot", markets[name].kind != "swap", len(name), name))
    plain = {name.split(":")[0].replace("/", ""): name for name in markets}
    some = f"{exchange} has {len(markets)} markets, such as {', '.join(list(markets)[:4])}"
    raise UnknownName("symbol", symbol, known=sorted({*markets, *plain}), listing=some)


def rules_of(client: Any, read_at: int) -> MarketRules:
    """The rules of the markets that a client has loaded, read at a moment (UTC ms)."""
    markets = {}
    for symbol, market in client.markets.items():
        precision = market.get("precision") or {}
        markets[symbol] = MarketRule(
            id=str(market.get("id")),
            kind=str(market.get("type")),
            base=str(market.get("base")),
            quote=str(market.get("quote")),
            price=precision.get("price"),
            quantity=precision.get("amount"),
            taker=_share(market, "taker"),
            maker=_share(market, "maker"),
        )
    return MarketRules(mode=client.precisionMode, padding=client.paddingMode, read_at=read_at, markets=markets)


def _share(market: Mapping[str, Any], name: str) -> float | None:
    """The fee of takers or of makers of a market; ``None``: it is not told, or no share of the traded value."""
    fee = market.get(name)
    return None if fee is None or market.get("percentage") is False else float(fee)


def costs_of(rule: MarketRule, symbol: str, *, exchange: str) -> Costs:
    """What fills of a market cost, in percent.

    Raises
    ------
    UsageError
        The exchange does not say so.

    Examples
    --------
    >>> costs = costs_of(MarketRule("BTCUSDT", "spot", "BTC", "USDT", taker=0.001, maker=-0.0001), "BTC", exchange="x")
    >>> costs.taker, costs.maker
    (0.1, -0.01)
    """
    if rule.taker is None:
        raise not_told(exchange, symbol)
    taker, maker = (None if fee is None else round(fee * 100, 9) for fee in (rule.taker, rule.maker))
    return Costs(taker=taker, maker=maker)


def formatted(
    rules: MarketRules, symbol: str, value: float, what: Literal["price", "quantity"], *, exchange: str
) -> str:
    """A price rounded to the tick of a market, or a quantity rounded down to its step, as text.

    Raises
    ------
    UnknownName
        The exchange has no such symbol.
    UsageError
        Nothing of it is left on the grid of the market.
    """
    rule = rules.markets[ccxt_symbol(rules, symbol, exchange=exchange)]
    step = rule.price if what == "price" else rule.quantity
    tools = importlib.import_module("ccxt.base.decimal_to_precision")
    text = tools.number_to_string(float(value))
    if step is None:
        return str(text)
    rounding = tools.ROUND if what == "price" else tools.TRUNCATE
    written = str(tools.decimal_to_precision(text, rounding, step, rules.mode, rules.padding))
    if value and not float(written):
        raise UsageError(f"{what} {text} of {symbol} is below the smallest step of {exchange!r}, {step!r}")
    return written


def cached_rules(path: Path, exchange: str) -> tuple[MarketRules | None, str]:
    """The rules of a file, where it can be read, and why the file must be left as it is, where it must."""
    what = str(path)
    try:
        return read_json(_READERS, unseal(path.read_bytes(), "markets", (exchange,)), what=what), ""
    except Unreadable as problem:
        newer = problem.refused(what)
    except StateError as refused:
        newer = refused
    except (OSError, ValueError, msgspec.DecodeError):
        newer = None  # only a cache: the rules are fetched again
    return None, "" if newer is None else str(newer).splitlines()[0]


def cache_rules(path: Path, exchange: str, rules: MarketRules) -> None:
    """Write the rules to a file, where that can be done."""
    sealed = seal("markets", (exchange,), msgspec.json.encode(rules))
    with contextlib.suppress(OSError):
        write_whole(path, sealed)
