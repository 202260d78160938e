"""Writing reports to disk without one overwriting another's name."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote


def write_report(folder: Path, names: tuple[str, ...], text: str) -> Path:
    """Write ``text`` to ``folder/name@name.md`` and return the path; no name can leave the folder.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_report(Path(folder), ("sma/fast", "BTCUSDT"), "# Report").name
    'sma%2Ffast@BTCUSDT.md'
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{'@'.join(quote(name, safe=' -_+=') for name in names)}.md"
    path.write_text(text, encoding="utf-8")
    return path
