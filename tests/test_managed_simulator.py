"""The engine against the simulator of managed positions, over random worlds and random managers."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec
import numpy as np
import pytest
from managed_simulator import Fill, Managed, ManagedWorld, Result, Told, View, simulate
from page_simulator import MINUTE, on_grid
from page_worlds import HOURS, NEW_YORK, bars_of, tick_of
from quick import first_quick
from scenarios import ORIGIN, source

import bknb
from bknb.engine.backtest import BacktestRun
from bknb.engine.plan import plan_backtest
from bknb.engine.records import Records
from bknb.runs.fill_table import fill_rows

MODELS = ("pessimistic", "touch", "vwap")
FEW_WORLDS, WORLDS = 4, 200
WHOLE = (0, 20, 21)  # worlds that are run as users run them
MORE_WORLDS = (4, 5, 6, 7, 9, 11, 12, 13, 20, 23, 39)  # the slow ones: with the few every kind of event in each model
INTERVALS = {1: "1m", 5: "5m", 15: "15m"}
SHARES = (0.25, 0.5, 1.0, 0.3)
LADDERS = ((0.5, 0.5), (0.5, 0.25), (0.3, 0.3, 0.4), (0.25,), (0.5, 0.25, 0.25))
LISTS = (
    ("scheduled", "opened", "closed", "cancelled"),
    ("added", "reduced", "moved"),
    ("add_cancelled",),
    ("rejected",),
    ("refused",),
)
FREE = {
    "min_take_profit_distance_percent": 0.0,
    "min_stop_loss_distance_percent": 0.0,
    "max_stop_loss_distance_percent": None,
    "max_signal_lifetime_minutes": None,
}


# --- random worlds --------------------------------------------------------------------------------------------------


class Wishes:
    """Random signals and answers; what they are depends on the moment, the price and the side alone."""

    def __init__(self, seed: int, tick: float | None, *, calm: float, wrong: float) -> None:
        self.seed, self.tick, self.calm, self.wrong = seed, tick, calm, wrong
        self.loosens = 0.3  # the share of moves that may

    def on_tick(self, random: np.random.Generator, price: float) -> float:
        if self.tick is not None and random.random() < 0.6:
            return max(1, round(price / self.tick)) * self.tick
        return price

    def target(self, random: np.random.Generator, entry: float, sign: int) -> Any:
        kind = random.random()
        if kind < 0.2:
            return None
        if kind < 0.5:
            return self.on_tick(random, entry * (1 + sign * random.uniform(0.005, 0.03)))
        shares = LADDERS[int(random.integers(len(LADDERS)))]
        steps = np.cumsum(random.uniform(0.004, 0.012, len(shares))) + 0.002
        return [
            (self.on_tick(random, entry * (1 + sign * step)), share) for step, share in zip(steps, shares, strict=True)
        ]

    def trailing(self, random: np.random.Generator, price: float) -> bknb.Trailing | None:
        after = float(random.choice([0.0, 0.0, 0.4, 1.5]))
        if random.random() < 0.5:
            return None
        if random.random() < 0.7:
            return bknb.Trailing(percent=float(random.uniform(0.3, 3)), after=after)
        return bknb.Trailing(distance=price * float(random.uniform(0.003, 0.03)), after=after)

    def breakeven(self, random: np.random.Generator) -> bknb.Breakeven | None:
        if random.random() < 0.6:
            return None
        plus = "costs" if random.random() < 0.6 else ""
        return bknb.Breakeven(after=float(random.uniform(0.5, 2)), plus=plus)

    def signal(self, random: np.random.Generator, price: float) -> dict[str, Any]:
        sign = 1 if random.random() < 0.5 else -1
        kind = random.choice(["market", "market", "limit", "stop"])
        offset = random.uniform(-0.005, 0.012) * (-1 if kind == "stop" else 1)
        entry = price if kind == "market" else self.on_tick(random, price * (1 - sign * offset))
        signal: dict[str, Any] = {"position": "long" if sign > 0 else "short"}
        if kind != "market":
            signal |= {"price_open": entry, "entry": str(kind)}
        if random.random() < 0.8:
            signal["price_stop_loss"] = self.on_tick(random, entry * (1 - sign * random.uniform(0.004, 0.03)))
        signal["price_take_profit"] = self.target(random, entry, sign)
        if random.random() < 0.5:
            signal["minute_estimated_time"] = int(random.choice([3, 20, 90]))
        signal["trailing"], signal["breakeven"] = self.trailing(random, price), self.breakeven(random)
        return {name: value for name, value in signal.items() if value is not None}

    def ask(self, when: int, price: float) -> dict[str, Any] | None:
        random = np.random.default_rng([self.seed, when // MINUTE])
        return None if random.random() < 0.4 else self.signal(random, price)

    def manage(self, when: int, price: float, sign: int, *, waits: bool) -> Any:
        random = np.random.default_rng([self.seed, when // MINUTE, 7])
        if waits:
            said = random.random()
            cancelled = [bknb.Cancel(), bknb.Signal(**self.signal(random, price))] if said < 0.03 else bknb.Cancel()
            return None if said > 0.06 else cancelled
        if random.random() < self.calm:
            return None
        count = int(random.choice([1, 1, 1, 2, 3]))
        answers = [self.answer(random, price, sign) for _ in range(count)]
        ends = [k for k, one in enumerate(answers) if isinstance(one, bknb.Close)]
        if ends:
            answers = answers[: ends[0] + 1]
            if random.random() < 0.5:
                answers.append(bknb.Signal(**self.signal(random, price)))
        return answers if count > 1 or len(answers) > 1 else answers[0]

    def answer(self, random: np.random.Generator, price: float, sign: int) -> Any:
        if random.random() < self.wrong:
            return self.wrong_answer(random, price, sign)
        share = float(random.choice(SHARES))
        match random.choice(["close", "reduce", "add", "limit", "stop", "target", "exits", "cancel"],
                            p=[0.06, 0.12, 0.12, 0.2, 0.2, 0.1, 0.12, 0.08]):  # fmt: skip
            case "close":
                return bknb.Close()
            case "reduce":
                return bknb.Reduce(share, of="now" if random.random() < 0.7 else "first")
            case "add":
                return bknb.Add(share, only_better=bool(random.random() < 0.3))
            case "limit":
                level = price * (1 - sign * random.uniform(-0.002, 0.012))
                level = on_grid(level, self.tick, 1)
                drawn = random.random()
                valid = msgspec.UNSET if drawn < 0.3 else None if drawn < 0.5 else int(random.choice([2, 10, 30]))
                return bknb.Add(share, price_open=level, only_better=bool(random.random() < 0.2), valid=valid)
            case "stop":
                level = self.on_tick(random, price * (1 - sign * random.uniform(-0.0005, 0.015)))
                return bknb.Move(price_stop_loss=level, loosen=bool(random.random() < self.loosens))
            case "target":
                target = self.target(random, price * (1 + sign * 0.002), sign)
                more = {"minute_estimated_time": int(random.choice([20, 60, 200]))} if random.random() < 0.3 else {}
                return bknb.Move(price_take_profit=target, **more)
            case "exits":
                more = {"trailing": self.trailing(random, price)} if random.random() < 0.6 else {}
                more |= {"breakeven": self.breakeven(random)} if random.random() < 0.5 else {}
                return bknb.Move(**more, loosen=bool(random.random() < self.loosens))
            case _:
                return bknb.Cancel()

    def wrong_answer(self, random: np.random.Generator, price: float, sign: int) -> Any:
        return [
            bknb.Reduce(0.0),
            bknb.Reduce(1.5),
            bknb.Reduce(50.0, of="first"),
            bknb.Add(-1.0),
            bknb.Add(math.nan),
            bknb.Add(0.5, price_open=-price),
            bknb.Move(price_stop_loss=math.nan),
            bknb.Move(price_take_profit=price * (1 - sign * 0.03)),
            bknb.Move(minute_estimated_time=0),
            bknb.Signal(position="long"),
            "close",
        ][int(random.integers(11))]


def draw(seed: int, model: str) -> tuple[ManagedWorld, bool]:
    """A world of a seed, and whether it has gaps."""
    random = np.random.default_rng([11, seed])
    size = int(random.integers(200, 420))
    times = [ORIGIN + (k - 60) * MINUTE for k in range(size)]
    tick = tick_of(random) if random.random() < 0.5 else None
    rows = bars_of(random, times, tick)
    gaps = bool(random.random() < 0.3)
    end = times[-int(random.integers(2, 40))]
    if gaps:
        gone = set(random.integers(62, size, 8).tolist())
        hole = int(random.integers(62, size - 20))
        rows = [row for k, row in enumerate(rows) if k not in gone and not hole <= k < hole + 12]
    if random.random() < 0.15:
        rows = rows[: -int(random.integers(20, 60))]
    settings = FREE | {
        "schedule_await_minutes": int(random.choice([2, 120])),
        "avg_price_candles_count": int(random.choice([1, 5])),
        "percent_fee": float(random.choice([0.0, 0.05, 0.1])),
        "percent_slippage": float(random.choice([0.0, 0.1])),
        "max_adds": int(random.choice([0, 1, 3, 10, 10])),
    }
    wishes = Wishes(seed, tick, calm=float(random.choice([0.5, 0.85])), wrong=float(random.choice([0.0, 0.1])))
    refuses, refuses_adds = int(random.choice([1, 1, 5])), int(random.choice([1, 1, 3]))
    world = ManagedWorld(
        rows,
        model,
        wishes.ask,
        ORIGIN,
        end,
        interval=int(random.choice([1, 1, 5, 15])) * MINUTE,
        settings=settings,
        tick=tick if random.random() < 0.9 else None,
        allowed=Now(refuses),
        manage=wishes.manage,
        manage_interval=MINUTE if gaps else int(random.choice([1, 1, 5, 15])) * MINUTE,
        may_add=Now(refuses_adds),
    )
    return world, gaps


class Now:
    """Whether a moment is one of those at which a risk profile agrees."""

    def __init__(self, every: int) -> None:
        self.every = every

    def __call__(self, when: int) -> bool:
        return self.every == 1 or (when // MINUTE) % self.every != 0


# --- what bknb made of a world --------------------------------------------------------------------------------------


class Run:
    """A backtest of a world, in the simulator's words; ``whole``: as users run it, with hashes and tables."""

    def __init__(self, world: ManagedWorld, *, gaps: bool, sessions: bool = False, whole: bool = True) -> None:
        self.asked: list[int] = []
        self.views: list[View] = []
        self.waited: list[int] = []
        self.first: int | None = None
        self.stops: dict[str, list[float]] = {}  # those of each position, as a long sees them
        ask, manage, allowed, may_add = world.ask, world.manage, world.allowed, world.may_add

        def get_signal(when: datetime, price: float) -> Any:
            self.asked.append(round(when.timestamp() * 1000))
            return ask(self.asked[-1], price)

        def manager(when: datetime, price: float, position: bknb.HeldPosition) -> Any:
            moment = round(when.timestamp() * 1000)
            if position.opened_at is None:
                self.waited.append(moment)
            else:
                self.views.append(view_of(moment, position))
                stop = -math.inf if position.price_stop_loss is None else position.sign * position.price_stop_loss
                self.stops.setdefault(position.id, []).append(stop)
            return manage(moment, price, position.sign, waits=position.opened_at is None)

        def profile(request: bknb.RiskRequest) -> bool:
            "one place, and not at every moment"
            if request.add > 0:
                return may_add(request.when)
            return allowed(request.when) and request.open_position_count == 0

        bknb.add_risk("profile", validations=[profile])
        strategy = bknb.add_strategy(
            "wishes",
            interval=INTERVALS[world.interval // MINUTE],
            get_signal=get_signal,
            manage=manager,
            manage_interval=INTERVALS[world.manage_interval // MINUTE],
            risk="profile",
            execution=world.model,
        )
        tick = {} if world.tick is None else {"price_tick": world.tick}
        bknb.add_frame("frame", start=world.start, end=world.end, interval=f"{world.step // MINUTE}m")
        exchange, settings = source(world.rows), {**world.settings, **tick}
        if sessions:
            exchange = bknb.exchanges.in_sessions(exchange, bknb.Sessions.weekly(NEW_YORK.key, HOURS))
        self.options = options = {"strategy": strategy, "exchange": exchange, "settings": settings, "allow_gaps": gaps}
        if whole:
            result = bknb.backtest("BTCUSDT", frame="frame", **options)
            self.records, fills = result.run_record.records, result.fills.to_dict("records")
        else:
            run = BacktestRun(plan_backtest("BTCUSDT", frame="frame", **options))
            asyncio.run(run.through())
            self.records, fills = run.records, fill_rows(run.records, bknb.Settings(**settings))
        assert not self.records.failures, self.records.failures
        self.fills: dict[str, list[Fill]] = {}  # of each position
        for row in fills:
            at = row["at"] if isinstance(row["at"], int) else moment(row["at"]) or 0
            fill = Fill(row["kind"], at, row["share"], row["price"], row["reason"])
            self.fills.setdefault(row["signal_id"], []).append(fill)


def moment(when: datetime | None) -> int | None:
    return None if when is None else round(when.timestamp() * 1000)


def view_of(when: int, position: bknb.HeldPosition) -> View:
    one = position
    assert one.average_price is not None
    assert one.best_price is not None
    assert one.worst_price is not None
    return View(when, one.size, one.average_price, one.price_stop_loss, len(one.targets), moment(one.deadline),
                one.best_price, one.worst_price, one.percent, len(one.waiting))  # fmt: skip


def told_by(records: Records) -> list[Told]:
    """What a run tells in four lists, one behind the other: ends and beginnings, what became of what is open,
    rejections, refusals."""
    numbers: dict[str, int] = {}
    found = []
    for event in [*records.events, *records.positions]:
        number = numbers.setdefault(event.signal.id, len(numbers))
        match event:
            case bknb.Scheduled() | bknb.Opened():
                found.append(Told(event.action, event.when, event.signal.price_open, "", number))
            case bknb.Added():
                found.append(Told("added", event.when, event.fill.price, "", number, event.fill.share))
            case bknb.Reduced():
                fill = event.fill
                found.append(Told("reduced", event.when, fill.price, fill.reason, number, fill.share))
            case bknb.AddCancelled():
                found.append(Told("add_cancelled", event.when, None, event.reason, number, event.share))
            case bknb.Moved():
                found.append(Told("moved", event.when, event.price_stop_loss, event.reason, number))
            case bknb.Closed():
                told = (event.when, event.price_close, event.close_reason, number)
                found.append(Told("closed", *told, ambiguous=event.ambiguous))
            case bknb.Cancelled():
                found.append(Told("cancelled", event.when, None, event.reason, number))
            case _:
                raise AssertionError(f"nobody expects {event!r}")
    found.sort(key=lambda told: next(k for k, kinds in enumerate(LISTS) if told.kind in kinds))
    for kind, those in (("rejected", records.rejected), ("refused", records.refused)):
        found += [Told(kind, one.when, None, "", -1) for one in those]
    return found


def in_that_order(told: list[Told]) -> list[Told]:
    return [one for kinds in LISTS for one in told if one.kind in kinds]


def results_of(run: Run) -> list[Result]:
    numbers: dict[str, int] = {}
    found = []
    for event in run.records.events:
        number = numbers.setdefault(event.signal.id, len(numbers))
        if isinstance(event, bknb.Closed):
            pnl, fills = event.pnl, tuple(run.fills[event.signal.id])
            found.append(
                Result(
                    number,
                    pnl.pnl_percentage,
                    pnl.gross_percentage,
                    pnl.fee_percentage,
                    pnl.slippage_percentage,
                    event.signal.price_open if event.average_price is None else event.average_price,
                    pnl.pnl_percentage if event.cost_percentage is None else event.cost_percentage,
                    event.largest_cost,
                    event.not_taken,
                    event.ambiguous_trails,
                    fills,
                )
            )
    return found


def minutes(when: float | None) -> str:
    return "" if when is None else f"@{(when - ORIGIN) / MINUTE:g}"


def line(told: Told) -> str:
    words = [told.kind, told.reason, "" if told.price is None else f"{told.price:.10g}"]
    words += [f"x{told.share:g}" if told.share else "", minutes(told.when), "ambiguous" if told.ambiguous else ""]
    return " ".join(word for word in words if word)


PERCENTS = ("percent", "net", "gross", "fees", "slippage", "cost_percentage")


def alike(one: Any, other: Any, name: str = "") -> bool:
    """Equal, but for floats: percentages to 1e-9, prices and shares to 1e-9 of them."""
    if isinstance(one, tuple) and isinstance(other, tuple):
        names = getattr(one, "_fields", ("",) * len(one))
        return len(one) == len(other) and all(map(alike, one, other, names))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9 if name in PERCENTS else 0.0)
    return bool(one == other)


def first_difference(page: list[Any], came: list[Any]) -> int | None:
    for k, (mine, theirs) in enumerate(zip(page, came, strict=False)):
        if not alike(mine, theirs):
            return k
    return None if len(page) == len(came) else min(len(page), len(came))


def differences(page: Managed, run: Run) -> list[str]:
    """What a backtest says otherwise than the page; of each kind the first."""
    found = []
    came = told_by(run.records)
    moved = {(one.when, one.signal, one.reason) for one in came if one.kind == "moved"}
    left_out = [one for one in page.optional if (one.when, one.signal, one.reason) not in moved]
    told = in_that_order([one for one in page.told if one not in left_out])
    k = first_difference(told, came)
    if k is not None:
        run.first = min(one[k].when for one in (told, came) if k < len(one))
        of_page = [line(one) for one in told[max(0, k - 4) : k + 2]]
        of_engine = [line(one) for one in came[max(0, k - 4) : k + 2]]
        found.append(f"event {k}: page {of_page}, came {of_engine}")
    pairs: list[tuple[str, list[Any], list[Any]]] = [
        ("asked", page.asked, run.asked),
        ("shown", page.views, run.views),
        ("asked while waiting", page.waited, run.waited),
        ("result", page.results, results_of(run)),
    ]
    for name, mine, theirs in pairs:
        k = first_difference(mine, theirs)
        if k is not None:
            found.append(f"{name} {k}: page {mine[k : k + 1]}, came {theirs[k : k + 1]}")
    return found


def compare(seed: int, model: str) -> list[str]:
    world, gaps = draw(seed, model)
    return differences(simulate(world), Run(world, gaps=gaps, whole=seed in WHOLE))


def check(seeds: Iterable[int], model: str) -> None:
    for seed in seeds:
        found = compare(seed, model)
        assert not found, "\n".join([f"seed {seed}, {model}", *found])


@pytest.mark.parametrize("model", first_quick(MODELS))
def test_managed_positions_are_the_simulators(model: str) -> None:
    check(range(FEW_WORLDS), model)


@pytest.mark.parametrize(
    "seeds",
    [
        pytest.param(MORE_WORLDS, marks=pytest.mark.slow),
        pytest.param(sorted({*range(FEW_WORLDS, WORLDS)} - {*MORE_WORLDS}), marks=pytest.mark.long),
    ],
)
@pytest.mark.parametrize("model", MODELS)
def test_managed_positions_are_the_simulators_in_many_worlds(model: str, seeds: Iterable[int]) -> None:
    check(seeds, model)


@pytest.mark.slow
def test_shares_and_money_are_kept_and_no_stop_loosens_unasked() -> None:
    moves = 0
    for seed in range(4):
        world, gaps = draw(seed, MODELS[seed % 2])
        world.manage.__self__.loosens = 0.0  # type: ignore[attr-defined]
        run = Run(world, gaps=gaps, whole=False)
        for result in results_of(run):
            into = sum(fill.share for fill in result.fills if fill.kind in ("entry", "add"))
            out = sum(fill.share for fill in result.fills if fill.kind in ("reduce", "exit"))
            assert into == pytest.approx(out, abs=1e-9)
            assert result.gross - result.fees - result.slippage == pytest.approx(result.net, abs=1e-9)
        for stops in run.stops.values():
            assert stops == sorted(stops)
            moves += len(set(stops)) > 1
    assert moves > 10


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_the_worlds_hold_every_kind_of_event(model: str) -> None:
    told = [one for seed in (*range(FEW_WORLDS), *MORE_WORLDS) for one in simulate(draw(seed, model)[0]).told]
    reasons = {"stop_loss", "take_profit", "time_expired", "data_end", "trailing_stop", "breakeven", "strategy"}
    frame_end = {"frame_end"} if model != "vwap" else set()
    assert {one.reason for one in told if one.kind == "closed"} == reasons | frame_end
    assert {one.reason for one in told if one.kind == "reduced"} == {"strategy", "take_profit"}
    assert {one.reason for one in told if one.kind == "moved"} == {"strategy", "trailing_stop", "breakeven"}
    assert {one.reason for one in told if one.kind == "add_cancelled"} == {"strategy", "timeout"}
    assert {one.kind for one in told} >= {"added", "rejected", "refused", "scheduled", "cancelled"}
    assert (sum(one.ambiguous for one in told) > 15) == (model != "vwap")
