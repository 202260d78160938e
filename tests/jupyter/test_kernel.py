"""bknb in a real Jupyter kernel: nothing hangs, a run can be stopped, prints land where they belong."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from example import RUN, TRADER

import bknb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytest.importorskip("ipykernel")
pytest.importorskip("nbformat")
jupyter_client = pytest.importorskip("jupyter_client")

pytestmark = pytest.mark.kernel

PLOTLY = "application/vnd.plotly.v1+json"
WAIT_SECONDS = 60
K = TypeVar("K", bound="Kernel")
YEAR = "--exchange demo --frame 2024-01-01:2025-01-01"


class Kernel:
    """A running kernel; messages are kept by the request they belong to."""

    def __init__(self, manager: Any, client: Any) -> None:
        self.manager = manager
        self.client = client
        self.received: dict[str, list[dict[str, Any]]] = defaultdict(list)

    def send(self, code: str) -> str:
        return str(self.client.execute(code))

    def listen_until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            message = self.client.get_iopub_msg(timeout=WAIT_SECONDS)
            self.received[message["parent_header"].get("msg_id", "")].append(message)

    def idle(self, request: str) -> bool:
        return any(
            m["msg_type"] == "status" and m["content"]["execution_state"] == "idle" for m in self.received[request]
        )

    def reply(self, request: str) -> dict[str, Any]:
        """The answer to a request, after everything it showed was received."""
        while True:
            message: dict[str, Any] = self.client.get_shell_msg(timeout=WAIT_SECONDS)
            if message["parent_header"]["msg_id"] == request:
                self.listen_until(lambda: self.idle(request))
                return dict(message["content"])

    def run(self, code: str) -> str:
        request = self.send(code)
        answer = self.reply(request)
        assert answer["status"] == "ok", answer
        return request

    def shown(self, request: str, *kinds: str) -> list[dict[str, Any]]:
        kinds = kinds or ("display_data", "update_display_data", "execute_result")
        return [m["content"] for m in self.received[request] if m["msg_type"] in kinds]

    def printed(self, request: str) -> str:
        return "".join(m["content"]["text"] for m in self.received[request] if m["msg_type"] == "stream")


@contextmanager
def new_kernel(folder: Path, kind: type[K], first: str) -> Iterator[K]:
    """A kernel in a folder, with a cell that it has run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IPYTHONDIR", str(folder / "ipython"))
        patch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
        manager, client = jupyter_client.manager.start_new_kernel(cwd=str(folder))
    try:
        kernel = kind(manager, client)
        kernel.run(first)
        yield kernel
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    with new_kernel(tmp_path_factory.mktemp("kernel"), Kernel, "import bknb\n%load_ext bknb") as kernel:
        yield kernel


@pytest.fixture
def kernel(running: Kernel) -> Kernel:
    running.received.clear()
    return running


def test_cells_that_wait_in_the_queue_are_all_answered(kernel: Kernel) -> None:
    requests = [
        kernel.send(f"%%backtest BTCUSDT {RUN} --interval 1h --name first\n{TRADER}"),
        kernel.send(
            "result = bknb.backtest('BTCUSDT', strategy='first', exchange='demo', frame='2024-01-01:2024-01-03')"
        ),
        kernel.send("import asyncio\nawait asyncio.sleep(0)\nprint('third', len(result.trades))"),
        kernel.send(f"%backtest BTCUSDT --strategy first {RUN}"),
        kernel.send("print('fifth')"),
    ]
    assert [kernel.reply(request)["status"] for request in requests] == ["ok"] * 5
    assert kernel.printed(requests[2]).startswith("third ")
    assert kernel.printed(requests[4]) == "fifth\n"


