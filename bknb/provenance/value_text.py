"""Values as text that is the same on every machine, and the functions, classes and objects in them."""

from __future__ import annotations

import contextvars
import datetime
import decimal
import functools
import hashlib
import os
import pathlib
import pickle
import re
import sys
import threading
import types
import weakref
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from ..user_code import is_users
from .names_read import closure_of, defaults_of
from .parts import has_content
from .source_text import digest_of_code

NOT_COMPARED: Final = "(its content is not compared)"
_LOCKS: Final = re.compile(rf"a _thread\.R?[lL]ock {re.escape(NOT_COMPARED)}")
_LONGEST: Final = 2_000
_BEYOND: Final = "its content is not compared beyond 16 MB"
_STATE_BYTES: Final = 16 * 2**20  # of the state of an object; what is beyond is not compared
_TWICE_BYTES: Final = 2**20  # a state up to this size is written twice, to see whether it is steady
_MOST_BITS: Final = 14_000
_LARGE: Final = 1_000  # values of a table; a larger one of mixed columns is read column by column
_PLAIN: Final = (bool, int, float, complex, str, bytes)
_AS_IS: Final = frozenset({bool, float, complex, bytes, type(None)})  # of exactly these: what Python writes of them
_REPEATABLE: Final = (
    *(datetime.date, datetime.time, datetime.timedelta, datetime.tzinfo),
    *(decimal.Decimal, pathlib.PurePath, range, type(...)),
)


class Spelled(NamedTuple):
    """A value as text, and the functions, classes and objects in it, each with its place: ``['fast']``."""

    text: str
    inside: tuple[tuple[str, Any], ...]
    compared: bool = True
    """Whether all of its content is in the text, or inside. A lock has none."""


def value_text(value: Any) -> str:
    """A value as text that is the same on every machine, Python and numpy; long ones as a digest.

    Examples
    --------
    >>> import numpy as np
    >>> value_text({"fast": 10, "slow": np.float64(0.1)})
    "{'fast': 10, 'slow': 0.1}"
    """
    return spell(value).text


def spell(value: Any, folders: Collection[str] = ()) -> Spelled:
    """A value as :func:`value_text`, with what is in it that its text does not tell.

    Parameters
    ----------
    folders
        Where the strategy lies: a path in one of them is written as seen from there.

    Examples
    --------
    >>> spell("/home/me/work/levels.csv", ["/home/me/work"]).text
    "'/levels.csv' beside the strategy"
    """
    speller = _Speller(folders=folders)
    try:
        text = speller.text(value, "")
    except RecursionError:
        text = _unknown(value)
    compared = all(mark not in _LOCKS.sub("", text) for mark in (NOT_COMPARED, _BEYOND))
    if len(text) > _LONGEST:
        digest = hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest()[:16]
        text = f"{type(value).__name__} of {len(text)} characters, sha256 {digest}"
    return Spelled(text, tuple(speller.inside), compared)


