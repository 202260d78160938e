"""The source text of a strategy and of everything of the user's own that it calls; the one reader of it.

Run cards, the ledger of sweeps and the hold-out all ask here. Text is read once for each function, when a run is
planned: a cell that is run again, or a module that is edited, does not change what an earlier run says it was made of.

What counts is what can be reached from the function: globals and attributes of the user's modules, closures, defaults,
imports inside functions, decorators and what they wrap, ``partial``, methods, classes with their attributes, objects,
and functions in containers of all these. A comment counts where it stands in the text of a function that is reached;
nothing else in its file does. The order of a dict, a list and a tuple counts, that of a set and of attributes does not.
"""

from __future__ import annotations

import contextlib
import hashlib
import sys
import types
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import msgspec

from .source_text import Written, digest_unnamed
from .source_walk import READER, UNSEEN, AnyFunction, Walk

ASKED_AT: Final = "asked at"
"""The name of a schedule among the values of a :class:`Code`: no variable can have it."""


class Code(msgspec.Struct, frozen=True, kw_only=True):
    """What a run executes of the user's.

    Attributes
    ----------
    functions : tuple of Written
        The strategy first, then risk rules, then what they call, in order of finding.
    values : dict of str to str
        What the functions read from outside themselves: constants, defaults, closures, attributes. The second of a
        name is ``name (2)``.
    packages : tuple of str
        Top-level packages of others that they use.
    notes : tuple of str
        Why the same numbers may not come out again.
    """

    functions: tuple[Written, ...] = ()
    values: dict[str, str] = {}
    packages: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def not_compared(self) -> tuple[str, ...]:
        """The notes that name something which decides, and whose change does not change the hash."""
        return tuple(note for note in self.notes if note.endswith(UNSEEN))

    @property
    def reader(self) -> int:
        """Version of the reader that read it; 1 is that of 0.1.0."""
        versions = (written.digest.rpartition(":")[0] for written in self.functions)
        return max((int(version or 1) for version in versions), default=READER)


def read_code(*starts: AnyFunction | CodeOnly) -> Code:
    """The text of some functions and of what they call.

    Installed packages are named, not followed.

    Examples
    --------
    >>> def get_signal(price):
    ...     return None
    >>> [written.text.splitlines()[0] for written in read_code(get_signal).functions]
    ['def get_signal(price):']
    """
    walk = _walked(starts)
    return Code(
        functions=tuple(walk.functions),
        values=dict(sorted(walk.values.items())),
        packages=tuple(sorted(walk.packages)),
        notes=tuple(walk.notes),
    )


def reads_unseen(*starts: Any) -> bool:
    """Whether some functions read what :func:`source_hash` does not know: files, the environment, computed names.

    Examples
    --------
    >>> reads_unseen(lambda path: open(path).read()), reads_unseen(len)
    (True, False)
    """
    return bool(read_code(*starts).not_compared)


def source_hash(*starts: Any) -> str:
    """A digest of all that :func:`read_code` reads and of how it hangs together; the same in every process.

    Names of modules do not count, so that a strategy may move from a cell into a file.

    Examples
    --------
    >>> source_hash(lambda price: price + 1) == source_hash(lambda price: price + 2)
    False
    """
    return hashlib.sha256("\n".join(_walked(starts).steps).encode(errors="backslashreplace")).hexdigest()


def unnamed_hash(*starts: Any) -> str:
    """A digest as ``source_hash``, without the name of the first function, docstrings, comments and layout.

    Examples
    --------
    >>> def one(price, up=1.02):
    ...     return price * up
    >>> def other(price, up=1.02):
    ...     "Rest."
    ...     return price * up
    >>> unnamed_hash(one) == unnamed_hash(other), source_hash(one) == source_hash(other)
    (True, False)
    """
    walk = _walked(starts)
    own = str(getattr(starts[0], "__name__", ""))
    digests = {}
    for at, written in enumerate(walk.functions):
        plain = written.digest.rpartition(":")[2]
        digests[plain] = digest_unnamed(written.text, first=at == 0) or plain
    steps = []
    for step in walk.steps:
        rest = step.removeprefix(own)
        head, kind, digest = (rest if rest[:1] in (":", "(") else step).rpartition(" ")
        steps.append(f"{head}{kind}{digests.get(digest, digest)}")
    return hashlib.sha256("\n".join(steps).encode(errors="backslashreplace")).hexdigest()


@contextlib.contextmanager
def changing_itself(*starts: Any) -> Iterator[None]:
    """Around a run: what it changes of what some functions read, such as a cache, counts later as before the run.

    What is changed between two runs, also in the same place, counts.

    Examples
    --------
    >>> cache = []
    >>> def rests(): return cache
    >>> before = source_hash(rests)
    >>> with changing_itself(rests):
    ...     cache.append(1)
    >>> source_hash(rests) == before
    True
    >>> cache.append(2)
    >>> source_hash(rests) == before
    False
    """
    readings = _walked(starts).readings
    try:
        yield
    finally:
        readings.remember()


def own_modules(*starts: AnyFunction | CodeOnly) -> list[types.ModuleType]:
    """The user's modules that some functions and what they call come from, without the notebook itself."""
    return [sys.modules[name] for name in sorted(_walked(starts).modules - {"__main__"}) if name in sys.modules]


def _walked(starts: tuple[Any, ...]) -> Walk:
    walk = Walk()
    for start in starts:
        code_only = isinstance(start, CodeOnly)
        values: tuple[type, ...] = (start.constants and _CONSTANTS) or () if code_only else (object,)
        thing = start.function if code_only else start
        walk.follow(thing, getattr(thing, "__name__", type(thing).__name__), values=values)
    return walk


class CodeOnly(NamedTuple):
    """A function of which the code is read and no state: what it collects from run to run makes no other strategy.

    With ``constants``, numbers, texts and tuples that it reads count as well.
    """

    function: AnyFunction
    constants: bool = False


_CONSTANTS: Final = (int, float, complex, str, bytes, tuple, frozenset, type(None))
