"""Sliders in a real kernel: what is shown and stored, that the newest move is computed alone, and what it counts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest.importorskip("ipykernel")
pytest.importorskip("anywidget")
pytest.importorskip("numba")
pytest.importorskip("jupyter_client")

from test_dashboard_kernel import Cells, evaluated
from test_kernel import new_kernel
from test_sliders_magic import BODY, RUN

pytestmark = pytest.mark.kernel

CELL = f"%%backtest {RUN} --interact hours=2:30 --out r\n{BODY}"
SLOW = f"""
import threading
gate, asked = threading.Event(), []
{BODY}
def slow(candles, hours=4):
    asked.append(hours)
    if hours > 4:
        gate.wait(60)
    return get_signals(candles, hours=hours)
bknb.add_strategy("slow", interval="1h", get_signals=slow)
"""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cells]:
    with new_kernel(tmp_path_factory.mktemp("kernel"), Cells, "import bknb\n%load_ext bknb") as found:
        yield found


class Sliders:
    """The browser's end of the sliders of a cell."""

    def __init__(self, kernel: Cells, name: str, code: str) -> None:
        self.kernel = kernel
        self.request = kernel.cell(name, code)
        every = (message for messages in kernel.received.values() for message in messages)
        opened = [m["content"] for m in every if m["msg_type"] == "comm_open"]
        self.comm, self.state = next(
            (each["comm_id"], each["data"]["state"]) for each in reversed(opened) if "sliders" in each["data"]["state"]
        )
        self.number = 0

    def send(self, **content: Any) -> None:
        self.number += 1
        content = {"view": "here", "number": self.number, **content}
        data = {"comm_id": self.comm, "data": {"method": "custom", "content": content}}
        self.kernel.client.shell_channel.send(self.kernel.client.session.msg("comm_msg", data))

    def states(self) -> list[dict[str, Any]]:
        """Every position that came, oldest first."""
        every = (message for messages in self.kernel.received.values() for message in messages)
        updates = [m for m in every if m["msg_type"] == "comm_msg" and m["content"]["comm_id"] == self.comm]
        found = [m["content"]["data"].get("state", {}) for m in sorted(updates, key=lambda m: m["header"]["date"])]
        return [state["shown"] for state in found if "shown" in state]

    def answered(self, number: int) -> dict[str, Any]:
        self.kernel.listen_until(lambda: any(state["number"] == number for state in self.states()))
        return next(state for state in self.states() if state["number"] == number)


def test_a_combination_is_answered_stored_and_kept(kernel: Cells) -> None:
    sliders = Sliders(kernel, "one", CELL)
    (first,) = kernel.shown(sliders.request, "display_data")
    assert set(first["data"]) == {"text/html", "text/plain", "image/png"}  # what is stored never needs the widget
    assert f"bknb-of-{sliders.state['place']}" in first["data"]["text/html"]
    assert sliders.state["sliders"] == [{"name": "hours", "texts": [str(each) for each in range(2, 31)]}]
    assert sliders.state["shown"]["at"] == [2]
    sliders.send(kind="move", at=[10])
    shown = sliders.answered(1)
    assert (shown["at"], shown["view"]) == ([10], "here")
    assert "2 combinations looked at · the 2nd strategy tried on these data" in shown["html"]
    assert shown["kept"].startswith(f'%%backtest {RUN} --out r --params "hours=12"\n')
    sliders.send(kind="settle")
    kernel.listen_until(lambda: bool(stored(kernel, first)))
    final = stored(kernel, first)[-1]["data"]
    assert "hours=12" in final["text/html"]
    assert "hours=12" in final["text/plain"]
    assert final["image/png"] != first["data"]["image/png"]
    kept = kernel.run(shown["kept"])
    assert evaluated(kernel, "(r.tries.line, r.account['positions'])")[0] == "the 2nd strategy tried on these data"
    assert kernel.shown(kept, "display_data")


def test_a_move_of_another_cell_moves_the_page_and_what_is_stored(kernel: Cells) -> None:
    sliders = Sliders(kernel, "moved", CELL.replace("--out r", "--out moved"))
    (first,) = kernel.shown(sliders.request, "display_data")
    kernel.run("for hours in (20, 30): moved.move(hours=hours)")
    kernel.listen_until(lambda: any(state["at"] == [28] for state in sliders.states()))
    newest = sliders.states()[-1]
    assert (newest["at"], newest["view"], newest["number"]) == ([28], "", 0)
    kernel.listen_until(lambda: any("hours=30" in each["data"]["text/html"] for each in stored(kernel, first)))
    sliders.send(kind="move", at=[3])
    assert sliders.answered(1)["at"] == [3]
    assert evaluated(kernel, "(moved.params, moved.looks)") == ({"hours": 5}, 4)


def stored(kernel: Cells, first: dict[str, Any]) -> list[dict[str, Any]]:
    every = (message for messages in kernel.received.values() for message in messages)
    updates = [m["content"] for m in every if m["msg_type"] == "update_display_data"]
    return [each for each in updates if each["transient"] == first["transient"]]


def test_of_many_moves_the_newest_alone_is_computed(kernel: Cells) -> None:
    kernel.run(SLOW)
    sliders = Sliders(
        kernel,
        "two",
        "%backtest BTCUSDT --strategy slow --exchange demo --frame 2024-02-01:2024-02-08 --interact hours=2:30 --out s",
    )
    kernel.run("asked.clear()")
    for at in range(3, 20):
        sliders.send(kind="move", at=[at])
    kernel.run("import time\nwhile not asked: time.sleep(0.01)")
    kernel.run("gate.set()")
    assert sliders.answered(17)["at"] == [19]
    assert len(sliders.states()) <= 2
    assert evaluated(kernel, "asked")[-1] == 21
    assert evaluated(kernel, "(s.looks, s.shown.tries.count)") == (len(sliders.states()) + 1,) * 2
    sliders.send(kind="move", at=[19])  # the same again is no other try
    sliders.answered(18)
    assert evaluated(kernel, "s.shown.tries.count") == len(sliders.states())


def test_a_cell_that_is_run_again_has_new_sliders(kernel: Cells) -> None:
    before = Sliders(kernel, "three", CELL)
    again = Sliders(kernel, "three", CELL)
    assert before.comm != again.comm
    closed = [m for messages in kernel.received.values() for m in messages if m["msg_type"] == "comm_close"]
    assert before.comm in [m["content"]["comm_id"] for m in closed]


def test_where_no_front_end_looks_on_the_combination_is_html(kernel: Cells) -> None:
    (shown,) = kernel.shown(kernel.run(CELL), "display_data")
    assert "bknb-of-" not in shown["data"]["text/html"]
    assert "hours=4" in shown["data"]["text/html"]
    assert json.dumps(shown["data"]).count("widget") == 0
