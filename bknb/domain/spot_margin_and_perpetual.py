"""Kinds of accounts: what may be opened, the margin it takes, and where it is liquidated.

Values and margins are in quote currency, quantities in base currency, leverage is a pure number, and ``maintenance`` is
in percent of the value of a position: 0.5 means 0.5 %. Of each kind, ``shorts`` says whether it can sell short,
``owns`` whether the value of what is bought and sold moves its cash, and ``borrows`` whether positions take margin and
can be liquidated.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Final, Literal, TypeAlias

from ..errors import UsageError
from .keyword_arguments import ByName
from .signal import Position
from .signal_events import Reason
from .text import shown
from .whole_number import checked_number

MarginMode: TypeAlias = Literal["cross", "isolated"]
MAINTENANCE: Final = 0.5
"""Percent of a position's value that has to be left: the lowest tier of large futures exchanges has 0.4 to 0.5 %."""


class Spot(ByName, frozen=True, tag=True):
    """An account that pays for what it buys in full: no shorts, no leverage, no liquidation.

    Value and costs of a purchase have to fit into the cash.

    Examples
    --------
    >>> Spot().shorts, Spot().leverage
    (False, 1.0)
    """

    leverage: ClassVar[float] = 1.0
    maintenance: ClassVar[float] = 0.0
    mode: ClassVar[MarginMode] = "isolated"
    shorts: ClassVar[bool] = False
    owns: ClassVar[bool] = True
    borrows: ClassVar[bool] = False


class Margin(ByName, frozen=True, tag=True):
    """An account that buys and sells short against margin; with a leverage of 1 nothing is borrowed beyond equity.

    What is bought is paid out of the cash, which may fall below 0: that part is borrowed. Costs are paid beside the
    margin.

    Parameters
    ----------
    leverage
        Value of positions over the margin they take, at least 1.
    maintenance
        What has to be left of the margin, percent of the value of the positions at the market; less is liquidated.
    mode
        ``"cross"``: all positions share the account's equity, and are liquidated together; ``"isolated"``: each has the
        margin it was opened with, and no more can be lost of it.

    Raises
    ------
    UsageError
        For a leverage below 1, or a maintenance that the initial margin (100 / leverage percent) does not exceed.

    Examples
    --------
    >>> Margin(leverage=3).mode, Margin().leverage
    ('cross', 1.0)
    """

    leverage: float = 1.0
    maintenance: float = MAINTENANCE
    mode: MarginMode = "cross"
    shorts: ClassVar[bool] = True
    owns: ClassVar[bool] = True
    borrows: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check(self)


class Perpetual(ByName, frozen=True, tag=True):
    """An account of perpetual futures: only profit, loss, costs and funding move its cash.

    Parameters
    ----------
    leverage, maintenance, mode
        As of ``bknb.Margin``.

    Raises
    ------
    UsageError
        As ``bknb.Margin``.

    Examples
    --------
    >>> Perpetual(leverage=5, mode="isolated")
    Perpetual(leverage=5, maintenance=0.5, mode='isolated')
    """

    leverage: float = 1.0
    maintenance: float = MAINTENANCE
    mode: MarginMode = "cross"
    shorts: ClassVar[bool] = True
    owns: ClassVar[bool] = False
    borrows: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check(self)


Account: TypeAlias = Spot | Margin | Perpetual
_KINDS: Final[dict[str, type[Spot | Margin | Perpetual]]] = {"spot": Spot, "margin": Margin, "perpetual": Perpetual}
_EXPECTED: Final = (
    "bknb.Spot(), bknb.Margin(leverage=3), bknb.Perpetual(leverage=3), or 'spot', 'margin:3', 'perpetual:3'"
)


def _check(account: Margin | Perpetual) -> None:
    name = type(account).__name__
    leverage = checked_number(f"leverage of {name}", account.leverage, "a number of at least 1", fits=lambda x: x >= 1)
    most = 100.0 / leverage
    what = f"a percentage from 0 to below {most:g}, the initial margin at a leverage of {leverage:g}"
    checked_number(f"maintenance of {name}", account.maintenance, what, fits=lambda x: 0.0 <= x < most)
    mode: object = account.mode
    if mode not in ("cross", "isolated"):
        raise UsageError(f"mode of {name} must be 'cross' or 'isolated', got {shown(mode, 60)}")


def read_account(value: object) -> Account:
    """An account as a user gives it: itself, its class, or a text such as ``"margin:3"``.

    Raises
    ------
    UsageError
        It is none of them; the message shows what can be written.

    Examples
    --------
    >>> read_account("margin:3"), read_account("spot")
    (Margin(leverage=3.0, maintenance=0.5, mode='cross'), Spot())
    """
    if isinstance(value, Spot | Margin | Perpetual):
        return value
    if isinstance(value, type) and value in _KINDS.values():
        return read_account(value())
    if isinstance(value, str):
        kind, colon, number = value.partition(":")
        made = _KINDS.get(kind.strip().lower())
        if made is Spot and not colon:
            return Spot()
        if made is Margin or made is Perpetual:
            return _with_leverage(made, number if colon else "1", value)
    raise UsageError(f"account must be {_EXPECTED}, got {shown(value, 60)}")


def _with_leverage(made: Callable[[float], Margin | Perpetual], number: str, text: str) -> Account:
    try:
        return made(float(number))
    except ValueError:
        raise UsageError(f"account must be {_EXPECTED}, got {shown(text, 60)}") from None


def may_open(account: Account, position: Position) -> Reason | None:
    """Why an account cannot open a position; ``None`` where it can.

    Examples
    --------
    >>> may_open(Spot(), "short").text
    'bknb.Spot() cannot sell short; use bknb.Margin(), or answer with longs only'
    """
    if position == "long" or account.shorts:
        return None
    return Reason("no_short", "bknb.Spot() cannot sell short; use bknb.Margin(), or answer with longs only")


def initial_margin(account: Account, value: float) -> float:
    """What a position of this value takes of the account while it is open (both quote currency, above 0).

    Examples
    --------
    >>> initial_margin(Margin(leverage=4), 1000.0), initial_margin(Spot(), 1000.0)
    (250.0, 1000.0)
    """
    return abs(value) / account.leverage


def maintenance_margin(account: Account, value: float) -> float:
    """What has to be left of the margin of a position of this value at the market (both quote currency).

    Examples
    --------
    >>> maintenance_margin(Margin(leverage=4, maintenance=0.5), 1000.0)
    5.0
    """
    return abs(value) * account.maintenance / 100


def money_needed(account: Account, value: float, costs: float) -> float:
    """What has to be free for a purchase or a short sale (all quote currency): value or margin, and costs.

    With margin at a leverage of 1 costs are paid beside it, so that a position of all equity is possible.

    Examples
    --------
    >>> [money_needed(account, 1000.0, 1.0) for account in (Spot(), Margin(leverage=2), Margin())]
    [1001.0, 501.0, 1000.0]
    """
    return initial_margin(account, value) + (0.0 if pays_beside(account) else costs)


def pays_beside(account: Account) -> bool:
    """Whether costs of what is opened are paid beside its margin: at a leverage of 1."""
    return account.borrows and account.leverage == 1.0
