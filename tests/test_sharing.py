"""A shared notebook runs elsewhere, without a network, and gives the same; or it says what differs. Secrets stay."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import importlib.util
import io
import json
import os
import re
import shutil
import subprocess
import tracemalloc
import venv
import zipfile
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from packages import need_packages
from packaging.version import Version
from quick import first_quick

import bknb
from bknb import cli
from bknb.engine.registry import Exchange, registry
from bknb.exchanges.candle_bundle import Bundle, CandleFile, Manifest, Record, csv_bytes, read_manifest
from bknb.exchanges.received_paths import inside
from bknb.market.candles import Candles
from bknb.sharing import fresh_environment, recorder, secrets
from bknb.sharing.fresh_environment import NoFreshEnvironment, make_environment, registry_unreachable
from bknb.sharing.pins import imports_of, make_pins
from bknb.sharing.secrets import Guard
from bknb.sharing.shared_folder import SharedFolder

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


# --- pins -------------------------------------------------------------------------------------------------------

PINNED = {
    "import numpy, scipy": {"numpy", "scipy"},
    "import scipy.stats as st, hypothesis": {"scipy.stats", "hypothesis"},
    "from hypothesis.strategies import just": {"hypothesis.strategies"},
    "try:\n    import talib\nexcept ImportError:\n    talib = None": {"talib"},
    "def later():\n    import duckdb": {"duckdb"},
    "import importlib\nimportlib.import_module('optuna')": {"importlib", "optuna"},
    "from importlib import import_module\nimport_module('optuna')": {"importlib", "optuna"},
    "from . import levels": set(),
    "x = 'import os'  # import sys": set(),
    "%matplotlib inline\nimport duckdb": {"duckdb"},
    "!pip install x\nimport duckdb": {"duckdb"},
    "if True:\n    %time import_nothing()\nimport duckdb": {"duckdb"},
    "%%time\nimport duckdb": {"duckdb"},
    "%%backtest BTCUSDT\nimport duckdb": {"duckdb"},
    "%%bash\necho 'a' | cat\nimport duckdb": {"duckdb"},
    "frame?\nimport duckdb": {"duckdb"},
}


@pytest.mark.parametrize(("source", "modules"), PINNED.items())
def test_an_import_is_read_as_python_reads_it(source: str, modules: set[str]) -> None:
    assert imports_of(source) == modules


def pinned(*texts: str, loaded: tuple[str, ...] = (), local: tuple[str, ...] = ()) -> set[str]:
    lines = make_pins(texts, loaded=loaded, local=local).lines
    assert all(line == f"{name}=={version(name)}" for line in lines for name in [line.partition("=")[0]])
    return {line.partition("=")[0].lower() for line in lines}


@pytest.mark.slow
def test_what_was_loaded_is_pinned_and_what_is_imported_or_swept() -> None:
    nothing = pinned()
    assert not nothing & {"hypothesis", "pyarrow", "numba", "cloudpickle", "bknb"}
    assert pinned(loaded=("hypothesis", "json", "bknb")) - nothing == {"hypothesis"}
    assert pinned("import hypothesis, json") - nothing == {"hypothesis"}
    assert pinned("import hypothesis", local=("hypothesis",)) == nothing  # a file of the notebook's own folder
    for text in ("found = bknb.sweep(get_signals, params={})", "%%sweep BTCUSDT\n..."):
        assert pinned(text) - nothing == {"numba", "cloudpickle"}
    assert pinned("source = 'minutes.parquet'") - nothing == {"pyarrow"}
    assert pinned("x = 1", "import no_such_module") == nothing


@pytest.mark.slow
def test_a_package_of_this_platform_alone_is_pinned_only_when_it_is_asked_for() -> None:
    if importlib.util.find_spec("pexpect") is None:
        pytest.skip("IPython needs no pexpect here")
    assert "pexpect" not in pinned(loaded=("IPython", "pexpect"))  # IPython needs it everywhere but on Windows
    assert "pexpect" in pinned("import pexpect", loaded=("IPython", "pexpect"))


@pytest.mark.slow
def test_a_package_that_is_on_no_registry_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "my_levels-1.0.dist-info"
    place.mkdir()
    (tmp_path / "my_levels.py").write_text("")
    (place / "METADATA").write_text("Metadata-Version: 2.1\nName: my-levels\nVersion: 1.0\n")
    (place / "RECORD").write_text("my_levels.py,,\n")
    (place / "top_level.txt").write_text("my_levels\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert "my-levels==1.0" in make_pins(["import my_levels"], loaded=(), local=()).lines
    (place / "direct_url.json").write_text('{"url": "file:///home/me/levels", "dir_info": {"editable": true}}')
    made = make_pins(["import my_levels"], loaded=(), local=())
    assert "my-levels==1.0" not in made.lines
    assert made.notes == ("it uses my-levels 1.0, which is installed from a file or a repository: not pinned",)


NEEDED = {
    "of one platform": ('lines; sys_platform == "win32"', False),
    "of one platform and every Python": ('lines; os_name == "nt" and python_version >= "3"', False),
    "everywhere": ("lines>=1.0", True),
    "everywhere, in brackets": ("lines (>=1.0)", True),
    "on every platform": ('lines; os_name == "posix" or os_name == "nt"', True),
    "on no platform we know": ('lines; sys_platform == "plan9"', True),
    "of an extra alone": ('lines; extra == "fast" and sys_platform == "win32"', True),
    "of no extra, by a name that holds the word": ('lines; os_name == "nt" and platform_machine != "extra"', False),
}


def test_what_another_package_needs_is_read_as_pip_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {case: f"lines{number}" for number, case in enumerate(NEEDED)}
    needed = [requirement.replace("lines", names[case]) for case, (requirement, _) in NEEDED.items()]
    requires = "".join(f"Requires-Dist: {requirement}\n" for requirement in needed)
    for name, needs in (("Fast.Charts", requires), *((name, "") for name in names.values())):
        place = tmp_path / f"{name}-1.0.dist-info"
        place.mkdir()
        module = name.lower().replace(".", "_")
        (place / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{needs}")
        (place / "RECORD").write_text(f"{module}.py,,\n")
        (place / "top_level.txt").write_text(f"{module}\n")
    monkeypatch.syspath_prepend(tmp_path)
    lines = make_pins(["import fast_charts"], loaded=tuple(names.values()), local=()).lines
    assert "Fast.Charts==1.0" in lines
    pinned = {case: f"{name}==1.0" in lines for case, name in names.items()}
    assert pinned == {case: is_pinned for case, (_, is_pinned) in NEEDED.items()}


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return write(tmp_path / "nb", "import bknb", CHANCE.replace("random.random()", "price % 7"))


@pytest.mark.kernel
@pytest.mark.slow
def test_the_copy_runs_in_a_fresh_environment_made_from_its_pins(home: Path, tmp_path: Path) -> None:
    made = bknb.share(home / "story.ipynb", tmp_path / "out")
    assert made.checked == "fresh"
    assert "2 results, all the same, in a fresh environment made from its pins" in repr(made)


@pytest.mark.kernel
@pytest.mark.slow
def test_without_a_registry_the_check_says_where_it_ran(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"CONFIG_FILE": os.devnull, "INDEX_URL": "http://127.0.0.1:9/simple", "FIND_LINKS": ""}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    made = bknb.share(small, tmp_path / "out")
    assert made.checked == "here"
    assert "ONLY in the environment of its author, as the package registry cannot be reached" in repr(made)


@pytest.mark.kernel
@pytest.mark.slow
def test_a_fresh_environment_that_is_asked_for_is_demanded(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"CONFIG_FILE": os.devnull, "INDEX_URL": "http://127.0.0.1:9/simple", "FIND_LINKS": ""}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    with pytest.raises(bknb.UsageError, match=r"as the package registry cannot be reached\n.* check=True"):
        bknb.share(small, tmp_path / "out", check="fresh")
    assert not (tmp_path / "out").exists()


BROKEN = "after connection broken by 'NewConnectionError('Failed to establish a new connection')': /simple"
RETRIED = f"WARNING: Retrying (Retry(total=1, connect=None, read=None, redirect=None, status=None)) {BROKEN}/sma-lines/"
GIVEN_UP = RETRIED.replace("total=1", "total=0")
NONE = """ERROR: Could not find a version that satisfies the requirement SMA.lines==1.0 (from x) (from versions: none)
ERROR: No matching distribution found for SMA.lines==1.0"""
UNREACHABLE = {
    "nothing there": (NONE, False),
    "nothing there, after a repeated attempt": (f"{RETRIED}\n{NONE}", False),
    "another version, after a repeated attempt": (f"{GIVEN_UP}\n{NONE.replace('none', '0.9, 1.1')}", False),
    "given up for another package": (f"{GIVEN_UP.replace('sma-lines', 'numpy')}\n{NONE}", False),
    "conflict, after a repeated attempt": (
        f"{RETRIED}\nERROR: ResolutionImpossible: for help visit",
        False,
    ),
    "given up": (f"{RETRIED}\n{GIVEN_UP}\n{NONE}", True),
    "given up while downloading": (
        "ERROR: Could not install packages due to an OSError: HTTPSConnectionPool(host='x'): Max retries exceeded",
        True,
    ),
    "stopped while downloading": (
        "ERROR: Exception:\nTraceback\nReadTimeoutError: Pool: Read timed out.",
        True,
    ),
    "nothing written": ("", False),
}


@pytest.mark.parametrize(("output", "unreachable"), UNREACHABLE.values(), ids=UNREACHABLE)
def test_a_registry_out_of_reach_is_told_from_pins_that_do_not_exist(output: str, *, unreachable: bool) -> None:
    assert registry_unreachable(output) == unreachable


def test_an_environment_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    with pytest.raises(NoFreshEnvironment, match=r"venv took longer than 0\.001 seconds"):
        make_environment(tmp_path, tmp_path / "environment", timeout_seconds=0.001)


@pytest.mark.kernel
@pytest.mark.slow
def test_pins_that_cannot_be_installed_are_not_shared(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fresh_environment, "_PIP_WITH_PYTHON", Version("9999"))  # one that needs a pip of its own
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")  # a registry that answers, and has nothing
    with pytest.raises(bknb.UsageError, match=r"its pins cannot be installed\. ERROR: No matching distribution found"):
        bknb.share(small, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.kernel
@pytest.mark.slow
def test_an_environment_that_lacks_something_is_told(small: Path, tmp_path: Path) -> None:
    """The environment has what a kernel needs and not what the notebook imports."""
    node = nbformat.read(small, as_version=4)
    inputs = recorder.NotebookInputs(began=0, inside=(), outside=(), modules=(), candles=(), made_with={})
    shared = SharedFolder(tmp_path / "folder", small, node, inputs, Guard(small.parent, frozenset()))
    shared.path.mkdir()

    def without_bknb(copy: Path, place: Path) -> Path:
        venv.create(place, with_pip=False, symlinks=True)
        packages = next(place.glob("lib/python3*/site-packages"))
        (packages / "borrowed.pth").write_text(f"{Path(np.__file__).parent.parent}\n")
        (packages / "hides.pth").write_text("import sys; sys.modules['bknb'] = None\n")
        return place / "bin" / "python"

    with pytest.raises(bknb.UsageError, match=r"not shared: in a fresh environment made from its pins, .*bknb"):
        shared.check([], timeout=60, make_environment=without_bknb)


def test_an_unknown_way_of_checking_is_refused(tmp_path: Path) -> None:
    with pytest.raises(bknb.UsageError, match="'fresh' or 'here', got 'elsewhere'"):
        bknb.share(write(tmp_path / "nb", "1"), tmp_path / "out", check="elsewhere")  # type: ignore[arg-type]


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
    ("target", "tracked"), [("story-share", True), ("new/story-share", False), ("story.zip", True)]
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


# --- secrets, one by one ----------------------------------------------------------------------------------------

LETTERS = "q7Wm2Zx9Lp4Rt8Vk3Nd6Bf1Hs5Jg0TcYa2Ue9Io4Qw7Er"
SECRETS = [
    "AKIA" + "Q7W2Z9L4R8V3N6B1",
    "ghp_" + LETTERS[:36],
    "xoxb-" + "123456789012-" + LETTERS[:12],
    "AIza" + LETTERS[:35],
    "sk-ant-" + LETTERS[:30],
    "glpat-" + LETTERS[:20],
    "hf_" + LETTERS[:34],
    "123456789:AA" + LETTERS[:33],
    "eyJ" + LETTERS[:20] + ".eyJ" + LETTERS[:20] + "." + LETTERS[:20],
    "Authorization: Bearer " + LETTERS[:30],
    "postgres://trader:hunter22@db.example.com/ticks",
    f"client = ccxt.binance({{'apiKey': '{LETTERS[:40]}'}})",
    f"'secret': '{LETTERS[:40]}'",
    f'binance_api_secret = "{LETTERS[:40]}"',
    f"password: str = '{LETTERS[:14]}'",
    f"%env BINANCE_SECRET={LETTERS[:24]}",
    f"export API_TOKEN={LETTERS[:24]}",
    "-----BEGIN EC PRIVATE KEY-----",
]


@pytest.mark.parametrize("line", SECRETS)
def test_a_secret_is_found(line: str) -> None:
    (first, *_) = secrets.find_secrets(f"\n{line}", "cell [1]")
    assert first.place == "cell [1], line 2"
    assert LETTERS[:12] not in str(first)


@pytest.mark.parametrize(
    "line",
    [
        "api_key = os.environ['BINANCE_KEY']",
        "api_key = getpass('key: ')",
        "apiKey='your-api-key-here'",
        "token = tokens[0]",
        "password = ''",
        "secret = '<put yours here>'",
        "for key, value in parameters.items():",
        "price_take_profit=price * 1.02, key='signal_id'",
        "digest 5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8",
        "https://example.com/docs?page=2",
        "max_tokens = 4096",
        "sort_key = 'pnl_percentage'",
        "the-token-is-read-from-the-environment",
    ],
)
def test_ordinary_lines_are_left_alone(line: str) -> None:
    assert secrets.find_secrets(line, "cell [1]") == []


@pytest.mark.slow
def test_the_notebooks_of_this_repository_hold_no_secret() -> None:
    for path in (Path(__file__).parent.parent / "notebooks").glob("*.ipynb"):
        for place, text in secrets.notebook_texts(nbformat.read(path, as_version=4)):
            assert secrets.find_secrets(text, f"{path.name} {place}") == []


# --- candles ----------------------------------------------------------------------------------------------------


def series(count: int, since: int = 0) -> Candles:
    price = np.random.default_rng(7).uniform(1e-9, 1e9, count)
    times = since + 60_000 * np.arange(count)
    return Candles.from_columns(timestamp=times, open=price, high=price, low=price, close=price, volume=price)


def test_every_float_comes_back_to_the_last_bit() -> None:
    from bknb.exchanges.candle_bundle import _parsed

    candles = series(5_000)
    assert _parsed(gzip.decompress(csv_bytes(candles))) == candles
    assert csv_bytes(candles) == csv_bytes(candles.copy())


def record_of(*answers: tuple[int, Candles]) -> Record:
    record = Record()

    class Source:
        name, intervals, page_limit = "given", ("1m",), None

        def __init__(self) -> None:
            self.left = [candles for _, candles in answers]

        async def get_candles(self, symbol: str, interval: str, since: int, limit: int) -> Candles:
            return self.left.pop(0)

        def format_price(self, symbol: str, price: float) -> str:
            return "exact"

        format_quantity = format_price

    exchange = record.wrap(Exchange("given", Source()))
    assert exchange.source.format_price("x", 1.0) == "exact"
    assert isinstance(exchange.source, Source)
    for since, _ in answers:
        asyncio.run(exchange.source.get_candles("BTCUSDT", "1m", since, 10))
    return record


@pytest.mark.kernel
def test_sources_of_a_shared_notebook_reach_another_process(shared: bknb.Shared, through: list[Any]) -> None:
    import pickle

    demo = Exchange("demo", bknb.exchanges.demo())
    recorded = pickle.loads(pickle.dumps(Record().wrap(demo).source))  # noqa: S301 -- our own
    assert type(recorded) is type(demo.source)
    bundle = Bundle(shared.path, explain=lambda file, candles: "")
    served = pickle.loads(pickle.dumps(bundle.substitute(demo).source))  # noqa: S301
    assert len(asyncio.run(served.get_candles("ETHUSDT", "1m", 1_704_153_600_000, 10))) == 10


def test_overlapping_answers_become_one_series() -> None:
    whole = series(30)
    record = record_of((600_000, whole[10:20]), (0, whole[:10]), (300_000, whole[5:15]), (1_200_000, whole[20:30]))
    assert record.merged() == {("given", "BTCUSDT", "1m"): whole}


def test_only_what_was_asked_for_is_kept() -> None:
    assert record_of((300_000, series(30))).merged()["given", "BTCUSDT", "1m"] == series(30)[5:15]


def test_two_sources_of_one_name_are_refused() -> None:
    other = Candles.from_rows([(0, 1.0, 1.0, 1.0, 1.0, 1.0)])
    with pytest.raises(bknb.UsageError, match="two sources of that name"):
        record_of((0, series(5)), (0, other)).merged()


@pytest.mark.parametrize("content", ["{", "[]", json.dumps({"bknb_share": 99, "notebook": "x"})])
def test_a_manifest_that_cannot_be_read_is_told(content: str, tmp_path: Path) -> None:
    (tmp_path / "bknb-share.json").write_text(content)
    with pytest.raises(bknb.StateError, match=r"cannot be read|written by a newer bknb"):
        Bundle(tmp_path, explain=lambda file, candles: "")


def test_the_manifest_of_no_folder_is_told() -> None:
    explain: Callable[..., str] = lambda file, candles: ""  # noqa: E731
    with pytest.raises(bknb.UsageError, match=r"there is no bknb-share\.json"):
        Bundle(Path("/nowhere"), explain=explain)


@pytest.mark.parametrize(
    ("changed", "count", "says", "most_mb"),
    first_quick(
        [
            (False, 10, "holds more than 2,200 bytes, and 10 candles were to be in it", 5),
            (True, 10, "holds more than 2,200 bytes, and 10 candles were to be in it", 5),
            (False, 10**18, "and none of its size can hold more", 20),
        ]
    ),
)
def test_a_received_file_is_unpacked_no_further_than_its_candles_can_go(
    tmp_path: Path, *, changed: bool, count: int, says: str, most_mb: int
) -> None:
    content = gzip.compress(b"timestamp,open,high,low,close,volume\n" + b"0" * 50_000_000)
    (tmp_path / "candles").mkdir()
    (tmp_path / "candles" / "a.csv.gz").write_bytes(content)
    entry = CandleFile(
        exchange="given", symbol="BTCUSDT", interval="1m", path="candles/a.csv.gz", count=count, first=0, last=540_000,
        sha256="0" * 64 if changed else hashlib.sha256(content).hexdigest(),
    )  # fmt: skip
    (tmp_path / "bknb-share.json").write_bytes(msgspec.json.encode(Manifest(notebook="n.ipynb", candles=(entry,))))
    tracemalloc.start()
    with pytest.raises(bknb.StateError, match=says):
        Bundle(tmp_path, explain=lambda file, candles: "")
    assert tracemalloc.get_traced_memory()[1] < most_mb * 1_000_000
    tracemalloc.stop()


def test_calm_candles_that_pack_well_are_unpacked() -> None:
    from bknb.exchanges.candle_bundle import _parsed, _unpacked

    calm = Candles.from_rows([(k * 86_400_000, *[100.0] * 4, 1.0) for k in range(5_000)])
    packed = csv_bytes(calm)
    entry = CandleFile(
        exchange="given", symbol="BTCUSDT", interval="1d", path="a", count=5_000, first=0, last=0, sha256=""
    )
    assert _parsed(_unpacked(packed, entry)) == calm
