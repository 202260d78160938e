"""A shared notebook runs elsewhere, without a network, and gives the same; or it says what differs. Secrets stay."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from packages import need_packages
from quick import rest_long

import bknb
from bknb import cli
from bknb.engine.registry import Exchange, registry
from bknb.exchanges.candle_bundle import Bundle, Record, read_manifest
from bknb.exchanges.received_paths import inside
from bknb.sharing import pins, secrets

nbformat = pytest.importorskip("nbformat")

need_packages("nbclient")

HELPERS = """LENGTH = 10


def rises(closes):
    return closes[-LENGTH:].sum() / LENGTH > closes.sum() / len(closes)
"""
EXCHANGE = """def get_candles(symbol, interval, since, limit):
    import json, pathlib
    step = json.loads(pathlib.Path("step.json").read_text())
    minutes = [since // 60_000 + i for i in range(limit)]
    return [(m * 60_000, 100 + m % 97 * step, 200, 50, 100 + (m + 1) % 97 * step, 1.0 + m % 7) for m in minutes]

bknb.add_exchange("saw", get_candles=get_candles, intervals=["1m"])"""
BACKTEST = """%%backtest BTCUSDT --exchange saw --frame 2024-01-02:2024-01-05 --interval 15m --name saw-cross
def get_signal(price):
    if levels.rises(bknb.get_candles("BTCUSDT", "15m", 31).close):
        return bknb.Signal(position="long", price_take_profit=price * 1.02, price_stop_loss=price * 0.97,
                           minute_estimated_time=300)"""
PLAIN_CALL = """result = bknb.backtest("ETHUSDT", strategy="saw-cross", exchange="demo", frame="2024-01-02:2024-01-05",
                       settings={"percent_fee": 0.05})
result"""
CELLS = ("import bknb\nimport levels\n\n%load_ext bknb", EXCHANGE, BACKTEST, PLAIN_CALL)


def write(folder: Path, *cells: str, name: str = "story.ipynb") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    node = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    node.cells.insert(0, nbformat.v4.new_markdown_cell("# A story\n\n![a picture](pictures/dot.png)"))
    nbformat.write(node, folder / name)
    return folder / name


@pytest.fixture(autouse=True, scope="module")
def packages_listed_once() -> Iterator[None]:
    """Which package holds which module is read from a thousand files, once for each ``sys.path``."""
    listed = cache(lambda _: packages_distributions())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pins, "packages_distributions", lambda: listed(tuple(sys.path)))
        yield


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    write(folder, *CELLS)
    (folder / "levels.py").write_text(HELPERS)
    (folder / "step.json").write_text("0.5")
    (folder / "unused.txt").write_text("nobody reads this")
    (folder / "pictures").mkdir()
    (folder / "pictures" / "dot.png").write_bytes(b"\x89PNG")
    return folder


@pytest.fixture(scope="module")
def shared(home: Path, tmp_path_factory: pytest.TempPathFactory) -> bknb.Shared:
    return bknb.share(
        home / "story.ipynb", tmp_path_factory.mktemp("out") / "story", repository="me/strategies", check="here"
    )


@pytest.fixture
def copy(shared: bknb.Shared, tmp_path: Path) -> Path:
    """A copy of the shared folder that a test may spoil."""
    return Path(shutil.copytree(shared.path, tmp_path / "copy"))


@pytest.fixture
def through() -> Iterator[list[Any]]:
    return registry.middleware


# --- the folder -------------------------------------------------------------------------------------------------


@pytest.mark.kernel
def test_the_folder_holds_what_the_notebook_used_and_nothing_else(shared: bknb.Shared) -> None:
    files = {path.relative_to(shared.path).as_posix() for path in shared.path.rglob("*") if path.is_file()}
    assert files == {
        "README.md",
        "binder/requirements.txt",
        "binder/runtime.txt",
        "bknb-share.json",
        "candles/demo/BTCUSDT-1m.csv.gz",  # the strategy looks at it when it trades the other one
        "candles/demo/ETHUSDT-1m.csv.gz",
        "candles/saw/BTCUSDT-1m.csv.gz",
        "cards/01-saw-cross-BTCUSDT.json",
        "cards/02-saw-cross-ETHUSDT.json",
        "levels.py",
        "pictures/dot.png",
        "requirements.txt",
        "step.json",
        "story.ipynb",
        f"wheels/bknb-{bknb.__version__}-py3-none-any.whl",
    }
    assert "executed again without a network: 2 results, all the same; in the environment of its author" in repr(shared)
    assert shared.checked == "here"


@pytest.mark.kernel
def test_the_candles_are_those_the_runs_were_given(shared: bknb.Shared) -> None:
    cards = [bknb.Card.load(path) for path in (shared.path / "cards").glob("*.json")]
    used = {(part.exchange, part.symbol, part.interval): part for card in cards for part in card.data}
    for file in read_manifest(shared.path).candles:
        part = used[file.exchange, file.symbol, file.interval]
        assert (part.count, part.first, part.last) == (file.count, file.first, file.last)
        assert part.digest == file.fingerprint["digest"]


@pytest.mark.kernel
def test_every_requirement_is_pinned_and_the_code_comes_along(shared: bknb.Shared) -> None:
    lines = (shared.path / "requirements.txt").read_text().splitlines()
    assert lines[1] == f"./wheels/bknb-{bknb.__version__}-py3-none-any.whl"
    assert all(re.fullmatch(r"[\w.-]+==\S+", line) for line in lines[2:])
    assert {"numpy", "pandas", "ipykernel", "msgspec"} <= {line.partition("==")[0] for line in lines[2:]}
    assert (shared.path / "binder" / "requirements.txt").read_text().splitlines() == lines[1:]
    with zipfile.ZipFile(shared.path / lines[1]) as wheel:
        names = wheel.namelist()
        assert wheel.testzip() is None
    assert "bknb/domain/lifecycle.py" in names
    assert "bknb/py.typed" in names
    assert not [name for name in names if "__pycache__" in name]


@pytest.mark.kernel
def test_the_readme_launches_it(shared: bknb.Shared) -> None:
    text = (shared.path / "README.md").read_text()
    assert "https://mybinder.org/v2/gh/me/strategies/HEAD?urlpath=lab/tree/story.ipynb" in text
    assert "bknb verify story.ipynb" in text


@pytest.mark.kernel
def test_the_first_cell_says_where_the_candles_come_from(shared: bknb.Shared) -> None:
    node = nbformat.read(shared.path / "story.ipynb", as_version=4)
    nbformat.validate(node)
    code = [cell for cell in node.cells if cell.cell_type == "code"]
    assert "bknb.exchanges.bundled()" in code[0].source
    assert [cell.execution_count for cell in code] == [1, 2, 3, 4, 5]
    assert "nothing is fetched" in code[0].outputs[0].data["text/plain"]
    assert not [cell for cell in node.cells if "__recorder" in cell.source]


@pytest.mark.kernel
@pytest.mark.slow
def test_the_copy_runs_in_a_fresh_environment_made_from_its_pins(home: Path, tmp_path: Path) -> None:
    made = bknb.share(home / "story.ipynb", tmp_path / "out")
    assert made.checked == "fresh"
    assert "2 results, all the same, in a fresh environment made from its pins" in repr(made)


# --- elsewhere --------------------------------------------------------------------------------------------------


@pytest.mark.kernel
def test_it_runs_in_another_environment_with_the_network_off(copy: Path, tmp_path: Path) -> None:
    """bknb comes from the wheel in the folder; what else it needs is borrowed, as an install would be too long here."""
    place = tmp_path / "venv"
    venv.create(place, with_pip=False, symlinks=True)
    python = place / "bin" / "python"
    packages = next(place.glob("lib/python3*/site-packages"))
    with zipfile.ZipFile(next((copy / "wheels").glob("*.whl"))) as wheel:
        wheel.extractall(packages)
    (packages / "borrowed.pth").write_text(f"{Path(np.__file__).parent.parent}\n")
    isolated = ["unshare", "--net", "--map-root-user"]
    if not shutil.which("unshare") or subprocess.run([*isolated, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this system does not let a test take the network away")
    raise_loopback = (
        "import fcntl,os,socket,struct,sys; fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sh14x', b'lo', 0x41));"
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [str(python), "-m", "bknb.cli", "verify", "--yes", str(copy)]
    verified = subprocess.run(
        [*isolated, str(python), "-c", raise_loopback, *command],
        capture_output=True, text=True, check=False, env=environment, cwd=tmp_path,
    )  # fmt: skip
    assert verified.returncode == 0, verified.stderr
    assert verified.stdout.count(": the same") == 2
    where = subprocess.run(
        [str(python), "-c", "import bknb; print(bknb.__file__)"],
        capture_output=True, text=True, check=True, env=environment, cwd=tmp_path,
    )  # fmt: skip
    assert str(packages) in where.stdout


@pytest.mark.kernel
def test_a_changed_line_setting_and_constant_are_named(copy: Path, capfd: pytest.CaptureFixture[str]) -> None:
    node = nbformat.read(copy / "story.ipynb", as_version=4)
    for cell in node.cells:
        cell.source = cell.source.replace("price * 1.02", "price * 1.03").replace('fee": 0.05', 'fee": 0.06')
    nbformat.write(node, copy / "story.ipynb")
    (copy / "levels.py").write_text(HELPERS.replace("LENGTH = 10", "LENGTH = 12"))
    assert cli.main(["verify", "--yes", str(copy)]) == 1
    printed = capfd.readouterr().out
    assert "setting percent_fee: 0.05 -> 0.06" in printed
    assert re.search(r"line 3 of get_signal: .*1\.02.*->.*1\.03", printed)
    assert "LENGTH: 10 -> 12" in printed


@pytest.mark.kernel
def test_a_changed_candle_is_named_before_anything_runs(copy: Path, through: list[Any]) -> None:
    file = copy / "candles" / "saw" / "BTCUSDT-1m.csv.gz"
    lines = gzip.decompress(file.read_bytes()).decode().splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("1704363420000,"))  # 2024-01-04 10:17
    lines[at] = lines[at].rpartition(",")[0] + ",9.5"
    file.write_bytes(gzip.compress("\n".join(lines).encode()))
    with pytest.raises(
        bknb.StateError, match=r"changed after it was shared: BTCUSDT 1m \(saw\): candle 2024-01-04 10:17"
    ):
        bknb.exchanges.bundled(copy)
    file.unlink()
    with pytest.raises(bknb.StateError, match="is missing"):
        bknb.exchanges.bundled(copy)


@pytest.mark.kernel
def test_bundled_candles_take_the_place_of_an_exchange_until_it_is_left(copy: Path, through: list[Any]) -> None:
    bknb.add_strategy("waits", interval="1h", get_signal=lambda: None)

    def refuses(symbol: str, interval: str, since: int, limit: int) -> Any:
        raise AssertionError("nobody may ask the exchange")

    bknb.add_exchange("saw", get_candles=refuses)
    bundle = bknb.exchanges.bundled(copy)
    assert bundle.exchanges == ("demo", "saw")
    assert "saw: BTCUSDT 1m" in repr(bundle)
    span = "2024-01-02:2024-01-03"
    assert len(bknb.backtest("BTCUSDT", strategy="waits", exchange="saw", frame=span).candles) > 1400
    with pytest.raises(bknb.UnknownName, match="no symbol is called 'XRPUSDT'"):
        bknb.backtest("XRPUSDT", strategy="waits", exchange="saw", frame=span, settings={"get_candles_retry_count": 1})
    bundle.leave()
    assert len(bknb.backtest("XRPUSDT", strategy="waits", exchange="demo", frame=span).candles) > 1400


@pytest.mark.kernel
def test_a_zip_file_holds_the_same(home: Path, tmp_path: Path) -> None:
    made = bknb.share(home / "story.ipynb", tmp_path / "story.zip", check=False)
    with zipfile.ZipFile(made.path) as archive:
        assert "story/story.ipynb" in archive.namelist()
        assert "story/candles/saw/BTCUSDT-1m.csv.gz" in archive.namelist()


# --- whose code runs --------------------------------------------------------------------------------------------


class Typed(io.StringIO):
    """Standard input of somebody who types."""

    def isatty(self) -> bool:
        return True


@pytest.mark.kernel
def test_the_code_of_a_shared_folder_runs_when_somebody_says_yes(
    copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mark = copy / "ran"
    node = nbformat.read(copy / "story.ipynb", as_version=4)
    node.cells[1].source += f"\nopen({str(mark)!r}, 'w').close()"
    nbformat.write(node, copy / "story.ipynb")
    for given in (io.StringIO("y\n"), Typed("n\n"), Typed("")):
        monkeypatch.setattr("sys.stdin", given)
        assert cli.main(["verify", str(copy)]) == 2
        for path in (copy, copy / "story.ipynb"):
            given.seek(0)
            with pytest.raises(bknb.UsageError, match="not run"):
                bknb.verify_notebook(path)
    assert not mark.exists()
    said = capsys.readouterr()
    assert "the code of whoever made this folder: 5 cells of story.ipynb" in said.out
    assert "with code in levels.py" in said.out
    assert f"when you trust it: bknb verify --yes {copy}" in said.err
    monkeypatch.setattr("sys.stdin", Typed("yes\n"))
    assert cli.main(["verify", str(copy)]) == 0
    assert mark.exists()


def test_a_lone_notebook_is_asked_about_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    result = bknb.backtest(
        "BTCUSDT", strategy=lambda: None, interval="1h", exchange="demo", frame="2024-01-02:2024-01-03"
    )
    card = json.loads(result.card.to_json())
    node = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell("1 / 0")], metadata={"authors": [{"name": "Eve\x1b"}]}
    )
    node.cells[0].outputs = [nbformat.v4.new_output("display_data", metadata={"bknb": {"card": card}})]
    nbformat.write(node, tmp_path / "one.ipynb")
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert cli.main(["verify", str(tmp_path / "one.ipynb")]) == 2
    said = capsys.readouterr().err
    assert "the code of Eve?, as it says: 1 cells of one.ipynb" in said
    assert "--yes" in said


OUTSIDE = (
    "../a.ipynb",
    "/etc/passwd",
    "C:/a.ipynb",
    "C:a.ipynb",
    "a\\..\\b",
    "x/../../a",
    "",
    ".",
    "a//b",
    "nul.txt",
    "a\0b",
    "..",
)


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("field", ["notebook", "files", "cards", "candles"])
def test_a_received_folder_names_nothing_outside_itself(name: str, field: str, tmp_path: Path) -> None:
    folder = tmp_path / "given"
    folder.mkdir()
    file = {
        "exchange": "x",
        "symbol": "y",
        "interval": "1m",
        "path": name,
        "count": 0,
        "first": 0,
        "last": 0,
        "sha256": "",
    }
    value: Any = {"notebook": name, "candles": [file]}.get(field, [name])
    (folder / "bknb-share.json").write_text(json.dumps({"notebook": "a.ipynb", field: value}))
    with pytest.raises(bknb.StateError, match=r"not a path inside it\n.*do not run it"):
        bknb.verify_notebook(folder, yes=True)
    if field == "candles":
        with pytest.raises(bknb.StateError, match="not a path inside it"):
            bknb.exchanges.bundled(folder)


def test_a_link_that_leaves_a_received_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "given"
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "pyvenv.cfg").write_text("")
    (folder / ".venv" / "bin" / "python").symlink_to("/usr/bin/env")  # one's own, made as the README says
    (folder / "bknb-share.json").write_text(json.dumps({"notebook": "a.ipynb", "files": ["in.txt"]}))
    (folder / "in.txt").symlink_to("bknb-share.json")
    with pytest.raises(bknb.UsageError, match=r"no notebook at .*a\.ipynb"):
        bknb.verify_notebook(folder, yes=True)
    (folder / "dump").symlink_to(tmp_path)
    with pytest.raises(bknb.StateError, match=r"holds 'dump', a link to .* not inside it"):
        bknb.verify_notebook(folder, yes=True)
    (folder / "dump").unlink()
    (folder / "a.ipynb").symlink_to(tmp_path / "elsewhere.ipynb")
    with pytest.raises(bknb.StateError, match=r"names 'a\.ipynb', a link to .* not inside it"):
        bknb.verify_notebook(folder, yes=True)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_in_a_received_folder_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    folder = tmp_path / "given"
    folder.mkdir()
    (folder / "bknb-share.json").write_text(json.dumps({"notebook": "a.ipynb"}))
    os.mkfifo(folder / "prices.csv")
    with pytest.raises(bknb.StateError, match=r"holds 'prices\.csv', which is no file"):
        bknb.verify_notebook(folder, yes=True)
    with pytest.raises(bknb.StateError, match=r"names 'prices\.csv', which is no file"):
        inside(folder, "prices.csv")
    assert inside(folder, "x" * 5000).name == "x" * 5000


@pytest.mark.kernel
def test_a_link_in_ones_own_folder_is_not_followed_out_of_it(tmp_path: Path) -> None:
    path = write(tmp_path / "nb", "text = open('prices.csv').read()")
    (tmp_path / "away.csv").write_text("1,2")
    (path.parent / "prices.csv").symlink_to(tmp_path / "away.csv")
    with pytest.raises(bknb.UsageError, match=r"reads prices\.csv, a link to .*away\.csv, which is outside"):
        bknb.share(path, tmp_path / "out", check=False)
    (path.parent / "prices.csv").unlink()
    (path.parent / ".env").write_text("QUIET=never-in-the-notebook\n")
    (path.parent / "prices.csv").symlink_to(".env")
    assert "it reads prices.csv, which is not included" in repr(bknb.share(path, tmp_path / "out", check=False))


@pytest.mark.kernel
def test_a_picture_beside_the_folder_is_not_written_beside_the_share(tmp_path: Path) -> None:
    path = write(tmp_path / "nb", "1")
    (path.parent / "dot.png").write_bytes(b"\x89PNG")
    node = nbformat.read(path, as_version=4)
    node.cells[0].source = "![a picture](../nb/dot.png)"
    nbformat.write(node, path)
    made = bknb.share(path, tmp_path / "deep" / "out", check=False)
    assert made.manifest.files == ("dot.png",)
    assert (tmp_path / "deep" / "out" / "dot.png").is_file()


# --- what is refused --------------------------------------------------------------------------------------------

KEY = "Zx9Qm2Lp7Rt4Vw8Ky3Nd6Bf1Hs5Jg0Tc"  # nobody's


@pytest.mark.parametrize(
    ("cells", "place"),
    [
        (("x = 1", f"y = 2\napi_key = '{KEY}'"), r"cell \[2\], line 2: a value of api_key"),
        ((f"# {'-' * 5}BEGIN RSA PRIVATE KEY{'-' * 5}",), r"cell \[1\], line 1: a private key"),
    ],
)
def test_a_secret_in_a_cell_is_refused_before_anything_runs(
    cells: tuple[str, ...], place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "nb", *cells)
    assert cli.main(["share", str(path), "--to", str(tmp_path / "out")]) == 2
    printed = capsys.readouterr().err
    assert re.search(place, printed)
    assert KEY not in printed
    assert len(printed.splitlines()) <= 3
    assert not (tmp_path / "out").exists()


@pytest.mark.kernel
def test_a_secret_in_an_output_a_module_or_of_dotenv_is_refused(tmp_path: Path) -> None:
    text = list(f"x = 1\ntoken = '{KEY}'".encode())
    printed = write(tmp_path / "a", f"print(bytes({text}).decode())")
    with pytest.raises(bknb.UsageError, match=r"output of cell \[1\], line 2: a value of token"):
        bknb.share(printed, tmp_path / "out", check="here")
    module = write(tmp_path / "b", "import account")
    (module.parent / "account.py").write_text(f"\n\nSECRET_KEY = '{KEY}'\n")
    with pytest.raises(bknb.UsageError, match=r"account\.py, line 3: a value of SECRET_KEY"):
        bknb.share(module, tmp_path / "out", check="here")
    dotenv = write(tmp_path / "c", "open('.env').read()\nplace = 'spring-meadow'")
    (dotenv.parent / ".env").write_text("MY_PLACE=spring-meadow\n")
    with pytest.raises(bknb.UsageError, match=r"cell \[1\], line 2: the value of MY_PLACE in \.env"):
        bknb.share(dotenv, tmp_path / "out", check="here")
    assert not (tmp_path / "out").exists()


@pytest.mark.kernel
def test_a_finding_can_be_accepted_and_dotenv_is_left_at_home(tmp_path: Path) -> None:
    path = write(tmp_path / "nb", f"api_key = '{KEY}'\nopen('.env').close()")
    (path.parent / ".env").write_text("QUIET=never-in-the-notebook\n")
    (mark,) = {leak.fingerprint for leak in secrets.find_secrets(f"api_key = '{KEY}'", "x")}
    made = bknb.share(path, tmp_path / "out", accept=[mark], check=False)
    assert not (tmp_path / "out" / ".env").exists()
    assert "it reads .env, which is not included" in repr(made)


@pytest.mark.kernel
def test_a_file_outside_the_folder_is_refused(tmp_path: Path) -> None:
    away = tmp_path / "elsewhere" / "prices.csv"
    away.parent.mkdir()
    away.write_text("a,b\n1,2\n")
    path = write(tmp_path / "nb", f"open('{away}').read()")
    with pytest.raises(bknb.UsageError, match=r"prices\.csv, which is outside its folder"):
        bknb.share(path, tmp_path / "out", check="here")


@pytest.mark.kernel
def test_a_file_the_notebook_makes_itself_is_left_out(tmp_path: Path) -> None:
    cell = "open('made.json', 'w').write('{}')\nopen('made.json').read(), open('had.json').read()"
    path = write(tmp_path / "nb", cell)
    (path.parent / "had.json").write_text("{}")
    assert bknb.share(path, tmp_path / "out", check=False).manifest.files == ("had.json",)


@pytest.mark.kernel
def test_a_file_that_compiled_code_reads_is_taken_along(tmp_path: Path) -> None:
    import sqlite3

    path = write(
        tmp_path / "nb", "import sqlite3\nsqlite3.connect('data/ticks.sqlite').execute('select * from t').fetchall()"
    )
    (path.parent / "data").mkdir()
    with sqlite3.connect(path.parent / "data" / "ticks.sqlite") as database:
        database.execute("create table t (x)")
    database.close()
    bknb.share(path, tmp_path / "out", check="here")
    assert (tmp_path / "out" / "data" / "ticks.sqlite").is_file()


CHANCE = """import random
import bknb

def get_signal(price):
    if random.random() > 0.5:
        return bknb.Signal(position="long", price_take_profit=price * 1.02, price_stop_loss=price * 0.97,
                           minute_estimated_time=300)

bknb.backtest("BTCUSDT", strategy=get_signal, interval="1h", exchange="demo", frame="2024-01-02:2024-01-05")"""


@pytest.mark.kernel
def test_a_notebook_that_depends_on_chance_is_not_shared(tmp_path: Path) -> None:
    with pytest.raises(bknb.UsageError, match="the copy does not give the same") as refused:
        bknb.share(write(tmp_path / "nb", CHANCE), tmp_path / "out", check="here")
    assert "chance" in str(refused.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.kernel
def test_a_notebook_that_needs_the_network_is_not_shared(tmp_path: Path) -> None:
    cell = """import socket
try:
    socket.create_connection(("192.0.2.1", 80), 0.1)
except OSError as error:
    assert "without a network" not in str(error), error"""
    with pytest.raises(bknb.UsageError, match=r"it asked for 192\.0\.2\.1"):
        bknb.share(write(tmp_path / "nb", cell), tmp_path / "out", check="here")


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("target", "tracked"), rest_long([("new/story-share", False), ("story.zip", True), ("story-share", True)], kept=2)
)
def test_a_notebook_in_a_git_repository_is_shared(target: str, tmp_path: Path, *, tracked: bool) -> None:
    def git(*words: str) -> None:
        named = ("-c", "user.name=me", "-c", "user.email=me@example.com", "-c", "commit.gpgsign=false")
        subprocess.run(["git", "-C", str(tmp_path), *named, *words], check=True, capture_output=True)

    path = write(tmp_path / "nb", "1")
    git("init")
    if tracked:
        git("add", ".")
    git("commit", "--allow-empty", "-m", "first")
    for _ in ("new", "replaced"):
        assert bknb.share(path, tmp_path / target, check=False).path.exists()


@pytest.mark.kernel
def test_a_failing_cell_is_told_by_its_own_number(tmp_path: Path) -> None:
    with pytest.raises(bknb.UsageError, match=r"cell \[2\] of the notebook failed: ZeroDivisionError"):
        bknb.share(write(tmp_path / "nb", "1", "1 / 0"), tmp_path / "out")


def test_a_folder_of_somebody_else_is_not_overwritten(tmp_path: Path) -> None:
    path = write(tmp_path / "nb", "1")
    other = tmp_path / "precious"
    other.mkdir()
    (other / "thesis.tex").write_text("x")
    with pytest.raises(bknb.UsageError, match="is no earlier share"):
        bknb.share(path, other)
    with pytest.raises(bknb.UsageError, match="is no earlier share"):
        bknb.share(path, path.parent)
    assert (other / "thesis.tex").exists()


def test_a_notebook_without_cards_cannot_be_verified(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["verify", str(write(tmp_path / "nb", "1"))]) == 2
    assert "holds no run card" in capsys.readouterr().err
    assert cli.main(["verify", str(tmp_path)]) == 2
    assert "there is no bknb-share.json" in capsys.readouterr().err


@pytest.mark.kernel
def test_sources_of_a_shared_notebook_reach_another_process(shared: bknb.Shared, through: list[Any]) -> None:
    import pickle

    demo = Exchange("demo", bknb.exchanges.demo())
    recorded = pickle.loads(pickle.dumps(Record().wrap(demo).source))  # noqa: S301 -- our own
    assert type(recorded) is type(demo.source)
    bundle = Bundle(shared.path, explain=lambda file, candles: "")
    served = pickle.loads(pickle.dumps(bundle.substitute(demo).source))  # noqa: S301
    assert len(asyncio.run(served.get_candles("ETHUSDT", "1m", 1_704_153_600_000, 10))) == 10
