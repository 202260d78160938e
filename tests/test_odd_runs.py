"""Runs without a trade, with one, all lost, open at the end or refused: no figure is nan or -0, none lacks a reason."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from scenarios import MINUTE, ORIGIN, source

import bknb

COUNT = 400
FREE = {"percent_fee": 0.0, "percent_slippage": 0.0}
FAR: dict[str, Any] = {"price_take_profit": 2.0, "price_stop_loss": 0.4, "minute_estimated_time": 1000}
Odd = tuple[float, int, dict[str, Any], dict[str, Any]]
# growth of the price a minute, minutes between two questions, levels as multiples of the price, options of the run
ODD: dict[str, Odd] = {
    "no trade": (1.0001, 10_000, {}, {}),
    "one trade": (1.0001, 300, {}, {}),
    "one trade of nothing": (1.0, 300, {}, {"settings": FREE}),
    "trades of nothing": (1.0, 60, {}, {"settings": FREE}),
    "all lost": (0.9995, 60, {}, {}),
    "all won": (1.0005, 60, {}, {}),
    "open at the end": (1.0001, 300, FAR, {}),
    "refused": (1.0001, 60, {"price_take_profit": 0.9}, {}),
    "never filled": (1.0001, 60, {"price_open": 0.8, "price_take_profit": 0.9, "price_stop_loss": 0.7}, {}),
    "without levels": (0.9995, 60, {"price_take_profit": None, "price_stop_loss": None}, {"execution": "vwap"}),
    "ruined": (0.999, 60, {"price_take_profit": None, "price_stop_loss": None}, {"settings": {"percent_fee": 60.0}}),
}
WRONG = re.compile(r"(?<![\w.])(nan|-?inf|-0(\.0+)?|n/a(?!: \w| when: \w| in the heat table))(?![\w.])", re.IGNORECASE)


def played(odd: Odd) -> bknb.Result:
    growth, every, levels, options = odd
    rows = []
    for k in range(-60, COUNT):
        opened, closed = (100 * growth**each for each in (k, k + 1))
        rows.append((ORIGIN + k * MINUTE, opened, max(opened, closed), min(opened, closed), closed, 1.0))

    def get_signal(ctx: bknb.Context) -> dict[str, Any] | None:
        if (ctx.when_ms - ORIGIN) // MINUTE % every or ctx.when_ms == ORIGIN:
            return None
        given = {"price_take_profit": 1.01, "price_stop_loss": 0.99, "minute_estimated_time": 30} | levels
        prices = {name: value * ctx.price for name, value in given.items() if value and name.startswith("price")}
        return {"position": "long", **given, **prices}

    options = {"settings": {}, **options}
    options["settings"] = options["settings"] | {"count_tries": False}
    return bknb.backtest(
        "X", strategy=get_signal, exchange=source(rows), frame=(ORIGIN, ORIGIN + 380 * MINUTE), **options
    )


def shown(result: bknb.Result) -> Iterator[Any]:
    yield result
    yield result.stats
    yield result.account
    yield bknb.belief(result, resamples=100)
    if len(result.trades):
        yield bknb.luck(result, n=3)


@pytest.mark.parametrize("name", ODD)
def test_every_figure_is_a_number_or_says_why_it_is_none(name: str) -> None:
    result = played(ODD[name])
    texts = [str(result.report())]
    for each in shown(result):
        texts += [repr(each), re.sub(r"<(style|script).*?</\1>|<[^>]*>", "\n", each._repr_html_(), flags=re.DOTALL)]
    wrong = [line.strip() for text in texts for line in text.splitlines() if WRONG.search(line)]
    assert wrong == []
