"""Planted keys and tokens are in nothing that is shown, logged, saved, shared or dumped."""

from __future__ import annotations

import asyncio
import base64
import copy
import faulthandler
import io
import logging
import pickle
import traceback
from pathlib import Path
from urllib.parse import quote

import pytest
from fault_world import LONG, OUT, SPOT, World, fault
from notice_servers import free_port
from packages import need_packages

import bknb
from bknb.errors import BrokerError
from bknb.sharing.secrets import Guard
from bknb.stores.keys_and_tokens import Secret, without_keys

need_packages("ccxt")
pytest_plugins = ["exchange_fixtures"]

PLANTED = {
    "BKNB_BINANCE_SANDBOX_KEY": "local-key",  # these two open the local exchange
    "BKNB_BINANCE_SANDBOX_SECRET": "local-secret",
    "BKNB_OKX_SANDBOX_PASSPHRASE": "planted-passphrase-7Qx",
    "BKNB_TELEGRAM_TOKEN": "7700:planted-telegram-9Zw",
    "BKNB_WEBHOOK_URL": "http://127.0.0.1:9/hook/planted-hook-3Kd",
    "BKNB_EMAIL_PASSWORD": "planted-password-5Lm",
    "BKNB_PING_URL": "http://127.0.0.1:9/ping/planted-uuid-8Rt",
}


@pytest.fixture(autouse=True)
def _planted(monkeypatch):
    for name, value in PLANTED.items():
        monkeypatch.setenv(name, value)


def held_by(text):
    """The names of what a text or bytes hold, as it is, quoted, or in base 64."""
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
    found = []
    for name, value in PLANTED.items():
        part = value.rsplit("/", 1)[-1]
        forms = [part.encode(), quote(part, safe="").encode(), base64.b64encode(part.encode()).rstrip(b"=")]
        found += [name for form in forms if form in data]
    return found


def files_below(folder):
    return {str(path): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def frames_of(error, seen=()):
    """The variables of every frame behind an error, and behind those it came of."""
    if error is None or error in seen:
        return []
    found = []
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if "site-packages" in frame.f_code.co_filename or "bknb" in frame.f_code.co_filename:
            found += [repr(value) for value in frame.f_locals.values()]
    return [*found, *frames_of(error.__cause__, (*seen, error)), *frames_of(error.__context__, (*seen, error))]


def test_the_search_finds_what_is_there():
    for name, value in PLANTED.items():
        part = value.rsplit("/", 1)[-1]
        assert held_by(f"x{part}y") == [name] * (1 + (quote(part, safe="") == part))
        assert name in held_by(base64.b64encode(f"{part}".encode()))


@pytest.mark.slow
def test_a_live_life_with_faults_leaves_no_key_anywhere(exchange, tmp_path, caplog, capfd):
    log, told = io.StringIO(), []
    handler = logging.StreamHandler(log)
    logging.getLogger().addHandler(handler)
    caplog.set_level(logging.DEBUG)
    stop = bknb.listen_error(lambda event: told.append(repr(event)))
    dead = f"http://127.0.0.1:{free_port()}"
    notifiers = [
        bknb.notify.telegram(42, address=dead, events="all", ping_env="BKNB_PING_URL", ping_every="1m"),
        bknb.notify.webhook(),
        bknb.notify.email("me@example.com", host="127.0.0.1", port=free_port(), user="me"),
    ]
    acts = {
        0: fault("html_502", "place"),
        3: fault("reply_lost", "report", times=3),
        5: fault("refuse", "place", reason="key", times=1),
    }
    life = World(exchange=exchange, venue=SPOT, signals={1: LONG, 6: LONG}, answers=OUT, after=acts).begin()
    folder = tmp_path / "state"
    life.store = bknb.stores.files(folder)
    life.live()
    result = life.result
    texts = [repr(each) for each in (*notifiers, life.task, life.store, result)]
    texts += [result.report(), repr(life.task.facts), repr(life.task.orders.to_dict()), str(result.card), *life.told]
    result.card.save(tmp_path / "card.json")
    result.save(tmp_path / "tearsheet.html")
    result.to_csv(tmp_path / "tables")
    packed = pickle.dumps(notifiers)
    with (tmp_path / "dump").open("w+") as dump:
        faulthandler.dump_traceback(dump, all_threads=True)
    for notifier in notifiers:
        assert not notifier.send("end", seconds=0.2)
        texts += [repr(notifier), notifier.trouble]
        notifier.stop(seconds=0.0)
    stop()
    logging.getLogger().removeHandler(handler)
    printed = capfd.readouterr()
    texts += [*told, caplog.text, log.getvalue(), printed.out, printed.err, repr(bknb.doctor(broker=life.broker()))]
    files = files_below(tmp_path)
    assert len(told) >= 3
    assert any("state" in name for name in files)
    assert any("tearsheet" in name for name in files)
    assert [text for text in (*texts, packed) if held_by(text)] == []
    assert {name: held_by(content) for name, content in files.items() if held_by(content)} == {}


@pytest.mark.parametrize("name", ["html_502", "refuse", "reply_lost"])
def test_no_key_is_in_a_frame_behind_an_error(exchange, name):
    life = World(exchange=exchange, venue=SPOT).begin()
    broker = life.broker()
    exchange.fault(name, on="balance", times=3, **({"reason": "key"} if name == "refuse" else {}))

    ultratb = pytest.importorskip("IPython.core.ultratb")
    with pytest.raises(BrokerError) as failed:
        asyncio.run(broker.balance())
    texts = [*frames_of(failed.value), "".join(traceback.format_exception(failed.value))]
    texts.append(ultratb.VerboseTB().text(*failed._excinfo))  # what a cell shows after %xmode Verbose
    assert len(texts) > 3
    assert [held_by(text) for text in texts if held_by(text)] == []


def test_what_an_exchange_or_a_server_repeats_of_a_key_is_taken_out():
    text = f"Invalid key {PLANTED['BKNB_BINANCE_SANDBOX_SECRET']}, {quote(PLANTED['BKNB_TELEGRAM_TOKEN'], safe='')}"
    assert without_keys(text) == "Invalid key ***, ***"
    assert without_keys("of a keyring: kept-in-keyring", [Secret("kept-in-keyring")]) == "of a keyring: ***"


def test_a_secret_is_not_copied():
    for use in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="not copied, saved or sent"):
            use(Secret("planted"))


@pytest.mark.parametrize("name", list(PLANTED))
def test_what_is_shared_holds_no_value_of_the_environment(tmp_path, name):
    guard = Guard(tmp_path, frozenset())
    with pytest.raises(bknb.UsageError, match=f"the value of the environment variable {name}") as refused:
        guard.check([("output of cell [1]", f"connected with {PLANTED[name]} to it")])
    assert held_by(str(refused.value)) == []
