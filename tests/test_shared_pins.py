"""Pins of a shared notebook: what is pinned, and the fresh environment that is made from them."""

from __future__ import annotations

import importlib.util
import os
import venv
import zipfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from packaging.version import Version
from quick import rest_long
from test_sharing import CHANCE, packages_listed_once, write  # noqa: F401 -- for every test here

import bknb
from bknb.sharing import fresh_environment, recorder
from bknb.sharing.fresh_environment import (
    NoFreshEnvironment,
    clean_environment,
    make_environment,
    registry_unreachable,
)
from bknb.sharing.pins import imports_of, make_pins
from bknb.sharing.secrets import Guard
from bknb.sharing.shared_folder import SharedFolder
from bknb.sharing.uv_instead_of_pip import UvOptions, uv_command, uv_options

nbformat = pytest.importorskip("nbformat")

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


OF_PIP: dict[str, tuple[str, list[str] | dict[str, str] | None]] = {
    "nothing": ("", []),
    "an index": ("global.index-url='https://a/simple'", {"UV_DEFAULT_INDEX": "https://a/simple"}),
    "more indexes": (
        "global.extra-index-url='https://a/simple\\nfile:///b'",
        {"UV_INDEX": "https://a/simple file:///b"},
    ),
    "of the installation before of all": (
        "install.find-links='/i'\nglobal.find-links='/g'\ndownload.find-links='/d'",
        {"UV_FIND_LINKS": "/i"},
    ),
    "a variable before a file": (":env:.find-links=''\nglobal.find-links='/g'", []),
    "versions": ("global.constraint='/etc/c.txt'", ["--constraints", "/etc/c.txt"]),
    "no index": (":env:.no-index='1'", ["--no-index"]),
    "an index after all": (":env:.no-index='false'", []),
    "certificates": ("global.cert='/a.crt'\n:env:.cert='/b.crt'", {"SSL_CERT_FILE": "/b.crt"}),
    "a host without a certificate": ("global.trusted-host='a'", ["--allow-insecure-host", "a"]),
    "what does not matter": ("global.no-compile='0'\nglobal.retries='3'\n:env:.progress-bar='off'", []),
    "hashes": ("install.require-hashes='1'", None),
    "no wheels": ("global.no-binary=':all:'", None),
    "a proxy": ("global.proxy='http://proxy:3128'", None),
    "a setting of a later pip": ("global.new-setting='1'", None),
}


@pytest.mark.parametrize(("configuration", "given"), OF_PIP.values(), ids=OF_PIP)
def test_uv_installs_as_pip_is_set_up_to_or_not_at_all(
    configuration: str, given: list[str] | dict[str, str] | None
) -> None:
    read = uv_options(configuration)
    if given is None:
        assert read is None
        return
    options, variables = ([], given) if isinstance(given, dict) else (given, {})
    assert read == UvOptions(["--no-config", "--index-strategy", "unsafe-best-match", *options], variables)


def test_uv_chooses_by_no_settings_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("UV_INDEX_URL", "UV_EXCLUDE_NEWER", "UV_CACHE_DIR"):
        monkeypatch.setenv(name, "set")
    assert [name for name in clean_environment() if name.startswith("UV_")] == ["UV_CACHE_DIR"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("installer", "settings"), [("uv", {}), ("pip", {"PIP_ONLY_BINARY": ":all:"})], ids=["uv", "pip"]
)
def test_uv_installs_the_pins_and_pip_where_it_is_set_up_otherwise(
    installer: str, settings: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not uv_command():
        pytest.skip("uv is not installed")
    info = "levels-1.0.dist-info"
    files = {
        "levels.py": "HIGH = 7",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: levels\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": "",
    }
    with zipfile.ZipFile(tmp_path / "levels-1.0-py3-none-any.whl", "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
    pins = tmp_path / fresh_environment.REQUIREMENTS
    pins.parent.mkdir()
    pins.write_text("levels==1.0\n")
    for name, value in {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path), **settings}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    python = make_environment(tmp_path, tmp_path / "environment")
    (used,) = python.parent.parent.glob(f"lib/python3*/site-packages/{info}/INSTALLER")
    assert used.read_text().strip() == installer


def test_an_environment_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    with pytest.raises(NoFreshEnvironment, match=r"venv took longer than 0\.001 seconds"):
        make_environment(tmp_path, tmp_path / "environment", timeout_seconds=0.001)


@pytest.mark.kernel
@pytest.mark.slow
@pytest.mark.parametrize("least_pip", rest_long(["22.3", "9999"], kept=1), ids=["pip of here", "pip of its own"])
def test_pins_that_cannot_be_installed_are_not_shared(
    least_pip: str, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pip of its own takes four seconds to install."""
    monkeypatch.setattr(fresh_environment, "_PIP_WITH_PYTHON", Version(least_pip))
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
