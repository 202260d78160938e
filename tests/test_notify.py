"""Notifiers: what is told, how it is escaped, and that a server which is slow, dead or refuses holds up nothing."""

from __future__ import annotations

import json
import os
import pickle
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from decimal import Decimal

import pytest
from fault_world import LONG, OUT, SPOT, World, rules
from msgspec.structs import replace
from notice_servers import free_port, mail, web
from order_events import closed, opened
from packages import need_packages
from scenarios import ORIGIN

import bknb
from bknb.domain.retry_pauses import Patience
from bknb.domain.signal_events import Reason, Rejected, RiskRefused
from bknb.events import subjects
from bknb.events.listen import drain
from bknb.events.listener_failures import ListenerFailure
from bknb.events.messages import Done, ErrorEvent
from bknb.runs.notifiers.channels import Email, TelegramChat, Webhook
from bknb.runs.notifiers.heartbeat import Pings, heartbeat_notice
from bknb.runs.notifiers.http_request import Undelivered
from bknb.runs.notifiers.outbox import Outbox
from bknb.runs.notifiers.sentences import Notice, notice_of
from bknb.stores.keys_and_tokens import Secret
from bknb.testing.clocks import AcceleratedClock, SimulatedClock
from bknb.testing.exchange import LocalExchange

TOKEN = "7700:planted" + "telegramtoken1234567890"
RUN = {"symbol": "BTCUSDT", "strategy": "sma", "exchange": "demo", "frame": None, "mode": "live"}
QUICK = Patience(first_pause_ms=1, longest_pause_ms=20)


@pytest.fixture(autouse=True)
def _token(monkeypatch):
    monkeypatch.setenv("BKNB_TELEGRAM_TOKEN", TOKEN)
    monkeypatch.delenv("BKNB_TELEGRAM_CHAT", raising=False)


@pytest.fixture
def server():
    with web() as running:
        yield running


def telegram(server, **more):
    return bknb.notify.telegram(42, address=server.url, **more)


def subjects_drained():
    """Whether every listener has heard everything."""
    return drain(timeout=5.0)


def live(event, **more):
    return replace(event, **{**RUN, **more})


def failed(kind="exchange", message="TimeoutError: no answer", **more):
    return ErrorEvent(kind=kind, message=message, when=ORIGIN, **{**RUN, **more})


OPENED, CLOSED = live(opened(), when=ORIGIN), live(closed(), when=ORIGIN)
DONE = Done(**RUN)


# --- what is told -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "kind", "text"),
    [
        (OPENED, "opened", "BTCUSDT, sma: opened long at 100 (stop 90, target 110) at 2024-01-01 00:00 UTC."),
        (CLOSED, "closed",
         "BTCUSDT, sma: closed long at 110, take profit, +9.00 % after costs at 2024-01-01 00:00 UTC."),
        (failed(), "error", "BTCUSDT, sma: exchange: TimeoutError: no answer at 2024-01-01 00:00 UTC."),
        (failed("silence", "no candle\ncomes", count=3), "silence",
         "BTCUSDT, sma: no candle; comes (time 3) at 2024-01-01 00:00 UTC."),
        (failed("unprotected", "0.5 without a stop"), "unprotected",
         "BTCUSDT, sma: 0.5 without a stop at 2024-01-01 00:00 UTC."),
        (failed("run", "StateError: gone"), "stopped",
         "BTCUSDT, sma: the live run failed and has ended: StateError: gone at 2024-01-01 00:00 UTC."),
        (DONE, "stopped", "BTCUSDT, sma: the live run is over."),
        (Rejected(**RUN, when=ORIGIN, price=1.0, reasons=(Reason("x", "the stop is above"), Reason("y", "no")),
                  signal=""), "refused",
         "BTCUSDT, sma: signal rejected: the stop is above; no at 2024-01-01 00:00 UTC."),
        (RiskRefused(**RUN, when=ORIGIN, price=1.0, risk="two", note="2 are open", signal=opened().signal,
                     open_positions=2), "refused",
         "BTCUSDT, sma: long refused by risk profile 'two': 2 are open at 2024-01-01 00:00 UTC."),
    ],
)  # fmt: skip
def test_each_event_is_one_plain_sentence_with_its_moment_in_utc(event, kind, text):
    notice = notice_of(event)
    assert (notice.kind, notice.text) == (kind, text)


