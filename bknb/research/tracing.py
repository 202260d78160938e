"""Tracing of what a strategy reads besides its candles: clocks, files, databases, programs and the network."""

from __future__ import annotations

import ast
import dis
import inspect
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from types import FrameType
from typing import Any, Final

from ..user_code import is_bknb_file, is_installed_file, is_users_file
from .check_threads import belongs
from .variables import functions

CLOCKS: Final = frozenset({"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns"})
CALENDARS: Final = {"localtime": 0, "gmtime": 0, "ctime": 0, "asctime": 0, "strftime": 1}
"""Functions of ``time`` that show the present unless they are given a moment, and how many arguments come before it."""
_NOW: Final = frozenset({"now", "utcnow", "today"})
_CODE: Final = (".py", ".pyc", ".so", ".pyd", ".dll", ".ipynb")
_DEVICES: Final = ("/dev/", "/proc/", "/sys/")
_REACHES: Final = {
    "socket.connect": "the network",
    "subprocess.Popen": "another program",
    "os.system": "another program",
    "sqlite3.connect": "a database",
}


@dataclass(slots=True)
class Tracer:
    """Clocks and files that a strategy read while it was traced.

    Attributes
    ----------
    clocks, files : dict of str to str
        Name of the clock or file, and the line that read it.
    """

    clocks: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Trace this thread, and for files all that belong to the check, inside the ``with`` block."""
        _install()
        before = sys.getprofile()
        _tracers.append(self)
        sys.setprofile(self._called)
        try:
            yield
        finally:
            sys.setprofile(before)
            _tracers.remove(self)

    def _called(self, frame: FrameType, event: str, arg: Any) -> None:
        if event != "c_call" or not is_users_file(frame.f_code.co_filename):
            return
        name, owner = getattr(arg, "__name__", ""), getattr(arg, "__self__", None)
        if name in _NOW and isinstance(owner, type) and issubclass(owner, date):
            self.clocks.setdefault(f"{owner.__name__}.{name}", _line(frame))
        elif getattr(owner, "__name__", "") != "time":
            return
        elif name in CLOCKS or (name in CALENDARS and _arguments(frame) <= CALENDARS[name]):
            self.clocks.setdefault(f"time.{name}", _line(frame))

    def on_audit_event(self, event: str, args: tuple[Any, ...]) -> None:
        """Note an audit event of a thread of the check: a file opened, or the network or another program used."""
        path = _data_file(args) if event == "open" else _REACHES.get(event, "")
        if not path:
            return
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and not is_users_file(frame.f_code.co_filename):
            if is_bknb_file(frame.f_code.co_filename) and "tracing" not in frame.f_code.co_filename:
                return  # one of bknb's own sources fetches candles
            frame = frame.f_back
        if frame is not None:
            self.files.setdefault(path, _line(frame))


def _arguments(frame: FrameType) -> int:
    """How many arguments the call has at which a frame is; 0 for ``f(*args)``, whose number is not in the code."""
    code = frame.f_code.co_code
    called = dis.opname[code[frame.f_lasti]]
    return code[frame.f_lasti + 1] if called in ("PRECALL", "CALL", "CALL_KW") else 0


def _data_file(args: tuple[Any, ...]) -> str:
    path, mode = args[0], args[1] if len(args) > 1 else None
    if isinstance(path, int) or (isinstance(mode, str) and not set(mode) & {"r", "+"}):
        return ""
    return data_file_name(str(path))


def data_file_name(path: str) -> str:
    """The name under which a file is reported; empty for code, devices and files of installed packages."""
    if path.endswith(_CODE) or path.startswith(_DEVICES) or is_installed_file(path):
        return ""
    return f"the file {Path(path).name}"


def _line(frame: FrameType) -> str:
    name = frame.f_code.co_filename
    return f"{name if name.startswith('<') else Path(name).name}, line {frame.f_lineno}"


_tracers: list[Tracer] = []  # one at most: a check is alone in its process

_installed = threading.Event()


def _install() -> None:
    """Install the audit hook once; Python cannot remove one, so it does nothing while no tracer is active.

    It runs until the process ends, when this module's names are None already: so it holds its own references.
    """
    if _installed.is_set():
        return
    _installed.set()
    reaches, tracers, of_check = _REACHES, _tracers, belongs

    def on_event(event: str, args: tuple[Any, ...]) -> None:
        if tracers and (event == "open" or event in reaches) and of_check():
            for tracer in [*tracers]:
                tracer.on_audit_event(event, args)

    sys.addaudithook(on_event)


def clock_calls(function: Callable[..., Any]) -> dict[str, str]:
    """Calls of a clock, such as ``pd.Timestamp.now()``, in the source text of the user's code."""
    found: dict[str, str] = {}
    for one in functions(function):
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(one)))
        except (OSError, TypeError, SyntaxError, IndentationError):
            continue
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            is_now = any(isinstance(word, ast.Constant) and word.value in ("now", "today") for word in node.args)
            if name.split(".")[-1] in _NOW and "." in name:
                found.setdefault(name, one.__name__)
            elif is_now and name.split(".")[-1] in ("datetime64", "Timestamp", "to_datetime"):
                found.setdefault(f"{name}('now')", one.__name__)
    return found
