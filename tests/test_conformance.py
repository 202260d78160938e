"""The recorded results of backtest-kit 18.7.0: moments and reasons equal, prices and percentages to 1e-9."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from quick import some_quick

import bknb

SHARED = Path(__file__).parent.parent.parent / "shared"
CASES = sorted((SHARED / "conformance" / "vwap").glob("*.json")) if SHARED.exists() else []
QUICK = [path for path in CASES if path.stem == "tight"]


def candles_of(case: dict[str, Any]) -> pd.DataFrame:
    part = case["candles"]
    frame = pd.read_csv(SHARED / "data" / part["file"])
    return frame.iloc[part["skip_rows"] : part["skip_rows"] + part["rows"]]


def scripted(intents: dict[str, Any]) -> Any:
    def get_signal(when: Any, price: float) -> bknb.Signal | None:
        intent = intents.get(str(round(when.timestamp() * 1000)))
        if intent is None:
            return None
        sign = 1 if intent["position"] == "long" else -1
        price_open = None if intent["entry"] is None else price * (1 - sign * intent["entry"] / 100)
        entry = price if price_open is None else price_open
        return bknb.Signal(
            position=intent["position"],
            price_open=price_open,
            price_take_profit=entry * (1 + sign * intent["tp"] / 100),
            price_stop_loss=entry * (1 - sign * intent["sl"] / 100),
            minute_estimated_time=intent["minutes"],
        )

    return get_signal


def told(event: bknb.Closed | bknb.Cancelled) -> dict[str, Any]:
    signal = event.signal
    closed = isinstance(event, bknb.Closed)
    return {
        "action": event.action,
        "position": signal.position,
        "scheduled_at": signal.scheduled_at,
        "pending_at": signal.pending_at if closed else 0,
        "minute_estimated_time": signal.minute_estimated_time,
        "reason": event.close_reason if closed else event.reason,
        "close_timestamp": event.closed_at,
        "price_open": signal.price_open,
        "price_take_profit": signal.price_take_profit,
        "price_stop_loss": signal.price_stop_loss,
        "price_close": event.price_close if closed else event.price,
        "pnl_percentage": event.pnl.pnl_percentage if closed else None,
    }


@pytest.mark.skipif(not CASES, reason="the recorded results are not here")
@pytest.mark.parametrize("path", some_quick(CASES, QUICK), ids=lambda path: path.stem)
def test_vwap_execution_equals_the_recorded_results(path: Path) -> None:
    case = json.loads(path.read_text())
    frame = case["frame"]
    bknb.add_frame("case", start=frame["start"], end=frame["end"], interval=frame["interval"])
    settings = dict(case["settings"])
    settings["avg_price_candles_count"] = settings.pop("avg_price_candles")
    result = bknb.backtest(
        "BTCUSDT",
        strategy=scripted(case["intents"]),
        interval=case["strategy"]["interval"],
        exchange=bknb.exchanges.from_frame(candles_of(case)),
        frame="case",
        execution=case["execution"],
        settings=settings,
    )
    ends = [told(event) for event in result.events if isinstance(event, (bknb.Closed, bknb.Cancelled))]
    assert not result.errors
    assert len(ends) == len(case["expected"])
    for got, expected in zip(ends, case["expected"], strict=True):
        for key, value in expected.items():
            if isinstance(value, float) and not key.endswith(("_at", "timestamp")):
                np.testing.assert_allclose(got[key], value, rtol=1e-9, atol=1e-9, err_msg=f"{key} of {expected}")
            else:
                assert got[key] == value, (key, got, expected)
