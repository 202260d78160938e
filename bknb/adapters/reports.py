"""Writing reports to disk without one overwriting another's name."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote


def write_report(folder: Path, name: str, text: str) -> Path:
    """Write ``text`` to ``folder/name.md`` and return the path; the name cannot leave the folder.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_report(Path(folder), "sma/BTCUSDT", "# Report").name
    'sma%2FBTCUSDT.md'
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{quote(name, safe=' -_+=@')}.md"
    path.write_text(text, encoding="utf-8")
    return path
