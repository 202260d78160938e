"""What a tear sheet says beside its figures: what was refused, what limits them, and what was assumed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ..domain.interval import bar_text, candles_text
from ..domain.printed_text import printed_words
from .backtest_info import failure_line
from .refusals_counted import counted, refused_by_rule, rejected_by_rule
from .remarks import has_volume, portfolio_remarks, remarks
from .tearsheet_run import SheetRun

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_ROWS: Final = 12
_TEXTS: Final = 20  # notes, and as many warnings and failures


def stopped_signals(run: SheetRun) -> tuple[tuple[str, str], ...]:
    """What did not become a trade, or became a smaller one: in words, with counts."""
    legs = [*run.legs.values()]
    kinds = (
        ("rejected", rejected_by_rule(legs)),
        ("refused", refused_by_rule(legs)),
        ("cancelled", counted(str(reason) for leg in legs for reason in leg.cancelled["reason"])),
    )
    rows = [(f"{kind}: {printed_words(text)}", f"{count:,}") for kind, counts in kinds for text, count in counts]
    if run.money is not None:
        smaller = (("scaled", "less was free than its size wanted"), ("cut", "less cash was left than its order took"))
        for name, why in smaller:
            if count := int(run.trades[name].astype(bool).sum()):
                rows.insert(0, (f"made smaller: {why}", f"{count:,}"))
    more = [(f"{len(rows) - _ROWS:,} other reasons", "")] if len(rows) > _ROWS else []
    return (*rows[:_ROWS], *more)


def notes_of(run: SheetRun) -> tuple[str, ...]:
    """What is to be known of the execution model, of few positions, of tries."""
    said = portfolio_remarks(run.result) if run.is_portfolio else remarks(run.result)
    if not run.is_portfolio and run.money is None and _shares(run.result):
        said = ("this is a leg of a portfolio with one account: percentages are of it alone", *said)
    tries = run.grouped(lambda leg: [] if leg.tries is None else [leg.tries.line])
    return _few(tuple(printed_words(text) for text in (*said, *tries)), "each in the report of its leg")


def _shares(result: Any) -> bool:
    return result.run_record.money_positions is not None


def warnings_of(run: SheetRun) -> tuple[str, ...]:
    """Warnings, then what failed in each leg: as many as a page holds, with the number of the others."""
    found = [printed_words(text) for text in (*run.warnings, *run.grouped(_failures))]
    return _few(found, "in its report")


def _few(texts: Sequence[str], where: str) -> tuple[str, ...]:
    """As many texts as a page holds, and how many there are more."""
    more = [f"{len(texts) - _TEXTS:,} more, {where}"] if len(texts) > _TEXTS else []
    return (*texts[:_TEXTS], *more)


def _failures(leg: Any) -> list[str]:
    return [failure_line(failure) for failure in leg.errors if failure.kind != "warm-up"]


def assumptions(run: SheetRun) -> tuple[tuple[str, str], ...]:
    """Execution, costs, account, sizes and data in words."""
    legs = [*run.legs.values()]
    models = _unique(str(leg.execution) for leg in legs)
    minutes = sum(leg.run_record.minute_count for leg in legs)
    bars = candles_text(run.bars[0]) if len(run.bars) == 1 else f"bars of {', '.join(run.bars)}"
    gaps = any(leg.run_record.plan.allow_gaps for leg in legs)
    volume = all(has_volume(leg) for leg in legs)
    return (
        ("Filled", f"execution {models}"),
        ("Costs a side", _unique(_costs_words(run, at) for at in range(len(legs)))),
        *((("Account", _unique(_account_words(leg.account) for leg in run.money.legs)),) if run.money else ()),
        *((("Size", _unique(_size_words(leg.sizing) for leg in run.money.legs)),) if run.money else ()),
        ("Marked", "at the close of every " + " and ".join(bar_text(base) for base in run.bars)),
        (
            "Data",
            (
                f"{minutes:,} {bars} from {_unique(str(leg.run_record.candles_from) for leg in legs)}, "
                f"gaps {'allowed' if gaps else 'refused'}, {'with' if volume else 'without'} volume"
            ),
        ),
    )


def _unique(texts: Iterable[str]) -> str:
    found = [*dict.fromkeys(texts)]
    return "; ".join(found[:4]) + (f"; {len(found) - 4} others" if len(found) > 4 else "")


def _costs_words(run: SheetRun, at: int) -> str:
    leg = [*run.legs.values()][at]
    if run.money is None or not run.money.legs:
        settings = leg.settings
        return f"fee {settings.percent_fee:g} %, slippage {settings.percent_slippage:g} %"
    costs = run.money.legs[at].costs
    words = [
        f"{name.replace('_', ' ')} {_cost(getattr(costs, name))}{unit}"
        for name, unit in (
            *(("taker", " %"), ("maker", " %"), ("slippage", " %"), ("fixed", " an order"), ("spread", "")),
            *(("half_spread", " %"), ("overshoot", " %"), ("borrow_yearly", " % a year")),
        )
        if getattr(costs, name) not in (None, 0.0) or name in ("taker", "slippage")
    ]
    if costs.funding is not None:
        words.append(f"funding {costs.funding}" if isinstance(costs.funding, str) else "funding by rows")
    return ", ".join(words)


def _cost(value: Any) -> str:
    return f"by {_called(value)}" if callable(value) else f"{value:g}"


def _called(value: Any) -> str:
    return str(getattr(value, "__name__", type(value).__name__))


def _account_words(account: Any) -> str:
    kind = type(account).__name__.lower()
    if not account.borrows:
        return f"{kind}: no shorts, no leverage"
    mode = f", {account.mode}, maintenance {account.maintenance:g} %" if account.leverage > 1 else ""
    return f"{kind}, leverage {account.leverage:g}{mode}"


def _size_words(size: Any) -> str:
    return _called(size) if callable(size) and not hasattr(size, "__struct_fields__") else repr(size)
