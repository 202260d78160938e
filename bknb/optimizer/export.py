"""Writing proposals to files: a notebook, and the candles it needs where no exchange provides them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..exchanges.candle_bundle import csv_bytes
from ..stores.atomic import write_named
from ..stores.file_names import join_names

if TYPE_CHECKING:
    from ..market.candles import Candles


def write_notebook(folder: Path, names: tuple[str, ...], notebook: dict[str, Any]) -> Path:
    """Write ``folder/name@name.ipynb`` and return the path; no name can leave the folder.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_notebook(Path(folder), ("ideas", "BTC/USDT"), {"cells": []}).name
    'ideas@BTC%2FUSDT.ipynb'
    """
    text = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
    return write_named(folder / f"{join_names(names)}.ipynb", text.encode())


def write_candles(folder: Path, names: tuple[str, ...], candles: Candles) -> Path:
    """Write ``folder/name@name.csv.gz`` for ``bknb.exchanges.from_csv``; the same candles give the same bytes."""
    return write_named(folder / f"{join_names(names)}.csv.gz", csv_bytes(candles))
