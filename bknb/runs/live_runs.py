"""Live runs: in the background, or result by result."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ..domain.signal_events import TickResult
from ..engine.plan import ExchangeLike, StrategyLike, checked_symbol
from ..engine.registration_checks import as_moment
from ..live.recording import RecordedCandles
from ..live.user_store_errors import with_state_errors
from ..stores.atomic import write_report
from ..stores.default_store import checked, chosen
from .live_portfolios import LivePortfolios
from .live_task import TASKS, LiveTask, new_task, plan_live
from .manual_orders import flatten_all
from .result import Result
from .saved_live_result import saved_result

if TYPE_CHECKING:
    from ..ports import StateStore


class Live:
    """Live runs: the strategy of a backtest on the running clock, minute by minute.

    Its state is on disk before an event is emitted. Start it again after a crash, a restart of the kernel or of the
    machine, and it continues from there.

    Examples
    --------
    >>> import asyncio, bknb
    >>> from bknb.testing.clocks import SimulatedClock
    >>> async def watch():
    ...     clock = SimulatedClock(1_704_067_200_000)
    ...     async for result in bknb.Live.run("BTCUSDT", strategy=lambda: None, exchange="demo", clock=clock,
    ...                                       until="2024-01-01 00:02", store=bknb.stores.memory()):
    ...         print(result.action)
    >>> asyncio.run(watch())
    idle
    idle
    """

    portfolio: ClassVar[LivePortfolios] = LivePortfolios()
    """Starts live portfolios: several strategies and symbols on one clock."""

    @staticmethod
    async def run(
        symbol: str, *, strategy: StrategyLike, exchange: ExchangeLike, **options: Any
    ) -> AsyncIterator[TickResult]:
        """All six results as they happen; leaving the loop early ends the run and keeps its state.

        Options as in :meth:`background`.
        """
        task = new_task(plan_live(symbol, strategy=strategy, exchange=exchange, **options))
        async with aclosing(task.follow()) as results:
            async for result in results:
                yield result

    @staticmethod
    def background(
        symbol: str, *, strategy: StrategyLike, exchange: ExchangeLike, process: bool = False, **options: Any
    ) -> LiveTask:
        """Start a live run and return at once; it never depends on the notebook's kernel being idle.

        Parameters
        ----------
        symbol, strategy, exchange
            As in ``bknb.backtest``.
        process
            Whether it runs in a process of its own, one for all runs on a store: it goes on when this one ends, and no
            cell holds it up. What cannot be sent there, such as a lock, or a store in memory, is refused.
        **options
            ``interval, at, execution, settings`` as in ``bknb.backtest``;
            ``allow_gaps``: go on over missing minutes at once (default: after ``settings.patience_minutes``);
            ``store``: where the state is kept (default: what ``bknb.set_store`` chose, else files in ``./dump/data``);
            runs that share a risk profile share its places when they share the store;
            ``clock``: what time it is (default: the computer's clock);
            ``until``: the moment at which it leaves, keeping its state (default: never);
            ``broker``, ``quantity``: who carries out orders (such as ``bknb.brokers.paper()``), and how much per
            signal in base currency, of one with a ``size``, or a weight, that part of it, or a function of the signal
            (default: nobody, only the record is kept); parts and adds are shares of what was filled;
            ``adopt``: take over orders of bknb that the account has and the store does not know: what they hold counts
            as what was there before, their entries are cancelled, and their stops stay (default: refuse to start);
            ``late_minutes``: after an absence, questions older than this pass unasked (default: everything that was
            missed is caught up, and what is decided late fills at the market of then; with a broker the minutes of
            a base bar: 1, or 60 over hours);
            ``base``: the bars that fill orders (default: the finest the exchange has);
            ``capital, currency, sizing, account, costs`` as in ``bknb.backtest``: with a capital the account says how
            much a broker is sent, and there is no ``quantity``.

        Raises
        ------
        UnknownName
            A name is not registered.
        UsageError
            That strategy is running live on that symbol already.

        Notes
        -----
        A store that another process uses, damaged or foreign state, and orders of bknb in the account that the store
        does not know, end the task with ``StateError``.
        A script ends with its last line and its live runs with it: let that line be ``task.wait()``.

        Examples
        --------
        >>> import bknb
        >>> from bknb.testing.clocks import SimulatedClock
        >>> task = bknb.Live.background("ETHUSDT", strategy=lambda: None, exchange="demo",
        ...                             clock=SimulatedClock(1_704_067_200_000), until="2024-01-01 01:00",
        ...                             store=bknb.stores.memory())
        >>> len(task.result().trades), task.status
        (0, 'fulfilled')
        """
        plan = plan_live(symbol, strategy=strategy, exchange=exchange, **options)
        if process:
            from .remote_live_task import start_in_process  # few runs are in another one

            return start_in_process(plan)
        task = new_task(plan)
        task.start()
        return task

    @staticmethod
    def attach(store: StateStore | None = None) -> list[LiveTask]:
        """Follow the live runs that go on in a process of their own, such as those that another kernel started.

        What listeners have not heard is told to those of this kernel, once more where the other one had not said so.

        Parameters
        ----------
        store
            Theirs (default: what ``bknb.set_store`` chose, else files in ``./dump/data``).

        Returns
        -------
        list of LiveTask
            The runs; empty where no such process goes on.

        Raises
        ------
        UsageError
            Another kernel follows them.

        Examples
        --------
        >>> import bknb
        >>> bknb.Live.attach(bknb.stores.files("./dump/data"))
        []
        """
        from .remote_live_task import attach  # few runs are in another process

        return [*attach(chosen() if store is None else checked(store))]

    @staticmethod
    def stop(symbol: str, strategy: str, *, now: bool = False) -> LiveTask:
        """Open nothing new and watch an open position to its end; ``now`` leaves at once, the state stays on disk."""
        task = TASKS.get(symbol, strategy)
        task.stop(now=now)
        return task

    @staticmethod
    def pause(symbol: str, strategy: str) -> None:
        """Ask for no new entries until ``resume``; what is open is watched on."""
        TASKS.get(symbol, strategy).pause()

    @staticmethod
    def resume(symbol: str, strategy: str) -> None:
        """Ask for entries again."""
        TASKS.get(symbol, strategy).resume()

    @staticmethod
    def flatten(note: str = "", *, seconds: float = 10.0) -> dict[tuple[str, str], str]:
        """Close every open position of the running live runs at once, and take back what waits; also ``close_all``.

        Each decision is on the disk before its order leaves; what is closed already is not closed again. Other
        orders of the account stay, and so do the runs: the strategies are still asked for entries; ``pause`` or
        ``stop`` them before, if they must not be.

        Parameters
        ----------
        note : str
            Free text that travels with the fills.
        seconds : float
            How long to wait, altogether, for an exchange to fill what was ordered; 0: do not wait. What fills by
            candles, as the record and on paper, and runs in a process of their own are not waited for.

        Returns
        -------
        dict
            By symbol and strategy, what will happen and, at an exchange, what has happened: what was sold at which
            price, and what is still held. Or why it does not happen. Runs without anything are left out.

        Examples
        --------
        >>> import bknb
        >>> bknb.Live.flatten("holidays")
        {}
        """
        return flatten_all([task for task in TASKS.all() if not task.done and task.status != "ready"], note, seconds)

    @staticmethod
    def close_all(note: str = "", *, seconds: float = 10.0) -> dict[tuple[str, str], str]:
        """As :meth:`flatten`."""
        return Live.flatten(note, seconds=seconds)

    @staticmethod
    def list() -> list[LiveTask]:
        """All that run, and the last live run of every symbol and strategy."""
        return TASKS.all()

    @staticmethod
    def get_data(symbol: str, strategy: str) -> Result:
        """What the live run has come to up to now, earlier lives included; does not wait."""
        return TASKS.get(symbol, strategy).snapshot()

    @staticmethod
    def saved(symbol: str, *, strategy: StrategyLike, exchange: ExchangeLike, **options: Any) -> Result:
        """What a live run has come to, as its store has it; nothing is started.

        For a run of an earlier process or kernel. Options as in :meth:`background`; of the broker nothing is asked, and
        it may be left out.

        Raises
        ------
        UsageError
            Nothing of that run is saved there, or it is running now.
        StateError
            The store is used by another process, or what is saved cannot be used.

        Examples
        --------
        >>> import bknb
        >>> from bknb.testing.clocks import SimulatedClock
        >>> def rests():
        ...     return None
        >>> store = bknb.stores.memory()
        >>> run = dict(strategy=rests, interval="15m", exchange="demo", store=store)
        >>> clock = SimulatedClock(1_704_067_200_000)
        >>> _ = bknb.Live.background("BTCUSDT", **run, clock=clock, until="2024-01-01 01:05").result()
        >>> bknb.Live.saved("BTCUSDT", **run).against_backtest().agrees
        True
        """
        return saved_result(plan_live(symbol, strategy=strategy, exchange=exchange, **options))

    @staticmethod
    def forget_minutes(symbol: str, *, strategy: str, before: object, store: StateStore | None = None) -> int:
        """Delete recorded minutes of a live run that opened before a moment; some 1 500, the newest, always stay.

        A run keeps the minutes it has worked on for ``against_backtest()``, some 90 kB a day. Without them it takes
        those that the exchange has at the time it is asked, and says so. The run may go on in this process.

        Parameters
        ----------
        symbol, strategy
            The run; the name of its strategy.
        before
            A text such as ``"2024-01-31"``, a date, a datetime or UTC ms. They are deleted by the part, of 1 440 or a
            few more.
        store
            Where the run keeps its state; by default ``./dump/data``, or that of ``bknb.set_store``.

        Returns
        -------
        int
            How many minutes were deleted.

        Raises
        ------
        StateError
            Another process uses the store, or something cannot be read or deleted.

        Examples
        --------
        >>> import bknb
        >>> bknb.Live.forget_minutes("BTCUSDT", strategy="sma", before="2024-01-31", store=bknb.stores.memory())
        0
        """
        place = with_state_errors(chosen() if store is None else checked(store))
        place.acquire()
        try:
            return RecordedCandles(place, (strategy, checked_symbol(symbol))).forget(as_moment(before, "before"))
        finally:
            place.release()

    @staticmethod
    def get_report(symbol: str, strategy: str) -> str:
        """The Markdown report of the live run up to now."""
        return Live.get_data(symbol, strategy).report()

    @staticmethod
    def dump(symbol: str, strategy: str, path: str | Path = "./dump/live") -> Path:
        """Write the Markdown report into a folder and return its path; the name holds strategy and symbol."""
        return write_report(path, (strategy, symbol), Live.get_report(symbol, strategy))
