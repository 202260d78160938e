"""Values of indicators on disk, a file for each block, named by all that decides them.

That is the code of the function with all it calls and the values it reads, its parameters and its look-back; the
versions of Python, bknb, numpy and what else makes numbers; the processor; and the candles of the block with those
before it. A file is written whole or not at all, and sealed: one that is torn, flipped or of something else is not
taken, and is written anew. The folder may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import os
import platform
from functools import cache, partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from ..market import talib_functions
from ..market.indicator_formula import Formula, Made, Parameter
from ..stores.atomic import write_whole
from ..stores.disk import Disk
from .source_code_and_hash import read_code, source_hash

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

FOLDER: Final = "indicators"
_WITHOUT_STORE: Final = Path("dump")
_MAGIC: Final = b"bknb values 1\n"
_SEAL: Final = 32  # bytes
_MAKE_NUMBERS: Final = ("numpy", "pandas", "scipy", "numba", "bottleneck", "numexpr", "polars", "pyarrow")
_THREADS: Final = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")  # sums may be rounded in their way


class _Block(msgspec.Struct, array_like=True):
    """The values of a block: how many rows, the names of several outputs, and the floats, output after output."""

    rows: int
    names: tuple[str, ...] | None
    values: bytes


class _Unsynced(Disk):
    """A disk that is not waited for: what a power cut takes is made again, and what it tears is not taken."""

    def sync(self, handle: int) -> None:
        """Return at once."""

    def sync_folder(self, folder: Path) -> None:
        """Return at once."""


class ValuesOnDisk:
    """Values of one indicator in a folder.

    Parameters
    ----------
    folder
        Where they are; it is made when the first are kept.
    key
        All that decides them beside candles.
    warn
        Called where they cannot be written.
    """

    def __init__(self, folder: Path, key: str, warn: Callable[[str], object]) -> None:
        self._key = hashlib.sha256(key.encode()).digest()
        self._folder, self._warn = folder / self._key.hex()[:16], warn

    def of(self, known: Floats, before: int) -> Made | None:
        """The values of a block, NaN for the candles ``before`` it; ``None``: they are not there, or not whole."""
        name = self._name_of(known)
        try:
            content = self._place(name).read_bytes()
        except OSError:
            return None
        body = content[len(_MAGIC) + _SEAL :]
        if content[: len(_MAGIC) + _SEAL] != _MAGIC + self._seal(name, body):
            return None
        block = msgspec.msgpack.decode(body, type=_Block)
        values = np.frombuffer(block.values).reshape(-1, block.rows)
        return Made(np.concatenate([np.full((len(values), before), np.nan), values], axis=1), block.names)

    def keep(self, known: Floats, made: Made, before: int) -> None:
        """Keep what was made of a block."""
        values = made.values[:, before : known.shape[1]]
        body = msgspec.msgpack.encode(_Block(values.shape[1], made.names, np.ascontiguousarray(values).tobytes()))
        name = self._name_of(known)
        try:
            write_whole(self._place(name), _MAGIC + self._seal(name, body) + body, disk=_Unsynced())
        except OSError as error:
            self._warn(f"values of indicators cannot be kept in {self._folder.parent}: {error}")

    def _name_of(self, known: Floats) -> bytes:
        return hashlib.sha256(self._key + np.ascontiguousarray(known).tobytes()).digest()

    def _place(self, name: bytes) -> Path:
        return self._folder / f"{name.hex()[:32]}.values"

    @staticmethod
    def _seal(name: bytes, body: bytes) -> bytes:
        return hashlib.sha256(name + body).digest()


def kept(
    chosen: bool | str,  # noqa: FBT001 -- the value of a setting
    source: Any,
    formula: Formula,
    about: tuple[object, ...],
    warn: Callable[[str], object],
) -> ValuesOnDisk | None:
    """Where values of a formula are kept, as the setting ``indicator_cache`` says.

    ``about`` is what decides them beside the formula: interval, and how its blocks are padded. ``None``: nobody can
    tell whether its code is the same.
    """
    called = partial(formula.function, *(each.value for each in formula.takes if isinstance(each, Parameter)))
    code = read_code(called)
    if code.not_compared:
        warn(f"values of the indicator {formula.name} are not kept on disk: {'; '.join(code.not_compared)}")
        return None
    columns = [each if isinstance(each, str) else "" for each in formula.takes]
    versions = [_version(name) for name in dict.fromkeys((*_MAKE_NUMBERS, *code.packages))]
    parts = (source_hash(called), columns, formula.name, formula.lookback, about, versions, _machine())
    return ValuesOnDisk(_folder(chosen, source), repr(parts), warn)


def _folder(chosen: bool | str, source: Any) -> Path:  # noqa: FBT001 -- the value of a setting
    if isinstance(chosen, str):
        return Path(chosen).expanduser()
    root = getattr(getattr(source, "store", None), "root", None)
    return (_WITHOUT_STORE if root is None else Path(root).parent) / FOLDER


@cache
def _version(package: str) -> str:
    """The version of what is installed under the name of a module."""
    return " ".join([package, *(metadata.version(each) for each in _distributions().get(package, ()))])


@cache
def _distributions() -> Mapping[str, Sequence[str]]:
    return metadata.packages_distributions()


def _machine() -> tuple[object, ...]:
    """What decides how numbers are rounded beside packages."""
    threads = [os.environ.get(name) for name in _THREADS]
    return platform.python_version(), platform.machine(), vector_instructions(), os.cpu_count(), threads, *_own()


@cache
def _own() -> tuple[object, ...]:
    """The version of TA-Lib, and a digest of what bknb computes indicators with."""
    modules = sorted(Path(talib_functions.__file__).parent.glob("*.py"))
    digest = hashlib.sha256(b"\0".join(module.read_bytes() for module in modules)).hexdigest()
    return talib_functions.talib_version(), digest


def vector_instructions() -> str:
    """The newest vector instructions of the processor that numpy uses: sums may be rounded in their way."""
    known: Any = np.show_config(mode="dicts")
    parts = known.get("SIMD Extensions", {})
    names = [*parts.get("baseline", ()), *parts.get("found", ())]
    return str(names[-1]) if names else "none"
