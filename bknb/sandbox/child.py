"""The sandbox child: reads a job, runs the strategy, and writes the outcome; started by :mod:`bknb.sandbox.process`."""

from __future__ import annotations

import asyncio
import builtins
import linecache
import os
import sys
from collections.abc import Callable
from typing import Any, BinaryIO, Final, NamedTuple

import msgspec
import numpy as np

from ..domain import (  # noqa: F401 -- files cannot be opened afterwards
    competing_entries,
    cut_adds,
    entry_ladder,
    manage_answers_carried_out,
    moved_and_cancelled_entries,
    order_of_fills_in_a_managed_minute,
    ordered_list_of_signals,
    percent_levels,
    size_of_signal,
    valid_and_until,
)
from ..domain.exit_validation import memo_text
from ..domain.fills_at_stops_and_gaps import execution_model
from ..domain.interval import MINUTE, interval_ms
from ..domain.manage_answers import Move, Reduce, read_answers
from ..domain.signal import Signal
from ..domain.signal_events import Reason
from ..domain.signal_validation import is_list, read_answer
from ..domain.until_text import moment_text
from ..engine import list_of_signals  # noqa: F401 -- files cannot be opened afterwards
from ..engine.backtest import BacktestRun
from ..engine.call_by_name import calling_by_name, managing_by_name
from ..engine.plan import Plan, over_bars
from ..engine.registry import Exchange, Frame, Strategy
from ..errors import BknbError
from ..exchanges.dataframe_source import FrameSource, frame_in_sessions
from ..market import (  # noqa: F401 -- files cannot be opened afterwards
    calendar_candles,
    probing_questions,
    session_clock,
    session_days,
)
from ..market.candles import Candles
from ..runs.check_lookahead import check_lookahead
from ..user_code import where_it_failed
from . import audit_hook, seccomp
from .allowlist import BUILTINS, MANAGE, MODULES
from .manage_answers import sent
from .messages import LENGTH
from .packages import load, packages_of
from .process import Job, ManageAnswer, Outcome, Trouble

FILENAME: Final = "<proposed strategy>"
_MOST_TROUBLES: Final = 20
_MOST_ANSWERS: Final = 200_000
_MOMENTS: Final = 40  # of the look-ahead check
_PRACTISED: Final = 2  # of one whose result nobody reads: all of its steps are taken at each
_HOURS: Final = 100  # of candles, or bars, in which that is practised
_ENOUGH: Final = 25  # errors without a single answer, after which the run ends


def main() -> None:
    """Read a job from standard input, run it under the sandbox's limits, and write the outcome to standard output."""
    source, sink = sys.stdin.buffer, _private_output()
    job = msgspec.msgpack.decode(_message(source), type=Job)
    loop = asyncio.new_event_loop()
    _warm_up(job, loop)
    enforced_limits = [*seccomp.limit(seconds=job.limits.seconds, memory_mb=job.limits.memory_mb)]
    hook = audit_hook.AuditHook(FILENAME)
    _send(sink, b"ready")
    if seccomp.refuse_system_calls():
        enforced_limits.append("system calls")
    hook.begin()
    enforced_limits.append("audit events")
    outcome = _outcome(job, loop, hook)
    _send(sink, msgspec.msgpack.encode(msgspec.structs.replace(outcome, enforced_limits=tuple(enforced_limits))))
    os._exit(0)  # no exit handler of the strategy runs


def _private_output() -> BinaryIO:
    """Return the pipe to the parent under another descriptor; what a strategy prints is discarded."""
    answers = os.fdopen(os.dup(1), "wb", closefd=False)
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 1)
    return answers


def _message(source: BinaryIO) -> bytes:
    (length,) = LENGTH.unpack(source.read(LENGTH.size))
    return source.read(length)


def _send(sink: BinaryIO, message: bytes) -> None:
    sink.write(LENGTH.pack(len(message)) + message)
    sink.flush()


def _warm_up(job: Job, loop: asyncio.AbstractEventLoop) -> None:
    """Import and run everything a backtest needs: files cannot be opened afterwards."""
    load(packages_of(job))
    short, asked = ("5m", "1h") if job.base == MINUTE else (job.base, job.base)

    def practice(ctx: Any) -> Signal:
        ctx.candles(short, 2)
        price = ctx.price
        return Signal(
            position="long", price_take_profit=price * 1.02, price_stop_loss=price * 0.98, minute_estimated_time=5
        )

    source = _source(job)

    def manage(position: Any) -> Any:
        return [Move(price_stop_loss=position.price * 0.99), Reduce(0.5)] if position.size == 1 else None

    several = Strategy(
        name="practice",
        interval=asked,
        get_signal=practice,
        ask=calling_by_name(practice),
        manage=manage,
        ask_manage=managing_by_name(manage),
    )
    failing = Strategy(name="practice", interval=asked, get_signal=practice, ask=lambda _: 1 / 0)
    begin = _first_open(job)  # it is asked while its market is open
    for strategy in (several, failing):
        frame = Frame(None, begin, min(begin + 6 * interval_ms(asked), job.end))
        loop.run_until_complete(BacktestRun(_plan(job, strategy, source, frame)).through())
    if job.look_ahead:
        part = msgspec.structs.replace(job, start=begin, end=min(begin + _HOURS * interval_ms(asked), job.end))
        _look_ahead(part, several, moments=_PRACTISED)


