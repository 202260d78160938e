"""The memo of a strategy: kept once a question has been answered, and as it was where the answer was not taken."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..market.strategy_context import memo_of

if TYPE_CHECKING:
    from ..market.strategy_context import Context
    from .strategy_loop import StrategyLoop


def keep_memo(loop: StrategyLoop, context: Context, *, managing: bool = False) -> None:
    """Keep what the strategy of a loop has made of its memo in a question that it has answered.

    Raises
    ------
    UsageError
        It cannot be kept.
    """
    memo = memo_of(context)
    if memo is None:
        return
    from ..market.kept_memo import kept_memo  # few strategies have one

    before, loop.sources.memo = loop.sources.memo, kept_memo(memo)
    if loop.rules.mode == "backtest" and loop.sources.memo != before:
        loop.records.memos.append((context.when_ms, 0 if managing else 1, loop.sources.memo))


@contextmanager
def memo_put_back(loop: StrategyLoop) -> Iterator[None]:
    """Have the memo as it was where something raises: the question is asked again."""
    kept = loop.sources.memo
    try:
        yield
    except BaseException:
        loop.sources.memo = kept
        raise
