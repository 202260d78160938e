"""Before the code of a notebook runs: whose it is, what it is, and a question."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

from ..errors import UsageError
from ..exchanges.candle_bundle import MANIFEST, Manifest, read_manifest
from ..exchanges.received_paths import check_links, inside

_MOST_FILES: Final = 8
_YES: Final = ("y", "yes")


def received(path: Path) -> tuple[Path, Manifest | None]:
    """The notebook at a path, and the manifest of the shared folder it is in, if it is in one.

    Raises
    ------
    UsageError
        The path is a folder that was not shared with bknb.
    StateError
        The folder names a path outside itself, or holds a link that leads there.
    """
    folder = path if path.is_dir() else path.parent
    if not path.is_dir() and not (folder / MANIFEST).is_file():
        return path, None
    manifest = read_manifest(folder)
    for name in (manifest.notebook, *manifest.files, *manifest.cards, *(file.path for file in manifest.candles)):
        inside(folder, name)
    check_links(folder)
    return (folder / manifest.notebook if path.is_dir() else path), manifest


def whose_code(path: Path, node: Any, manifest: Manifest | None) -> str:
    """What will run when a notebook is executed, and whose it is, in words."""
    cells = sum(cell.cell_type == "code" for cell in node.cells)
    authors = [str(one.get("name", "")) for one in node.metadata.get("authors", ()) if isinstance(one, dict)]
    by = ", ".join(_plain(name) for name in authors if name)
    whose = f"{by}, as it says" if by else "whoever wrote it" if manifest is None else "whoever made this folder"
    lines = [f"this runs the code of {whose}: {cells} cells of {_plain(path.name)}, in {path.resolve().parent}"]
    if manifest is not None:
        modules = sorted({*manifest.files, *(file.name for file in path.parent.glob("*.py"))})
        code = [_plain(name) for name in modules if name.endswith((".py", ".pkl", ".so", ".pyd"))]
        more = f" and {len(code) - _MOST_FILES} more" if len(code) > _MOST_FILES else ""
        lines += [f"with code in {', '.join(code[:_MOST_FILES])}{more}"] if code else []
        with_what = manifest.made_with
        lines.append(
            f"made with bknb {_plain(with_what.get('bknb', '?'))}, Python {_plain(with_what.get('python', '?'))}"
        )
    lines.append("it runs as you: it can read and write your files, and use your network and your keys")
    return "\n".join(lines)


def _plain(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:200]


def ask_to_run(description: str, *, how: str) -> None:
    """Ask whether to run it.

    Parameters
    ----------
    description
        What :func:`whose_code` said.
    how
        What to do where nobody can be asked, such as ``"bknb verify --yes FOLDER"``.

    Raises
    ------
    UsageError
        The answer is no, or nobody can be asked.
    """
    if not sys.stdin.isatty():
        raise UsageError(f"not run: {description}\nnobody can be asked here; when you trust it: {how}")
    sys.stdout.write(f"{description}\nrun it? [y/N] ")
    sys.stdout.flush()
    if sys.stdin.readline().strip().lower() not in _YES:
        raise UsageError("not run, as you said")
