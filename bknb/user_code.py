"""Which code is the user's own, and where in it an error arose."""

from __future__ import annotations

import linecache
import traceback
from pathlib import Path
from typing import Final

_OUR_FOLDER: Final = str(Path(__file__).resolve().parent)


def where_it_failed(error: BaseException) -> str:
    """The innermost line of the user's own code in a traceback, with its text; empty when there is none.

    Lines of bknb itself do not count, so an error that bknb raised is told at the line that called it.
    """
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename.startswith(_OUR_FOLDER) or not frame.lineno:
            continue
        text = (frame.line or linecache.getline(frame.filename, frame.lineno)).strip()
        name = frame.filename if frame.filename.startswith("<") else Path(frame.filename).name
        return f"{name}, line {frame.lineno}: {text}"
    return ""
