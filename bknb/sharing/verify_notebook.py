"""``bknb.verify_notebook``: execute a notebook again and compare its results with their stored run cards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ..errors import MissingDependency, UsageError
from ..provenance.card_differences import Difference
from ..provenance.portfolio_card import decode, differences_of
from ..stores.atomic import as_path
from . import execute_notebook
from .whose_code import ask_to_run, received, whose_code

if TYPE_CHECKING:
    from ..provenance.portfolio_card import AnyCard

_BEGIN: Final = "from bknb.sharing.recorder import Recorder as __recorder\n__recorder = __recorder(offline={offline})"
_FINISH: Final = "__recorder.write({folder!r})"

OnSummary = Callable[[int, str], None]


@dataclass(frozen=True, slots=True)
class NotebookVerification:
    """Result of verifying a notebook; true where every result is the same.

    Attributes
    ----------
    differences : dict of str to tuple of Difference
        By result: everything but versions.
    surroundings : tuple of Difference
        Changed versions and platform.

    Examples
    --------
    >>> print(NotebookVerification({"result 1 (sma on BTCUSDT)": ()}, ()))
    result 1 (sma on BTCUSDT): the same
    """

    differences: dict[str, tuple[Difference, ...]]
    surroundings: tuple[Difference, ...]

    def __bool__(self) -> bool:
        return not any(self.differences.values())

    def __repr__(self) -> str:
        lines = []
        for name, found in self.differences.items():
            lines.append(f"{name}: {_verdict(found)}")
            lines += [f"  {part.kind:<8} {part.text}" for part in found]
        if self.surroundings:
            lines.append(f"made with something else: {'; '.join(part.text for part in self.surroundings)}")
        return "\n".join(lines)


def _verdict(found: tuple[Difference, ...]) -> str:
    if not found:
        return "the same"
    return "not comparable" if all(part.kind == "rules" for part in found) else "NOT the same"


def verify_notebook(
    notebook: str | Path,
    *,
    yes: bool = False,
    timeout_seconds: int | None = None,
    on_summary: OnSummary | None = None,
) -> NotebookVerification:
    """Execute a notebook again and compare every result with the run card that is stored in it.

    Parameters
    ----------
    notebook
        A notebook with outputs, or a folder that ``share`` made. The file is not changed.
    yes
        The code of a shared folder is trusted. Otherwise it is said whose code will run, and asked; where nobody can
        be asked, as in a script, it is refused.
    timeout_seconds, on_summary
        As for ``share``.

    Raises
    ------
    UsageError
        There is no run card in the notebook, a cell failed, or its code may not run.
    StateError
        A shared folder names a path outside itself, or holds a link that leads there.

    Examples
    --------
    >>> import bknb
    >>> bknb.verify_notebook("no-such.ipynb")
    Traceback (most recent call last):
        ...
    bknb.errors.UsageError: no notebook at no-such.ipynb; expected the path of an .ipynb file
    """
    path, manifest = received(as_path(notebook, "first.ipynb"))
    node, before = read_verifiable(path)
    if manifest is not None and not yes:
        ask_to_run(whose_code(path, node, manifest), how="bknb.verify_notebook(..., yes=True)")
    report = on_summary or (lambda _cell, _text: None)
    failure = execute_notebook.execute(
        node, folder=path.resolve().parent, timeout_seconds=timeout_seconds, on_summary=report
    )
    if failure is not None:
        raise UsageError(failed_text(failure, path.name))
    return compared(before, cards_in(node))


def read_verifiable(path: Path) -> tuple[Any, list[AnyCard]]:
    """A notebook and the run cards in it.

    Raises
    ------
    UsageError
        There is no notebook, or no run card in it.
    """
    node = execute_notebook.read_notebook(path)
    cards = cards_in(node)
    if not cards:
        raise UsageError(f"{path} holds no run card\nrun it with bknb, save it with its outputs, then verify it")
    return node, cards


def cards_in(node: Any) -> list[AnyCard]:
    """The run cards stored with the outputs of a notebook, in order."""
    marks = [
        output.metadata["bknb"]
        for cell in node.cells
        for output in cell.get("outputs", ())
        if "card" in output.get("metadata", {}).get("bknb", {})
    ]
    return [decode(msgspec.json.encode(mark["card"]), where="the notebook") for mark in marks]


def compared(before: list[AnyCard], after: list[AnyCard]) -> NotebookVerification:
    """Differences between the results of a notebook and those of another run of it."""
    differences: dict[str, tuple[Difference, ...]] = {}
    surroundings: dict[str, Difference] = {}
    for number, card in enumerate(before, start=1):
        name = f"result {number} ({card.strategy} on {card.symbol})"
        if number > len(after):
            differences[name] = (Difference(kind="run", text="it is not shown any more"),)
            continue
        found = differences_of(card, after[number - 1])
        differences[name] = tuple(part for part in found if part.kind != "with")
        surroundings.update({part.text: part for part in found if part.kind == "with"})
    for number in range(len(before) + 1, len(after) + 1):
        differences[f"result {number}"] = (Difference(kind="run", text="it was not there"),)
    return NotebookVerification(differences, tuple(surroundings.values()))


def execute_recorded(
    node: Any,
    folder: Path,
    seen: Path,
    *,
    offline: bool,
    timeout: int | None,
    on_summary: OnSummary,
    python: Path | None = None,
) -> list[AnyCard]:
    """Execute a notebook between two hidden cells that record its inputs; returns its run cards.

    The kernel is one of this Python, or of ``python``.
    """
    try:
        from nbformat.v4 import new_code_cell
    except ImportError:
        raise MissingDependency("nbformat", purpose="sharing a notebook", extra="notebook") from None
    shown = list(node.cells)
    node.cells = [
        new_code_cell(_BEGIN.format(offline=offline)),  # type: ignore[no-untyped-call]
        *shown,
        new_code_cell(_FINISH.format(folder=str(seen))),  # type: ignore[no-untyped-call]
    ]
    failure = execute_notebook.execute(
        node,
        folder=folder,
        timeout_seconds=timeout,
        on_summary=lambda cell, text: on_summary(cell - 1, text),
        python=python,
    )
    node.cells = shown
    if failure is not None:
        if failure.cell > 1 + sum(cell.cell_type == "code" for cell in shown):
            raise UsageError(failure.text.partition(": ")[2])  # the hidden last cell
        raise UsageError(
            failed_text(execute_notebook.Failure(cell=failure.cell - 1, text=failure.text), "the notebook")
        )
    for cell in shown:
        for part in (cell, *cell.get("outputs", ())):
            if part.get("execution_count"):
                part["execution_count"] -= 1
    node.metadata.pop("widgets", None)
    return cards_in(node)


def failed_text(failure: execute_notebook.Failure, name: str) -> str:
    """The failure of a cell in at most three lines."""
    first, *more = [line.strip() for line in failure.text.splitlines() if line.strip()] or ["failed"]
    return "\n".join([f"cell [{failure.cell}] of {name} failed: {first}", *more[:2]])