@pytest.mark.parametrize("event", [replace(OPENED, mode="backtest"), failed("warm-up"), failed(mode="backtest"),
                                   replace(DONE, mode="backtest")])  # fmt: skip
def test_backtests_and_too_little_history_are_not_told(event):
    assert notice_of(event) is None


def test_what_is_chosen_arrives_in_order_and_the_rest_does_not(server):
    notifier = telegram(server, events=["closed", "stopped"])
    for event in (OPENED, CLOSED):
        subjects.emit_event(event)
    subjects.error.emit(failed())
    assert subjects_drained()
    subjects.done_live.emit(DONE)
    assert subjects_drained()
    assert notifier.send("hello")
    assert [text.split(": ")[-1][:6] for text in server.texts] == ["closed", "the li", "hello"]
    assert {path for _, path, *_ in server.requests} == {f"/bot{TOKEN}/sendMessage"}
    assert server.requests[0][3]["chat_id"] == "42"


@pytest.mark.parametrize(
    ("mode", "text"),
    [
        ("HTML", "a &lt;b&gt; &amp; 1.5_x"),
        ("MarkdownV2", "a <b\\> & 1\\.5\\_x"),
        (None, "a <b> & 1.5_x"),
    ],
)
def test_a_text_is_escaped_as_telegram_reads_it(server, mode, text):
    assert telegram(server, parse_mode=mode).send("a <b> & 1.5_x")
    body = server.requests[0][3]
    assert (body["text"], body.get("parse_mode")) == (text, mode)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("slack", {"text": "&lt;!channel&gt; @everyone"}),
        ("discord", {"content": "\\<!channel\\> \\@everyone", "allowed_mentions": {"parse": []}}),
        ("json", {"event": "message", "text": "<!channel> @everyone", "symbol": "", "strategy": "", "at": None}),
    ],
)
def test_a_webhook_calls_nobody(server, monkeypatch, body, said):
    monkeypatch.setenv("BKNB_WEBHOOK_URL", f"{server.url}/hook/planted")
    monkeypatch.setenv("MY_TOKEN", "plantedbearer12345")
    options = {"token_env": "MY_TOKEN"}
    assert bknb.notify.webhook(body=body, **options).send("<!channel> @everyone")
    ((method, path, headers, sent),) = server.requests
    assert (method, path, headers["Authorization"], sent) == (
        "POST",
        "/hook/planted",
        "Bearer plantedbearer12345",
        said,
    )


@pytest.mark.slow
def test_a_position_for_which_the_exchange_takes_no_stop_is_told_as_unprotected(server, monkeypatch, tmp_path):
    pytest.importorskip("ccxt")
    with LocalExchange(journal=tmp_path / "journal") as exchange:
        for variable, name in SPOT.keys:
            monkeypatch.setenv(variable, exchange.ccxt_config()[name])
        notifier = telegram(server, events=["unprotected"])
        life = World(exchange=exchange, signals={1: LONG}, answers=OUT, after={0: rules(stops=0)}).begin().live()
        assert life.held < Decimal("0.0001")
        assert notifier.send("end")
    *told, _ = server.texts
    assert any("does not rest at binance spot sandbox" in text for text in told)
    assert len(told) == len(set(told)) <= 2


def test_the_same_refusal_is_told_once_an_hour_with_its_count(server):
    notifier = telegram(server)
    refused = RiskRefused(**RUN, when=ORIGIN, price=1.0, risk="two", note="2 are open", signal=opened().signal,
                          open_positions=2)  # fmt: skip
    for minute in range(61):
        subjects.emit_event(replace(refused, when=ORIGIN + minute * 60_000, note=f"{minute / 7:.2f} is free of 2.00"))
    assert subjects_drained()
    assert notifier.send("end")
    assert len(server.texts) == 3
    assert server.texts[1].endswith("at 2024-01-01 01:00 UTC (and 59 more times since the last message).")