class _Speller:
    def __init__(self, *, ranks: bool = True, folders: Collection[str] = ()) -> None:
        self._folders = folders
        self.inside: list[tuple[str, Any]] = []
        self._around: list[int] = []  # what is being spelled: something may hold itself
        self._ranks = ranks

    def text(self, value: Any, place: str) -> str:
        """The text of the part of a value that is at ``place``."""
        kind = type(value)
        if kind in _AS_IS or (kind is int and value.bit_length() <= _MOST_BITS):
            return repr(value)
        if kind is str:
            return self._beside(value) or repr(value)
        if kind not in _PLAIN and is_users(kind):
            self.inside.append((place, value))  # what it is made of is read by whoever follows it
        if isinstance(value, _PLAIN):
            plain = getattr(value, "item", lambda: value)()
            if isinstance(plain, int) and plain.bit_length() > _MOST_BITS:  # Python writes no longer one in decimals
                return f"{plain:#x}"
            written = next((base.__repr__ for base in _PLAIN if isinstance(plain, base)), repr)
            return written(plain)  # whatever a class of the user's says of itself
        if id(value) in self._around:
            return "..."
        self._around.append(id(value))
        try:
            return self._text(value, place)
        finally:
            self._around.pop()

    def _beside(self, path: str) -> str:
        """A path in the folder of the strategy as seen from there; empty for any other text."""
        for folder in self._folders:
            if path == folder or path.startswith(f"{folder}{os.sep}"):
                return f"{path[len(folder) :].replace(os.sep, '/')!r} beside the strategy"
        return ""

    def _text(self, value: Any, place: str) -> str:
        if isinstance(value, (types.FunctionType, type)):
            self.inside.append((place, value))
            return value.__qualname__
        for kinds, spelled in _KINDS:
            if isinstance(value, kinds):
                return spelled(self, value, place)
        if isinstance(value, pathlib.PurePath) and (beside := self._beside(str(value))):
            return f"path {beside}"
        if hasattr(value, "to_numpy"):
            return self._table(value, place)
        if hasattr(value, "dtype") and hasattr(value, "tobytes"):
            return self._array(value, place)
        from fractions import Fraction  # needed for unusual values alone

        plain = isinstance(value, (*_REPEATABLE, Fraction)) and not is_users(type(value))
        return repr(value) if plain else self._state(value, place)

    def _mapping(self, value: Mapping[Any, Any], place: str) -> str:
        factory = getattr(value, "default_factory", None)
        if factory is not None:
            self.inside.append((f"{place} default_factory", factory))
        parts = []
        for key, part in value.items():  # in its order: a strategy may go through it, and the first that holds wins
            name = self.text(key, f"{place} key")
            parts.append(f"{name}: {self.text(part, f'{place}[{name[:40]}]')}")
        return "{" + ", ".join(parts) + "}"

    def _set(self, value: set[Any] | frozenset[Any], place: str) -> str:
        before = len(self.inside)
        texts = sorted(self.text(part, f"{place} member") for part in value)
        self.inside[before:] = sorted(self.inside[before:], key=lambda found: self._rank(found[1]))
        return "{" + ", ".join(texts) + "}"

    def _rank(self, member: Any) -> tuple[str, ...]:
        """A place among the members of a set that does not depend on where they are in memory."""
        if isinstance(member, types.FunctionType):
            code = member.__code__
            rank = (code.co_qualname, digest_of_code(code, sys.modules.get(str(member.__module__))))
            content: list[Any] = [sorted(closure_of(member).items()), list(defaults_of(member))]
        else:
            rank = (type(member).__qualname__, str(getattr(member, "__qualname__", "")))
            content = [] if isinstance(member, type) else sorted(getattr(member, "__dict__", {}).items())
        return (*rank, _Speller(ranks=False, folders=self._folders).text(content, "") if self._ranks else "")

    def _sequence(self, value: list[Any] | tuple[Any, ...], place: str) -> str:
        texts = (
            repr(part) if type(part) in _AS_IS else self.text(part, f"{place}[{at}]") for at, part in enumerate(value)
        )
        return f"[{', '.join(texts)}]" if isinstance(value, list) else f"({', '.join(texts)})"

    def _struct(self, value: msgspec.Struct, place: str) -> str:
        fields = [f"{name}={self.text(getattr(value, name), f'{place}.{name}')}" for name in value.__struct_fields__]
        return f"{type(value).__name__}({', '.join(fields)})"

    def _called(self, value: Any, place: str) -> str:
        self.inside.append((place, value))
        inner = getattr(value, "func", None) or getattr(value, "__func__", None) or value
        return f"{type(value).__name__} {getattr(inner, '__qualname__', type(inner).__qualname__)}"

    def _module(self, value: types.ModuleType, place: str) -> str:
        self.inside.append((place, value))
        return f"module {value.__name__}"

    def _table(self, value: Any, place: str) -> str:
        columns = [str(name) for name in getattr(value, "columns", [])]
        index = getattr(value, "index", None)
        if hasattr(index, "to_numpy"):
            self.inside.append((f"{place} index", index))
        name = f"{type(value).__name__} {columns}"
        if hasattr(value, "dtypes") and hasattr(value, "iloc") and value.ndim == 2 and value.size > _LARGE:
            kinds = set(value.dtypes)
            if len(kinds) > 1:
                parts = (value.iloc[:, at].to_numpy() for at in range(len(columns)))
                return f"{name} by column {[self.text(part, place) for part in parts]}"
        return f"{name} {self.text(value.to_numpy(), place)}"

    def _array(self, value: Any, place: str) -> str:
        if getattr(value, "ndim", 0) == 0:
            return self.text(value.item(), place)
        if value.dtype.kind == "O":
            return self.text(value.tolist(), place)
        digest = hashlib.sha256(value.astype(value.dtype.newbyteorder("<")).tobytes()).hexdigest()[:16]
        return f"array {value.dtype.name} {tuple(value.shape)} sha256 {digest}"

    def _state(self, value: Any, place: str) -> str:
        """An object by what it would be pickled as; by its repr when it cannot be."""
        kind = type(value)
        if is_users(kind):
            return f"a {kind.__qualname__}{self._content(value, place)}"
        name = f"a {kind.__module__}.{kind.__qualname__}"
        pickled = _pickled(value)
        # some say something else every time
        if pickled.digest and (pickled.size > _TWICE_BYTES or pickled.digest == _pickled(value).digest):
            self.inside += [(f"{place} part {at}", part) for at, part in enumerate(pickled.found, start=1)]
            beyond = f" ({_BEYOND})" if pickled.size > _STATE_BYTES else ""
            return f"{name}, state sha256 {pickled.digest}{beyond}"
        text = _steady_repr(value)
        return f"{name} {text}" if text else _unknown(value)

    def _content(self, value: Any, place: str) -> str:
        """What an object of the user's holds beside its attributes, as one that extends ``deque`` or ``date`` does."""
        if not has_content(value):
            return ""
        try:
            _, given, _, *items = (*value.__reduce_ex__(4), None, None, None)[:5]
            parts = [[part for part in given if part is not type(value)], *(list(part or ()) for part in items)]
        except Exception:  # noqa: BLE001 -- whatever it raises: it cannot be written
            return f" {NOT_COMPARED}"
        return f" {self.text(parts, place)}" if any(parts) else ""

    def _memory(self, value: memoryview, _: str) -> str:
        digest = hashlib.sha256(value.tobytes()).hexdigest()[:16]
        return f"memory {value.format} {value.shape} sha256 {digest}"

    def _referred(self, value: Any, place: str) -> str:
        return f"reference to {self.text(value(), place)}"

    def _variable(self, value: contextvars.ContextVar[Any], place: str) -> str:
        try:
            return f"variable {value.name} = {self.text(value.get(), place)}"
        except LookupError:
            return f"variable {value.name}"

    def _of_thread(self, value: Any, place: str) -> str:
        return f"of this thread {self.text(sorted(vars(value).items()), place)} {NOT_COMPARED}"

    def _environment(self, *_: Any) -> str:
        return f"the environment {NOT_COMPARED}"


