"""The public names of a package, each imported when it is first asked for; the stub beside the package lists them.

The lines of the stub are read as text, for parsing it as Python takes longer than the rest of ``import bknb``. For the
same reason this module imports neither ``typing`` nor ``pathlib``.
"""

from __future__ import annotations

import sys
from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def attach(package: str, file: str) -> tuple[Callable[[str], object], Callable[[], list[str]], list[str]]:
    """``__getattr__``, ``__dir__`` and ``__all__`` of a package.

    Parameters
    ----------
    package
        Its ``__name__``.
    file
        Its ``__file__``; the stub has the same name, with an ``i`` at the end.

    Examples
    --------
    >>> import bknb.brokers
    >>> _, _, names = attach("bknb.brokers", bknb.brokers.__file__)
    >>> names[-4:]
    ['Trouble', 'ccxt', 'joined', 'paper']
    """
    homes = read_stub(f"{file}i")
    names = sorted(homes)

    def load(name: str) -> object:
        module = sys.modules[package]
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}", name=name, obj=module)
        home = homes[name]
        value = import_module(f".{name}", package) if home == "." else getattr(import_module(home, package), name)
        setattr(module, name, value)  # from now on it is found without this function
        return value

    def listed() -> list[str]:
        return [*names, "__all__", "__doc__"]

    return load, listed, names.copy()


def read_stub(path: str) -> dict[str, str]:
    """Public name -> the module a stub imports it from, relative to its package; ``"."`` for a module of the package.

    A stub imports each name in the form that offers it to others, ``from .module import name as name``.
    """
    homes: dict[str, str] = {}
    home = ""
    with open(path, encoding="utf-8") as lines:  # noqa: PTH123 - pathlib takes longer to import than this module
        for line in lines:
            words = line.split()
            if line.startswith("from ."):
                home = words[1]
            for at, word in enumerate(words):
                if home and word == "as":
                    homes[words[at + 1].rstrip(",")] = home
    return homes
