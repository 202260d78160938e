"""Recognising the user's own code, and the line in it at which an error arose.

The user's own is what is neither Python, nor bknb, nor an installed package: files, notebook cells, text given to
``exec``. Every other module of bknb asks here.
"""

from __future__ import annotations

import functools
import linecache
import os
import site
import sys
import sysconfig
import traceback
import types
from pathlib import Path
from typing import Final

_OUR_FOLDER: Final = Path(__file__).parent
_PACKAGE_FOLDERS: Final = frozenset({"site-packages", "dist-packages"})


def is_users_file(name: str) -> bool:
    """Whether code of that file name is the user's: a file, a cell, ``<string>``; not Python, bknb or a package.

    Parameters
    ----------
    name
        As in ``code.co_filename``, a traceback or ``module.__file__``.

    Examples
    --------
    >>> is_users_file("/home/me/levels.py"), is_users_file("/tmp/ipykernel_7/1.py"), is_users_file("<ipython-input-1>")
    (True, True, True)
    >>> is_users_file(__file__), is_users_file("<frozen importlib._bootstrap>")
    (False, False)
    """
    return not (name.startswith("<frozen") or is_bknb_file(name) or is_installed_file(name))


def is_bknb_file(name: str) -> bool:
    """Whether a file belongs to bknb itself."""
    return name.startswith(_bknb())


@functools.lru_cache(maxsize=4096)  # asked for every call of a strategy that is traced
def is_installed_file(name: str) -> bool:
    """Whether a file belongs to Python's library or to an installed package.

    Examples
    --------
    >>> is_installed_file(linecache.__file__), is_installed_file("/opt/lib/python3.12/site-packages/ta/__init__.py")
    (True, True)
    """
    return name.startswith(_libraries()) or not _PACKAGE_FOLDERS.isdisjoint(Path(name).parts)


def is_users(thing: types.FunctionType | types.ModuleType | type) -> bool:
    """Whether a function, class or module is the user's own.

    Examples
    --------
    >>> import json
    >>> is_users(lambda: None), is_users(json), is_users(json.dumps), is_users(int)
    (True, False, False, False)
    """
    if isinstance(thing, types.FunctionType):
        return is_users_file(thing.__code__.co_filename)
    name = thing.__name__ if isinstance(thing, types.ModuleType) else thing.__module__
    top = str(name).partition(".")[0]
    if top == "__main__":
        return True
    if top in ("bknb", "builtins"):
        return False
    module = thing if isinstance(thing, types.ModuleType) else sys.modules.get(str(name))
    file = _file_of(module) or _file_of(sys.modules.get(top))  # a package may make modules without a file
    if file is None:  # compiled into Python, or made while it runs
        return top not in sys.stdlib_module_names
    return is_users_file(file)


def _file_of(module: types.ModuleType | None) -> str | None:
    """The file of a module, or the first folder of a package without one."""
    file = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", None) or ()), None)
    return None if file is None else str(file)


def where_it_failed(error: BaseException) -> str:
    """The innermost line of a traceback that is not bknb's, with its text; empty when there is none.

    So an error that bknb raised is reported at the user's line that called it.
    """
    if isinstance(known := getattr(error, "failed_in_worker", None), str):
        return known  # a traceback stays in the process it is of
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if is_bknb_file(frame.filename) or not frame.lineno:
            continue
        text = (frame.line or linecache.getline(frame.filename, frame.lineno)).strip()
        name = frame.filename if frame.filename.startswith("<") else Path(frame.filename).name
        return f"{name}, line {frame.lineno}: {text}"
    return ""


@functools.cache
def _bknb() -> tuple[str, ...]:
    return _below(str(_OUR_FOLDER))


@functools.cache
def _libraries() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    folders = [paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    for name in ("getsitepackages", "getusersitepackages"):  # a frozen application may lack them
        found: str | list[str] | None = getattr(site, name, list)()
        folders += [found] if isinstance(found, str) else found or []
    return _below(*(folder for folder in folders if folder))


def _below(*folders: str) -> tuple[str, ...]:
    """What the names of files in some folders begin with, whether a name was resolved or not."""
    both = (path for folder in folders for path in (folder, str(Path(folder).resolve())))
    return tuple(dict.fromkeys(f"{path}{os.sep}" for path in both))