def _source(job: Job) -> FrameSource:
    series = {symbol: _candles(block) for symbol, block in job.candles.items()}
    return frame_in_sessions(series, {symbol: job.sessions.get(symbol) for symbol in series}, name="trial")


def _candles(block: bytes) -> Candles:
    return Candles(np.frombuffer(block, dtype=np.float64).reshape(6, -1))


def _first_open(job: Job) -> int:
    """Return the open (UTC ms) of the first bar of the range in which the market is open, or the start of the range."""
    sessions, step = job.sessions.get(job.symbol), interval_ms(job.base)
    if sessions is None or job.symbol not in job.candles:
        return job.start
    times = _candles(job.candles[job.symbol]).timestamp
    inside = times[(times >= job.start) & (times < job.end)]
    traded = inside[sessions.open_minutes(inside, step) > 0]
    return int(traded[0]) if len(traded) else job.start


def _plan(job: Job, strategy: Strategy, source: FrameSource, frame: Frame) -> Plan:
    return Plan(
        symbol=job.symbol,
        strategy=strategy,
        exchange=Exchange("trial", source),
        frame=over_bars(frame, job.base, source, job.symbol),
        execution=execution_model(job.execution).name,
        settings=job.settings,
        allow_gaps=True,
        base=job.base,
    )


# --- the strategy -----------------------------------------------------------------------------------------------


def _import(name: str, *rest: Any, **more: Any) -> Any:
    """Import a module for a strategy; raises ``ImportError`` unless it is on the allowlist."""
    if name.partition(".")[0] not in MODULES:
        raise ImportError(f"a strategy may not import {name}")
    return __import__(name, *rest, **more)


class _Functions(NamedTuple):
    """The functions of a strategy that are asked."""

    get_signal: Callable[..., Any]
    manage: Callable[..., Any] | None


def _load(job: Job) -> _Functions:
    """Return the ``get_signal`` of the code, and its ``manage`` if it has one."""
    linecache.cache[FILENAME] = (len(job.code), None, job.code.splitlines(keepends=True), FILENAME)
    allowed = {name: getattr(builtins, name) for name in BUILTINS if hasattr(builtins, name)}
    names: dict[str, Any] = {"__builtins__": {**allowed, "__import__": _import}, "__name__": "strategy"}
    exec(compile(job.code, FILENAME, "exec", dont_inherit=True), names)  # noqa: S102 -- inside the sandbox
    return _Functions(names["get_signal"], next((names[name] for name in MANAGE if name in names), None))


class _Run:
    """A backtest of one strategy over the range, with its answers recorded."""

    def __init__(self, job: Job, functions: _Functions) -> None:
        self.answers: list[tuple[int, Signal | tuple[Signal, ...]]] = []
        self.managed: list[tuple[int, tuple[ManageAnswer, ...]]] = []
        self.asked = 0
        self._raised = 0
        self._ask = calling_by_name(functions.get_signal)
        manage = functions.manage
        self._ask_manage = None if manage is None else managing_by_name(manage)
        strategy = Strategy(
            name=job.name,
            interval=job.interval,
            get_signal=functions.get_signal,
            ask=self._answer,
            manage=manage,
            ask_manage=None if manage is None else self._manage,
        )
        self.run = BacktestRun(_plan(job, strategy, _source(job), Frame(None, job.start, job.end)))

    def _asked(self, ask: Callable[..., Any], *given: Any) -> Any:
        """Return what a function of the strategy answers."""
        self.asked += 1
        try:
            return ask(*given)
        except BknbError:
            raise
        except MemoryError as error:
            raise _OutOfMemory from error
        except Exception:
            self._raised += 1
            if self._raised >= _ENOUGH and not self.answers:
                self.run.stop(now=True)  # every further question would fail too
            raise
        except (SystemExit, KeyboardInterrupt, GeneratorExit) as error:
            raise RuntimeError(f"it tried to leave with {type(error).__name__}") from None

    def _manage(self, ctx: Any, position: Any) -> Any:
        assert self._ask_manage is not None  # it is asked where there is one  # noqa: S101
        answer = self._asked(self._ask_manage, ctx, position)
        if answer is None:
            return None
        read = read_answers(answer)
        if read.faults or any(_is_lossy(one.memo) for one in read.answers if isinstance(one, Move | Signal)):
            return answer
        self.managed.append((ctx.when_ms, sent(read.answers)))
        if len(self.managed) >= _MOST_ANSWERS:
            self.run.stop(now=True)
        return list(read.answers)

    def _answer(self, ctx: Any) -> Any:
        answer = self._asked(self._ask, ctx)
        if answer is None:
            return None
        several = is_list(answer)
        read = [read_answer(one) for one in (answer if several else [answer]) if one is not None]
        signals = [one for one in read if isinstance(one, Signal)]
        if len(signals) < len(read) or not signals or any(_is_lossy(one.memo) for one in signals):
            return answer
        try:
            signals = [sent_signal(one) for one in signals]
        except ValueError:
            return answer  # a value that no field has: the run rejects it
        self.answers.append((ctx.when_ms, tuple(signals) if several else signals[0]))
        if len(self.answers) >= _MOST_ANSWERS:
            self.run.stop(now=True)
        return signals if several else signals[0]

    def troubles(self) -> tuple[Trouble, ...]:
        """Errors and rejected signals of the run."""
        records = self.run.records
        found = [
            Trouble(kind=failure.kind, message=failure.message[:300], where=failure.where[:200], count=failure.count)
            for failure in records.failures[:_MOST_TROUBLES]
        ]
        for event in records.rejected[:3]:
            text = "; ".join(reason.text for reason in event.reasons)
            found.append(Trouble(kind="rejected", message=text[:300], count=len(records.rejected)))
        return tuple(found)