def test_a_failed_run_is_told_once_although_it_is_told_to_three_subjects(server):
    notifier = telegram(server)
    broken = failed("run", "StateError: gone\n0.5 BTC are open")
    subjects.exit.emit(broken)
    assert subjects_drained()
    subjects.error.emit(broken)
    subjects.done_live.emit(DONE)
    assert subjects_drained()
    assert notifier.send("end")
    assert len(server.texts) == 2


# --- a server that is slow, dead, refuses -------------------------------------------------------------------------


class Scripted:
    """A channel whose deliveries fail as scripted; ``None``: it arrives."""

    def __init__(self, *script):
        self.script, self.arrived, self.hold = list(script), [], None

    def deliver(self, notice):
        if self.hold is not None:
            self.hold.wait(5.0)
        outcome = self.script.pop(0) if self.script else None
        if outcome is not None:
            raise outcome
        self.arrived.append(notice.text)


def outbox(channel, *, limit=10, told=None):
    return Outbox("test", channel, limit=limit, patience=QUICK, trouble=(told if told is not None else []).append)


def put(box, *texts):
    for text in texts:
        box.put(Notice(kind="message", text=text))


def test_what_fails_is_tried_again_in_order_and_told_once():
    told = []
    channel = Scripted(Undelivered("gone"), Undelivered("gone"), None, Undelivered("no such chat", refused=True))
    box = outbox(channel, told=told)
    put(box, "a", "b", "c")
    assert box.drained(5.0)
    assert channel.arrived == ["a", "c (1 message before this one was lost.)"]
    assert (box.delivered, box.lost) == (2, 1)
    assert told == ["gone: it is tried again with growing pauses", "no such chat: this message is lost"]


def test_what_is_too_much_pushes_out_the_oldest_and_its_count_is_told():
    channel = Scripted()
    channel.hold = threading.Event()
    box = outbox(channel, limit=3)
    put(box, "0")
    while box.pending and not box._current:
        time.sleep(0.001)
    put(box, *"12345")
    assert (box.pending, box.lost) == (4, 2)
    channel.hold.set()
    assert box.drained(5.0)
    assert channel.arrived == ["0", "3 (2 messages before this one were lost.)", "4", "5"]


def test_what_the_other_side_asks_for_is_waited_for_although_somebody_waits():
    channel = Scripted(Undelivered("slow down", retry_after=0.15))
    box = outbox(channel)
    put(box, "a")
    assert not box.drained(0.05)
    assert channel.arrived == []
    assert box.drained(5.0)
    assert channel.arrived == ["a"]


def test_a_channel_that_breaks_loses_one_message_and_no_other():
    channel = Scripted(ZeroDivisionError())
    box = outbox(channel)
    put(box, "a", "b")
    assert box.drained(5.0)
    assert channel.arrived == ["b (1 message before this one was lost.)"]


def test_nothing_is_delivered_after_the_end_and_what_was_left_comes_back():
    channel = Scripted(*[Undelivered("gone")] * 1000)
    box = outbox(channel)
    put(box, "a", "b")
    assert [notice.text for notice in box.close(0.05)] == ["a", "b"]
    put(box, "c")
    assert box.pending <= 1
    assert channel.arrived == []


def test_where_no_thread_can_be_started_any_more_what_waits_is_delivered_at_the_end(monkeypatch):
    def refuse(_thread):
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    channel = Scripted(Undelivered("gone"))
    box = outbox(channel)
    put(box, "a", "b")
    assert [notice.text for notice in box.close(0.01)] == ["a"]
    assert channel.arrived == ["b"]


@pytest.mark.parametrize(
    ("answer", "refused", "after"),
    [
        ((429, '{"ok":false,"parameters":{"retry_after":7}}', {}), False, 7.0),
        ((429, "", {"Retry-After": "11"}), False, 11.0),
        ((503, "", {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}), False, 0.0),
        ((500, "oops", {}), False, None),
        ((401, '{"ok":false,"description":"Unauthorized"}', {}), True, None),
        ((302, "", {"Location": "http://127.0.0.1:9/"}), True, None),
        ((400, f"no such method /bot{TOKEN}/", {}), True, None),
    ],
)
def test_an_answer_says_whether_and_when_it_is_tried_again_and_never_holds_the_token(server, answer, refused, after):
    server.script.append(answer)
    channel = TelegramChat(Secret(TOKEN), "42", parse_mode=None, address=server.url, seconds=2.0)
    with pytest.raises(Undelivered) as told:
        channel.deliver(Notice(kind="message", text="x"))
    assert (told.value.refused, told.value.retry_after) == (refused, after)
    assert TOKEN not in str(told.value)
    assert len(server.requests) == 1


