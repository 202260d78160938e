"""Logging: to the standard logger ``bknb``, or to one of your own."""

from __future__ import annotations

import logging
from typing import Protocol, runtime_checkable

from .errors import UsageError
from .process import at_reset

_METHODS = ("debug", "info", "warning", "error")


@runtime_checkable
class Log(Protocol):
    """What a logger must offer; every :class:`logging.Logger` does."""

    def debug(self, message: str, /, *values: object) -> object:
        """Log at level DEBUG."""

    def info(self, message: str, /, *values: object) -> object:
        """Log at level INFO."""

    def warning(self, message: str, /, *values: object) -> object:
        """Log at level WARNING."""

    def error(self, message: str, /, *values: object) -> object:
        """Log at level ERROR."""


class _Logger:
    """Passes every message on to the chosen logger; a logger that raises never stops a run."""

    def __init__(self) -> None:
        self.own = logging.getLogger("bknb")
        self.own.addHandler(logging.NullHandler())
        self.target: Log = self.own

    def use(self, logger: Log | None) -> None:
        """Pass messages on to ``logger``; None: to the standard logger."""
        self.target = self.own if logger is None else logger

    def debug(self, message: str, /, *values: object) -> None:
        """Log at level DEBUG; ``values`` fill the ``%`` places of ``message``."""
        self._log("debug", message, values)

    def info(self, message: str, /, *values: object) -> None:
        """Log at level INFO."""
        self._log("info", message, values)

    def warning(self, message: str, /, *values: object) -> None:
        """Log at level WARNING."""
        self._log("warning", message, values)

    def error(self, message: str, /, *values: object) -> None:
        """Log at level ERROR."""
        self._log("error", message, values)

    def _log(self, method: str, message: str, values: tuple[object, ...]) -> None:
        try:
            getattr(self.target, method)(message, *values)
        except Exception:  # noqa: BLE001 -- a foreign logger may raise anything
            self.own.exception("the logger given to set_logger raised while saying: %s", message)


log = _Logger()


def set_logger(logger: Log | None) -> None:
    """Send what bknb logs to ``logger`` from now on; ``None`` returns to the standard logger ``bknb``.

    Parameters
    ----------
    logger
        A :class:`logging.Logger`, or any object with the methods ``debug``, ``info``, ``warning`` and
        ``error``, each called as ``method(message, *values)`` with ``%`` places in the message. It may be
        called from several threads.

    Raises
    ------
    UsageError
        When a method is missing; the logger in use stays.

    Examples
    --------
    >>> import logging, bknb
    >>> bknb.set_logger(logging.getLogger("my.desk"))
    >>> bknb.set_logger(None)
    """
    if logger is None:
        log.use(None)
        return
    missing = [name for name in _METHODS if not callable(getattr(logger, name, None))]
    if missing:
        raise UsageError(
            f"set_logger expects an object with the methods {', '.join(_METHODS)}\n"
            f"{type(logger).__name__!r} lacks: {', '.join(missing)}\n"
            "pass a logging.Logger, or None for the standard one"
        )
    log.use(logger)


@at_reset
def _reset() -> None:
    set_logger(None)