def test_a_result_is_a_picture_and_numbers(kernel: Kernel) -> None:
    request = kernel.run(f"%%backtest BTCUSDT {RUN} --interval 1h --name shown\n{TRADER}")
    picture, numbers = kernel.shown(request, "display_data", "execute_result")[-2:]
    assert set(picture["data"]) == {PLOTLY, "image/png", "text/plain"}
    assert "bknb" not in picture["metadata"]
    alt = picture["metadata"]["image/png"]["alt"]
    assert alt == picture["data"]["text/plain"]
    assert alt.startswith("Equity curve of shown on BTCUSDT: ")
    assert "\n" not in alt
    assert set(numbers["data"]) == {"text/html", "text/plain"}
    mark = numbers["metadata"]["bknb"]
    card = bknb.Card.from_json(json.dumps(mark.pop("card")))  # the run card goes wherever the notebook goes
    assert mark == {"kind": "backtest", "strategy": "shown", "symbol": "BTCUSDT"}
    assert (card.strategy, card.symbol, card.outcome.rows) == ("shown", "BTCUSDT", ())
    assert numbers["data"]["text/plain"].startswith("backtest shown on BTCUSDT")


def test_a_result_at_the_end_of_a_cell_shows_itself(kernel: Kernel) -> None:
    kernel.run(f"%%backtest BTCUSDT {RUN} --interval 1h --name own --out own\n{TRADER}")
    assert len(kernel.shown(kernel.run("own"))) == 2
    assert len(kernel.shown(kernel.run("own\nNone"))) == 0


SLOW = """
import time
def get_signal(ctx):
    time.sleep(0.005)
    if ctx.when.hour == 0:
        return bknb.Signal(position="long", price_take_profit=ctx.price * 1.02, price_stop_loss=ctx.price * 0.99,
                           minute_estimated_time=60)
"""


def test_an_interrupt_gives_the_partial_result_marked_as_partial(kernel: Kernel) -> None:
    request = kernel.send(f"%%backtest BTCUSDT {YEAR} --interval 15m --name slow --out part\n{SLOW}")
    kernel.listen_until(lambda: len(kernel.shown(request, "update_display_data")) >= 3)
    kernel.manager.interrupt_kernel()
    assert kernel.reply(request)["status"] == "ok"
    bar, *later = kernel.shown(request)
    numbers = kernel.shown(request, "display_data")[-1]["data"]
    assert "this is a partial result" in numbers["text/plain"]
    assert "this is a partial result" in numbers["text/html"]
    last = [m for m in later if m["transient"].get("display_id") == bar["transient"]["display_id"]][-1]
    assert "stopped early, partial result" in last["data"]["text/plain"]
    after = kernel.run("print(part.stopped, len(part.trades) > 0)")
    assert kernel.printed(after) == "True True\n"


TALKING = SLOW.replace("    if ctx.when.hour == 0:", "    if ctx.when.hour == 0:\n        print('asked', flush=True)")
LONG = "'BTCUSDT', strategy='talking', exchange='demo', frame='2024-01-01:2025-01-01'"
WAITS = {
    "plain": f"part = bknb.backtest({LONG})",
    "await": f"part = await bknb.Backtest.background({LONG})",
    "trade by trade": f"""
async for trade in bknb.Backtest.run({LONG}):
    pass
part = bknb.Backtest.get_data('BTCUSDT', 'talking')
""",
    "deeper": f"""
import asyncio
async def ask():
    return await bknb.Backtest.background({LONG})
part = await ask()
async with asyncio.timeout(20):  # the interrupt is over: nothing else is cancelled by it
    await asyncio.sleep(0.01)
""",
}


@pytest.mark.parametrize("code", WAITS.values(), ids=WAITS)
def test_an_interrupt_ends_the_awaited_work_at_its_next_minute(kernel: Kernel, code: str) -> None:
    kernel.run(f"%%strategy talking --interval 15m\n{TALKING}")
    request = kernel.send(f"{code}\nprint('goes on', part.stopped)")
    kernel.listen_until(lambda: kernel.printed(request).count("asked") >= 2)
    kernel.manager.interrupt_kernel()
    assert kernel.reply(request)["status"] == "ok"
    assert kernel.printed(request).endswith("goes on True\n")
    after = kernel.run(
        "print(bknb.Backtest.list()[-1].done, part.stopped, 'partial' in part.report(), len(part.events) > 0,"
        " all(event.when % 60_000 == 0 for event in part.events))"
    )
    assert kernel.printed(after) == "True True True True True\n"


