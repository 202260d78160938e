"""``bknb doctor`` reports what is wrong, with advice, and changes nothing."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

import bknb
from bknb import cli
from bknb.diagnostics import doctor, environment
from bknb.stores.file_store import FileStore

ROOT = Path(__file__).parent.parent


def found(made: bknb.Checkup, what: str) -> Any:
    (finding,) = [finding for finding in made.findings if finding.what == what]
    return finding


def saved(root: Path) -> Path:
    with FileStore(root) as store:
        store.write("signal", ("sma", "BTCUSDT"), b'{"id":"7"}')
        store.write("risk", ("calm",), b"[]")
    return root / "signal" / "sma" / "BTCUSDT.json"


# --- the whole --------------------------------------------------------------------------------------------------


def test_each_finding_has_advice(tmp_path: Path) -> None:
    made = bknb.doctor(state=tmp_path / "none", network=False)
    assert {"Python", "bknb", "packages", "saved state"} <= {finding.what for finding in made.findings}
    assert all(finding.advice for finding in made.findings if finding.state != "ok")
    assert "could not be looked at" not in repr(made)
    html = made._repr_html_()
    assert html.count("<tr>") == len(made.findings) + 1


def test_the_exit_status_says_whether_something_is_bad(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = saved(tmp_path)
    assert cli.main(["doctor", "--offline", "--state", str(tmp_path)]) == 0
    assert "✔ saved state" in capsys.readouterr().out
    path.write_bytes(path.read_bytes().replace(b'"7"', b'"8"'))
    assert cli.main(["doctor", "--offline", "--state", str(tmp_path)]) == 1
    assert "✘ saved state" in capsys.readouterr().out


def test_a_check_that_raises_is_one_line_and_the_rest_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def falls() -> Iterator[Any]:
        raise RuntimeError("no such thing")

    monkeypatch.setattr(doctor, "_packages", falls)
    made = bknb.doctor(network=False)
    assert "could not be looked at: RuntimeError: no such thing" in repr(made)
    assert found(made, "saved state")


# --- saved state ------------------------------------------------------------------------------------------------


def test_a_damaged_value_is_named_and_left_where_it_is(tmp_path: Path) -> None:
    path = saved(tmp_path)
    path.write_bytes(path.read_bytes()[:-20])
    before = sorted(tmp_path.rglob("*"))
    finding = found(bknb.doctor(state=tmp_path, network=False), "saved state")
    assert finding.state == "bad"
    assert "signal/sma/BTCUSDT.json" in finding.found
    assert sorted(tmp_path.rglob("*")) == before


def test_a_value_that_was_moved_aside_is_named_until_it_is_settled(tmp_path: Path) -> None:
    path = saved(tmp_path)
    path.write_bytes(b"{}")
    with FileStore(tmp_path) as store:
        with pytest.raises(bknb.StateError):
            store.read("signal", ("sma", "BTCUSDT"))
        assert "BTCUSDT.json.corrupt-1" in found(bknb.doctor(state=tmp_path, network=False), "moved aside").found
        store.delete("signal", ("sma", "BTCUSDT"))
    assert "moved aside" not in repr(bknb.doctor(state=tmp_path, network=False))


HOLDER = """
import sys
from bknb.stores.file_store import FileStore
with FileStore(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_the_process_that_uses_the_state_is_named_and_not_disturbed(tmp_path: Path) -> None:
    saved(tmp_path)
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        finding = found(bknb.doctor(state=tmp_path, network=False), "saved state")
        assert f"in use by process {holder.pid} on " in finding.found
        assert finding.state == "ok"
        holder.communicate()
    assert "in use" not in repr(bknb.doctor(state=tmp_path, network=False))


# --- stored candles ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_gaps_and_damage_of_stored_candles_are_reported(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    from bknb.history.candle_store import CandleStore
    from bknb.history.partition import SeriesName

    def candles(first: int, count: int) -> bknb.Candles:
        return bknb.Candles.from_rows([((first + i) * 60_000, 1.0, 1.0, 1.0, 1.0, 1.0) for i in range(count)])

    name = SeriesName("demo", "BTCUSDT", "1m")
    store = CandleStore(tmp_path)
    store.put(name, candles(0, 10), known=((0, 600_000),), now=10**13)
    look = lambda: bknb.doctor(candles=tmp_path, network=False)  # noqa: E731
    assert found(look(), "stored candles").state == "ok"
    assert "gaps:" not in repr(look())
    store.put(name, candles(20, 10), known=((1_200_000, 1_800_000),), now=10**13)
    (gaps,) = [finding for finding in look().findings if finding.what.startswith("candles ")]
    assert gaps.found == "gaps: 1 never asked for, the first at 1970-01-01 00:10 UTC"
    assert "bknb.download" in gaps.advice
    (file,) = tmp_path.rglob("*.parquet")
    file.write_bytes(file.read_bytes()[:-40])
    assert found(look(), "stored candles").state == "bad"


# --- Ollama and clocks ------------------------------------------------------------------------------------------


class Ollama(BaseHTTPRequestHandler):
    models: Any = ()

    def do_GET(self) -> None:
        content = json.dumps({"models": [{"name": name} for name in self.models]}).encode()
        self.send_response(200 if self.path == "/api/tags" else 404)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@pytest.fixture
def ollama(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Ollama]]:
    class Mine(Ollama):
        pass

    server = HTTPServer(("127.0.0.1", 0), Mine)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    monkeypatch.setenv("OLLAMA_HOST", f"127.0.0.1:{server.server_port}")
    yield Mine
    server.shutdown()
    thread.join()
    server.server_close()


