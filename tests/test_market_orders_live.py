"""Orders of the market's clock in live runs: the events of a backtest, also after restarts, and orders at a broker."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from clocked import DAY, SHORT_DAYS, ClockRow, clock_source, functions_of, numbered, open_times, play
from managed import FREE, told
from minute_clock import MinuteClock
from scenarios import MINUTE, ORIGIN
from test_market_orders import ROWS

import bknb
from bknb.brokers.paper_broker import PaperBroker
from bknb.testing.clocks import SimulatedClock

SHORT = 26  # minutes of a row that are lived through: until the second day


class OpenHours(SimulatedClock):
    """A clock that passes over closed hours once the market has been closed for two minutes."""

    async def sleep_until(self, when: int) -> None:
        opens = SHORT_DAYS.next_open(when, when + 5 * DAY)
        await super().sleep_until(
            max(when, opens - MINUTE) if opens > when + 3 * MINUTE and when % DAY > 22 * MINUTE else when
        )


def lived(row: ClockRow, model: str, *, lives: list[int], broker: PaperBroker | None = None) -> list[str]:
    """The lines of a live run over the minutes of a row, in as many lives, each up to the minute of a number."""
    heard: dict[str, int] = {}
    store, exchange, times = bknb.stores.memory(), clock_source(row), open_times(row.sessions)
    get_signal, manage = functions_of(row)
    strategy = bknb.add_strategy(
        "clocked",
        interval=row.interval,
        get_signal=get_signal,
        manage=manage if row.answers else None,
        manage_interval="1m" if row.answers else None,
        execution=model,
    )
    for since, until in pairwise([ORIGIN, *(times[k] for k in lives)]):
        task = bknb.Live.background(
            "BTCUSDT",
            strategy=strategy,
            exchange=exchange,
            clock=OpenHours(since) if broker is None else MinuteClock(since),
            until=until,
            store=store,
            settings=FREE | dict(row.settings),
            **({} if broker is None else {"broker": broker, "quantity": 2.0}),
        )
        result = task.result(timeout=60)
        assert not [one for one in result.errors if one.kind not in ("warm-up", "late")], result.errors
        records = result.run_record.records
        heard |= {numbered(told(event), row.sessions): event.when for event in (*records.events, *records.positions)}
    return sorted(heard)


def expected(row: ClockRow, model: str) -> list[str]:
    """The lines of a backtest that happen in the part that is lived through, without answers that were rejected."""
    lines = [line for line in play(row, model) if not line.startswith("rejected")]
    return sorted(line for line in lines if int(re.findall(r"@([0-9]+)", line)[0]) < SHORT)


LIVE = [row for row in ROWS if not row.missing and row.sessions is not None and len(expected(row, "pessimistic")) > 1]


@pytest.mark.slow
@pytest.mark.parametrize("model", ["pessimistic", "vwap"])
def test_a_live_run_tells_what_a_backtest_does(model: str) -> None:
    for row in LIVE[:: 6 if model == "pessimistic" else 12]:
        assert lived(row, model, lives=[SHORT]) == expected(row, model), row.name


@pytest.mark.slow
def test_a_restarted_run_tells_what_one_that_went_on_does() -> None:
    for number, row in enumerate(LIVE[1::6]):
        assert lived(row, "pessimistic", lives=[12 + number % 9, SHORT]) == expected(row, "pessimistic"), row.name