def test_a_run_can_be_waited_for_in_a_user_thread(kernel: Kernel) -> None:
    kernel.run(f"%%strategy talking --interval 15m\n{TALKING}")
    short = LONG.replace("2025-01-01", "2024-01-02")
    request = kernel.run(
        "import threading\ngot = []\n"
        f"thread = threading.Thread(target=lambda: got.append(bknb.backtest({short})))\n"
        "thread.start()\nthread.join()\nprint(len(got), got[0].stopped)"
    )
    assert kernel.printed(request).endswith("1 False\n")


def test_a_headless_kernel_shows_no_buttons(kernel: Kernel) -> None:
    request = kernel.run(
        f"_ = bknb.backtest({LONG.replace('2025-01-01', '2024-01-03')})\n"
        f"task = bknb.Backtest.background({LONG.replace('2025-01-01', '2024-01-02')})\n"
        "_ = task.result()\ntask"
    )
    (shown,) = kernel.shown(request)
    assert shown["data"] == {"text/plain": "<backtest of 'talking' on BTCUSDT: fulfilled, 100%>"}


def test_progress_is_monotonic_and_ends_as_a_sentence(kernel: Kernel) -> None:
    request = kernel.run(
        f"%%backtest BTCUSDT --exchange demo --frame 2024-01-01:2024-01-05 --interval 15m --name steady\n{SLOW}"
    )
    bar, *later = kernel.shown(request)
    name = bar["transient"]["display_id"]
    states = [bar["data"], *(m["data"] for m in later if m["transient"].get("display_id") == name)]
    assert len(states) > 5
    percents = [int(data["text/plain"].split(": ")[1].split(" %")[0]) for data in states[:-1]]
    assert percents == sorted(percents)
    assert max(percents) <= 99
    assert all('role="status"' in data["text/html"] for data in states)
    assert all(f'aria-valuenow="{p}"' in data["text/html"] for p, data in zip(percents, states[:-1], strict=True))
    assert states[-1]["text/plain"].startswith("backtest steady BTCUSDT: done in ")
    assert "progressbar" not in states[-1]["text/html"]


def test_a_download_shows_one_line_and_leaves_a_sentence(kernel: Kernel) -> None:
    request = kernel.run(
        "market = bknb.exchanges.stored(bknb.exchanges.demo(), folder='candles')\n"
        "done = bknb.download('BTCUSDT', exchange=market, start='2024-01-01', end='2024-03-01', warmup_minutes=0)"
    )
    shown = kernel.shown(request)
    assert len({message["transient"]["display_id"] for message in shown}) == 1
    assert re.fullmatch(
        r"download BTCUSDT 1m from demo: 86,4\d\d new candles in \d+\.\d s", shown[-1]["data"]["text/plain"]
    )
    assert "progressbar" not in shown[-1]["data"]["text/html"]
    assert all("progressbar" in message["data"]["text/html"] for message in shown[:-1])
    assert kernel.printed(request) == ""


def test_lines_of_sweeps_and_comparisons_end_with_their_size(kernel: Kernel) -> None:
    kernel.run(f"%%strategy sized --interval 1h\n{TRADER}")
    for line, last in (
        ('%sweep BTCUSDT --strategy sized --params "" ', r"sweep sized BTCUSDT: done in \d+\.\d s · 1 combinations"),
        ("%walker BTCUSDT --strategies sized ", r"walker BTCUSDT: done in \d+\.\d s · 1 strategies"),
    ):
        texts = [message["data"]["text/plain"] for message in kernel.shown(kernel.run(line + RUN))]
        assert any(re.fullmatch(last, text) for text in texts), texts


