"""The constants of bknb among random examples: the same ones, whatever a process has loaded.

Hypothesis draws some of its examples from the constants of the modules that are loaded at the moment. Examples would
depend on the tests before, and each process would read all modules.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows: a process may do what another one does already
    fcntl = None  # type: ignore[assignment]

import hypothesis
from hypothesis.configuration import storage_directory
from hypothesis.internal import constants_ast
from hypothesis.internal.conjecture import providers

BKNB = Path(__file__).parent.parent / "bknb"


def text_of_constants(sources: list[bytes]) -> str:
    """A Python list of the constants in some modules."""
    found = constants_ast.Constants()
    for source in sources:
        found |= constants_ast._constants_from_source(source, limit=True)
    return constants_ast._constants_file_str(found)


@cache
def constants() -> Any:
    """Those of all modules of bknb; one process finds them, and leaves them to the others in a file."""
    sources = [path.read_bytes() for path in sorted(BKNB.rglob("*.py"))]
    name = hashlib.sha256(b"".join([hypothesis.__version__.encode(), *sources])).hexdigest()[:16]
    folder = storage_directory("constants")
    folder.create_if_missing()
    with (folder.path / f"bknb-{name}").open("a+", encoding="utf-8") as kept:
        if fcntl is not None:
            fcntl.flock(kept, fcntl.LOCK_EX)
        kept.seek(0)
        text = kept.read()
        if not text:
            text = text_of_constants(sources)
            kept.write(text)
    return providers._local_constants | constants_ast._constants_from_source(text, limit=False)


def draw_from_them() -> None:
    """Have Hypothesis do so."""
    providers._get_local_constants = constants
