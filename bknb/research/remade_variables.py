"""The statements that made a strategy's variables, run again over data with another future.

A number such as ``MEAN = float(table.close.mean())`` does not show what it was made of, its statement does. The text of
a module, or of the cells of a notebook, is read; the statements on which the strategy's names depend and that lead back
to market data are run again, in a namespace of their own, after that data was replaced. Statements that write to files
or databases, start programs or threads, or reach the network are refused, and what they make keeps its value; what the
others change in place is copied before.
"""

from __future__ import annotations

import contextlib
import copy
import io
from collections.abc import Callable, Iterator, Sequence, Set
from types import FunctionType, ModuleType
from typing import Any

from .calling_functions import HANDED, Scope
from .handed_over import origins
from .module_statements import Statement, compiled, imported, read_at_once, statements_of, writes
from .patched_readers import handing_out
from .read_only import RunRefused, nothing_changed_outside, readable
from .run_again import WAYS, Part, of_functions
from .timed_data import is_row_of_numbers
from .variables import Variable, emptied, names_by_namespace, owner_of, variables


class Preparation:
    """The statements that made the variables of a strategy out of market data.

    Parameters
    ----------
    function
        The strategy.
    holds_data
        Whether a value holds market data that can be recognised.
    is_market
        Whether a value holds the candles of the market themselves.
    scopes
        Of the functions that ask for the check.

    Attributes
    ----------
    names : list of str
        Names that are made again.
    put_names : list of str
        Names of the variables that ``remade`` put values into the last time.
    unread : list of str
        Names whose making could not be read or run again.
    reasons : list of str
        Variables that could not be read again for them, and why.
    explained : set of int
        Identities of values whose making is known: remade, or made of what the text says alone.
    unmoved : set of int
        Identities of those that came out the same over every other future.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        holds_data: Callable[[Any], bool],
        is_market: Callable[[Any], bool],
        scopes: Sequence[Scope] = (),
    ) -> None:
        self.function = function
        self.names: list[str] = []
        self.unread: list[str] = []
        self.reasons: list[str] = []
        self.put_names: list[str] = []
        self.explained: set[int] = set()
        self.unmoved: set[int] = set()
        self._moved: set[int] = set()
        self._holds_data, self._is_market = holds_data, is_market
        self._handed = False  # whether a library handed out data with another future
        self._parts: list[Part] = []
        self._imports: list[tuple[dict[str, Any], str, dict[str, Any], str]] = []
        self._origins = origins(function, scopes)
        waiting = [*names_by_namespace(function), *((one.space, {one.name}) for one in self._origins)]
        for scope in scopes:
            if scope.hands_over:
                scope[HANDED] = function
                waiting.append((scope, {HANDED}))
        names_of: dict[int, tuple[dict[str, Any], set[str]]] = {}
        while waiting:
            space, names = waiting.pop(0)
            known = names_of.setdefault(id(space), (space, set()))[1]
            new = names - known
            known |= new
            brought: dict[int, tuple[dict[str, Any], set[str]]] = {}
            for alias, module, name in imported(space, new):
                self._imports.append((space, alias, vars(module), name))
                brought.setdefault(id(module), (vars(module), set()))[1].add(name)
            waiting += brought.values()
        for space, names in names_of.values():
            self._read(space, {name for name in names if not isinstance(space.get(name), ModuleType)})

    def _read(self, space: dict[str, Any], names: set[str]) -> None:
        statements = statements_of(space)
        if statements is None:
            self.unread += sorted(name for name in names if not _is_code(space.get(name)))
            return
        needed, known = set(names), set[str]()
        while needed != known:
            known = set(needed)
            for one in statements:
                if one.makes & needed:
                    needed |= {name for name in one.reads if name in space}
        relevant = [one for one in statements if one.makes & needed]
        data = {
            name for name in needed if name in space and not _is_code(space[name]) and self._holds_data(space[name])
        }
        market = {name for name in data if self._is_market(space[name])}
        self_contained = {name for name in data if self._is_self_contained(name, relevant, market)}
        self.explained |= {id(space[name]) for name in self_contained}
        data -= self_contained
        # A table of candles made of arrays holds more than they do: moments, and volumes.
        tables = {name for name in market if hasattr(space[name], "iloc") or not is_row_of_numbers(space[name])}
        roots = {name for each in (data, tables) for name in self._made_of_no_other(each, relevant)}
        loads = {name for one in relevant if one.loads for name in one.makes}
        loads = _closed(loads, relevant)  # what loads through a function that does
        made = _closed(roots | {name for name in loads if not _is_code(space.get(name))}, relevant)
        for name in names:
            if name in space and name not in made and any(name in one.makes for one in relevant):
                self.explained.add(id(space[name]))
        made_names = made & needed
        if not made_names:
            return
        used = [one for one in relevant if one.makes & made]
        part = Part(space, used, roots, made_names)
        part.codes = [(one, compiled(one)) for one in used]
        part.writing = [one for one in used if one.starts_a_run or writes(one, space)]
        self._parts.append(part)

    @staticmethod
    def _is_self_contained(name: str, relevant: Sequence[Statement], market: Set[str]) -> bool:
        """Whether a name is made of nothing but what stands in the text, such as a calendar.

        A market that is made in the text, or what is made of it, is no calendar.
        """
        seen, waiting = {name}, [name]
        while waiting:
            one = waiting.pop()
            if one in market:
                return False
            making = [statement for statement in relevant if one in statement.makes]
            if not all(statement.self_contained for statement in making) or (one == name and not making):
                return False
            new = {other for statement in making for other in statement.reads} - seen
            seen |= new
            waiting += new
        return True

    @staticmethod
    def _made_of_no_other(data: Set[str], relevant: Sequence[Statement]) -> set[str]:
        """Those names of data that are made of no other data.

        Names that seem to be made of each other, as where two loops use one variable, count as one.
        """
        behind = {name: _behind(name, relevant) & data for name in data}
        return {name for name in data if all(name in behind[other] for other in behind[name] - {name})}

    def loaded(self) -> set[str]:
        """Names of the files and the values of the environment that the statements read when they are run again."""
        names: set[str] = set()

        def note(name: str, value: Any) -> Any:
            names.add(name)
            return value

        with handing_out(note):
            for part in self._parts:
                part.way = "loaded"
                self._failing(part)
                part.way, part.failed = "kept", []
        return names - {""}

    # --- running again ------------------------------------------------------------------------------------------

    def try_out(self, unchanged: Callable[[], bool]) -> None:
        """Keep what comes out again: ``unchanged`` tells, after everything was remade over the same data."""
        kept = []
        parts, self._parts = self._parts, []
        for part in parts:
            if self._comes_out_again(part, unchanged):
                kept.append(part)
                lost = {name for one in part.failed for name in one.makes & part.names}
            else:
                lost = part.names
            refused = {name for one in part.failed for name in one.makes}
            self.unread += sorted(name for name in lost if name in refused or not _is_code(part.space.get(name)))
            needed = {name for one in part.failed for name in one.reads}
            self.reasons += [f"{name} is {why}" for name, why in sorted(part.unreadable.items()) if name in needed]
            remade = {name for name in part.names - lost if name in part.space and name not in part.roots}
            self.explained |= {id(part.space[name]) for name in remade}
            handed = (one for one in self._origins if one.space is part.space and one.name in remade)
            self.explained |= {id(one.variable.value) for one in handed}
            # A class, or a function that another one made, may hold data as well.
            holding = {name for one in part.statements if read_at_once(one) & part.holds_data for name in one.makes}
            self.names += sorted(name for name in remade if not _is_code(part.space[name]) or name in holding)
        self._parts = kept

    def _comes_out_again(self, part: Part, unchanged: Callable[[], bool]) -> bool:
        tried = []
        for part.way in WAYS:
            part.failed = self._failing(part)
            tried.append((part.way, part.failed))
            if not part.failed and self._is_unchanged(part, unchanged):
                return True
        for part.way, part.failed in sorted(tried, key=lambda one: len(one[1])):
            if part.failed and self._is_unchanged(part, unchanged):
                return True
        return False

    def _is_unchanged(self, part: Part, unchanged: Callable[[], bool]) -> bool:
        self._parts = [part]
        with self.remade(lambda value: value):
            return unchanged()

    def _failing(self, part: Part) -> list[Statement]:
        """The statements that cannot be run again."""
        part.failed, part.left_out = [], []
        self._run(part, lambda value: value, part.failed)
        return part.failed

    @contextlib.contextmanager
    def remade(self, change: Callable[[Any], Any], only: str | None = None) -> Iterator[None]:
        """Put remade values in place inside the ``with`` block.

        Parameters
        ----------
        change
            From market data to the same with another future; also for what libraries hand out meanwhile.
        only
            The one name to put a value in place for; by default all.

        Raises
        ------
        Exception
            Whatever the statements raise.
        """

        def handed(_: str, value: Any) -> Any:
            new = change(value)
            self._handed |= new is not value
            return new

        with handing_out(handed), self._put_in_place(change, only):
            yield

    @contextlib.contextmanager
    def _put_in_place(self, change: Callable[[Any], Any], only: str | None) -> Iterator[None]:
        puts: list[tuple[Variable, Any]] = []
        handed: list[tuple[Variable, Any]] = []  # they know more than a call that is made again
        for part in self._parts:
            space = self._run(part, change)
            puts += self._puts(part, space)
            known = part.names & space.keys()
            places = (one for one in self._origins if one.space is part.space and one.name in known)
            handed += [(one.variable, one.made_again(space)) for one in places]
        puts += handed
        self.put_names = list(dict.fromkeys(variable.name for variable, _ in puts))
        for variable, new in puts:
            if id(variable.value) not in self._moved:
                alike = _are_alike(variable.value, new)
                (self.unmoved.add if alike else self._moved.add)(id(variable.value))
        self.unmoved -= self._moved
        with contextlib.ExitStack() as stack:
            for variable, new in puts:
                if only is None or variable.name == only:
                    stack.enter_context(variable.replaced(new))
            stack.enter_context(emptied(self.function))
            yield

    def _run(self, part: Part, change: Callable[[Any], Any], failing: list[Statement] | None = None) -> dict[str, Any]:
        space = dict(part.space)
        if part.way != "loaded":
            space |= {name: change(part.space[name]) for name in part.roots}
        own = {name for name, value in space.items() if value is not part.space[name]}
        changed: set[str] = set()
        with nothing_changed_outside(), contextlib.redirect_stdout(io.StringIO()), contextlib.ExitStack() as opened:
            for name in {name for statement, _ in part.codes for name in statement.reads} & space.keys():
                try:
                    space[name] = readable(space[name], opened)
                except PermissionError as error:
                    part.unreadable[name] = str(error)
                    del space[name]  # statements that need it cannot be run again
            for statement, code in part.codes:
                if statement in part.failed or statement in part.left_out or part.keeps(statement):
                    continue
                try:
                    if statement in part.writing:
                        raise PermissionError("it writes, or starts a run")
                    for name in (statement.changes - own) & space.keys():
                        space[name] = _copied(space[name])
                    self._handed = False
                    exec(code, space)  # noqa: S102 -- the user's own statements
                    own |= statement.makes
                    if part.way == "loaded":
                        changed |= self._loaded(part, statement, space, change, changed)
                except (Exception, RunRefused) as error:
                    if isinstance(error, RunRefused):
                        part.writing.append(statement)
                    if failing is None:
                        raise
                    only_roots = part.way == "lenient" and statement.makes <= part.roots
                    (part.left_out if only_roots else failing).append(statement)
        return space

    def _loaded(
        self, part: Part, statement: Statement, space: dict[str, Any], change: Callable[[Any], Any], changed: Set[str]
    ) -> Set[str]:
        """The names that a statement made of data with another future; roots that it made of other data get one."""
        if self._handed or statement.reads & changed:
            return statement.makes
        made = statement.makes & part.roots & space.keys()
        space |= {name: change(space[name]) for name in made}
        return made

    def _puts(self, part: Part, space: dict[str, Any]) -> list[tuple[Variable, Any]]:
        found: list[tuple[Variable, Any]] = []
        new_of = {id(part.space[name]): space[name] for name in part.names if name in part.space and name in space}
        reached = [variable for variable in variables(self.function) if id(variable.value) in new_of]
        found += [(variable, new_of[id(variable.value)]) for variable in reached]
        for importing, alias, origin, name in self._imports:
            if origin is part.space and name in part.names and name in space:
                found.append((Variable(alias, importing[alias], _setter(importing, alias)), space[name]))
        owner = owner_of(self.function)
        for name in part.names:
            old, new = part.space.get(name), space.get(name)
            if isinstance(old, FunctionType) and isinstance(new, FunctionType):
                found += of_functions(old, new)
            elif owner is not None and old is owner and hasattr(new, "__dict__"):
                own = vars(owner)
                found += [
                    (Variable(key, own[key], _setter(own, key)), value)
                    for key, value in vars(new).items()
                    if key in own
                ]
            elif name in part.space:
                found.append((Variable(name, old, _setter(part.space, name)), new))
        return found


def _setter(space: dict[str, Any], name: str) -> Callable[[Any], None]:
    return lambda value: space.__setitem__(name, value)


def _copied(value: Any) -> Any:
    """A copy to be changed in place of the value itself."""
    if _is_code(value):
        raise PermissionError("a function, a class or a module would be changed for everybody")
    return copy.deepcopy(value)


def _are_alike(one: Any, other: Any) -> bool:
    """Whether two values are the same data; also false where that cannot be told."""
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if hasattr(one, "equals"):
        return bool(one.equals(other))
    try:
        same: Any = one == other
        return bool(same.all()) if hasattr(same, "all") else bool(same)
    except (TypeError, ValueError):
        return False


def _is_code(value: Any) -> bool:
    return isinstance(value, (FunctionType, ModuleType, type)) or callable(getattr(value, "cache_clear", None))


def _behind(name: str, statements: Sequence[Statement]) -> set[str]:
    """The names of which a name is made, at any remove."""
    found, waiting = set[str](), [name]
    while waiting:
        one = waiting.pop()
        new = {other for statement in statements if one in statement.makes for other in statement.reads} - found
        found |= new
        waiting += new
    return found


def _closed(names: set[str], statements: Sequence[Statement]) -> set[str]:
    """The names, and all that are made of them."""
    found, before = set(names), set[str]()
    while found != before:
        before = set(found)
        for one in statements:
            if one.reads & found or one.makes & found:
                found |= one.makes
    return found
