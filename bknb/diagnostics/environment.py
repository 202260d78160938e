"""The environment of bknb, read only: packages, JupyterLab's extensions, the kernel, Ollama, folders."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata, version
from pathlib import Path
from typing import Any, Final
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from ..errors import StateError
from ..stores.lock import StateLock
from ..stores.sealed_values import address_of

_OLLAMA: Final = "http://127.0.0.1:11434"
_TIMEOUT_SECONDS: Final = 2.0


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


def is_older(have: str, lowest: str) -> bool:
    """Whether a version comes before another one in pip's order; False for a text that is no version.

    Examples
    --------
    >>> is_older("7.9", "7.10.0"), is_older("7.10.0rc1", "7.10.0"), is_older("7.10.0.post1", "7.10.0")
    (True, True, False)
    >>> is_older("local build", "7.10.0")
    False
    """
    try:
        return Version(have) < Version(lowest)
    except InvalidVersion:
        return False


def major(text: str) -> int:
    """The first number of a version; 0 for a text that is no version.

    Examples
    --------
    >>> major("8.1.5"), major("5.0.0-alpha.1"), major("?")
    (8, 5, 0)
    """
    try:
        return Version(text).major
    except InvalidVersion:
        return 0


def needs(package: str = "bknb") -> Iterator[tuple[str, str, str]]:
    """Requirements of a package here: name, lowest version, and the extra it belongs to (empty: always needed)."""
    try:
        described = metadata(package)
    except PackageNotFoundError:
        return
    extras = ["", *(described.get_all("Provides-Extra") or [])]
    for line in described.get_all("Requires-Dist") or []:
        need = Requirement(line)
        if canonicalize_name(need.name) == package:
            continue
        lowest = next((part.version for part in need.specifier if part.operator == ">="), "0")
        wanted_by = [extra for extra in extras if need.marker is None or need.marker.evaluate({"extra": extra})]
        for extra in wanted_by[:1] if "" in wanted_by else wanted_by:
            yield need.name, lowest, extra


def lab_extensions() -> dict[str, str]:
    """Installed front-end extensions of JupyterLab: name to version."""
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
    """Whether a file can be made in a folder, by making a temporary one; the folder itself is not made."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def kernel_cache() -> Path:
    """The folder of numba's compiled kernels."""
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
        with urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310 -- the scheme is known
            models: list[Any] = json.load(answer)["models"]
            return [str(model["name"]) for model in models]
    except (URLError, ValueError, KeyError, TypeError) as error:
        raise OSError(str(getattr(error, "reason", error))) from None


def state_holder(root: Path) -> str | None:
    """The process that holds a state folder now; ``None`` when none does. Its lock is taken for a moment."""
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
    """Number of intact values, paths of damaged ones, and paths of those moved aside that wait for a decision."""
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
