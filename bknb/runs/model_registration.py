"""``bknb.model``: a function that is fitted again at the moments of a schedule."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from ..domain.schedule_text import as_schedule
from ..domain.schedules import reads_series
from ..engine.add_get_and_list_strategies import decorator
from ..engine.registration_checks import checked_name
from ..engine.registry import F, registry
from ..errors import UsageError
from ..market.model_fit import Model
from ..market.series_tables import span_ms
from ..provenance.source_code_and_hash import reads_unseen, source_hash

if TYPE_CHECKING:
    from datetime import timedelta

    from ..domain.schedules import Schedule


def model(
    name: str,
    *,
    every: Schedule | str,
    delay: str | timedelta = "0m",
    shared: bool = False,
    strict: bool = False,
) -> Callable[[F], F]:
    """Return a decorator that registers a function ``fit(ctx)`` as a model, fitted again at moments of a schedule.

    ``ctx.model(name)`` gives a strategy what ``fit`` returned for the newest moment ``b`` of the schedule with
    ``b + delay`` not later than its question, for the symbol of the question. In ``fit``, ``ctx`` is of the moment
    ``b``: it knows the candles that have closed by then.

    Parameters
    ----------
    name
        By which ``ctx.model`` finds it.
    every
        The moments: ``"month"``, ``"mon"``, any of ``bknb.at`` but series.
    delay
        How long after such a moment a fit is in use; what a live run would need to fit it. Until then the one before
        is.
    shared
        One model for all symbols of a portfolio on which the strategy runs: ``ctx.symbols`` in ``fit``, which reads
        them with ``ctx.get_candles(symbol, …)`` or ``ctx.panel(ctx.symbols, …)``. A run of one symbol has that one.
    strict
        Refuse to replace a model of that name.

    Raises
    ------
    UsageError
        For a name, a schedule or a delay that cannot be, and a function that is async, yields, or cannot be called as
        ``fit(ctx)``.

    Notes
    -----
    What ``fit`` returns depends on its code, the symbol, ``b`` and the candles before it, and not on when a run began
    or what was asked first. So nothing is saved: another run makes it anew, or is given what was made already of the
    same code, symbol, ``b`` and candles. ``random`` and ``numpy.random`` are seeded before each fit, from its code, the
    symbol and ``b``; give generators of your own a fixed seed. ``fit`` cannot look at ``ctx.memo`` or other models, and
    what it returns is not to be changed by those who use it.

    A ``fit`` that raises does so at each question that needs it, and ``result.errors`` says where. In a live run it is
    called in a process of its own, beside the run, and a question that needs it too early passes as ``"model_late"``.

    Examples
    --------
    >>> import bknb
    >>> @bknb.model("mean", every="mon", delay="1h")
    ... def fit(ctx):
    ...     return float(ctx.candles("1h", 24 * 7).close.mean())
    >>> def get_signal(ctx, price):
    ...     if price < ctx.model("mean"):
    ...         return bknb.Signal(position="long", target_percent=2, stop_percent=2, bars=24)
    >>> result = bknb.backtest("BTCUSDT", strategy=get_signal, interval="1h", exchange="demo",
    ...                        frame=("2024-01-17", "2024-01-31"))
    >>> result.models["when"].dt.day.tolist()
    [15, 22, 29]
    """
    checked_name("model", name)
    schedule, delay_ms = as_schedule(every, "every"), span_ms(delay, "delay")
    if reads_series(schedule):
        raise UsageError(
            f"every={str(schedule)!r:.60}: a model is fitted by the calendar, not when a series is published\n"
            "give every= a time, such as bknb.at.month(); fit may read the series with ctx.series"
        )
    if delay_ms < 0:
        raise UsageError(f"delay of a model must be a span of at least 0, got {delay!r}")
    if type(shared) is not bool:
        raise UsageError(f"shared of a model must be True or False, got {shared!r:.60}")

    def register(fit: F) -> None:
        if not callable(fit):
            raise UsageError(f"a model is a function fit(ctx), got {type(fit).__name__}")
        if (kind := _not_plain(fit)) is not None:
            raise UsageError(
                f"a model is a plain function fit(ctx), got {kind}\n"
                "return what was fitted; it may take its time, as a live run goes on meanwhile"
            )
        if (asked := _not_of_ctx_alone(fit)) is not None:
            raise UsageError(
                f"a model is a function fit(ctx), and this one is called as fit{asked}\n"
                "moment and symbol are ctx.when and ctx.symbol; give other parameters a default"
            )
        code = partial(source_hash, fit)
        unseen = partial(reads_unseen, fit)
        made = Model(
            name=name, fit=fit, every=schedule, delay_ms=delay_ms, code=code, shared=shared, reads_unseen=unseen
        )
        registry.models.add(name, made, strict=strict)

    return decorator(register)


def _not_plain(fit: Callable[..., object]) -> str | None:
    """What a function is that answers later, or again and again; ``None``: it returns once."""
    of_object = type(fit).__call__
    for told, kinds in (
        ("an async function: leave out async", (inspect.iscoroutinefunction, inspect.isasyncgenfunction)),
        ("a function that yields", (inspect.isgeneratorfunction,)),
    ):
        if any(is_kind(each) for is_kind in kinds for each in (fit, of_object)):
            return told
    return None


def _not_of_ctx_alone(fit: Callable[..., object]) -> inspect.Signature | None:
    """What a function asks for that cannot be called with a context alone; ``None``: it can, or does not tell."""
    try:
        asked = inspect.signature(fit)
    except (TypeError, ValueError):
        return None
    try:
        asked.bind(None)
    except TypeError:
        return asked
    return None