def test_a_server_that_answers_a_byte_at_a_time_is_left_in_time(server):
    server.script.append("drip")
    channel = Webhook(Secret(server.url), body="json", token=None, seconds=0.2)
    began = time.monotonic()
    with pytest.raises(Undelivered, match=r"no answer within 0\.2 s") as told:
        channel.deliver(Notice(kind="message", text="x"))
    assert not told.value.refused
    assert time.monotonic() - began < 2.0


def test_a_dead_server_holds_nobody_up_and_what_waits_arrives_when_it_is_back():
    port, told = free_port(), []
    stop = bknb.listen_error(told.append)
    notifier = bknb.notify.telegram(42, address=f"http://127.0.0.1:{port}", limit=3)
    began = time.monotonic()
    for _ in range(500):
        subjects.emit_event(OPENED)
    assert subjects_drained()
    assert time.monotonic() - began < 2.0
    assert not notifier.send("still there?", seconds=0.3)
    assert notifier.trouble.startswith("no answer within 10 s: [Errno")
    assert notifier.lost >= 495
    with web(port) as back:
        assert notifier.send("back")
        counts = re.findall(r"\((\d+) messages? before this one w", " ".join(back.texts))
        assert sum(map(int, counts)) == notifier.lost
        assert back.texts[-1] == "back"
    assert subjects_drained()
    stop()
    assert [type(each) for each in told] == [ListenerFailure]
    assert (told[0].subject, told[0].listener) == ("notify", "telegram")


def test_two_notifiers_that_are_refused_do_not_tell_each_other_for_ever(server, monkeypatch):
    server.script += [(401, "", {})] * 50
    monkeypatch.setenv("BKNB_WEBHOOK_URL", server.url)
    first, second = telegram(server), bknb.notify.webhook()
    assert not first.send("a")
    time.sleep(0.1)
    assert not second.send("b")
    assert len(server.requests) < 8


@pytest.mark.slow
def test_a_live_run_beside_a_dead_server_is_that_without_a_notifier():
    def trades(name):
        def get_signal(price):
            return bknb.Signal(
                position="long", price_take_profit=price * 1.1, price_stop_loss=price * 0.9, minute_estimated_time=15
            )

        bknb.add_strategy(name, interval="15m", get_signal=get_signal)
        task = bknb.Live.background(
            "BTCUSDT", strategy=name, exchange="demo", store=bknb.stores.memory(), clock=SimulatedClock(ORIGIN),
            until="2024-01-01 02:00",
        )  # fmt: skip
        return task.result(30).trades.drop(columns=["signal_id", "strategy"])

    alone = trades("alone")
    bknb.notify.telegram(42, address=f"http://127.0.0.1:{free_port()}", events="all", limit=3)
    beside = trades("beside")
    assert len(alone) > 3
    assert alone.equals(beside)


# --- one of a name, start and stop ---------------------------------------------------------------------------------


def test_a_cell_that_is_run_twice_has_one_notifier_and_loses_no_message(server):
    server.script.append((500, "", {}))
    first = telegram(server)
    subjects.emit_event(OPENED)
    server.wait(1)
    second = telegram(server)
    assert bknb.notify.running() == [second]
    assert second.send("x")
    subjects.emit_event(CLOSED)
    assert subjects_drained()
    assert second.send("y")
    assert [text.split(": ")[-1][:6] for text in server.texts[1:]] == ["opened", "x", "closed", "y"]
    assert not first.running


def test_what_is_told_right_before_it_is_stopped_arrives(server):
    notifier = telegram(server, events=["opened", "stopped"])
    for _ in range(20):
        subjects.emit_event(OPENED)
    subjects.done_live.emit(DONE)
    notifier.stop()
    assert (len(server.texts), notifier.delivered, notifier.lost) == (21, 21, 0)


