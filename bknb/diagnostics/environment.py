"""What bknb finds around itself: packages, JupyterLab's extensions, the kernel, Ollama, folders. It looks, only."""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any, Final
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from ..errors import StateError
from ..stores.lock import StateLock
from ..stores.record import address_of

_NEED: Final = re.compile(
    r"^([A-Za-z0-9_.-]+)(?:\[[^\]]*\])?\s*(?:\(?>=\s*([\w.]+)\)?)?[^;]*(?:;.*extra\s*==\s*['\"](\w+)['\"])?"
)
_OLLAMA: Final = "http://127.0.0.1:11434"
_PATIENCE_SECONDS: Final = 2.0


def installed(package: str) -> str | None:
    """The version of an installed package.

    Examples
    --------
    >>> installed("no-such-package") is None
    True
    """
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def numbers(text: str) -> tuple[int, ...]:
    """The leading numbers of a version, for comparing.

    Examples
    --------
    >>> numbers("7.10.0rc1") > numbers("7.9")
    True
    """
    return tuple(int(part) for part in re.findall(r"\d+", re.split(r"[a-z+]", text, maxsplit=1)[0]))


def needs(package: str = "bknb") -> Iterator[tuple[str, str, str]]:
    """What a package needs: name, lowest version, and the extra it belongs to (empty for what is always needed)."""
    try:
        lines = requires(package) or []
    except PackageNotFoundError:
        return
    for line in lines:
        found = _NEED.match(line)
        if found and found[1].lower() != package:
            yield found[1], found[2] or "0", found[3] or ""


def lab_extensions() -> dict[str, str]:
    """Installed front-end extensions of JupyterLab and their versions."""
    try:
        from jupyter_core.paths import jupyter_path
    except ImportError:
        return {}
    found: dict[str, str] = {}
    for folder in jupyter_path("labextensions"):
        for file in [*Path(folder).glob("*/package.json"), *Path(folder).glob("@*/*/package.json")]:
            try:
                described = json.loads(file.read_text(encoding="utf-8"))
                found.setdefault(str(described["name"]), str(described.get("version", "?")))
            except (OSError, ValueError, KeyError):
                continue
    return found


def kernel_python() -> str | None:
    """The interpreter behind the kernel called ``python3``; ``None`` when there is no such kernel."""
    try:
        from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
    except ImportError:
        return None
    try:
        command = KernelSpecManager().get_kernel_spec("python3").argv
    except NoSuchKernel:
        return None
    return sys.executable if command[0] in ("python", "python3") else str(command[0])


def can_write(folder: Path) -> bool:
    """Whether a file can be made in a folder, tried; a folder that does not exist is not made."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def kernel_cache() -> Path:
    """Where numba keeps what it compiled."""
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    return Path(chosen) if chosen else Path(__file__).resolve().parent.parent / "kernels" / "__pycache__"


def ollama_host() -> str:
    """The address of Ollama, as its own tools read it from ``OLLAMA_HOST``."""
    given = os.environ.get("OLLAMA_HOST", "").strip()
    if not given:
        return _OLLAMA
    address = given if "://" in given else f"http://{given}"
    parts = urlsplit(address)
    host = "127.0.0.1" if parts.hostname in (None, "0.0.0.0") else parts.hostname  # noqa: S104 -- compared, not bound
    return f"{parts.scheme}://{host}:{parts.port or (443 if parts.scheme == 'https' else 11434)}"


def ollama_models(host: str) -> list[str]:
    """Names of the models Ollama has.

    Raises
    ------
    OSError
        When it does not answer, or answers something else.
    """
    request = Request(f"{host}/api/tags", headers={"Accept": "application/json"})  # noqa: S310 -- http or https, below
    if not host.startswith(("http://", "https://")):
        raise OSError(f"{host} is no address")
    try:
        with urlopen(request, timeout=_PATIENCE_SECONDS) as answer:  # noqa: S310 -- the scheme is known
            models: list[Any] = json.load(answer)["models"]
            return [str(model["name"]) for model in models]
    except (URLError, ValueError, KeyError, TypeError) as error:
        raise OSError(str(getattr(error, "reason", error))) from None


def state_holder(root: Path) -> str | None:
    """Who uses a state folder now; ``None`` when nobody does. It is used for a moment, to find out."""
    if not (root / "bknb.lock").exists():
        return None
    lock = StateLock(root / "bknb.lock", place=root)
    try:
        lock.acquire()
    except StateError as error:
        return str(error).splitlines()[0].partition("in use by ")[2] or str(error).splitlines()[0]
    lock.release()
    return None


def state_health(root: Path) -> tuple[int, list[str], list[str]]:
    """Saved values in order, damaged ones, and those that were moved aside and wait for a decision."""
    good, damaged = 0, []
    for path in sorted(root.glob("*/**/*.json")):
        try:
            intact = address_of(path.read_bytes()) is not None
        except OSError:
            intact = False
        if intact:
            good += 1
        else:
            damaged.append(path.relative_to(root).as_posix())
    aside = [
        path.relative_to(root).as_posix()
        for path in sorted(root.glob("*/**/*.json.corrupt-*"))
        if not path.name.endswith(".settled")
    ]
    return good, damaged, aside
