"""The values that a slider over a parameter has, in order: from text such as ``5:50:5``, or as they are given."""

from __future__ import annotations

from ast import literal_eval
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from numbers import Real
from typing import Any, Final, TypeAlias

from ..errors import UsageError

Values: TypeAlias = tuple[Any, ...]

MOST_VALUES: Final = 10_000
"""Most values of one slider."""
_FORMS: Final = "write a range such as fast=5:50, with a step x=0.5:2:0.1, or values mode=a,b"


def slider_values(given: Mapping[str, Any]) -> dict[str, Values]:
    """The values of each slider, in order.

    Parameters
    ----------
    given
        For each parameter a text (``"5:50"``, ``"0.5:2:0.1"``, ``"a,b"``) or its values: a range, a list, an array. A
        range of a text holds its end where the steps meet it.

    Raises
    ------
    UsageError
        For what is no range, one that is empty, and a parameter with fewer than two values.

    Examples
    --------
    >>> slider_values({"fast": "5:20:5", "x": "0.5:0.8:0.1", "mode": "a,b"})
    {'fast': (5, 10, 15, 20), 'x': (0.5, 0.6, 0.7, 0.8), 'mode': ('a', 'b')}
    """
    checked: object = given
    if not isinstance(checked, Mapping) or not checked:
        raise UsageError(f"sliders need the values of at least one parameter, got {given!r:.80}\n{_FORMS}")
    return {str(name): _values(str(name), values) for name, values in given.items()}


def nearest(values: Values, wanted: Any) -> int:
    """The place of a value among those of a slider: its own, else that of the nearest number, else the first.

    Examples
    --------
    >>> nearest((5, 10, 15), 12), nearest((5, 10, 15), 10), nearest(("a", "b"), "b"), nearest(("a", "b"), None)
    (1, 1, 1, 0)
    """
    for at, value in enumerate(values):
        if type(value) is type(wanted) and value == wanted:
            return at
    if not _is_number(wanted) or not all(map(_is_number, values)):
        return 0
    return min(range(len(values)), key=lambda at: abs(values[at] - wanted))


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _values(name: str, given: Any) -> Values:
    if isinstance(given, str):
        found = _of_range(name, given) if ":" in given else tuple(map(_literal, given.split(",")))
    else:
        found = _listed(name, given)
    if len(dict.fromkeys((type(value), value) for value in found)) < len(found):
        raise UsageError(f"a slider over {name} has a value twice: {given!r:.80}\nleave it out")
    if len(found) < 2:
        only = f"{name}={found[0]!r} alone" if found else "no value"
        raise UsageError(
            f"a slider over {name} needs at least two values, got {only}\n"
            f"{_FORMS}; a value that stays goes into --params"
        )
    _check_count(name, len(found))
    return found


def _check_count(name: str, count: int) -> None:
    """Refuse more values than a slider has."""
    if count > MOST_VALUES:
        raise UsageError(
            f"a slider over {name} would have {count:,} values, at most {MOST_VALUES:,} are possible\n"
            f"give a longer step: {name}=START:END:STEP"
        )


def _listed(name: str, given: Any) -> Values:
    if hasattr(given, "tolist"):
        given = given.tolist()
    if isinstance(given, (bytes, Mapping)) or not isinstance(given, (Sequence, range)):
        raise UsageError(f"{name} of sliders must be a text, a range or a list, got {given!r:.80}\n{_FORMS}")
    _check_count(name, len(given))
    found = tuple(value.item() if hasattr(value, "item") else value for value in given)
    for value in found:
        if not isinstance(value, (int, float, str, type(None))):
            raise UsageError(
                f"a slider goes over numbers, texts, True, False and None; {name} has {value!r:.80}\n{_FORMS}"
            )
    return found


def _literal(text: str) -> Any:
    """A value of a list: a number, True, False or None, else the text itself."""
    text = text.strip()
    try:
        value = literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return value if isinstance(value, (int, float, str, type(None))) else text


def _is_plain(number: Decimal) -> bool:
    """Whether it is a number of at most 15 digits before and behind its point."""
    return number.is_finite() and (not number or abs(number.adjusted()) < 15)


def _of_range(name: str, text: str) -> Values:
    parts = [part.strip() for part in text.split(":")]
    try:
        numbers = [Decimal(part) for part in parts]
    except InvalidOperation:
        numbers = []
    if len(numbers) not in (2, 3) or not all(map(_is_plain, numbers)):
        raise UsageError(f"a slider cannot go over {name}={text}\n{_FORMS}")
    whole = all(part.lstrip("+-").replace("_", "").isdigit() for part in parts)
    if len(numbers) == 2 and not whole:
        raise UsageError(f"a slider over {name}={text} needs a step\nsuch as {name}={parts[0]}:{parts[1]}:0.1")
    first, last, step = (*numbers, Decimal(1))[:3]
    if step <= 0 or last <= first:
        turned = f"{parts[1]}:{parts[0]}" if last < first else f"{parts[0]}:{parts[1]}"
        problem = "has a step that is not above zero" if step <= 0 else "does not go up"
        raise UsageError(f"a slider over {name}={text} {problem}\nwrite {name}={turned}, with a step above zero if any")
    count = int((last - first) / step) + 1
    _check_count(name, count)
    values = [first + step * number for number in range(count)]
    return tuple(map(int, values)) if whole else tuple(map(float, values))
