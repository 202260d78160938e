"""The recorder of ``bknb share``: candles, files and packages a notebook uses, recorded inside its kernel."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Any, Final

import msgspec

from ..engine.registry import registry
from ..exchanges.candle_bundle import CandleFile, Record, write_candles
from ..market.candle_fingerprint import fingerprint
from ..market.candles import Candles
from ..market.system_clock import SystemClock
from ..runs.card_of_result import made_with

INPUTS: Final = "inputs.json"
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1", "0.0.0.0", "", None})  # noqa: S104 -- compared, not bound
_SKIPPED: Final = frozenset({"__pycache__", ".ipynb_checkpoints", ".git", ".venv", "node_modules"})


class NotebookInputs(msgspec.Struct, frozen=True, kw_only=True):
    """Inputs of a notebook: files read (relative to its folder), files outside it, modules, candles, versions.

    ``began`` is when recording began (UTC ms): a file that changed later was written by the notebook.
    """

    began: int
    inside: tuple[str, ...]
    outside: tuple[str, ...]
    modules: tuple[str, ...]
    candles: tuple[CandleFile, ...]
    made_with: dict[str, str]


class Recorder:
    """Records the inputs of one process from its start on; made in a hidden first cell of a shared notebook.

    Parameters
    ----------
    offline
        Whether to refuse every connection that leaves this machine.
    """

    def __init__(self, *, offline: bool = False) -> None:
        self.folder = Path.cwd()
        self.record = Record()
        self.opened: dict[str, None] = {}
        self.offline = offline
        self.began = SystemClock().now()
        registry.middleware.append(self.record.wrap)
        sys.addaudithook(self._audit_hook)

    def _audit_hook(self, event: str, details: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode = details[0], details[1]
            if isinstance(path, (str, os.PathLike)) and not set(str(mode or "r")) & set("wax+"):
                self.opened.setdefault(os.path.join(os.getcwd(), os.fspath(path)))  # noqa: PTH109, PTH118 -- no I/O here
        elif self.offline and event in ("socket.connect", "socket.getaddrinfo"):
            address = details[1] if event == "socket.connect" else details[0]
            host = address[0] if isinstance(address, tuple) else address
            if isinstance(host, bytes):
                host = host.decode()
            if host not in _LOOPBACK and not (isinstance(address, str) and address.startswith("/")):
                raise ConnectionRefusedError(f"a shared notebook runs without a network; it asked for {host}")

    def write(self, folder: str) -> None:
        """Write the recorded inputs into a folder."""
        target = Path(folder)
        inside, outside = self._files()
        inputs = NotebookInputs(
            began=self.began,
            inside=inside,
            outside=outside,
            modules=tuple(sorted({name.partition(".")[0] for name in sys.modules})),
            candles=write_candles(target, self.record.merged(), fingerprint=fingerprint_of),
            made_with=made_with(),
        )
        (target / INPUTS).write_bytes(msgspec.json.encode(inputs))

    def _files(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        modules = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
        seen = dict.fromkeys([*self.opened, *(file for file in modules if isinstance(file, str))])
        inside, outside = [], []
        for name in seen:
            path = Path(name)
            with contextlib.suppress(OSError, ValueError):
                if not path.is_file() or set(path.parts) & _SKIPPED:
                    continue
                if path.is_relative_to(self.folder):
                    relative = path.relative_to(self.folder)
                    if ".." not in relative.parts and not any(part.startswith("site-packages") for part in path.parts):
                        inside.append(relative.as_posix())
                elif not _is_of_python(path):
                    outside.append(str(path))
        return tuple(sorted(set(inside))), tuple(sorted(set(outside)))


def _is_of_python(path: Path) -> bool:
    ours = Path(__file__).parent.parent
    folders = (sys.prefix, sys.base_prefix, str(ours), "/proc", "/dev", "/sys")
    return any(path.is_relative_to(folder) for folder in folders)


def fingerprint_of(candles: Candles, key: tuple[str, str, str]) -> dict[str, Any]:
    """The fingerprint of a series as plain data."""
    exchange, symbol, interval = key
    made: dict[str, Any] = msgspec.to_builtins(
        fingerprint(candles, exchange=exchange, symbol=symbol, interval=interval)
    )
    return made
