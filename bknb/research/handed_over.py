"""Values that were handed to a strategy, found again in the module or notebook that made them.

``by(SCORES["fast"])`` leaves a table in a closure, a default or an attribute, and no name that leads back to the
statement that made it. What holds the same numbers in a namespace does: a variable, an entry of a container, a column.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .calling_functions import Scope
from .module_statements import statements_of
from .timed_data import is_row_of_numbers
from .variables import Variable, functions, variables

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FEWEST: Final = 24  # rows that are no settings
_MOST: Final = 1_000  # entries of a container that are looked at
_WHOLE: Final = object()  # in the place of a key: the value itself


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the value of a variable stands in a namespace.

    Attributes
    ----------
    variable : Variable
        A closure, a default, an attribute, an entry.
    space : dict
        The namespace.
    name : str
        Of the variable there.
    key : object
        Of the entry or column of it.
    """

    variable: Variable
    space: dict[str, Any]
    name: str
    key: Any = _WHOLE

    def made_again(self, space: dict[str, Any]) -> Any:
        """The value that another namespace has there, in the kind of container that the variable has.

        Raises
        ------
        LookupError
            When there is no such entry.
        """
        value = space[self.name] if self.key is _WHOLE else space[self.name][self.key]
        return _in_kind(value, self.variable.value)


def origins(function: Callable[..., Any], scopes: Sequence[Scope] = ()) -> list[Origin]:
    """Where values stand that a strategy holds without a name of a namespace: where a statement made them.

    Namespaces are those of its functions, then those of the functions that hand it over.
    """
    own = {id(one.__globals__): one.__globals__ for one in functions(function)}
    spaces = [*own.values(), *scopes]
    found = []
    for one in variables(function):
        if not _is_history(one.value) or any(one.value is space.get(one.name) for space in own.values()):
            continue
        origin = next((each for space in spaces for each in _made_in(space, one)), None)
        if origin is not None:
            found.append(origin)
    return found


def _made_in(space: dict[str, Any], variable: Variable) -> Iterator[Origin]:
    made: set[str] | None = None
    for name, key in _places(space, variable.value):
        if made is None:
            made = {each for one in statements_of(space) or () if not one.starts_a_run for each in one.makes}
        if name in made:
            yield Origin(variable, space, name, key)


def _places(space: dict[str, Any], value: Any) -> Iterator[tuple[str, Any]]:
    """Names, and keys of entries, under which a namespace has what is in a value; the first that were made first."""
    for name, one in list(space.items()):
        if name.startswith("__"):
            continue
        with suppress(Exception):  # some objects raise whoever looks at them, such as a shelf that was closed
            yield from ((name, key) for key in _keys(one, value))


def _keys(one: Any, value: Any) -> Iterator[Any]:
    """Keys of entries of an object that have what is in a value, or ``_WHOLE``."""
    if _is_same(one, value):
        yield _WHOLE
    elif hasattr(one, "columns") and hasattr(one, "iloc"):
        yield from (key for key in one.columns if one.columns.is_unique and _is_same(one[key], value))
    elif isinstance(one, Mapping) and len(one) <= _MOST:
        yield from (key for key, entry in list(one.items()) if _is_same(entry, value))
    elif isinstance(one, (list, tuple)) and len(one) <= _MOST:
        yield from (at for at, entry in enumerate(one) if _is_same(entry, value))


def _is_history(value: Any) -> bool:
    if hasattr(value, "iloc") or isinstance(value, np.ndarray):
        return np.ndim(value) > 0 and len(value) >= _FEWEST
    return (isinstance(value, Mapping) and len(value) >= _FEWEST) or is_row_of_numbers(value)


def _is_same(one: Any, value: Any) -> bool:
    """Whether both hold the same rows, or a series the numbers that an array or a list has."""
    if one is value:
        return True
    if isinstance(one, (str, bytes, type)) or _length(one) != len(value):
        return False
    if type(one) is type(value) and hasattr(one, "equals"):
        return bool(one.equals(value))
    if isinstance(value, Mapping) or hasattr(value, "iloc"):
        return type(one) is type(value) and _has_equal(one, value)
    numbers, others = _numbers(one), np.asarray(value)
    if numbers is None or numbers.shape != others.shape or numbers.dtype.kind != others.dtype.kind:
        return False
    return bool(np.array_equal(numbers, others, equal_nan=numbers.dtype.kind == "f"))


def _length(value: Any) -> int:
    try:
        return len(value)
    except TypeError:
        return -1


def _numbers(value: Any) -> NDArray[Any] | None:
    if hasattr(value, "iloc") and not hasattr(value, "columns"):
        return np.asarray(value)
    return np.asarray(value) if isinstance(value, np.ndarray) or is_row_of_numbers(value) else None


def _has_equal(one: Any, value: Any) -> bool:
    try:
        return bool(one == value)
    except ValueError:  # arrays inside
        return False


def _in_kind(value: Any, like: Any) -> Any:
    if isinstance(like, np.ndarray) and hasattr(value, "iloc"):
        return value.to_numpy()
    if isinstance(like, (list, tuple)) and hasattr(value, "tolist"):
        return type(like)(value.tolist())
    return value