def test_it_is_stopped_and_started_again(server):
    notifier = telegram(server)
    notifier.stop()
    with pytest.raises(bknb.UsageError, match="is stopped"):
        notifier.send("x")
    subjects.emit_event(OPENED)
    assert subjects_drained()
    assert (notifier.running, bknb.notify.running(), server.requests) == (False, [], [])
    assert notifier.start() is notifier
    assert notifier.start() is notifier
    subjects.emit_event(OPENED)
    assert subjects_drained()
    assert notifier.send("x")
    assert len(server.texts) == 2
    assert repr(notifier) == "<notifier 'telegram' to a chat of Telegram: running, 2 delivered, 0 waiting, 0 lost>"


def test_what_is_left_when_it_is_stopped_is_counted(caplog):
    notifier = bknb.notify.telegram(42, address=f"http://127.0.0.1:{free_port()}")
    subjects.emit_event(OPENED)
    assert subjects_drained()
    notifier.stop(seconds=0.05)
    assert notifier.lost == 1
    assert "was stopped with 1 messages that had not arrived" in caplog.text


def test_bknb_reset_ends_all(server):
    notifier = telegram(server, heartbeat="1m")
    bknb.testing.reset()
    assert (notifier.running, bknb.notify.running()) == (False, [])


def test_it_is_pickled_as_what_it_was_made_of_and_listens_when_it_is_started(server):
    notifier = telegram(server, events=("closed",), heartbeat="1h")
    packed = pickle.dumps(notifier)
    assert TOKEN.encode() not in packed
    again = pickle.loads(packed)  # noqa: S301 -- of this test
    assert (again.running, again.name) == (False, "telegram")
    assert again.start().send("from here")
    assert bknb.notify.running() == [again]


# --- signs of life -------------------------------------------------------------------------------------------------


def patient(name="patient", **more):
    bknb.add_strategy(name, interval="15m", get_signal=lambda: None)
    clock = more.pop("clock", None) or AcceleratedClock(ORIGIN, speed=600)
    return bknb.Live.background(
        "BTCUSDT", strategy=name, exchange="demo", store=bknb.stores.memory(), clock=clock, **more
    )


def test_pings_and_heartbeats_go_on_as_long_as_runs_do(server):
    pings = Pings(Secret(f"{server.url}/ping"), seconds=2.0)
    pings.ping()
    assert (heartbeat_notice(), server.requests) == (None, [])
    task = patient()
    pings.ping()
    assert [(method, path) for method, path, *_ in server.requests] == [("GET", "/ping")]
    text = heartbeat_notice().text
    assert text.startswith("1 live run goes on: BTCUSDT, patient (done up to 2024-01-01 00:")
    task.pause()
    assert "entries paused" in heartbeat_notice().text
    task.stop(now=True)
    task.result(10)
    pings.ping()
    assert (heartbeat_notice(), pings.sent, len(server.requests)) == (None, 1, 1)


class Breaking(AcceleratedClock):
    """A clock that breaks, as one of a user may."""

    broken = False

    def now(self):
        if self.broken:
            raise SystemExit("gone")
        return super().now()


def test_a_run_that_has_failed_ends_the_pings_until_it_goes_on_again(server, monkeypatch):
    monkeypatch.setenv("MY_PINGS", f"{server.url}/ping")
    notifier = telegram(server, events=["closed"], ping_env="MY_PINGS")
    other, clock = patient("other"), Breaking(ORIGIN, speed=600)
    task = patient("breaks", clock=clock)
    notifier._ping()
    clock.broken = True
    with pytest.raises(SystemExit):
        task.result(10)
    assert subjects_drained()
    notifier._ping()
    assert notifier.pings == (1, 0)
    assert other.status == "pending"
    again = patient("breaks")
    notifier._ping()
    assert notifier.pings == (2, 0)
    for each in (other, again):
        each.stop(now=True)
        each.result(10)


def test_a_run_that_is_interrupted_ends_the_pings(server):
    pings, task = Pings(Secret(server.url), seconds=2.0), patient()
    pings.ping()
    main = threading.main_thread().ident
    threading.Timer(0.1, signal.pthread_kill, (main, signal.SIGINT)).start()
    task.wait_or_stop()
    pings.ping()
    assert (pings.sent, len(server.requests)) == (1, 1)


