"""The magics of a module: each function with its name, options and twin in Python, which help and completion read."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from .options_read_from_line import Command, Option

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..session import Action


class Magics:
    """The magics of a module, in order.

    Examples
    --------
    >>> magics = Magics()
    >>> @magics.add("%ping", Option(name="HOST", help="whom"), twin="ping(host)")
    ... def ping(session, call):
    ...     "Says whether a host answers."
    >>> [(command.usage(), command.summary) for command, action in magics]
    [('%ping [HOST]', 'Says whether a host answers.')]
    """

    def __init__(self) -> None:
        self._rows: list[tuple[Command, Action]] = []

    def __iter__(self) -> Iterator[tuple[Command, Action]]:
        return iter(self._rows)

    def add(self, name: str, *options: Option, twin: str) -> Callable[[Action], Action]:
        """Decorator for the function of a magic, whose docstring is shown in the help: its first line, and the rest.

        Parameters
        ----------
        name
            With its per cent signs.
        options
            Values without a name first.
        twin
            The same in Python.
        """

        def add(action: Action) -> Action:
            summary, _, details = inspect.cleandoc(action.__doc__ or "").partition("\n")
            command = Command(name=name, summary=summary, options=options, twin=twin, details=details.strip())
            self._rows.append((command, action))
            return action

        return add
