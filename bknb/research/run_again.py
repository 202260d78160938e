"""Which statements of a namespace are run again over data with another future, and how that data is had."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from types import CodeType, FunctionType
from typing import Any, Final, Literal, TypeAlias

from .module_statements import Statement
from .variables import Variable

Way: TypeAlias = Literal["kept", "loaded", "lenient", "settled"]
WAYS: Final[tuple[Way, ...]] = ("kept", "loaded", "lenient", "settled")
"""How the data from which everything else is made, the roots, is had again.

``kept``: as it is now, and what changes it in place is run again. ``loaded``: from the statements that load or make it.
``lenient``: as ``kept``; what cannot be run again over it as it is now, such as giving its index a zone, was done once.
``settled``: as it is now; statements that make nothing but roots are not run again.
"""


@dataclass(slots=True)
class Part:
    """What is run again in one namespace."""

    space: dict[str, Any]
    statements: list[Statement]
    roots: set[str]
    names: set[str]
    way: Way = "kept"
    codes: list[tuple[Statement, CodeType]] = field(default_factory=list)
    failed: list[Statement] = field(default_factory=list)
    left_out: list[Statement] = field(default_factory=list)  # those that were done once, where that is lenient
    writing: list[Statement] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)  # variables that cannot be read again, and why

    @property
    def holds_data(self) -> set[str]:
        """The roots, and what is made of them without being code."""
        return self.roots | {one for one in self.names if not callable(self.space.get(one))}

    def keeps(self, statement: Statement) -> bool:
        """Whether a statement is not run again, because what it makes is kept as it is now."""
        if self.way == "loaded":
            return False
        if self.way == "settled" and statement.makes <= self.roots:
            return True
        return bool(statement.makes & self.roots) and not statement.reads & statement.makes & self.roots


def of_functions(old: FunctionType, new: FunctionType) -> list[tuple[Variable, Any]]:
    """Defaults and closures of the same function made again."""
    if old.__code__.co_name != new.__code__.co_name:
        return []
    found: list[tuple[Variable, Any]] = []
    for name in ("__defaults__", "__kwdefaults__"):
        put = Variable(name, getattr(old, name), lambda value, name=name: setattr(old, name, value))  # type: ignore[misc]
        found.append((put, getattr(new, name)))
    if old.__code__.co_freevars == new.__code__.co_freevars:
        cells = zip(old.__code__.co_freevars, old.__closure__ or (), new.__closure__ or (), strict=True)
        for name, cell, other in cells:
            with contextlib.suppress(ValueError):  # an empty cell
                put = Variable(name, cell.cell_contents, lambda value, cell=cell: setattr(cell, "cell_contents", value))  # type: ignore[misc]
                found.append((put, other.cell_contents))
    return found
