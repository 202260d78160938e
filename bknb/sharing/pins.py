"""Pinned requirements of a shared notebook: the packages that were loaded while it ran, and those its code imports."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution, packages_distributions
from typing import Final

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
_OF_ONE_PLATFORM: Final = ("sys_platform", "platform_system", "os_name")


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
    found = {_plain(one.name): (one, asked) for name, asked in names.items() if (one := _installed(name)) is not None}
    found.pop("bknb", None)
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


def _plain(name: str) -> str:
    """A name as registries compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _requirements_of_extra(extra: str) -> list[str]:
    bknb = _installed("bknb")
    lines = [] if bknb is None else bknb.requires or []
    return [_name_in(line) for line in lines if re.search(rf"extra\s*==\s*['\"]{extra}['\"]", line)]


def _needed_on_some_platforms(packages: list[Distribution]) -> set[str]:
    """Packages that others need on one platform only: elsewhere they may not even install."""
    some: set[str] = set()
    everywhere: set[str] = set()
    for package in packages:
        for line in package.requires or []:
            requirement, _, marker = line.partition(";")
            if "extra" not in marker:
                found = some if any(word in marker for word in _OF_ONE_PLATFORM) else everywhere
                found.add(_plain(_name_in(requirement)))
    return some - everywhere


def _name_in(requirement: str) -> str:
    found = re.match(r"[\w.-]+", requirement.strip())
    return found[0] if found else ""
