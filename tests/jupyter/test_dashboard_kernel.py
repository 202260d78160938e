"""Dashboards in a real kernel: what is displayed, what is stored, and the listeners left when a cell is run again."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest.importorskip("ipykernel")
pytest.importorskip("anywidget")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("jupyter_client")

from test_kernel import Kernel, new_kernel  # noqa: E402 -- after the checks

pytestmark = pytest.mark.kernel

SETUP = """
import threading, bknb
%load_ext bknb
from bknb.events import subjects
gate = threading.Event()
def get_signal(price, when):
    if when.day == 3:
        gate.wait(60)
    return bknb.Signal(position="long", price_take_profit=price * 1.02, price_stop_loss=price * 0.99,
                       minute_estimated_time=300)
bknb.add_strategy("waiting", get_signal=get_signal, interval="15m")
def listeners():
    return sum(len(subject.subscriptions) for subject in subjects.ALL)
def start():
    return bknb.Backtest.background("BTCUSDT", strategy="waiting", exchange="demo", frame="2024-01-01:2024-01-05")
"""


class Cells(Kernel):
    """A kernel whose requests come from named cells, as a notebook's do."""

    def cell(self, name: str, code: str) -> str:
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}
        message = self.client.session.msg("execute_request", content, metadata={"cellId": name})
        self.client.shell_channel.send(message)
        request = str(message["header"]["msg_id"])
        answer = self.reply(request)
        assert answer["status"] == "ok", answer
        return request


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cells]:
    with new_kernel(tmp_path_factory.mktemp("kernel"), Cells, SETUP) as found:
        yield found


def evaluated(kernel: Cells, code: str) -> Any:
    return eval(kernel.printed(kernel.run(f"print(repr({code}))")))  # noqa: S307 -- what our own kernel printed


def test_a_cell_that_is_run_again_leaves_one_listener(kernel: Cells) -> None:
    kernel.run("gate.clear()\ntask = start()")
    before = evaluated(kernel, "listeners()")
    kernel.cell("one", "bknb.dashboard(task)")
    once = evaluated(kernel, "listeners()")
    assert once > before
    for _ in range(3):
        kernel.cell("one", "bknb.dashboard(task)")
    assert evaluated(kernel, "listeners()") == once
    kernel.cell("two", "other = bknb.dashboard(task)\nother")  # another cell has a dashboard of its own
    assert evaluated(kernel, "listeners()") == before + 2 * (once - before)
    kernel.cell("two", "%dashboard {task}")
    assert evaluated(kernel, "(listeners(), other.live)") == (before + 2 * (once - before), False)
    kernel.cell("two", "gate.set()\nboard = bknb.dashboard(task)\nboard.wait(60)")
    kernel.run("task.result()\nNone")
    assert evaluated(kernel, "(board.wait(60), task.done)") == (True, True)
    kernel.cell("one", "1")
    kernel.run("import time\nwhile listeners() > 0: time.sleep(0.02)")
    assert evaluated(kernel, "listeners()") == 0


def test_a_notebook_gets_the_widget_and_the_final_picture(kernel: Cells) -> None:
    kernel.run("gate.clear()\ntask = start()")
    request = kernel.cell("three", "board = bknb.dashboard(task)\nboard")
    (first,) = kernel.shown(request, "display_data")
    assert set(first["data"]) >= {"text/html", "text/plain"}
    assert not [kind for kind in first["data"] if "widget" in kind]  # what is stored never needs the widget
    assert "running" in first["data"]["text/plain"]
    kernel.run("gate.set()\nprint(board.wait(60))")
    kernel.listen_until(lambda: bool(finals(kernel, first)))
    final = finals(kernel, first)[-1]
    assert set(final["data"]) == {"text/html", "text/plain", "image/png"}
    assert place(final) == place(first)
    assert ": done · " in final["data"]["text/plain"]
    assert final["metadata"]["image/png"]["alt"] == final["data"]["text/plain"]


def place(shown: dict[str, Any]) -> str:
    found = re.search("bknb-of-([0-9a-f]+)", shown["data"]["text/html"])
    assert found
    return found[1]


def finals(kernel: Cells, first: dict[str, Any]) -> list[dict[str, Any]]:
    name = first["transient"]["display_id"]
    found = [
        m["content"]
        for received in kernel.received.values()
        for m in received
        if m["msg_type"] == "update_display_data"
    ]
    return [content for content in found if content["transient"].get("display_id") == name]


def test_without_a_front_end_the_final_picture_is_stored_at_once(kernel: Cells) -> None:
    kernel.run("gate.set()")
    request = kernel.run("bknb.dashboard(start())")
    (shown,) = kernel.shown(request)
    assert set(shown["data"]) == {"text/html", "text/plain", "image/png"}
    assert ": done · " in shown["data"]["text/plain"]
    cell = nbformat.v4.new_code_cell("x")
    cell.outputs = [nbformat.v4.new_output("display_data", data=shown["data"], metadata=shown["metadata"])]
    notebook = nbformat.v4.new_notebook(cells=[cell])
    nbformat.validate(notebook)
    assert len(nbformat.writes(notebook)) < 500_000


def test_a_mistake_in_the_magic_is_a_short_error(kernel: Cells) -> None:
    request = kernel.send("%dashboard --panels prise")
    answer = kernel.reply(request)
    assert (answer["status"], answer["ename"]) == ("error", "UsageError")
    assert len(answer["traceback"]) <= 3
