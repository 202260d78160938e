"""What needs prices above 0 refuses a source that may have others."""

from __future__ import annotations

from ..errors import UsageError


def check_above_zero(source: object, exchange: str, what: str) -> None:
    """Raise ``UsageError`` where ``what`` is given prices that may be at or below zero.

    Examples
    --------
    >>> check_above_zero(object(), "mine", "a live run")
    """
    if getattr(source, "negative", False):
        raise UsageError(
            f"{what} needs prices above 0, and exchange {exchange!r} has negative=True\n"
            "signals in bknb.backtest, portfolio, sweep, walker, walk_forward, open_holdout, check_lookahead and luck "
            "work with prices at or below 0\n"
            "for everything else give a source of prices above 0, without negative=True"
        )
