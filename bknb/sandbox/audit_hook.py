"""An audit hook that refuses and records what a sandboxed strategy attempts."""

from __future__ import annotations

import sys
from typing import Any, Final

# Events that Python raises while a strategy only computes.
_QUIET: Final = frozenset(
    {
        "array.__new__",
        "builtins.id",
        "code.__new__",
        "compile",
        "exec",
        "gc.get_objects",
        "gc.get_referents",
        "gc.get_referrers",
        "import",
        "object.__getattr__",
        "sys._getframe",
        "sys.setprofile",
        "sys.set_asyncgen_hook_finalizer",
        "sys.set_asyncgen_hook_firstiter",
        "sys._getframemodulename",
        "sys.excepthook",
        "sys.unraisablehook",
        "time.sleep",
        "_thread.start_new_thread",
        "_thread.start_joinable_thread",
        "cpython._PySys_ClearAuditHooks",
        "bknb.run",
    }
)


_ACTIONS: Final = (
    (("open", "os.listdir", "os.scandir", "glob", "shutil", "tempfile", "os.mkdir"), "to use files"),
    (("socket", "urllib", "http", "ftplib", "smtplib", "poplib", "imaplib", "telnetlib"), "to use the network"),
    (("subprocess", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "pty"), "to start a program"),
    (("ctypes", "mmap", "marshal", "pickle", "sys.set", "sys._current", "os.kill", "signal"), "to reach behind Python"),
    (("compile", "exec", "code.__new__", "import"), "to run text as code, or to import something new"),
    (("object.__getattr__", "object.__setattr__", "object.__delattr__", "gc.", "sys."), "to reach behind objects"),
    (("os.", "fcntl", "resource", "syslog", "winreg", "msvcrt"), "to change something outside"),
)


class AuditHook:
    """Refuses Python's audit events while a strategy runs, and records those it caused.

    Parameters
    ----------
    filename
        The file name the strategy's code was compiled under: what it attempts is recorded in ``seen``, also when it
        catches the error; an event that Python causes (a traceback that quotes a line) is only refused.
    """

    def __init__(self, filename: str) -> None:
        self.filename = filename
        self.seen: list[str] = []
        self._busy = False

    def begin(self) -> None:
        """Install the hook; it stays for the life of this process."""
        sys.addaudithook(self._on_event)

    def _on_event(self, event: str, _arguments: tuple[Any, ...]) -> None:
        if self._busy:
            return
        self._busy = True
        try:
            by_strategy = self._is_on_the_stack(event)
        finally:
            self._busy = False
        if event in _QUIET and not by_strategy:
            return
        if event in ("builtins.id", "array.__new__", "time.sleep", "sys.excepthook", "_thread.start_new_thread"):
            return
        what = next((action for starts, action in _ACTIONS if event.startswith(starts)), "something it may not")
        if by_strategy:
            self.seen.append(what)
        raise PermissionError(f"a strategy that is tried out tried {what} ({event})")

    def _is_on_the_stack(self, event: str) -> bool:
        """Whether the strategy's code caused this event; for quiet events only its direct calls count."""
        frame: Any = sys._getframe(2)
        depth = 0
        direct = event in _QUIET
        while frame is not None and depth < 200:
            if frame.f_code.co_filename == self.filename:
                return True
            if direct:
                return False
            frame = frame.f_back
            depth += 1
        return False