def _outcome(job: Job, loop: asyncio.AbstractEventLoop, hook: audit_hook.AuditHook) -> Outcome:
    try:
        functions = _load(job)
        recorded = _Run(job, functions)
    except (Exception, SystemExit, KeyboardInterrupt) as error:  # noqa: BLE001 -- foreign code may raise anything
        problem = f"it fails as soon as it is read: {type(error).__name__}: {error}"
        return Outcome(problem=problem[:400], touched=_distinct(hook.seen))
    problem = ""
    try:
        loop.run_until_complete(recorded.run.through())
    except (_OutOfMemory, MemoryError):
        problem = f"it needed more than {job.limits.memory_mb} MB of memory"
    except (Exception, SystemExit, KeyboardInterrupt) as error:  # noqa: BLE001
        where = where_it_failed(error)
        problem = f"{type(error).__name__}: {error}"[:300] + (f" ({where})" if where else "")
    if max(len(recorded.answers), len(recorded.managed)) >= _MOST_ANSWERS:
        problem = f"it gave {_MOST_ANSWERS:,} answers and went on; a strategy waits now and then"
    if problem:
        return Outcome(problem=problem, asked=recorded.asked, touched=_distinct(hook.seen))
    peeks = _peeks(job, functions) if job.look_ahead and recorded.answers else ()
    return Outcome(
        asked=recorded.asked,
        answers=tuple(recorded.answers),
        managed=tuple(recorded.managed),
        troubles=recorded.troubles(),
        touched=_distinct(hook.seen),
        peeks=peeks,
    )


def sent_signal(signal: Signal) -> Signal:
    """Return the signal as it arrives outside: moments as the texts they are kept as, texts of a bounded length.

    Raises
    ------
    ValueError
        A value is of no type that its field has, or a text cannot be written.
    """
    plain = msgspec.structs.replace(
        signal,
        note=str(signal.note)[:200],
        id=None if signal.id is None else str(signal.id)[:200],
        until=_plain_moment(signal.until, "until"),
        valid=_plain_moment(signal.valid, "valid"),
    )
    try:
        msgspec.msgpack.decode(msgspec.msgpack.encode(plain), type=Signal)
    except (TypeError, OverflowError) as error:
        raise ValueError(f"got {error}") from None
    return plain


def _plain_moment(value: Any, name: str) -> Any:
    """Return a moment as the text it is kept as; what is none is rejected outside as it is here."""
    if value is None or value is msgspec.UNSET:
        return value
    text = value if value == "slot" else moment_text(value, name)
    return str(value)[:200] if isinstance(text, Reason) else text


def _is_lossy(memo: object) -> bool:
    """Return whether a memo would come out of JSON as another: it is rejected here as it is outside."""
    return memo not in (None, msgspec.UNSET) and isinstance(memo_text(memo), Reason)


def _distinct(texts: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))[:10]


class _OutOfMemory(BaseException):
    """Ends the run: a strategy that has used up its memory would do so again at the next question."""


def _look_ahead(job: Job, strategy: Strategy, *, moments: int = _MOMENTS) -> tuple[str, ...]:
    report = check_lookahead(
        strategy,
        job.symbol,
        exchange=_source(job),
        frame=(job.start, job.end),
        settings=job.settings,
        allow_gaps=True,
        moments=moments,
    )
    return tuple(str(finding)[:300] for finding in report.findings if finding.kind != "history")


def _peeks(job: Job, functions: _Functions) -> tuple[str, ...]:
    """Return the findings of the look-ahead check on the bare functions, whose variables it examines."""
    function, manage = functions
    strategy = Strategy(
        name=job.name,
        interval=job.interval,
        get_signal=function,
        ask=calling_by_name(function),
        manage=manage,
        ask_manage=None if manage is None else managing_by_name(manage),
    )
    try:
        return _look_ahead(job, strategy)
    except BknbError as error:
        return (f"the look-ahead check did not come to an end: {error}",)
