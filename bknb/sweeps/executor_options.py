"""What an ``executor=`` option may be."""

from __future__ import annotations

from os import cpu_count

from ..errors import UsageError


def is_inline(executor: object) -> bool:
    """Whether an ``executor=`` option names this process."""
    return executor is None or (isinstance(executor, str) and executor == "inline")


def checked_executor(executor: object) -> None:
    """Raise ``UsageError`` for an ``executor=`` option that names no executor."""
    if is_inline(executor) or executor == "processes":
        return
    if isinstance(executor, int) and not isinstance(executor, bool) and executor > 0:
        return
    if not isinstance(executor, str) and (hasattr(executor, "submit") or hasattr(executor, "map")):
        return
    raise UsageError(
        f"executor must be 'inline', 'processes', a number of workers, a dask.distributed Client, or a pool with "
        f"submit or map\ngot {executor!r:.80}"
    )


def processes_of(executor: object) -> int | None:
    """How many worker processes an ``executor=`` option is; ``None``: it is another one.

    Examples
    --------
    >>> processes_of(2), processes_of(None)
    (2, None)
    """
    if executor == "processes":
        return cpu_count() or 1
    return executor if isinstance(executor, int) else None