def test_a_blocked_loop_ends_the_pings_and_is_said(server, monkeypatch):
    task = patient()
    monkeypatch.setattr("bknb.runs.notifiers.heartbeat.loop_answers", lambda: False)
    pings = Pings(Secret(server.url), seconds=2.0)
    pings.ping()
    assert server.requests == []
    assert heartbeat_notice().text == "the loop of the live runs does not answer: no position is watched."
    task.stop(now=True)
    task.result(10)


def test_a_ping_that_fails_is_counted_and_does_not_say_its_address(server, caplog):
    server.script += [(500, "/planted-uuid-1234 is unknown", {})]
    pings = Pings(Secret(f"{server.url}/planted-uuid-1234"), seconds=2.0)
    task = patient()
    pings.ping()
    pings._url = Secret(f"http://127.0.0.1:{free_port()}/planted-uuid-1234")
    pings.ping()
    assert (pings.sent, pings.failed) == (0, 2)
    assert caplog.text.count("a ping did not arrive") == 1
    assert "planted-uuid" not in caplog.text.replace("/planted-uuid-1234 is unknown", "")
    task.stop(now=True)
    task.result(10)


ENDING = """
import bknb, sys, time
bknb.add_strategy("patient", interval="15m", get_signal=lambda: None)
bknb.notify.telegram(42, address=sys.argv[1], ping_env="MY_PINGS", ping_every="1m")
task = bknb.Live.background("BTCUSDT", strategy="patient", exchange="demo", store=bknb.stores.memory())
"""


@pytest.mark.slow
def test_a_process_that_ends_says_that_nobody_watches_its_runs(server):
    where = {"MY_PINGS": server.url, "PYTHONPATH": os.pathsep.join(sys.path)}
    code = [sys.executable, "-c", textwrap.dedent(ENDING), server.url]
    subprocess.run(code, env={**os.environ, **where}, check=True, timeout=60)
    (text,) = server.texts
    assert text.startswith("the process ends, and nobody watches any more: 1 live run goes on: BTCUSDT, patient (")


KERNEL = """
import sys, time
import bknb
from bknb.testing.clocks import AcceleratedClock

def get_signal(price):
    return bknb.Signal(
        position="long", price_take_profit=price * 1.1, price_stop_loss=price * 0.9, minute_estimated_time=5
    )

if __name__ == "__main__":
    bknb.add_strategy("often", interval="15m", get_signal=get_signal)
    bknb.notify.telegram(42, address=sys.argv[1], events=["opened", "closed", "stopped"])
    bknb.Live.background(
        "BTCUSDT", strategy="often", exchange="demo", store=bknb.stores.files(sys.argv[2]), process=True,
        clock=AcceleratedClock(1_704_067_200_000, speed=1_500), until="2024-01-01 06:00",
    )
    time.sleep(60)
"""