def test_prints_land_in_the_cell_that_started_the_run(kernel: Kernel) -> None:
    body = (
        "def get_signal(ctx):\n    if ctx.when.hour == 0:\n        go.wait(30)\n"
        "        print('strategy says', ctx.when.day)\n"
    )
    kernel.run("import threading\ngo = threading.Event()")
    started = kernel.run(f"%%backtest BTCUSDT {RUN} --interval 1h --name loud --background --out task\n{body}")
    later = kernel.run("print('another cell')\ngo.set()\nquiet = task.result()\nprint('over')")
    kernel.listen_until(lambda: "strategy says 7" in kernel.printed(started))  # nobody is asked at the end
    assert kernel.printed(later) == "another cell\nover\n"
    assert kernel.printed(started).count("strategy says") == 7


ASKED = """
def get_signal(ctx):
    half = ctx.price / 2
    print('half is', half > 0)
    {}
    return half
async def slowly(ctx):
    import asyncio
    await asyncio.sleep(0.001)
    return get_signal(ctx)
moment = bknb.backtest('BTCUSDT', strategy=lambda: None, exchange='demo', frame='2024-01-01:2024-01-02').at(
    '2024-01-01 12:00')
"""


def test_a_strategy_asked_again_prints_into_the_cell_that_asks(kernel: Kernel) -> None:
    kernel.run(ASKED.format(""))
    for name in ("get_signal", "slowly"):
        request = kernel.run(f"asked = moment.ask({name})\nprint(asked.event.reasons[0].code)")
        assert kernel.printed(request) == "half is True\nshape\n"
    request = kernel.run("import asyncio\nawait asyncio.sleep(0)\nasked = moment.ask(slowly)\nprint('goes on')")
    assert kernel.printed(request) == "half is True\ngoes on\n"
    assert kernel.printed(kernel.run("with moment:\n    print(bknb.get_when().hour)")) == "12\n"


@pytest.mark.parametrize("name", ["get_signal", "slowly"])
def test_the_debugger_stops_inside_a_strategy_that_is_asked_again(kernel: Kernel, name: str) -> None:
    kernel.run(ASKED.format("import pdb; pdb.set_trace()"))  # breakpoint() is JupyterLab's own debugger
    request = kernel.send(f"asked = moment.ask({name})\nprint('went on', asked.answer > 0)")
    for answer in ("p half * 2 == ctx.price", "c"):
        asked = kernel.client.get_stdin_msg(timeout=WAIT_SECONDS)
        assert asked["msg_type"] == "input_request"
        kernel.client.input(answer)
    assert kernel.reply(request)["status"] == "ok"
    printed = kernel.printed(request)
    assert "True\n" in printed
    assert "half" in printed.partition("half is True")[2]  # its line is shown
    assert printed.endswith("went on True\n")


def test_an_error_of_a_strategy_asked_again_shows_its_own_line(kernel: Kernel) -> None:
    kernel.run(ASKED.format("half / 0"))
    request = kernel.send("moment.ask(get_signal)")
    assert kernel.reply(request)["ename"] == "ZeroDivisionError"
    kernel.run("import sys, traceback\nlast = traceback.extract_tb(sys.last_traceback)[-1]")
    assert kernel.printed(kernel.run("print(last.name, last.line)")) == "get_signal half / 0\n"


def test_a_mistake_is_a_short_error_that_still_fails_the_cell(kernel: Kernel) -> None:
    request = kernel.send(f"%backtest BTCUSDT --strategy nobody {RUN}")
    answer = kernel.reply(request)
    assert (answer["status"], answer["ename"]) == ("error", "UnknownName")
    (error,) = kernel.shown(request, "error")
    assert len(error["traceback"]) <= 3
    assert "\n" not in "".join(error["traceback"])
    assert error["traceback"][0].startswith("UnknownName: no strategy is called 'nobody'")


def test_tab_works_through_the_kernel(kernel: Kernel) -> None:
    code = "%%backtest BTCUSDT --exchange demo --inter"
    kernel.client.complete(code, len(code))
    while True:
        message = kernel.client.get_shell_msg(timeout=WAIT_SECONDS)
        if message["msg_type"] == "complete_reply":
            break
    content = message["content"]
    assert content["matches"] == ["--interval", "--interact"]
    assert code[content["cursor_start"] : content["cursor_end"]] == "--inter"


