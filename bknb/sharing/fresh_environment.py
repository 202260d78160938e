"""A new virtual environment with the pinned packages of a shared folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

from ..errors import UsageError

REQUIREMENTS: Final = "binder/requirements.txt"
_UNREACHABLE: Final = re.compile(
    r"Retrying \(Retry\(|connection broken by|NewConnectionError|Max retries exceeded|ConnectTimeout|ReadTimeout"
    r"|ProxyError|name resolution|Network is unreachable"
)
_OF_THIS_ENVIRONMENT: Final = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")


class NoFreshEnvironment(Exception):  # noqa: N818 -- no fault of the notebook: its text is a reason, "as ..."
    """No environment can be made here, whatever the pins are; the text is the reason."""


def make_environment(folder: Path, place: Path) -> Path:
    """Make a virtual environment with the pins of a shared folder in ``place``; returns its Python.

    Parameters
    ----------
    folder
        A folder with ``binder/requirements.txt``, and the wheel of bknb it names.
    place
        Where to make the environment; it must not exist.

    Raises
    ------
    NoFreshEnvironment
        This Python cannot make environments, or the package registry cannot be reached.
    UsageError
        The registry was reached, and what is pinned cannot be installed.
    """
    made = _run([sys.executable, "-m", "venv", str(place)], folder)
    if made.returncode:
        raise NoFreshEnvironment(f"this Python cannot make a virtual environment ({_last_line(made)})")
    python = place / ("Scripts" if os.name == "nt" else "bin") / "python"
    install = [
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--no-input",
        "install",
        "--retries",
        "2",
        "-r",
        REQUIREMENTS,
    ]
    installed = _run([str(python), *install], folder)
    if installed.returncode:
        if _UNREACHABLE.search(installed.stdout):
            raise NoFreshEnvironment("the package registry cannot be reached")
        raise UsageError(
            f"not shared: its pins cannot be installed. {_last_line(installed)}\n"
            "a package that is on no registry must lie beside the notebook"
        )
    return python


def clean_environment() -> dict[str, str]:
    """Environment variables for another Python: those of this process without paths to its own packages."""
    others = {name: value for name, value in os.environ.items() if name not in _OF_THIS_ENVIRONMENT}
    return {**others, "PYTHONNOUSERSITE": "1"}


def _run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 -- Python and pip, with a file that was just written
        command,
        cwd=folder,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )


def _last_line(ended: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in ended.stdout.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")]
    return (errors or lines or [f"it ended with {ended.returncode}"])[-1]
