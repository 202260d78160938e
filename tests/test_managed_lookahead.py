"""The look-ahead check asks `manage` too: what it may not know is found, and the report says where it looked."""

from __future__ import annotations

import random
from typing import Any

import pytest

import bknb
from bknb.engine.registration_checks import make_strategy

FRAME = ("2024-01-01", "2024-01-06")
DATA = bknb.exchanges.demo()


def get_signal(price: float) -> Any:
    return bknb.Signal(side="long", price_stop_loss=price * 0.97, minute_estimated_time=600)


def checked(manage: Any, *, get_signal: Any = get_signal, **options: Any) -> Any:
    strategy = make_strategy("managed", get_signal, interval="4h", manage=manage, manage_interval="1h")
    return bknb.check_lookahead(strategy, exchange=DATA, frame=FRAME, moments=10, **options)


def falling(ctx: Any, position: Any) -> Any:
    closes = ctx.candles("1h", 3).close
    if closes[-1] < closes[0]:
        return [bknb.Reduce(0.5, note="falls"), bknb.Move(price_stop_loss=float(closes.min()) * 0.99)]
    return None


@pytest.mark.slow
def test_an_honest_manager_passes_and_the_report_says_at_how_many_moments_it_was_asked() -> None:
    report = checked(falling)
    assert report.findings == ()
    assert report.managed == 10
    assert 0 < report.managed_answers < 10
    text = f"manage asked at 10 moments, {report.managed_answers} of them with an answer"
    assert text in repr(report)
    assert text in report.report()


async def peeking(ctx: Any, position: Any) -> Any:
    """Knows the close of two hours later, from the exchange."""
    later = await DATA.get_candles("BTCUSDT", "1m", ctx.when_ms, 120)
    return bknb.Close() if later.close[-1] < position.price else None


@pytest.mark.slow
def test_a_look_into_the_future_in_manage_is_found() -> None:
    report = checked(peeking)
    assert [finding.kind for finding in report.findings] == ["future"]
    assert report.findings[0].what.startswith("manage: candles of BTCUSDT fetched through the variable DATA")
    assert not report.ok


@pytest.mark.slow
def test_a_strategy_of_rows_is_asked_about_its_positions_too() -> None:
    def get_signals(candles: Any) -> Any:
        levels = {"price_take_profit": candles.close * 1.2, "price_stop_loss": candles.close * 0.97}
        return {"position": 1, "minute_estimated_time": 600} | levels

    strategy = make_strategy("rows", get_signals=get_signals, interval="4h", lookback=5, manage=peeking)
    report = bknb.check_lookahead(strategy, exchange=DATA, frame=("2024-01-01", "2024-01-04"), moments=4)
    assert report.managed == 4
    assert [finding.kind for finding in report.findings] == ["future"]
    assert report.findings[0].what.startswith("manage: candles of BTCUSDT fetched")


def test_chance_in_manage_is_found() -> None:
    report = checked(lambda: bknb.Close() if random.random() < 0.5 else None)  # noqa: S311
    assert [(finding.kind, finding.what[:8]) for finding in report.findings] == [("chance", "manage: ")]
    assert report.findings[0].signal in ("manage Close became nothing", "nothing became manage Close")


def test_a_manager_that_was_never_asked_is_said() -> None:
    report = checked(falling, get_signal=lambda: None)
    assert report.managed == 0
    assert any("manage: nothing was open" in text for text in report.cannot_see)


def test_a_manager_that_raises_is_said() -> None:
    def broken() -> Any:
        raise ValueError("no idea")

    assert any("manage: it raised at every moment" in text and "no idea" in text for text in checked(broken).cannot_see)
