"""Every append-only file of bknb behind one face: add an entry, read the entries back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from bknb.brokers.paper_broker import PaperBroker
from bknb.domain.broker_orders_and_ids import Order
from bknb.domain.sweep_trial import Trial
from bknb.optimizer.attempt_ledger import AttemptLedger
from bknb.research.holdout_ledger import HoldoutLedger, HoldoutLook
from bknb.research.sweep_trial_ledger import TrialFile
from bknb.research.tries_ledger import Span, TriesLedger
from bknb.stores.disk import Disk


def trial(number: int) -> Trial:
    return Trial(
        key=f"key-{number}",
        symbol="BTCUSDT",
        exchange="demo",
        strategy="sma",
        execution="touch",
        data="d",
        start=0,
        end=10,
        params="n=3",
        sharpe=0.5,
        figures=(1.0, None),
        daily=b"\x01",
        rejected=0,
    )


def opening(number: int) -> HoldoutLook:
    return HoldoutLook(
        opened_at=number, data="d", strategy_hash="s", strategy="sma", symbol="BTCUSDT", exchange="demo", start=0, end=1
    )


def order(number: int) -> Order:
    return Order(
        client_id=f"bk{number}",
        signal_id="s",
        decided_at=0,
        symbol="BTCUSDT",
        strategy="sma",
        exchange="demo",
        purpose="protect",  # what is saved of a stop is of the newest version
        side="sell",
        kind="stop",
        quantity=0.5,
        price=None,
        record_price=100.0,
        created_at=0,
        trigger=90.0,
    )


@dataclass(frozen=True)
class Ledger:
    """One kind of file.

    Attributes
    ----------
    path
        The file in a folder.
    add
        Append the entry of a number.
    numbers
        The numbers of the entries that are there.
    strict
        Whether a line that cannot be read is an error.
    """

    name: str
    file_name: str
    add: Callable[[Path, int, Disk], None]
    numbers: Callable[[Path], list[int]]
    strict: bool = False

    def path(self, folder: Path) -> Path:
        return folder / self.file_name

    def __str__(self) -> str:
        return self.name


def attempts(folder: Path, disk: Disk | None = None) -> AttemptLedger:
    return AttemptLedger(folder, "ideas", "BTCUSDT", disk=disk)


def _attempt_numbers(folder: Path) -> list[int]:
    return [line["number"] for line in attempts(folder).lines()]


def _place(folder: Path, number: int, disk: Disk) -> None:
    asyncio.run(PaperBroker(journal=folder / "paper.jsonl", disk=disk).place(order(number)))


def place_entry(folder: Path, number: int, disk: Disk) -> None:
    """Place an order that the first release knew, too."""
    entry = replace(order(number), purpose="open", side="buy", kind="market", trigger=None)
    asyncio.run(PaperBroker(journal=folder / "paper.jsonl", disk=disk).place(entry))


def _number(text: Any) -> int:
    return int("".join(filter(str.isdecimal, text)))


ON = Span(exchange="demo", symbol="BTCUSDT", start=0, end=9, data="d")
LEDGERS = (
    Ledger(
        "trials",
        "trials",
        lambda folder, number, disk: TrialFile(folder / "trials", disk=disk).add([trial(number)]),
        lambda folder: [_number(each.key) for each in TrialFile(folder / "trials").all()],
    ),
    Ledger(
        "openings",
        "openings.jsonl",
        lambda folder, number, disk: HoldoutLedger(folder / "openings.jsonl", disk=disk).add(opening(number)),
        lambda folder: [each.opened_at for each in HoldoutLedger(folder / "openings.jsonl").all() if not each.cut_off],
        strict=True,
    ),
    Ledger(
        "tries",
        "tries.jsonl",
        lambda folder, number, disk: TriesLedger(folder / "tries.jsonl", disk=disk).add(ON, [f"strategy-{number}"]),
        lambda folder: [_number(each) for each in TriesLedger(folder / "tries.jsonl").strategies(ON)],
    ),
    Ledger(
        "attempts",
        "ideas@BTCUSDT.attempts.jsonl",
        lambda folder, number, disk: attempts(folder, disk).add({"number": number, "status": "proposed"}),
        _attempt_numbers,
    ),
    Ledger(
        "paper orders",
        "paper.jsonl",
        _place,
        lambda folder: [_number(name) for name in PaperBroker(journal=folder / "paper.jsonl").orders],
        strict=True,
    ),
)
