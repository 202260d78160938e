"""Proposals of an optimizer as cells: to insert into a notebook, or as a notebook and a program of their own.

Files are written here, too: a notebook, and the candles it needs where no exchange provides them.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..domain.formatting import utc_text
from ..engine.registry import registry
from ..exchanges.candle_bundle import csv_bytes
from ..frontend import frontend
from ..runs.aside import aside
from ..runs.card_of_result import made_with
from ..stores.atomic import write_named
from ..stores.file_names import join_names
from . import prompt, proposal_as_cells
from .proposals import Proposals

if TYPE_CHECKING:
    from ..market.candles import Candles
    from .optimizer import OptimizerTask


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


class ProposalCells:
    """Proposals as cells that can be inserted into a notebook.

    Attributes
    ----------
    path : Path
        The notebook that holds everything.
    cells : list of Cell
        What the buttons insert.
    """

    def __init__(self, proposals: Proposals, *, path: Path, cells: list[proposal_as_cells.Cell]) -> None:
        self.proposals = proposals
        self.path = path
        self.cells = cells

    def __repr__(self) -> str:
        return f"{self.proposals!r}\nnotebook: {self.path}"

    def _ipython_display_(self) -> None:
        frontend().show_proposals(self)


def _setting(task: OptimizerTask, *, exchange_code: str) -> proposal_as_cells.Setting:
    proposals, exchange = task.result(), task.exchange
    return proposal_as_cells.Setting(
        optimizer=task.strategy,
        symbol=task.symbol,
        exchange=exchange.name,
        exchange_code=exchange_code,
        train=proposals.train,
        test=proposals.test,
        model=proposals.model,
        summary=proposals.summary,
        tick=exchange.tick_of(task.symbol),
    )


def _ranked(proposals: Proposals) -> list[tuple[Any, str, dict[str, Any]]]:
    made = []
    for each in proposals:
        attempt = next(a for a in proposals.attempts if a.status == "proposed" and a.draft == each.name)
        origin = {
            "model": attempt.model,
            "seed": attempt.seed,
            "attempt": attempt.number,
            "code_sha256": attempt.code_sha256,
            "data_sha256": attempt.data_sha256,
            "rank": each.rank,
        }
        made.append((each.passed, each.numbers, origin))
    return made


def cells_to_insert(task: OptimizerTask) -> list[proposal_as_cells.Cell]:
    """Cells for a notebook that is open: the frames, then each proposal."""
    setting, templates = _setting(task, exchange_code=""), task.spec.templates
    frames = prompt.fill(templates, "frames_cell", setting=setting)
    first = proposal_as_cells.Cell(kind="code", source=frames)
    known = setting.exchange in registry.exchanges.names()  # else a backtest cell could not name it
    return [first, *proposal_as_cells.for_insertion(setting, _ranked(task.result()), templates, backtests=known)]


def cells_of_notebook(task: OptimizerTask, *, folder: Path | None) -> list[proposal_as_cells.Cell]:
    """Cells of a notebook that runs from top to bottom; candles it needs are written into ``folder``."""
    proposals = task.result()
    setting = _setting(task, exchange_code=_exchange_code(task, folder))
    return proposal_as_cells.for_notebook(setting, _ranked(proposals), task.spec.templates)


def _exchange_code(task: OptimizerTask, folder: Path | None) -> str:
    """Return the source of candles as a Python expression; where it has none, the candles go into a file."""
    from ..market.demo import DemoSource

    if isinstance(task.exchange.source, DemoSource):
        return "bknb.exchanges.demo()"
    name = f"{task.strategy}@{task.symbol}.csv.gz"
    if folder is not None:
        aside(lambda: asyncio.run(_fetch_all(task)))
        name = write_candles(folder, (task.strategy, task.symbol), task.trials.all_candles()).name
    return f'bknb.exchanges.from_csv("{name}", symbol="{task.symbol}")'


async def _fetch_all(task: OptimizerTask) -> None:
    for each in (*task.spec.range_train, task.spec.range_test):
        await task.trials.candles(each)


def provenance(task: OptimizerTask) -> dict[str, Any]:
    """What proposals come from, for the metadata of a notebook."""
    proposals = task.result()
    data: dict[str, str] = {}
    for attempt in proposals.attempts:
        data |= attempt.data_sha256
    return {
        "kind": "optimizer",
        "bknb_version": made_with()["bknb"],
        "optimizer": task.strategy,
        "symbol": task.symbol,
        "model": proposals.model,
        "train": [f"{utc_text(each.start)} .. {utc_text(each.end)}" for each in proposals.train],
        "test": f"{utc_text(proposals.test.start)} .. {utc_text(proposals.test.end)}",
        "answers": len(proposals.attempts),
        "looks_at_the_test_range": len(proposals) + proposals.earlier_looks,
        "tokens": dict(proposals.tokens),
        "data_sha256": data,
    }
