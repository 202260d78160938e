"""What ``manage`` answers about a position that is open or waits, and how an answer is read.

An answer is one of these, or a list of them that is carried out in order; ``None`` leaves everything as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import msgspec

from .declared_exits import Breakeven, Trailing
from .keyword_arguments import ByName
from .signal import Signal, Until
from .signal_events import Reason
from .signal_validation import plain_numbers, read_answer, with_python_lists
from .text import shown


class Close(ByName, frozen=True):
    """Close all that is left, at the market.

    Parameters
    ----------
    note
        Free text that travels with the fill.
    at
        ``"market"``: now; ``"close"``: at the close of the session's last candle that can fill, until when its levels
        hold on. A market that never closes has the days of UTC for sessions. It stands until then.

    Examples
    --------
    >>> Close(note="crossed back").note
    'crossed back'
    """

    note: str = ""
    at: Literal["market", "close"] = "market"


class Reduce(ByName, frozen=True):
    """Close a part, at the market.

    Parameters
    ----------
    share
        How much, above 0: of what is held, or of the first size. Adds at the market before it in its list count as
        held, resting ones do not.
    of
        ``"now"``: of what is held now; ``"first"``: in units of the first size.
    note
        Free text that travels with the fill.

    Examples
    --------
    >>> Reduce(0.5).of
    'now'
    """

    share: float
    of: Literal["now", "first"] = "now"
    note: str = ""


class Add(ByName, frozen=True):
    """Make the position larger, at the market, at a limit or by a stop order.

    Parameters
    ----------
    share
        How much, above 0, in units of the first size.
    price_open
        The price of an order (quote currency) that rests until it fills, ``valid`` has passed or the position ends;
        ``None``: at the market.
    only_better
        Only where the last close is better than the average entry price: below it for a long, above it for a short.
    note
        Free text that travels with the fill.
    valid
        How long the order rests, as in ``bknb.Signal``; at most ``max_signal_lifetime_minutes`` where that is set.
    entry
        What ``price_open`` is: ``"limit"``, or ``"stop"``, where the market has to come first. One that it has passed
        already fills at the next open.
    price_stop_loss
        The stop (quote currency) of all that is held from the fill of this add on, where it is tighter than the one in
        force. An order by stop that fills within a candle has it from the next candle on.

    Examples
    --------
    >>> Add(0.5, price_open=98.0).share
    0.5
    >>> Add(1.0, price_open=104.0, entry="stop", price_stop_loss=100.0).price_stop_loss
    100.0
    """

    share: float
    price_open: float | None = None
    only_better: bool = False
    note: str = ""
    valid: Until | msgspec.UnsetType | None = msgspec.UNSET
    entry: Literal["limit", "stop"] = "limit"
    price_stop_loss: float | None = None

    def __repr__(self) -> str:
        values = {name: getattr(self, name) for name in Add.__struct_fields__}
        later = {"valid": msgspec.UNSET, "entry": "limit", "price_stop_loss": None}
        given = (f"{name}={value!r}" for name, value in values.items() if name not in later or value != later[name])
        return f"Add({', '.join(given)})"


class Move(ByName, frozen=True, kw_only=True):
    """Move levels, the deadline, or an order that waits; what is not given stays.

    A looser stop is not taken unless ``loosen``. A stop at or beyond the last close counts as reached: the position
    closes at the market.

    Parameters
    ----------
    price_stop_loss
        The stop, in quote currency; ``None``: none (only with ``loosen``).
    price_take_profit
        The target or a ladder, as in ``bknb.Signal``; ``None``: none.
    minute_estimated_time
        Whole minutes after the fill of the entry; ``None``: no deadline.
    until, bars
        As in ``bknb.Signal``: minutes and ``bars`` count from the fill of the entry, other moments are the next ones
        from now on. Of ``minute_estimated_time``, ``until`` and ``bars`` those given replace the deadline that there
        is: the earliest of them counts.
    stop_percent, target_percent
        The stop and the target as percent from the average price of all entries, in place of prices, as in
        ``bknb.Signal``: later adds move them.
    trailing, breakeven
        As in ``bknb.Signal``; ``None``: none. A level that one of them has reached stays in force unless ``loosen``.
    loosen
        Whether the stop may become looser.
    memo
        Values that ``position.memo`` has from now on, in place of those it had.
    price_open, id
        The price of an entry or an add that waits (quote currency), and its id; without an id the only one that waits.
        The order is cancelled and another one, with an id of its own, takes its place for as long as it would have
        waited. Of an entry other values of this move are values of its signal; of an add nothing else can be given.

    Examples
    --------
    >>> Move(price_stop_loss=99.0).price_stop_loss
    99.0
    >>> Move(price_open=98.5).price_open
    98.5
    >>> Move(target_percent=4.0)
    Move(loosen=False, target_percent=4.0)
    """

    price_stop_loss: float | msgspec.UnsetType | None = msgspec.UNSET
    price_take_profit: float | Sequence[tuple[float, float]] | msgspec.UnsetType | None = msgspec.UNSET
    minute_estimated_time: int | msgspec.UnsetType | None = msgspec.UNSET
    until: Until | msgspec.UnsetType | None = msgspec.UNSET
    bars: int | msgspec.UnsetType | None = msgspec.UNSET
    trailing: Trailing | msgspec.UnsetType | None = msgspec.UNSET
    breakeven: Breakeven | msgspec.UnsetType | None = msgspec.UNSET
    loosen: bool = False
    memo: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    stop_percent: float | msgspec.UnsetType = msgspec.UNSET
    target_percent: float | Sequence[tuple[float, float]] | msgspec.UnsetType = msgspec.UNSET
    price_open: float | msgspec.UnsetType = msgspec.UNSET
    id: str | msgspec.UnsetType = msgspec.UNSET

    def __repr__(self) -> str:
        given = {name: getattr(self, name) for name in self.__struct_fields__}
        shown_ = (f"{name}={value!r}" for name, value in given.items() if value is not msgspec.UNSET)
        return f"Move({', '.join(shown_)})"


class Cancel(ByName, frozen=True):
    """Take back what waits: resting entries, or the adds of an open position that have not filled.

    Parameters
    ----------
    note
        Free text that travels with the cancelled order.
    id
        That of one order, as ``position.waiting`` has it; ``None``: all of them.

    Examples
    --------
    >>> Cancel().note
    ''
    """

    note: str = ""
    id: str | None = None


PositionAnswer: TypeAlias = Close | Reduce | Add | Move | Cancel | Signal
_KINDS: Final = (Close, Reduce, Add, Move, Cancel)
_TEXT: Final = "bknb.Close(), Reduce(), Add(), Move(), Cancel(), or a Signal behind Close() or Cancel()"


class Answers(NamedTuple):
    """The answers that could be read, in order, and why others could not; ``text`` is all of it for messages."""

    answers: tuple[PositionAnswer, ...]
    faults: tuple[Reason, ...]
    text: str


def read_answers(answer: object, *, negative: bool = False) -> Answers:
    """What ``manage`` returned; a ``Reason``, of a weight that is none, stays one.

    ``negative``: whether prices of targets may be at or below zero.

    Examples
    --------
    >>> read_answers([Close(), 5]).faults[0].text
    'manage returns None, or one or a list of bknb.Close(), Reduce(), Add(), Move(), Cancel(), or a Signal behind \
Close() or Cancel(); got int: 5'
    """
    given: Sequence[object] = answer if isinstance(answer, list | tuple) else (answer,)
    answers: list[PositionAnswer] = []
    faults: list[Reason] = []
    for one in given:
        read = _read(one, negative=negative)
        if isinstance(read, Reason):
            faults.append(read)
        else:
            answers.append(read)
    return Answers(tuple(answers), tuple(faults), shown(answer, 400))


def _read(one: object, *, negative: bool) -> PositionAnswer | Reason:
    if isinstance(one, Signal | Reason):
        return read_answer(one, negative=negative)
    if not isinstance(one, _KINDS):
        got = f"got {type(one).__name__}: {shown(one, 80)}"
        if isinstance(one, type) and issubclass(one, (*_KINDS, Signal)):
            got = f"got the class {one.__name__}; write bknb.{one.__name__}({'' if one in (Close, Cancel) else '…'})"
        return Reason("shape", f"manage returns None, or one or a list of {_TEXT}; {got}")
    values = msgspec.structs.asdict(one)
    with_python_lists(values)
    fault = plain_numbers(values) or _no_flag(values)
    if isinstance(one, Close) and values["at"] not in ("market", "close"):
        fault = Reason("close_at", f"at of Close must be 'market' or 'close', got {shown(values['at'], 60)}")
    if isinstance(one, Cancel | Move) and not isinstance(values["id"], str | msgspec.UnsetType | None):
        text = f"id of {type(one).__name__} must be the text of an order in position.waiting"
        fault = Reason("order_id", f"{text}, got {shown(values['id'], 60)}")
    if isinstance(one, Move) and fault is None and values["until"] not in (None, msgspec.UNSET):
        from .until_text import moment_text

        values["until"] = read = moment_text(values["until"], "until")  # as it is saved when it is planned
        fault = read if isinstance(read, Reason) else None
    return type(one)(**values) if fault is None else fault


def _no_flag(values: dict[str, Any]) -> Reason | None:
    """Why what should be True or False is neither; a text such as ``"no"`` would count as True."""
    for name in ("only_better", "loosen"):
        if not isinstance(value := values.get(name, False), bool):
            return Reason("flag", f"{name} must be True or False, got {shown(value, 60)}")
    return None
