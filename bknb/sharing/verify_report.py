"""``bknb verify REPORT.html``: running the run card of a report again, with the file that registers its strategy."""

from __future__ import annotations

import importlib
import sys
import traceback
import types
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UnknownName, UsageError
from ..provenance.card import Card
from ..provenance.portfolio_card import read_card
from ..runs.verify_card import verify

if TYPE_CHECKING:
    from ..provenance.portfolio_card import AnyCard
    from ..runs.verify_card import Verification


def verify_report(path: Path, code: Path | None = None) -> Verification:
    """Run the card in a report, or in its own file, again.

    Parameters
    ----------
    path
        An HTML file that bknb wrote, or a run card.
    code
        A Python file that registers what the card names. It is run as ``python FILE`` runs it, or imported where the
        card names functions of it as a module.

    Raises
    ------
    UsageError
        The report holds no card, the code fails, or what the card names is not registered.
    StateError
        The card was changed.
    """
    card = read_card(path)
    before, folders = sys.modules["__main__"], [*sys.path]
    try:
        if code is not None:
            _run_code(code, card)
        return verify(card)
    except UnknownName as error:
        if code is not None:
            raise
        first = str(error).splitlines()[0]
        text = f"{first}\ngive the file that registers it: bknb verify {path} --code strategies.py"
        raise UsageError(f"{text}\nin the notebook of the run: %verify {path}") from None
    finally:
        sys.modules["__main__"], sys.path[:] = before, folders


def _run_code(path: Path, card: AnyCard) -> None:
    if path.suffix != ".py" or not path.is_file():
        raise UsageError(
            f"--code must be a Python file that registers the strategy, got {path}\n"
            "where a notebook registers it, use %verify in a cell of that"
        )
    sys.path.insert(0, str(path.resolve().parent))
    try:
        if any(name.startswith(f"{path.stem}.") for name in _functions_on(card)):
            importlib.import_module(path.stem)
            return
        module = types.ModuleType("__main__")
        module.__file__ = str(path)
        sys.modules["__main__"] = module
        exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), module.__dict__)  # noqa: S102
    except SystemExit as ended:  # a script may end like this; nothing was compared yet
        if ended.code not in (None, 0):
            raise UsageError(f"{path} ended with exit code {ended.code}") from ended
    except Exception as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        where = f"{path}, line {lines[-1]}" if lines else str(path)
        raise UsageError(f"{where} failed: {type(error).__name__}: {error}") from error


def _functions_on(card: AnyCard) -> list[str]:
    """The names of the functions on a card, with their modules in front."""
    codes = [run.code for run in ((card,) if isinstance(card, Card) else card.legs)]
    if card.account is not None:
        codes.append(card.account.code)
    return [written.name for code in codes for written in code.functions]
