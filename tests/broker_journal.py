"""What the journal of a broker on paper says about the orders it received."""

from __future__ import annotations

import json
from pathlib import Path


def sent(journal: Path) -> dict[str, int]:
    """How often each order was received, by client id."""
    received: dict[str, int] = {}
    for line in journal.read_text().splitlines():
        order = json.loads(line)
        received[order["client_id"]] = max(received.get(order["client_id"], 0), order["received"])
    return received


def sent_twice(journal: Path) -> list[str]:
    """The orders that were not received once, as sentences."""
    return [f"{name} was sent {times} times" for name, times in sent(journal).items() if times != 1]
