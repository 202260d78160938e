"""A new virtual environment with the pinned packages of a shared folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import Final

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from ..errors import UsageError
from .uv_instead_of_pip import CHOICES, UvOptions, uv_command, uv_options

REQUIREMENTS: Final = "binder/requirements.txt"
_LONGEST_SECONDS: Final = 1800.0
_NO_CONNECTION: Final = re.compile(
    r"connection broken by|NewConnectionError|Max retries exceeded|ConnectTimeout|ReadTimeout|Read timed out"
    r"|ProxyError|name resolution|Network is unreachable"
)
_GIVEN_UP: Final = re.compile(r"Retrying \(Retry\(total=0\b.*/(?P<name>[^/\s]+)/?$")
"""Pip's last attempt to get the page of a package."""
_NOTHING_FOUND: Final = re.compile(
    r"satisfies the requirement (?P<name>[A-Za-z0-9][A-Za-z0-9._-]*).*\(from versions: none\)$"
)
_PIP_WITH_PYTHON: Final = Version("22.3")
"""The first pip with the option ``--python``."""
_OF_THIS_ENVIRONMENT: Final = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__"} | CHOICES


class NoFreshEnvironment(Exception):  # noqa: N818 -- no fault of the notebook: its text is a reason, "as ..."
    """No environment can be made here, whatever the pins are; the text is the reason."""


def make_environment(folder: Path, place: Path, *, timeout_seconds: float = _LONGEST_SECONDS) -> Path:
    """Make a virtual environment with the pins of a shared folder in ``place``; returns its Python.

    uv installs them where it is installed and pip's settings mean the same to it; otherwise, or where it cannot, pip.

    Parameters
    ----------
    folder
        A folder with ``binder/requirements.txt``, and the wheel of bknb it names.
    place
        Where to make the environment; it must not exist.
    timeout_seconds
        Longest time for making it, and for installing into it.

    Raises
    ------
    NoFreshEnvironment
        This Python cannot make environments, the package registry cannot be reached, or it takes too long.
    UsageError
        The registry was reached, and what is pinned cannot be installed.
    """
    python = place / ("Scripts" if os.name == "nt" else "bin") / "python"
    borrowed = _pip_that_installs_elsewhere()  # a pip of its own takes seconds to install
    pip = ["-m", "pip", "--python", str(python)] if borrowed else ["-m", "pip"]
    make = [sys.executable, "-m", "venv", *(["--without-pip"] if borrowed else []), str(place)]
    made = _run(make, folder, timeout_seconds)
    if made.returncode:
        raise NoFreshEnvironment(f"this Python cannot make a virtual environment ({_last_line(made)})")
    if _installed_by_uv(python, folder, timeout_seconds):
        return python
    install = [
        *pip,
        "--disable-pip-version-check",
        "--no-input",
        "install",
        "--no-compile",  # it runs one notebook, which imports a part of all that
        "--retries",
        "2",
        "-r",
        REQUIREMENTS,
    ]
    installed = _run([sys.executable if borrowed else str(python), *install], folder, timeout_seconds)
    if installed.returncode:
        if registry_unreachable(installed.stdout):
            raise NoFreshEnvironment("the package registry cannot be reached")
        raise UsageError(
            f"not shared: its pins cannot be installed. {_last_line(installed)}\n"
            "a package that is on no registry must lie beside the notebook"
        )
    return python


def _pip_that_installs_elsewhere() -> bool:
    """Whether the pip of this Python, if it has one, takes ``--python``."""
    pip = _pip_version()
    return pip is not None and pip >= _PIP_WITH_PYTHON


def _pip_version() -> Version | None:
    try:
        return Version(metadata.version("pip"))
    except (metadata.PackageNotFoundError, InvalidVersion):
        return None


def _installed_by_uv(python: Path, folder: Path, timeout_seconds: float) -> bool:
    """Whether uv installed the pins; where it did not, pip says why it cannot."""
    uv = uv_command()
    given = _options_for_uv(folder, timeout_seconds) if uv else None
    if given is None:
        return False
    install = [*uv, "pip", "install", "--python", str(python), *given.options, "-r", REQUIREMENTS]
    variables = {"UV_HTTP_RETRIES": "1", **given.variables}  # pip tries again
    return not _run(install, folder, timeout_seconds, variables).returncode


def _options_for_uv(folder: Path, timeout_seconds: float) -> UvOptions | None:
    if _pip_version() is None:
        return uv_options("")
    listed = _run([sys.executable, "-m", "pip", "config", "list"], folder, timeout_seconds)
    return None if listed.returncode else uv_options(listed.stdout)


def registry_unreachable(output: str) -> bool:
    """Whether pip failed because it reached no registry, from what it wrote; attempts that it repeated do not count.

    Without a connection pip says the same as of a package that does not exist. The two are distinguished by whether it
    had given up getting the page of that very package.

    Examples
    --------
    >>> registry_unreachable("ERROR: No matching distribution found for sma==1.0")
    False
    """
    lines = [line.strip() for line in output.splitlines()]
    first = next((number for number, line in enumerate(lines) if line.startswith("ERROR")), len(lines))
    reported = [line for line in lines[first:] if not line.startswith("WARNING")]
    if any(_NO_CONNECTION.search(line) for line in reported):
        return True
    given_up = {canonicalize_name(found["name"]) for line in lines if (found := _GIVEN_UP.search(line))}
    missing = {canonicalize_name(found["name"]) for line in reported if (found := _NOTHING_FOUND.search(line))}
    return not given_up.isdisjoint(missing)


def clean_environment() -> dict[str, str]:
    """Environment variables for another Python: those of this process without paths to its own packages."""
    others = {name: value for name, value in os.environ.items() if name not in _OF_THIS_ENVIRONMENT}
    return {**others, "PYTHONNOUSERSITE": "1"}


def _run(
    command: list[str], folder: Path, timeout_seconds: float, variables: Mapping[str, str] = MappingProxyType({})
) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryFile() as output:  # no pipe: what a stopped pip had started may hold it open
        try:
            ended = subprocess.run(  # noqa: S603 -- Python and pip, with a file that was just written
                command,
                cwd=folder,
                env={**clean_environment(), **variables},
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=timeout_seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            name = command[2] if command[1] == "-m" else "uv"
            raise NoFreshEnvironment(f"{name} took longer than {timeout_seconds:g} seconds") from None
        output.seek(0)
        return subprocess.CompletedProcess(command, ended.returncode, output.read().decode(errors="replace"))


def _last_line(ended: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in ended.stdout.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")]
    return (errors or lines or [f"it ended with {ended.returncode}"])[-1]
