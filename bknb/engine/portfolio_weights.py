"""The weights of several symbols in a portfolio: one question for all of them, and what each leg does of its answer."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec.structs import replace

from ..domain.interval import floor_to, interval_ms
from ..domain.lifecycle_inputs import Reenter
from ..domain.manage_answers import Add, Cancel, Close, PositionAnswer, Reduce
from ..domain.market_clock_protocol import NEVER
from ..domain.orders_from_weights import HeldWeight, part_paid_for, signed_weight, weight_signal
from ..domain.position_fills import DUST
from ..domain.risk_request_and_verdict import WeightLimits
from ..domain.signal import Signal
from ..domain.signal_events import Event, Reason, Scaled
from ..domain.states import State, labels, rejection
from ..domain.stays_flat import stays_flat_in
from ..domain.weight_answers import read_weights
from ..domain.weight_with_levels import Weight
from ..errors import NotEnoughData, UsageError
from ..market.bar_slots import slot_of
from ..market.reads_of_context import run_of
from ..market.source_hours import bar_grid_of
from ..market.strategy_context import Context
from .weight_held_by_leg import Increase, but_the_same, changes_of, held_by
from .weight_questions import opened
from .weights_context import WeightsContext, answer_of
from .weights_moments import WeightsMoments
from .weights_together import Together

if TYPE_CHECKING:
    from ..domain.funding_charged_and_fills_booked import Ledger
    from ..domain.position_seen_by_manage import HeldPosition
    from ..market.shifted_bar_grid import BarGrid
    from .leg_account import LegAccount
    from .registry import Strategy
    from .shared_account import SharedAccount
    from .strategy_loop import StrategyLoop


class WeightsPlan(NamedTuple):
    """What is to be done at a moment (UTC ms): what each leg holds changes so, and larger ones by this part of it.

    A part of 0: nothing becomes larger.
    """

    when: int
    changes: Mapping[str, list[PositionAnswer]]
    part: float


class PortfolioWeights:
    """The legs of a strategy that answers for several symbols at once.

    The first leg whose turn comes at a moment has it asked. Then each does its part: in the turn of ``manage`` what
    makes positions smaller and takes back what waits, in that of questions what makes them larger. A leg that has no
    turn at a moment does it at its next one, unless there is a newer answer by then.

    Parameters
    ----------
    strategy
        The strategy, whose ``ask`` calls its ``get_weights``.

    Attributes
    ----------
    moments
        Those at which its legs can be asked.
    together
        What its legs do because of each other; ``None``: each is held alone.
    scaled
        How many moments there were at which all increases were made smaller by one factor, to what was free.
    """

    def __init__(self, strategy: Strategy) -> None:
        self._strategy, self._ask = strategy, strategy.ask
        self._legs: dict[str, LegAccount] = {}
        self._sources: dict[str, object] = {}
        self._grids: dict[str, BarGrid | None] = {}
        self._loops: dict[str, StrategyLoop] = {}
        self.moments = WeightsMoments()
        self._slot: int | None = None  # of the newest answer
        self._wanted: dict[str, Weight] = {}  # by the newest answer that said something of a symbol
        self._done: set[str] = set()  # symbols whose leg has had a turn since
        self._plan: WeightsPlan | None = None
        self._turns: dict[str, int] = {}  # the moment (UTC ms) at which each leg was asked again last
        self.scaled = 0
        self.together = Together() if strategy.together else None

    def leg(self, symbol: str) -> Strategy:
        """The strategy of one leg."""

        def opening(ctx: Context) -> Any:
            return self._asked(ctx, lambda: self._signal(symbol, ctx))

        def holding(ctx: Context, _: HeldPosition) -> Any:
            return self._asked(ctx, lambda: self._changes(symbol, ctx))

        return replace(self._strategy, ask=opening, ask_manage=holding, symbols=(), portfolio_weights=self)

    def begin(self, symbol: str, account: LegAccount, source: object) -> None:
        """Take what the leg of a symbol has of the account, and where its candles come from."""
        self._legs[symbol] = account
        self._sources[symbol], self._grids[symbol] = source, bar_grid_of(source, symbol)

    def hear(self, loop: StrategyLoop) -> None:
        """Take the loop of a leg, which tells what there is to tell of all."""
        self._loops[loop.rules.symbol] = loop

    def end(self) -> None:
        """Let go of the account of a portfolio that is over."""
        self._legs, self._loops, self.moments = {}, {}, WeightsMoments()

    @property
    def warning(self) -> str:
        """What a result says of the moments at which less was free; empty: there were none."""
        if not self.scaled:
            return ""
        return (
            f"strategy {self._strategy.name!r}: at {self.scaled} of its moments less was free than its weights take; "
            "all that was to become larger was made smaller by one factor"
        )

    def average_or_close(self, average: Callable[[str, int], float]) -> Callable[[str, int], float]:
        """The average price of a symbol at a moment (UTC ms); of a leg without bars for one its last close."""

        def found(symbol: str, when: int) -> float:
            try:
                return average(symbol, when)
            except NotEnoughData:
                leg = self._legs.get(symbol)
                close = None if leg is None else leg.prices.last_close(when)
                if close is None:
                    raise
                return close

        return found

    # --- the question -----------------------------------------------------------------------------------------------

    def _asked(self, ctx: Context, made: Callable[[], object]) -> Any:
        """What a leg does once the answer of its slot is known."""
        if not self._legs:
            raise UsageError("the weights of several symbols are asked in a run of their portfolio alone")
        slot = self._slot_of(ctx.when_ms)
        if slot == self._slot:
            return made()
        equity = self._shared.marked_at(ctx.when_ms).equity
        self._slot, self._plan = slot, None
        self._wanted = {symbol: each for symbol, each in self._wanted.items() if symbol not in self._done}
        self._done.clear()
        if equity <= 0.0:  # it opens nothing more, and has closed what there was
            self._wanted = {}
            return None
        answer = answer_of(self._ask, self._context(ctx, equity))
        if inspect.isawaitable(answer):

            async def later() -> object:
                return self._read(await answer, made)

            return later()
        return self._read(answer, made)

    def _slot_of(self, when: int) -> int:
        """The slot that a moment lies in: its begin, or the moment of a schedule; both UTC ms."""
        return when if self._strategy.at is not None else self._interval_at(when)

    def _interval_at(self, when: int) -> int:
        """When the interval begins that a moment lies in (UTC ms): by the market of its symbols, where that is one."""
        length = interval_ms(self._strategy.interval)
        grids = [grid for grid in self._grids.values() if grid is None or grid.first <= when]
        begins = {slot_of(when, length, grid) for grid in grids}
        return begins.pop() if len(begins) == 1 else floor_to(when, length)

    @property
    def _shared(self) -> SharedAccount:
        return next(iter(self._legs.values())).shared

    def _context(self, ctx: Context, equity: float) -> WeightsContext:
        held = {symbol: leg.held_weight(ctx.when_ms)[0] for symbol, leg in self._legs.items()}
        several = len({id(source) for source in self._sources.values()}) > 1
        for loop in self._loops.values():  # what it reads decides for all legs
            loop.records.indicators = loop.sources.indicators_read = run_of(ctx).indicators_read
        position = partial(self._position, ctx.when_ms)
        return WeightsContext(ctx, tuple(self._legs), equity, held, position, several_exchanges=several)

    def _position(self, when: int, symbol: str) -> HeldPosition | None:
        loop = self._loops.get(symbol)
        run = None if loop is None else loop.sources.run()
        return None if run is None else next(iter(run.positions(when)), None)

    def _read(self, answer: object, made: Callable[[], object]) -> object:
        if answer is not None:
            accounts = {symbol: leg.money.account for symbol, leg in self._legs.items()}
            limits = {symbol: WeightLimits(each.leverage, each.shorts) for symbol, each in accounts.items()}
            read = read_weights(answer, limits)
            if isinstance(read, tuple):
                return Reason(read[0].code, "; ".join(reason.text for reason in read))
            self._wanted |= {symbol: weight for symbol, weight in read.items() if weight is not None}
        return made()

    # --- what comes of it -------------------------------------------------------------------------------------------

    def _planned(self, when: int, asking: str) -> WeightsPlan:
        """What all legs do at a moment (UTC ms); ``asking`` is the symbol of the leg whose turn it is."""
        if self._plan is None or self._plan.when != when:
            held = {symbol: held_by(leg, when) for symbol, leg in self._legs.items()}
            tolerance = self._strategy.tolerance or 0.0
            changes = {
                symbol: changes_of(weight, held[symbol], self._legs[symbol], tolerance)
                for symbol, weight in self._wanted.items()
            }
            part = self._part(when, changes, held, asking)
            self._plan = WeightsPlan(
                when, {symbol: but_the_same(each, held[symbol], part) for symbol, each in changes.items()}, part
            )
        return self._plan

    def _part(
        self,
        when: int,
        changes: Mapping[str, Sequence[PositionAnswer]],
        held: Mapping[str, HeldWeight | None],
        asking: str,
    ) -> float:
        """The part of all increases that is paid for at a moment (UTC ms), once what is to leave has left."""
        ledger, increases = self._after_exits(when, changes, held)
        if not increases:
            return 1.0
        beside = len(increases) == 1  # else the costs of one are missing for the next

        def takes(part: float) -> float:
            return sum(each.takes(part, when, beside=beside) for each in increases)

        marked = ledger.mark(self._shared.prices_at(when))
        free = marked.free - marked.equity * self._strategy.cash_buffer_percent / 100
        part = part_paid_for(takes, free)
        if self.together is not None and self._cannot_open(increases, part, when, asking):
            return 0.0
        if part < 1.0:
            self.scaled += 1
            symbols = tuple(each.symbol for each in increases)
            self._tell(asking, when, symbols=symbols, part=part, wanted=takes(1.0), free=free)
        return part

    def _after_exits(
        self, when: int, changes: Mapping[str, Sequence[PositionAnswer]], held: Mapping[str, HeldWeight | None]
    ) -> tuple[Ledger, list[Increase]]:
        """The ledger once what is to leave has left at the last close (UTC ms), and what is to become larger."""
        equity, ledger = self._shared.marked_at(when).equity, self._shared.ledger
        increases: list[Increase] = []
        for symbol, leg in self._legs.items():
            now, price = held[symbol], leg.prices.at(when)
            if (ordered := leg.exits.ordered(ledger, leg.state, price, when)) is not None:
                ledger = ledger.apply(ordered).ledger
            for answer in changes.get(symbol, ()):
                if isinstance(answer, Cancel):
                    ledger = leg.waiting.all_released(ledger)
                elif isinstance(answer, Close | Reduce):
                    part = answer.share if isinstance(answer, Reduce) else 1.0
                    if (left := leg.exits.part(ledger, part, price, when)) is not None:
                        ledger = ledger.apply(left).ledger
                elif isinstance(answer, Signal) and answer.position is not None:
                    money = abs(signed_weight(answer)) * equity
                    increases.append(Increase(symbol, leg, answer.position, money=money))
                elif isinstance(answer, Add) and now is not None:
                    increases.append(Increase(symbol, leg, now.position, units=answer.share * leg.first))
        return ledger, increases

    def _cannot_open(self, increases: Sequence[Increase], part: float, when: int, asking: str) -> bool:
        """Whether one of what is opened together cannot be; it is told, but for what stays flat."""
        larger = {each.symbol for each in increases}
        flat = {symbol for symbol, each in self._wanted.items() if each.weight and symbol not in larger}
        if any(stays_flat_in(self._legs[symbol].state) is not None for symbol in flat):
            return True
        faults = [
            fault for each in increases if (fault := each.fault(part, when, trades=each.leg.prices.trades_at(when)))
        ]
        if part <= 0.0:
            faults.append("nothing is free")
        if faults:
            loop = self._loops[asking]
            reason = Reason("together", f"{', '.join(faults)}: nothing of what is held together is made larger")
            price = self._legs[asking].prices.at(when)
            event = rejection(loop.rules, when, price, (reason,), {s: each.weight for s, each in self._wanted.items()})
            loop.records.add(event)
            loop.emit(event)
        return bool(faults)

    def ask_again(self, symbol: str, when: int) -> None:
        """What a leg holds is asked about again at a moment (UTC ms): what was to become smaller has been said."""
        self._turns[symbol] = when

    def told(self, event: Event, when: int) -> bool:
        """Note an event of a leg at a moment (UTC ms); whether the others have something to do because of it."""
        if self.together is None or not self.together.told(event, when, self._legs):
            return False
        if self._plan is not None and self._plan.when == when:
            self._plan = self._plan._replace(part=0.0)
        return True

    def due(self, symbol: str, state: State) -> int:
        """When a leg in a state has to do something because of another one (UTC ms); far in the future: it has not."""
        return NEVER if self.together is None else self.together.due(symbol, state)

    def _tell(self, asking: str, when: int, **found: Any) -> None:
        """Tell that less was free, in the turn of a leg."""
        loop, price = self._loops[asking], self._legs[asking].prices.at(when)
        event = Scaled(**labels(loop.rules), when=when, price=price, **found)
        loop.records.add(event)
        loop.emit(event)

    def _signal(self, symbol: str, ctx: Context) -> Signal | Reenter | None:
        """What a leg answers that holds nothing, or whose position leaves."""
        self._done.add(symbol)
        if (weight := self._wanted.get(symbol)) is None:
            return None
        plan, signal = self._planned(ctx.when_ms, symbol), weight_signal(weight)
        if signal is not None:
            size = abs(signed_weight(signal)) * plan.part
            if size <= DUST:
                return None
            signal = replace(signal, size=size)
        return opened(signal, ctx)

    def _changes(self, symbol: str, ctx: Context) -> list[PositionAnswer] | None:
        """What a leg answers about what it holds: first what makes it smaller, when it is asked again what does not."""
        self._done.add(symbol)
        if symbol not in self._wanted:
            return None
        plan, when = self._planned(ctx.when_ms, symbol), ctx.when_ms
        answers = plan.changes.get(symbol, [])
        if self._turns.get(symbol) != when:
            return [answer for answer in answers if not isinstance(answer, Add | Signal)] or None
        adds = [replace(answer, share=answer.share * plan.part) for answer in answers if isinstance(answer, Add)]
        return [add for add in adds if add.share > DUST] or None
