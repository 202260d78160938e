"""Large arrays of candles in temporary files that are mapped into memory: what of them was read can be let go again.

A portfolio walks over the candles of all its symbols at once, from the oldest to the newest, and needs at each moment
those around it. In files they take memory only where they are read: what was let go is read again when somebody asks,
from the memory in which the system keeps files as long as nothing else needs that.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import threading
import weakref
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..domain.interval import DAY_MS
from .candles import Candles

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SMALLEST: Final = 2**20  # bytes; smaller arrays stay in memory
_MOST: Final = 256  # files
_PASSED_MS: Final = 14 * DAY_MS  # what was read is let go this often
_LET_GO: Final = getattr(mmap, "MADV_DONTNEED", None)  # not every system can
_AT_ONCE: Final = 2**16  # bytes; Linux keeps what is written at once in one piece, and reads it as one: up to 2 MiB


class CandleFiles:
    """Large arrays, each in a temporary file without a name, which the system deletes with the array.

    Where no such file can be made or written, or the system cannot let memory of it go, arrays stay as they are.

    Parameters
    ----------
    smallest
        How large an array is at least that gets a file, bytes.

    Examples
    --------
    >>> files, prices = CandleFiles(smallest=0), np.arange(3.0)
    >>> files.put(prices)
    array([0., 1., 2.])
    """

    def __init__(self, *, smallest: int = _SMALLEST) -> None:
        self._smallest = smallest
        self._files: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()
        self._most = most_mapped()
        self._changing = threading.Lock()  # candles come in another thread than the run is in
        self._next = 0  # the moment (UTC ms) from which on what was read is let go

    def put(self, array: NDArray[Any]) -> NDArray[Any]:
        """The same values, read-only, in a file; the array itself where it is small, or in one already."""
        if _LET_GO is None or array.nbytes < self._smallest or len(self._files) >= self._most or _is_mapped(array):
            return array
        self.let_go()  # of what was read to make this one
        try:
            memory = _mapped(np.ascontiguousarray(array))
        except OSError:  # no space, too many open files, no memory that can be mapped
            return array
        with self._changing:
            self._files.add(memory)
        return np.frombuffer(memory, array.dtype).reshape(array.shape)

    def kept(self, candles: Candles) -> Candles:
        """The same candles, in a file where there are many."""
        block = self.put(candles.block)
        return candles if block is candles.block else Candles(block)

    def let_go(self) -> None:
        """Let go of the memory of what was read so far."""
        with self._changing:
            files = list(self._files)
        for memory in files:
            memory.madvise(_LET_GO)  # type: ignore[arg-type]  # there are none where the system cannot

    def passed(self, when: int) -> None:
        """Let go of what was read once in a while, as a run comes to a moment (UTC ms)."""
        if when >= self._next:
            self._next = when + _PASSED_MS
            self.let_go()


def most_mapped() -> int:
    """How many files are mapped at most: each takes one of those that a process may have open, here a quarter of them.

    Examples
    --------
    >>> 0 < most_mapped() <= 256
    True
    """
    try:
        import resource  # not every system has it
    except ImportError:
        return _MOST
    open_at_most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST if open_at_most == resource.RLIM_INFINITY else max(min(_MOST, open_at_most // 4), 1)


def _mapped(array: NDArray[Any]) -> mmap.mmap:
    """The bytes of an array in a temporary file, mapped into memory."""
    with tempfile.TemporaryFile(prefix="bknb-candles-", buffering=0) as file:
        write_in_pieces(file.fileno(), array.reshape(-1).view(np.uint8).data)
        return mmap.mmap(file.fileno(), array.nbytes, access=mmap.ACCESS_READ)


def write_in_pieces(file: int, left: memoryview) -> None:
    """Write bytes to an open file that is to be mapped, so that few of them come into memory with one that is read."""
    while left:
        left = left[os.write(file, left[:_AT_ONCE]) :]


def _is_mapped(array: NDArray[Any]) -> bool:
    """Whether the memory of an array is that of a file."""
    owner: object = array
    while isinstance(owner, np.ndarray) and owner.base is not None:
        owner = owner.base
    return isinstance(owner, memoryview) and isinstance(owner.obj, mmap.mmap)
