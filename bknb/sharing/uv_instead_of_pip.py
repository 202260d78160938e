"""How uv installs what pip would: from the same indexes, by the same constraints, in a tenth of its processor time."""

from __future__ import annotations

import ast
import importlib.util
import re
import shutil
import sys
from dataclasses import dataclass, field
from typing import Final

_LINE: Final = re.compile(r"^(?P<section>[^.]+)\.(?P<name>[a-z-]+)=(?P<value>['\"].*)$")
_OPTIONS: Final = {"constraint": "--constraints", "trusted-host": "--allow-insecure-host"}
_VARIABLES: Final = {  # as they may hold passwords, which everybody sees in a command line; with what separates several
    "index-url": ("UV_DEFAULT_INDEX", " "),
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
}
CHOICES: Final = frozenset(
    {
        "UV_CONFIG_FILE",
        "UV_CONSTRAINT",
        "UV_DEFAULT_INDEX",
        "UV_EXCLUDE_NEWER",
        "UV_EXTRA_INDEX_URL",
        "UV_FIND_LINKS",
        "UV_INDEX",
        "UV_INDEX_STRATEGY",
        "UV_INDEX_URL",
        "UV_NO_BINARY",
        "UV_NO_BUILD",
        "UV_NO_INDEX",
        "UV_OVERRIDE",
        "UV_PRERELEASE",
        "UV_RESOLUTION",
    }
)
"""Environment variables by which uv would choose other files than pip."""
_WITHOUT_EFFECT: Final = frozenset(
    {
        "break-system-packages",
        "cache-dir",
        "compile",
        "config-file",
        "debug",
        "default-timeout",
        "disable-pip-version-check",
        "exists-action",
        "log",
        "no-cache-dir",
        "no-color",
        "no-compile",
        "no-input",
        "no-python-version-warning",
        "no-warn-conflicts",
        "no-warn-script-location",
        "prefer-binary",
        "progress-bar",
        "quiet",
        "require-virtualenv",
        "retries",
        "root-user-action",
        "timeout",
        "upgrade-strategy",
        "use-feature",
        "verbose",
    }
)
"""Settings of pip that do not change which files are installed where the versions are pinned."""
_SECTIONS: Final = {"global": 0, "install": 1, ":env:": 2}
"""Sections that apply to an installation; a later one has precedence."""
_TRUE: Final = frozenset({"y", "yes", "t", "true", "on", "1"})


@dataclass(frozen=True, slots=True)
class UvOptions:
    """What ``uv pip install`` is given: options of its command line, and environment variables."""

    options: list[str] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)


def uv_command() -> list[str]:
    """The command that starts uv, as a package of this environment or on the path; empty where there is none."""
    if importlib.util.find_spec("uv") is not None:
        return [sys.executable, "-m", "uv"]
    found = shutil.which("uv")
    return [found] if found else []


def uv_options(configuration: str) -> UvOptions | None:
    """What makes uv install as pip is set up to, or ``None`` where it is set up to do what uv does differently.

    Parameters
    ----------
    configuration
        The output of ``pip config list``.

    Examples
    --------
    >>> uv_options("global.index-url='https://pypi.example.com/simple'").variables
    {'UV_DEFAULT_INDEX': 'https://pypi.example.com/simple'}
    >>> uv_options("install.require-hashes='true'") is None
    True
    """
    settings = _settings(configuration)
    options = ["--no-config", "--index-strategy", "unsafe-best-match"]  # of several indexes pip prefers none
    variables: dict[str, str] = {}
    for name, value in settings.items():
        if name in _OPTIONS:
            options += [word for each in value.split() for word in (_OPTIONS[name], each)]
        elif name in _VARIABLES:
            variable, separator = _VARIABLES[name]
            variables |= {variable: separator.join(value.split())} if value.split() else {}
        elif name == "no-index":
            options += ["--no-index"] if value.lower() in _TRUE else []
        elif name == "cert":
            variables["SSL_CERT_FILE"] = value
        elif name not in _WITHOUT_EFFECT:
            return None
    return UvOptions(options, variables)


def _settings(configuration: str) -> dict[str, str]:
    found = [match for line in configuration.splitlines() if (match := _LINE.match(line))]
    ordered = sorted(
        (match for match in found if match["section"] in _SECTIONS), key=lambda match: _SECTIONS[match["section"]]
    )
    return {match["name"]: str(ast.literal_eval(match["value"])) for match in ordered}
