"""Python without the package for addresses by RFC 3987: jsonschema would have it compile forty grammars, in a second.

That is a third of the start of JupyterLab, nbconvert, nbmake, and whatever else reads a notebook.
"""

from __future__ import annotations

import sys

sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]

_RUN = (
    "import runpy, sys; sys.modules['rfc3987_syntax'] = None; del sys.argv[0]; "
    "runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"
)


def command(module: str, *options: str) -> list[str]:
    """What runs a module as ``python -m`` does."""
    return [sys.executable, "-c", _RUN, module, *options]
