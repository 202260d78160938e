"""Numbers in requests and answers: read from text, and written as text."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from .orders import RefusedError


def whole(params: Mapping[str, Any], name: str, default: int | None = None) -> int:
    """A parameter that is a whole number."""
    if name not in params and default is not None:
        return default
    try:
        return int(str(params[name]))
    except (KeyError, ValueError):
        raise RefusedError("missing", name=name) from None


def number(params: Mapping[str, Any], name: str) -> Decimal | None:
    """A parameter that is a number; ``None`` where it is not there."""
    if name not in params:
        return None
    try:
        value = Decimal(str(params[name]))
    except InvalidOperation:
        raise RefusedError("characters", name=name, range="^([0-9]{1,20})(\\.[0-9]{1,20})?$") from None
    if not value.is_finite() or value < 0:
        raise RefusedError("characters", name=name, range="^([0-9]{1,20})(\\.[0-9]{1,20})?$")
    return value


def eight(value: Decimal | None) -> str:
    """A number with eight decimals, as the spot exchange writes it.

    Examples
    --------
    >>> eight(Decimal("0.5"))
    '0.50000000'
    """
    return f"{value or Decimal(0):.8f}"


def plain(value: Decimal | None) -> str:
    """A number without superfluous zeros, as the futures exchange and OKX write it.

    Examples
    --------
    >>> plain(Decimal("100.50")), plain(Decimal("1E+2"))
    ('100.5', '100')
    """
    text = f"{value or Decimal(0):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
