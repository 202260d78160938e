"""The equity of a live account is kept: a restart and a long life have that of the portfolio over the same minutes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from quick import rest_long
from scenarios import MINUTE, ORIGIN, source
from test_live_account import money_of, single, world
from test_live_portfolio import UNTIL, backtest, live
from worlds import SETTINGS, walk

import bknb
from bknb.domain.funding_charged_and_fills_booked import Ledger
from bknb.domain.spot_margin_and_perpetual import Spot
from bknb.engine.kept_marks import MADE_OF_MARKS
from bknb.engine.marked_account_equity import LegCloses
from bknb.live.account_marks import WITHOUT_MARKS, AccountMarks
from bknb.reports.portfolio_panels import panel_html
from bknb.stores.file_store import FileStore
from bknb.testing.clocks import SimulatedClock


def in_lives(options: dict[str, Any], store: Any, *ends: int) -> bknb.PortfolioResult:
    """The result of the last of several lives, each of which begins where the one before ended."""
    for start, end in zip((ORIGIN, *ends[:-1]), ends, strict=True):
        result = live(options, SimulatedClock(start), store, until=end)
    return result


def marks_of(result: Any) -> list[Any]:
    """Moments, equity and exposure to the last bit, and the figures that are made of them."""
    account = dict(result.account) | {"reasons": result.account.reasons}
    exposure = np.nan_to_num(result.exposure.to_numpy(), nan=-1.0).tolist()
    return [result.equity.index.tolist(), result.equity.tolist(), exposure, account]


@pytest.mark.slow
@pytest.mark.parametrize("kind", rest_long(["perpetual", "spot"], kept=1))
def test_the_equity_of_one_that_was_started_again_is_that_of_one_that_went_on(kind: str) -> None:
    options = world(1, kind)
    again = in_lives(options, bknb.stores.memory(), ORIGIN + MINUTE, ORIGIN + 61 * MINUTE, UNTIL)
    whole = live(options, SimulatedClock(ORIGIN))
    assert marks_of(again) == marks_of(whole)
    expected = backtest(options, whole)
    before = expected.equity.index < expected.equity.index[-3]
    assert whole.equity[before].tolist() == expected.equity[before].tolist()
    assert expected.equity.nunique() > 50
    assert again.contribution.to_numpy() == pytest.approx(whole.contribution.to_numpy())
    assert whole.contribution["money"].sum() == pytest.approx(whole.equity.iloc[-1] - 10_000)
    hours = [each.contribution_by("1h").iloc[0].tolist() for each in (whole, expected)]
    assert hours[0] == pytest.approx(hours[1])
    assert (whole.knows_legs_over_time, again.knows_legs_over_time) == (True, False)
    with pytest.raises(bknb.DataError, match="what each leg had made at earlier moments is not kept live"):
        again.contribution_by("1h")
    assert "Correlation" not in again._repr_html_()
    said = "N/A of legs, their largest falls, lines and correlation: what each had made at earlier moments is not kept"
    assert [said in each._repr_html_() for each in (whole, again)] == [False, True]
    snapshot = again.snapshot()
    assert snapshot.equity[-1] == again.equity.iloc[-1]
    assert [leg.result for leg in snapshot.legs] == again.contribution["money"].tolist()
    assert "what each leg had made at earlier moments is not kept live" in str(panel_html(snapshot, "correlation"))


@pytest.mark.slow
def test_one_that_is_over_before_its_first_bar_has_the_equity_of_before() -> None:
    options, store, until = world(1, "spot"), bknb.stores.memory(), ORIGIN + 60 * MINUTE
    first = live(options, SimulatedClock(ORIGIN), store, until=until)
    assert first.run_account.end.positions
    for start in (until, until + 20 * MINUTE):
        again = live(options, SimulatedClock(start), store, until=until)
        assert again.equity.iloc[-1] == first.equity.iloc[-1]
        assert len(str(again)) > 100
        assert again.contribution["money"].sum() == pytest.approx(first.equity.iloc[-1] - 10_000)


@pytest.mark.slow
def test_a_restart_beside_a_symbol_that_is_silent_does_not_wait_for_it_anew() -> None:
    """The last symbol begins at minute 40, after the patience of the others, who are started again before it does."""
    options = world(3, "spot", late=40)
    again = in_lives(options, bknb.stores.memory(), ORIGIN + 26 * MINUTE, UNTIL)
    whole = live(options, SimulatedClock(ORIGIN))
    late = [[leg.run_record.records.late for leg in result.legs.values()] for result in (again, whole)]
    assert late[0] == late[1]
    assert money_of(again)[1] == money_of(whole)[1]
    assert again.equity.tolist() == whole.equity.tolist()
    assert len(whole.trades) > 3


@pytest.mark.slow
def test_a_life_of_days_has_an_equity_of_all_of_them() -> None:
    """A live run holds the candles of its last days, and here it holds what it bought through all of them."""

    def get_signal(when: Any) -> Any:
        return {"position": "long", "price_stop_loss": 1.0, "price_take_profit": 1e6} if when.hour == 5 else None

    minutes = 3_200
    strategy = bknb.add_strategy("holds", interval="1h", get_signal=get_signal)
    options = single(7, "spot") | {"strategy": strategy, "exchange": source(walk(3, length=minutes))}
    until = ORIGIN + minutes * MINUTE
    result = bknb.Live.background(
        "BTCUSDT", clock=SimulatedClock(ORIGIN), until=until, store=bknb.stores.memory(), **options
    ).result(60)
    expected = bknb.backtest("BTCUSDT", frame=(ORIGIN, until), **options)
    assert len(result.candles) < 2_900
    assert result.equity.iloc[:-3].tolist() == expected.equity.iloc[:-3].tolist()
    assert len(result.trades) == 0


@pytest.mark.slow
def test_of_an_account_without_saved_marks_the_figures_of_them_are_missing() -> None:
    """As earlier versions saved it, or where a part of the marks was lost."""
    options, store, until = world(1, "spot"), bknb.stores.memory(), ORIGIN + 60 * MINUTE
    whole = in_lives(options, store, until)
    with store:
        place = ("portfolio", ("portfolio", "account"))
        saved = msgspec.json.decode(store.read(*place))
        assert saved.pop("marks")["newest"]
        store.write(*place, msgspec.json.encode(saved))
    again = live(options, SimulatedClock(until), store)
    for name in MADE_OF_MARKS:
        assert again.account[name] is None
        assert again.account.reasons[name] == WITHOUT_MARKS
    assert again.account["total_return"] == pytest.approx(whole.account["total_return"], abs=3)
    assert again.equity.index[0] >= whole.equity.index[-20]
    assert again.equity.iloc[0] == whole.equity[again.equity.index[0]] != 10_000
    assert [text for text in again.warnings if WITHOUT_MARKS in text]
    assert not [text for text in whole.warnings if "marks" in text]


def test_marks_in_parts_are_the_same_where_a_process_ends_between_the_writes() -> None:
    """Two of a part of seven are written at a time; each minute another process goes on with what is on the disk."""
    ledger, kind, key = Ledger.begin(1_000.0, Spot()), "portfolio_marks", ("book", "account")
    closes = LegCloses(np.arange(1, 60) * MINUTE, np.linspace(90.0, 110.0, 59))
    changes = [(minute * MINUTE, Ledger.begin(1_000.0 + minute, Spot())) for minute in range(4, 60, 5)]
    whole = AccountMarks()
    with bknb.stores.memory() as store:
        whole.begin(0, 1_000.0)
        whole.keep(ledger, changes, {"0": closes}, 50 * MINUTE)
        saved, here = None, AccountMarks(newest=2, part=7)
        here.begin(0, 1_000.0)
        for minute in range(1, 51):
            before = [change for change in changes if change[0] <= (here.after or 0)]
            here.keep(before[-1][1] if before else ledger, changes[len(before) :], {"0": closes}, minute * MINUTE)
            written = here.save(store, kind, key)
            saved = saved if minute % 3 == 1 and saved is not None else written  # or it ended before the account was
            here = AccountMarks(newest=2, part=7)
            here.restore(saved, store, kind, key)
        here.keep(changes[8][1], changes[9:], {"0": closes}, 50 * MINUTE)
        for ours, theirs in zip(here.marks, whole.marks, strict=True):
            if isinstance(ours, np.ndarray):
                assert ours.tolist() == theirs.tolist()
        assert len(here.marks.time_ms) == 51
        assert [place[-1] for place in store.keys(kind)] == [f"part-{number:06d}" for number in range(1, 9)][
            : len(store.keys(kind))
        ]
        assert len(store.keys(kind)) >= 6
        store.delete(kind, (*key, "part-000002"))
        with pytest.raises(bknb.StateError, match="marks of the account are there"):
            here.restore(here.save(store, kind, key), store, kind, key)


class Failing(bknb.stores.MemoryStore):
    """A store that fails to read marks so many times."""

    fails = 0

    def read(self, kind: str, key: tuple[str, ...]) -> bytes | None:
        if kind.endswith("_marks") and self.fails:
            self.fails -= 1
            raise bknb.StateError("the disk did not answer")
        return super().read(kind, key)


@pytest.mark.parametrize("fails", [1, 2, 3, 5])
@pytest.mark.parametrize("minutes", [1, 9])
def test_marks_that_could_not_be_read_stay_and_are_read_again(fails: int, minutes: int) -> None:
    """By the same process or a later one, each of which lives for some minutes; also where it ended before it saved."""
    ledger, kind, key = Ledger.begin(1_000.0, Spot()), "portfolio_marks", ("book", "account")
    closes = LegCloses(np.arange(1, 60) * MINUTE, np.linspace(90.0, 110.0, 59))
    whole, here, told = AccountMarks(), AccountMarks(newest=2, part=7), list[str]()
    with Failing() as store:
        for each in (whole, here):
            each.opens = {"0": 90.0}
            each.begin(0, 1_000.0)
        here.keep(ledger, [], {"0": closes}, 20 * MINUTE)
        saved = here.save(store, kind, key)
        store.fails, until, lives = fails, 20, 0
        while until < 50:
            here, lives = AccountMarks(newest=2, part=7), lives + 1
            here.tell = told.append
            try:
                here.restore(saved, store, kind, key)
            except bknb.StateError as error:
                here.begin_unread(saved, str(error))
            for minute in range(until + 1, until + 1 + minutes):
                here.keep(ledger, [], {"0": closes}, minute * MINUTE)
                written = here.save(store, kind, key)
                saved = written if lives % 3 else saved
            until = saved.after // MINUTE
        whole.keep(ledger, [], {"0": closes}, until * MINUTE)
        last = AccountMarks(newest=2, part=7)
        last.restore(saved, store, kind, key)
        assert store.fails == 0
        assert told != [] or minutes == 1
        for name, ours, theirs in zip(whole.marks._fields, last.marks, whole.marks, strict=True):
            if name != "restored":
                assert np.array_equal(ours, theirs) if isinstance(ours, np.ndarray) else ours == theirs, name
        assert len(last.marks.time_ms) == until + 1


@pytest.mark.slow
@pytest.mark.parametrize("fails", [1, 10_000])
def test_a_read_of_marks_that_fails_loses_nothing(fails: int) -> None:
    """It is read again while the run goes on; where that fails, too, the next process has it."""
    options, store, until = world(1, "spot"), Failing(), ORIGIN + 200 * MINUTE
    live(options, SimulatedClock(ORIGIN), store, until=ORIGIN + 150 * MINUTE)
    store.fails = fails
    again = live(options, SimulatedClock(ORIGIN + 150 * MINUTE), store, until=ORIGIN + 190 * MINUTE)
    begins = [text for text in again.warnings if "what the account was worth cannot be read: the disk did not" in text]
    assert len(begins) == 1
    assert len([text for text in again.warnings if "was read after all" in text]) == (fails == 1)
    assert (len(again.equity) > 150) == (again.account["max_drawdown"] is not None) == (fails == 1)
    store.fails = 0
    again = live(options, SimulatedClock(ORIGIN + 190 * MINUTE), store, until=until)
    assert marks_of(again) == marks_of(live(options, SimulatedClock(ORIGIN), until=until))
    assert not [text for text in again.warnings if "cannot be read" in text]


@pytest.mark.slow
@pytest.mark.parametrize("saved", ["without-marks", "with-marks"])
def test_an_account_of_version_1_is_taken_up(saved: str, tmp_path: Path) -> None:
    """Saved at minute 75 of this portfolio, by the first code that saved accounts and the first that kept marks."""
    shutil.copytree(Path(__file__).parent / "data" / "account-1" / saved, tmp_path / "state")
    options = world(1, "perpetual")
    again = live(options, SimulatedClock(ORIGIN + 75 * MINUTE), FileStore(tmp_path / "state"))
    whole = live(options, SimulatedClock(ORIGIN))
    assert again.run_account.end == whole.run_account.end
    assert money_of(again)[1] == money_of(whole)[1]
    assert whole.run_account.end.funding != 0.0
    first = again.equity.index[0]
    assert again.equity.tolist() == whole.equity[first:].tolist()
    assert (again.equity.tolist() == whole.equity.tolist()) == (saved == "with-marks")


@pytest.mark.slow
@pytest.mark.parametrize("latest", [1_200, 120])
def test_a_leg_whose_bars_come_late_is_marked_by_them_or_it_is_told(latest: int, monkeypatch: Any) -> None:
    """Marks are kept so many bars behind the newest leg at the latest; 200 bars of the other come together."""
    monkeypatch.setattr("bknb.live.live_leg_account._LATEST", latest)
    symbols, clock, until = ("AUSDT", "BUSDT"), SimulatedClock(ORIGIN), ORIGIN + 260 * MINUTE
    rows = {symbol: walk(seed) for seed, symbol in enumerate(symbols)}
    gone, back = ORIGIN + 40 * MINUTE, ORIGIN + 240 * MINUTE

    def get_candles(symbol: str, interval: str, since: int, limit: int) -> list[list[float]]:
        last = gone if symbol == "BUSDT" and gone < clock.now() < back else clock.now()
        return [row for row in rows[symbol] if since <= row[0] and row[0] + MINUTE <= last][:limit]

    bknb.add_strategy("holds", interval="1h", get_signal=lambda: {"position": "long", "minute_estimated_time": 20_000})
    options: dict[str, Any] = {
        "exchange": bknb.add_exchange("late", get_candles=get_candles), "settings": SETTINGS, "capital": 1_000,
        "strategies": ["holds"], "symbols": symbols, "sizing": bknb.size.Percent(40),
    }  # fmt: skip
    result = live(options, clock, until=until)
    expected = backtest(options, result, until)
    ours, theirs = (each.equity[each.equity.index < each.equity.index[-1]] for each in (result, expected))
    assert ours.index.tolist() == theirs.index.tolist()
    differs = [(at.value // 10**6 - ORIGIN) // MINUTE for at in ours.index[ours.to_numpy() != theirs.to_numpy()]]
    assert differs == ([] if latest == 1_200 else [*range(41, 41 + 72)])
    told_of = [text for text in result.warnings if "came so late" in text]
    text = "72 bars came so late that equity has the last close of 2024-01-01 00:40 UTC in their place, up to"
    text = f"holds on BUSDT: {text} 2024-01-01 01:52 UTC: a portfolio over history has theirs"
    assert told_of == [text] * (latest == 120)
    silent = [error.count for error in result.leg("BUSDT").errors if error.kind == "silence"]
    assert silent == [1, 1]


@pytest.mark.slow
@pytest.mark.parametrize("closed", [True, False])
def test_marks_do_not_wait_for_a_longer_bar_beyond_the_candles_in_memory(*, closed: bool, monkeypatch: Any) -> None:
    """B's bars of 15 minutes stop for four hours, of which A has its last minutes alone in memory."""
    monkeypatch.setattr("bknb.live.live_leg_account._LATEST", 48)
    monkeypatch.setattr("bknb.market.window._MIN_CANDLES", 80)
    clock, until = SimulatedClock(ORIGIN), ORIGIN + 330 * MINUTE
    gone, back = ORIGIN + 45 * MINUTE, ORIGIN + 285 * MINUTE
    rows = {symbol: walk(seed) for seed, symbol in enumerate(("AUSDT", "BUSDT"))}
    if closed:
        rows["BUSDT"] = [row for row in rows["BUSDT"] if not gone <= row[0] < back]

    def get_candles(symbol: str, interval: str, since: int, limit: int) -> list[list[float]]:
        last = gone if symbol == "BUSDT" and gone < clock.now() < back else clock.now()
        return [row for row in rows[symbol] if since <= row[0] and row[0] + MINUTE <= last][:limit]

    bknb.add_strategy("holds", interval="15m", get_signal=lambda: {"position": "long", "minute_estimated_time": 20_000})
    hours = bknb.Sessions.weekly("UTC", {"mon-sun": "00:00-00:45, 04:45-24:00"})
    other = bknb.exchanges.in_sessions(source(rows["BUSDT"]), hours) if closed else get_candles
    options: dict[str, Any] = {
        "exchange": {"AUSDT": source(rows["AUSDT"]), "BUSDT": bknb.add_exchange("other", get_candles=other)},
        "base": {"AUSDT": "1m", "BUSDT": "15m"}, "settings": SETTINGS, "capital": 1_000,
        "strategies": ["holds"], "symbols": ["AUSDT", "BUSDT"], "sizing": bknb.size.Percent(40),
    }  # fmt: skip
    result = live(options, clock, until=until)
    expected = backtest(options, result, until)
    ours, theirs = (each.equity[each.equity.index < each.equity.index[-1]] for each in (result, expected))
    assert ours.index.tolist() == theirs.index.tolist()
    differs = [(at.value // 10**6 - ORIGIN) // MINUTE for at in ours.index[ours.to_numpy() != theirs.to_numpy()]]
    assert (differs == []) == closed
    assert min(differs, default=60) == 60  # the first close that was not there
    assert len([text for text in result.warnings if "came so late" in text]) == (not closed)


@pytest.mark.slow
def test_a_mark_at_the_very_close_of_a_longer_bar_that_was_not_there_is_told(monkeypatch: Any) -> None:
    """Marks are kept up to minute 60, where a bar of B closes; it comes before they are kept any further."""
    monkeypatch.setattr("bknb.live.live_leg_account._LATEST", 48)
    monkeypatch.setattr("bknb.live.live_account._AT_ONCE", 4)
    clock, gone, back = SimulatedClock(ORIGIN), ORIGIN + 45 * MINUTE, ORIGIN + 109 * MINUTE + 30_000
    rows = {symbol: walk(seed) for seed, symbol in enumerate(("AUSDT", "BUSDT"))}

    def get_candles(symbol: str, interval: str, since: int, limit: int) -> list[list[float]]:
        last = gone if symbol == "BUSDT" and gone < clock.now() < back else clock.now()
        return [row for row in rows[symbol] if since <= row[0] and row[0] + MINUTE <= last][:limit]

    bknb.add_strategy("holds", interval="15m", get_signal=lambda: {"position": "long", "minute_estimated_time": 20_000})
    options: dict[str, Any] = {
        "exchange": bknb.add_exchange("late", get_candles=get_candles), "base": {"AUSDT": "1m", "BUSDT": "15m"},
        "settings": SETTINGS, "capital": 1_000, "strategies": ["holds"], "symbols": ["AUSDT", "BUSDT"],
        "sizing": bknb.size.Percent(40),
    }  # fmt: skip
    result = live(options, clock, until=ORIGIN + 150 * MINUTE)
    expected = backtest(options, result, ORIGIN + 150 * MINUTE)
    ours, theirs = (each.equity[each.equity.index < each.equity.index[-1]] for each in (result, expected))
    assert [(at.value // 10**6 - ORIGIN) // MINUTE for at in ours.index[ours.to_numpy() != theirs.to_numpy()]] == [60]
    assert len([text for text in result.warnings if "1 bars came so late" in text]) == 1
