"""Writing what was generated: a notebook, and the candles it needs where nothing else can provide them."""

from __future__ import annotations

import gzip
import io
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ..errors import UsageError

if TYPE_CHECKING:
    from ..market.candles import Candles


def _file(folder: Path, names: tuple[str, ...], suffix: str) -> Path:
    return folder / f"{'@'.join(quote(name, safe=' -_+=') for name in names)}{suffix}"


def _write(path: Path, content: bytes) -> Path:
    """Whole or not at all."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as new:
            new.write(content)
        os.chmod(new.name, 0o644)  # noqa: PTH101 -- a temporary file is private by default
        Path(new.name).replace(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}\npass another folder") from None
    return path


def write_notebook(folder: Path, names: tuple[str, ...], notebook: dict[str, Any]) -> Path:
    """Write ``folder/name@name.ipynb`` and return the path; no name can leave the folder.

    Examples
    --------
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_notebook(Path(folder), ("ideas", "BTC/USDT"), {"cells": []}).name
    'ideas@BTC%2FUSDT.ipynb'
    """
    text = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
    return _write(_file(folder, names, ".ipynb"), text.encode())


def write_candles(folder: Path, names: tuple[str, ...], candles: Candles) -> Path:
    """Write ``folder/name@name.csv.gz`` for ``bknb.exchanges.from_csv``; the same candles give the same bytes."""
    rows = io.StringIO()
    rows.write("timestamp,open,high,low,close,volume\n")
    columns = (candles.timestamp, candles.open, candles.high, candles.low, candles.close, candles.volume)
    for row in zip(*(column.tolist() for column in columns), strict=True):
        rows.write(",".join(map(repr, row)) + "\n")
    return _write(_file(folder, names, ".csv.gz"), gzip.compress(rows.getvalue().encode(), mtime=0))
