"""What a question has of its run: the memo, kept once it has been answered, and what else there is to see.

Where an answer was not taken the memo is as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from weakref import ref

from ..market.strategy_context import memo_of

if TYPE_CHECKING:
    from ..domain.position_seen_by_manage import HeldPosition
    from ..market.run_seen_by_strategy import RunSeen
    from ..market.strategy_context import Context
    from .strategy_loop import StrategyLoop


def run_of(loop: StrategyLoop) -> Callable[[], RunSeen | None]:
    """A function that returns what the strategy of a loop sees of its run; it does not keep the loop: then ``None``."""
    held = ref(loop)

    def seen() -> RunSeen | None:
        from .closed_trades_position_and_equity import RunOfLoop  # few strategies look

        return None if (loop := held()) is None else RunOfLoop(loop)

    return seen


def keep_memo(loop: StrategyLoop, context: Context, about: HeldPosition | None = None) -> None:
    """Keep what the strategy of a loop has made of its memo in a question that it has answered.

    ``about`` is the position that ``manage`` was asked about; ``None``: it was a question for entries.

    Raises
    ------
    UsageError
        It cannot be kept.
    """
    memo = memo_of(context)
    if memo is None:
        return
    from ..market.kept_memo import ENTRY, kept_memo, turn_of  # few strategies have one

    before, loop.sources.memo = loop.sources.memo, kept_memo(memo)
    if loop.rules.mode == "backtest" and loop.sources.memo != before:
        turn = ENTRY if about is None else turn_of(about)
        loop.records.memos.append((context.when_ms, turn, loop.sources.memo))


@contextmanager
def memo_put_back(loop: StrategyLoop) -> Iterator[None]:
    """Have the memo as it was where something raises: the question is asked again."""
    kept = loop.sources.memo
    try:
        yield
    except BaseException:
        loop.sources.memo = kept
        raise