@pytest.mark.slow
def test_where_runs_have_a_process_of_their_own_it_tells_when_the_kernel_is_gone(server, tmp_path):
    need_packages("cloudpickle")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    kernel = subprocess.Popen([sys.executable, "-c", KERNEL, server.url, str(tmp_path / "state")], env=environment)
    try:
        server.wait(5, 30.0)
        while_followed = list(server.texts)
        kernel.kill()
        kernel.wait()
        server.wait(len(server.texts) + 3, 20.0)
    finally:
        kernel.kill()
        os.kill(json.loads((tmp_path / "state" / "live-process.json").read_text())["pid"], signal.SIGKILL)
    assert len(while_followed) == len(set(while_followed))
    assert {text.split(": ")[1].split()[0] for text in server.texts[-3:]} == {"opened", "closed"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot be forked here")
def test_a_forked_process_tells_nothing(server):
    telegram(server)
    child = os.fork()
    if child == 0:
        os._exit(len(bknb.notify.running()))
    assert os.waitpid(child, 0)[1] == 0
    assert len(bknb.notify.running()) == 1


# --- email ---------------------------------------------------------------------------------------------------------


def letter(server, text, **more):
    channel = Email("127.0.0.1", server.port, **{
        "sender": "bot@example.com", "to": ("me@example.com", "you@example.com"), "user": None, "password": None,
        "security": "none", "seconds": 2.0, **more,
    })  # fmt: skip
    channel.deliver(Notice(kind="closed", text=text))


def test_an_email_goes_to_its_addresses_alone_whatever_its_text_holds():
    with mail() as server:
        letter(server, "closed\r\nBcc: all@example.com\r\n\r\nü .")
        ((to, text),) = server.letters
    assert [each.upper() for each in to] == ["RCPT TO:<ME@EXAMPLE.COM>", "RCPT TO:<YOU@EXAMPLE.COM>"]
    head, _, body = text.partition("\r\n\r\n")
    assert "\r\nBcc" not in head
    assert "To: me@example.com, you@example.com" in head
    assert body.strip()


@pytest.mark.parametrize(
    ("answers", "refused", "why"),
    [
        ({"RCPT": ["550 no", "550 no"]}, True, "it takes none of the addresses"),
        ({"RCPT": ["450 later", "450 later"]}, False, "it takes none of the addresses"),
        ({"MAIL": ["451 later"]}, False, "451 later"),
        ({"MAIL": ["554 never"]}, True, "554 never"),
        ({"EHLO": ["250 fine"]}, True, "STARTTLS extension not supported"),
    ],
)
def test_what_a_mail_server_says_is_what_is_done(answers, refused, why):
    with mail() as server:
        server.answers.update(answers)
        with pytest.raises(Undelivered, match=why) as told:
            letter(server, "x", security="starttls" if "EHLO" in answers else "none")
        assert told.value.refused == refused
        assert server.letters == []


def test_a_dead_mail_server_is_tried_again():
    with mail() as server:
        pass
    with pytest.raises(Undelivered) as told:
        letter(server, "x")
    assert not told.value.refused


# --- wrong use -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "given", "why"),
    [
        ("telegram", {"chat": 42, "token_env": TOKEN}, "token_env= is the name of an environment variable"),
        ("telegram", {"chat": 42, "token_env": "NO_SUCH"}, "set NO_SUCH in the environment"),
        ("telegram", {}, "chat= is the number of a chat"),
        ("telegram", {"chat": "x y"}, "chat= is the number of a chat"),
        ("telegram", {"chat": 42, "events": ["open"]}, "events= has no event 'open'"),
        ("telegram", {"chat": 42, "events": "most"}, "events= has no event 'most'"),
        ("telegram", {"chat": 42, "events": []}, "events= is empty"),
        ("telegram", {"chat": 42, "parse_mode": "html"}, "parse_mode= is 'HTML'"),
        ("telegram", {"chat": 42, "heartbeat": "2x"}, "unknown interval '2x'"),
        ("telegram", {"chat": 42, "limit": 0}, "limit= is a whole number"),
        ("telegram", {"chat": 42, "timeout_seconds": 0}, "timeout_seconds= is a number"),
        ("telegram", {"chat": 42, "ping_env": "https://hc-ping.com/planted"}, "ping_env= is the name"),
        ("telegram", {"chat": 42, "name": ""}, "name= is a short text"),
        ("telegram", {"chat": 42, "address": "http://example.com"}, "begins with https://"),
        ("webhook", {"url_env": "BKNB_TELEGRAM_TOKEN"}, "holds no address that begins with https://"),
        ("webhook", {"body": "teams"}, "body= is 'json'"),
        ("email", {"to": [], "host": "h"}, "to= has no address"),
        ("email", {"to": "me@example.com", "host": "h", "user": "me", "security": "none"}, "without encryption"),
        ("email", {"to": "me@example.com", "host": "h", "user": "me"}, "set BKNB_EMAIL_PASSWORD"),
        ("email", {"to": "me", "host": "h"}, "expected an address such as"),
        ("email", {"to": "me@example.com", "host": "h", "security": "ssl"}, "security= is 'starttls'"),
    ],
)
def test_a_mistake_is_named_and_starts_nothing(call, given, why):
    with pytest.raises(bknb.UsageError, match=why) as told:
        getattr(bknb.notify, call)(**given)
    assert "planted" not in str(told.value)
    assert bknb.notify.running() == []