_KINDS: Final[tuple[tuple[Any, Callable[[Any, Any, str], str]], ...]] = (
    (type(os.environ), _Speller._environment),
    (Mapping, _Speller._mapping),
    (memoryview, _Speller._memory),
    (weakref.ref, _Speller._referred),
    (contextvars.ContextVar, _Speller._variable),
    (threading.local, _Speller._of_thread),
    ((set, frozenset), _Speller._set),
    ((list, tuple), _Speller._sequence),
    (msgspec.Struct, _Speller._struct),
    ((functools.partial, types.MethodType, types.BuiltinFunctionType), _Speller._called),
    (types.ModuleType, _Speller._module),
)


class _StatePickler(pickle.Pickler):
    """Writes what an object is made of; functions, classes and objects of the user's are put aside, sets are sorted."""

    def __init__(self, whole: Any, sink: Any, *, fast: bool) -> None:
        super().__init__(sink, protocol=4)
        self.fast = fast
        self.found: list[Any] = []
        self._whole = whole

    def persistent_id(self, thing: Any) -> str | None:
        """What is written in place of a part; None for the part itself."""
        kind = type(thing)
        if kind in _PLAIN or thing is None or thing is self._whole:
            return None
        if kind in (set, frozenset):
            return value_text(thing)
        own = is_users(thing if isinstance(thing, (types.FunctionType, type)) else kind)
        if not own:
            return None
        self.found.append(thing)
        return f"own {len(self.found)}"


class _FullError(Exception):
    """Ends the writing of a state that is longer than what is compared."""


class _Sink:
    """A file that hashes what is written to it, up to ``_STATE_BYTES``."""

    def __init__(self) -> None:
        self.hash = hashlib.sha256()
        self.size = 0

    def write(self, data: Any) -> None:
        """Hash a part; raises ``_FullError`` at the limit."""
        part = memoryview(data).cast("B")
        self.hash.update(part[: _STATE_BYTES - self.size])
        self.size += part.nbytes
        if self.size > _STATE_BYTES:
            raise _FullError


class _Pickled(NamedTuple):
    digest: str
    size: int  # bytes written; more than ``_STATE_BYTES`` where the writing was ended
    found: list[Any]


def _pickled(value: Any) -> _Pickled:
    """A digest of the state of an object, empty when it has none that can be written; and the user's own in it."""
    for fast in (True, False):  # fast: equal parts are written alike, whether or not they are one; circles it refuses
        sink = _Sink()
        pickler = _StatePickler(value, sink, fast=fast)
        try:
            pickler.dump(value)
        except _FullError:
            pass
        except Exception:  # noqa: BLE001, S112 -- whatever an object of somebody else raises: it cannot be written
            continue
        return _Pickled(sink.hash.hexdigest()[:16], sink.size, pickler.found)
    return _Pickled("", 0, [])


def _steady_repr(value: Any) -> str:
    """The repr of a value where it is its own and stable; else empty."""
    kind: Any = type(value)
    if kind.__repr__ is object.__repr__:
        return ""
    try:
        text = repr(value)
        return text if text == repr(value) and "0x" not in text else ""
    except Exception:  # noqa: BLE001 -- as above
        return ""


def _unknown(value: Any) -> str:
    return f"a {type(value).__module__}.{type(value).__qualname__} {NOT_COMPARED}"
