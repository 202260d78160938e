"""Pinned requirements of a shared notebook: the packages that were loaded while it ran, and those its code imports."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution, packages_distributions
from typing import Final

from packaging.markers import Marker
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

_ALWAYS: Final = (
    *("numpy", "pandas", "msgspec", "matplotlib", "plotly"),
    *("jupyterlab", "ipykernel", "ipywidgets", "anywidget", "nbclient", "nbconvert", "nbformat"),
)
# An extra of bknb, and the text in a notebook that needs it, also where a ledger or a store made it unnecessary here.
_NEEDS: Final = (
    ("sweep", re.compile(r"\b(sweep|walk_forward)\(|^\s*%%?sweep\b", re.MULTILINE)),
    ("parquet", re.compile(r"\.parquet\b|\bto_parquet\(|\bread_parquet\(")),
)
_IMPORTING: Final = ("import_module", "__import__")
_PLATFORMS: Final = (
    {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"},
    {"sys_platform": "darwin", "platform_system": "Darwin", "os_name": "posix"},
    {"sys_platform": "win32", "platform_system": "Windows", "os_name": "nt"},
)


@dataclass(frozen=True, slots=True)
class Pins:
    """Lines of a requirements file, and notes about packages that are not pinned."""

    lines: tuple[str, ...]
    notes: tuple[str, ...]


def make_pins(texts: Iterable[str], *, loaded: Iterable[str], local: Iterable[str]) -> Pins:
    """Pinned requirements of a notebook, in the versions installed here.

    Parameters
    ----------
    texts
        Source of its cells and of the Python files shared with it.
    loaded
        Top-level modules that were loaded when it had run.
    local
        Top-level modules that are files of its own folder.
    """
    whole = list(texts)
    imported = {name.partition(".")[0] for text in whole for name in imports_of(text)}
    ours = {"bknb", *local, *sys.stdlib_module_names}
    homes = packages_distributions()
    names = {name: False for module in {*loaded} - ours for name in homes.get(module, ())}
    names |= {name: True for module in imported - ours for name in homes.get(module, ())}
    needed = [extra for extra, says in _NEEDS if any(says.search(text) for text in whole)]
    names |= dict.fromkeys([*_ALWAYS, *(name for extra in needed for name in _requirements_of_extra(extra))], True)
    here = [(one, asked) for name, asked in names.items() if (one := _installed(name)) is not None]
    found = {canonicalize_name(one.name): (one, asked) for one, asked in here}
    found.pop(canonicalize_name("bknb"), None)
    elsewhere = _needed_on_some_platforms([one for one, _ in found.values()])
    lines, notes = [], []
    for name, (one, asked) in sorted(found.items()):
        if one.read_text("direct_url.json") is not None:
            notes.append(
                f"it uses {one.name} {one.version}, which is installed from a file or a repository: not pinned"
            )
        elif asked or name not in elsewhere:
            lines.append(f"{one.name}=={one.version.partition('+')[0]}")  # "+cu121" is known to no registry
    return Pins(tuple(lines), tuple(notes))


def imports_of(source: str) -> set[str]:
    r"""Modules that a cell or a file imports, wherever it does; magics and shell lines are passed over.

    Examples
    --------
    >>> sorted(imports_of("%matplotlib inline\nimport numpy, scipy.stats\nfrom ta import rsi"))
    ['numpy', 'scipy.stats', 'ta']
    """
    found: set[str] = set()
    for node in ast.walk(_parsed(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(str(node.module))
        elif isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in _IMPORTING:
            found |= {str(part.value) for part in node.args[:1] if isinstance(part, ast.Constant)}
    return {name for name in found if not name.startswith(".")}


def _parsed(source: str) -> ast.Module:
    lines = source.splitlines()
    if lines and lines[0].startswith("%%"):
        del lines[0]
    plain = [re.sub(r"^(\s*)[%!?].*", r"\1pass", line) for line in lines]
    try:
        return ast.parse("\n".join(plain))
    except SyntaxError:  # another language, or a syntax of IPython's: whole lines that import are read all the same
        return ast.Module([node for line in plain for node in _statement(line)], [])


def _statement(line: str) -> list[ast.stmt]:
    try:
        return ast.parse(line.strip()).body if re.match(r"\s*(import|from)\s", line) else []
    except SyntaxError:
        return []


def _installed(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def _requirements_of_extra(extra: str) -> list[str]:
    bknb = _installed("bknb")
    needed = [] if bknb is None else _requirements(bknb)
    return [one.name for one in needed if not _holds(one.marker) and _holds(one.marker, extra)]


def _needed_on_some_platforms(packages: list[Distribution]) -> set[str]:
    """Packages that others need on one platform only: elsewhere they may not even install."""
    some: set[str] = set()
    everywhere: set[str] = set()
    for package in packages:
        for one in _requirements(package):
            by_platform = {_holds(one.marker, **platform) for platform in _PLATFORMS}
            if True in by_platform:
                found = some if False in by_platform else everywhere
                found.add(canonicalize_name(one.name))
    return some - everywhere


def _requirements(package: Distribution) -> list[Requirement]:
    """What a package says it needs; lines that follow no standard, as of very old packages, are passed over."""
    found = []
    for line in package.requires or []:
        with suppress(InvalidRequirement):
            found.append(Requirement(line))
    return found


def _holds(marker: Marker | None, extra: str = "", **environment: str) -> bool:
    return marker is None or marker.evaluate({"extra": extra, **environment})