def test_a_saved_year_of_minutes_stays_below_a_megabyte(kernel: Kernel) -> None:
    import nbformat

    body = TRADER.replace("300", "200").replace("1.02", "1.03").replace("0.99", "0.97")
    request = kernel.run(f"%%backtest BTCUSDT {YEAR} --interval 15m --name year --out year\n{body}")
    cell = nbformat.v4.new_code_cell("x")
    for message in kernel.received[request]:
        if message["msg_type"] in ("stream", "display_data", "execute_result"):
            cell.outputs.append(nbformat.v4.output_from_msg(message))
    notebook = nbformat.v4.new_notebook(cells=[cell])
    nbformat.validate(notebook)
    text = nbformat.writes(notebook)
    assert PLOTLY in text
    assert "image/png" in text
    assert len(text.encode()) < 1_000_000
    assert kernel.printed(kernel.run("print(len(year.trades) > 2000)")) == "True\n"


def test_the_event_loop_of_the_kernel_is_not_patched(kernel: Kernel) -> None:
    request = kernel.run(
        "import asyncio, json, sys\n"
        "print(json.dumps([hasattr(asyncio, '_nest_patched'), 'nest_asyncio' in sys.modules,"
        " asyncio.run.__module__]))"
    )
    patched, imported, home = json.loads(kernel.printed(request))
    assert (patched, imported) == (False, False)
    assert home == "asyncio.runners"


BUSY = """
began = time.perf_counter()
while time.perf_counter() - began < 3:
    sum(range(1000))
busy = (began, time.perf_counter())
"""


def test_a_live_run_goes_on_while_a_cell_is_busy(kernel: Kernel) -> None:
    kernel.run(
        "import time\nfrom bknb.testing.clocks import AcceleratedClock\nasked = []\n"
        "def get_signal(ctx):\n    asked.append(time.perf_counter())\n    print('asked at', ctx.when.minute)\n"
        "_ = bknb.add_strategy('ticking', interval='1m', get_signal=get_signal)"
    )
    started = kernel.run(
        "clock, store = AcceleratedClock(1_704_067_200_000, speed=300), bknb.stores.memory()\n"
        "%live BTCUSDT --strategy ticking --exchange demo --clock {clock} --store {store} --out ticking"
    )
    other = kernel.run(BUSY)
    kernel.run("ticking.stop(now=True)\n_ = ticking.result(30)")
    counted = kernel.run("print(json.dumps([sum(busy[0] < at < busy[1] for at in asked), len(asked)]))".replace(
        "print(", "import json\nprint(", 1))  # fmt: skip
    while_busy, in_all = json.loads(kernel.printed(counted))
    assert while_busy >= 5  # a minute takes 0.2 s: fifteen are due
    kernel.listen_until(lambda: kernel.printed(started).count("asked at") == in_all)
    assert kernel.printed(other) == ""


def test_a_kernel_ends_although_live_runs_go_on(tmp_path: Path) -> None:
    manager, client = jupyter_client.manager.start_new_kernel(cwd=str(tmp_path))
    try:
        own = Kernel(manager, client)
        own.run(
            "import bknb\nfrom bknb.testing.clocks import AcceleratedClock\n"
            "asked = []\n"
            "task = bknb.Live.background('BTCUSDT', strategy=lambda: asked.append(1), exchange='demo',\n"
            "    clock=AcceleratedClock(1_704_067_200_000, speed=300))\n"
            "while len(asked) < 3:\n    task.wait(0.05)"
        )
        client.shutdown()
        manager.provisioner.process.wait(WAIT_SECONDS)
        assert manager.provisioner.process.returncode == 0
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    with bknb.stores.FileStore(tmp_path / "dump" / "data") as store:  # nobody holds it any more
        assert store.keys("signal")