def test_ollama_with_and_without_models(ollama: type[Ollama]) -> None:
    finding = found(bknb.doctor(), "Ollama")
    assert (finding.state, finding.advice) == ("note", "fetch one: ollama pull NAME")
    ollama.models = ("llama3", "qwen3")
    finding = found(bknb.doctor(), "Ollama")
    assert finding.state == "ok"
    assert finding.found.endswith("has 2 models")


def test_ollama_that_does_not_answer_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:9")
    finding = found(bknb.doctor(), "Ollama")
    assert finding.state == "note"
    assert "OLLAMA_HOST" in finding.advice


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("", "http://127.0.0.1:11434"),
        ("0.0.0.0:1234", "http://127.0.0.1:1234"),
        ("https://ollama.example.com", "https://ollama.example.com:443"),
        ("box", "http://box:11434"),
    ],
)
def test_the_address_of_ollama_is_read_as_its_own_tools_do(
    given: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_HOST", given)
    assert environment.ollama_host() == address


def test_the_clock_of_an_exchange_is_compared() -> None:
    class Ticking(type(bknb.exchanges.demo())):  # type: ignore[misc]
        skew = 40

        def clock_skew_ms(self) -> int:
            if self.skew < 0:
                raise ConnectionError("no route\nto anywhere")
            return self.skew

    bknb.add_exchange("ticking", get_candles=Ticking())
    assert found(bknb.doctor(), "clock of ticking").state == "ok"
    Ticking.skew = 3_000
    finding = found(bknb.doctor(), "clock of ticking")
    assert (finding.state, finding.found) == ("bad", "this machine is 3000 ms ahead of the exchange")
    assert "NTP" in finding.advice
    Ticking.skew = -1
    assert found(bknb.doctor(), "clock of ticking").found == "ConnectionError: no route"


# --- packages ---------------------------------------------------------------------------------------------------


def test_missing_and_old_packages_come_with_the_command() -> None:
    missing = doctor._group("packages [x]", [("no-such-package", "1")], install="pip install x", purpose="magic")
    assert (missing.state, missing.advice) == ("note", "pip install x")
    assert missing.found == "not installed: no-such-package (magic)"
    old = doctor._group("packages", [("numpy", "99.1")], install="pip install -U bknb")
    assert old.state == "bad"
    assert re.fullmatch(r"too old: numpy \S+ \(needs 99\.1\)", old.found)


def test_what_bknb_needs_is_read_from_its_own_metadata() -> None:
    needed = {(name, extra) for name, _, extra in environment.needs()}
    assert {("numpy", ""), ("jupyterlab", "notebook"), ("pyarrow", "parquet")} <= needed


def test_what_is_needed_is_read_as_pip_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "some_desk-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(
        """Metadata-Version: 2.4
Name: some-desk
Version: 1.0
Provides-Extra: fast
Provides-Extra: all
Requires-Dist: numpy[extra]!=2.0.1,<3,>=1.26
Requires-Dist: tomli>=2; python_version < "3.0"
Requires-Dist: numba>=0.60rc1; (extra == "fast" or extra == "all") and python_version >= "3.0"
Requires-Dist: plain; extra == 'all'
Requires-Dist: some_desk[fast]; extra == "all"
"""
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert list(environment.needs("some-desk")) == [
        ("numpy", "1.26", ""),
        ("numba", "0.60rc1", "fast"),
        ("numba", "0.60rc1", "all"),
        ("plain", "0", "all"),
    ]
    assert list(environment.needs("no-such-package")) == []


def test_each_extra_has_a_description() -> None:
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(doctor._EXTRAS) == set(project["optional-dependencies"]) - {"test"}


def test_widgets_that_do_not_fit_jupyterlab_are_reported() -> None:
    manager = "@jupyter-widgets/jupyterlab-manager"
    assert doctor._widgets(4, "8.1.9", {manager: "5.0.16"}).state == "ok"
    assert doctor._widgets(4, "7.8.1", {manager: "3.1.1"}).state == "bad"
    assert "no extension that draws widgets" in doctor._widgets(4, "8.1.9", {}).found
    assert doctor._widgets(4, "8.1.9", {manager: "5.0.0-alpha.1"}).state == "ok"
    assert doctor._widgets(4, "8.1.9", {manager: "?"}).state == "bad"


def test_a_folder_that_cannot_be_written_is_seen(tmp_path: Path) -> None:
    assert environment.can_write(tmp_path)
    assert not environment.can_write(tmp_path / "absent")
    assert not environment.can_write(Path("/proc"))
