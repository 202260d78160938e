"""The cache of compiled loops on disk: what an earlier version left there does not disturb a later one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from packages import need_packages

need_packages("numba")


MODULE = """\
from typing import NamedTuple


class Terms(NamedTuple):
    fee: float


def loop(terms):
    return terms.fee * {factor}


def run():
    from bknb.kernels.jit import compiled

    return compiled(loop, globals())(Terms(2.0))
"""


def said_by(folder: Path, code: str = "import loops; print(loops.run())") -> str:
    """What ``run`` gives in a process of its own, or what other code prints, with its cache beside the module."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(folder), *sys.path]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    environment.pop("NUMBA_CACHE_DIR", None)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.slow
def test_a_cache_that_names_a_class_which_is_gone_is_not_read(tmp_path: Path) -> None:
    module = tmp_path / "loops.py"
    module.write_text(MODULE.format(factor=1.5))
    assert said_by(tmp_path) == "3.0"
    assert list(tmp_path.rglob("*.nbi"))
    module.write_text(MODULE.format(factor=2.5).replace("Terms", "Rules"))
    assert said_by(tmp_path) == "5.0"


TELLS = """
import loops
from bknb.kernels import jit

jit._PACKAGE, told = "loops", []
with jit.when_compiling(lambda is_kept: told.append("now" if is_kept else "each time")):
    loops.run()
    print(told)
jit._made.clear()
loops.run()
print(told)
"""


@pytest.mark.slow
def test_what_is_compiled_is_told_and_what_comes_from_the_cache_is_not(tmp_path: Path) -> None:
    (tmp_path / "loops.py").write_text(MODULE.format(factor=1.5))
    assert said_by(tmp_path, TELLS) == "['now']\n['now']"
    assert said_by(tmp_path, TELLS) == "[]\n[]"


@pytest.mark.slow
def test_what_can_be_kept_nowhere_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "loops.py").write_text(MODULE.format(factor=1.5))
    (tmp_path / "__pycache__").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", os.devnull)
    assert said_by(tmp_path, TELLS) == "['each time']\n['each time']"


PARTS = {
    "__init__": "",
    "levels": "UP = {factor}\n",
    "steps": "from .levels import UP\n",
    "terms": "from typing import NamedTuple\n\n\nclass Terms(NamedTuple):\n    {fields}\n",
    "loops": """\
from .steps import UP


def loop(terms):
    return terms.fee * UP


def run(terms):
    from bknb.kernels.jit import compiled

    return compiled(loop, globals(), takes=(type(terms),))(terms)
""",
}


def written(folder: Path, *, factor: float, fields: str = "fee: float") -> None:
    """The package ``parts`` with another constant or class."""
    (folder / "parts").mkdir(exist_ok=True)
    for name, text in PARTS.items():
        (folder / "parts" / f"{name}.py").write_text(text.replace("{factor}", str(factor)).replace("{fields}", fields))
    (folder / "loops.py").write_text(
        "from parts import loops, terms\n\n\n"
        "def run():\n    given = {'fee': 2.0, 'least': 0.0}\n"
        "    return loops.run(terms.Terms(**{name: given[name] for name in terms.Terms._fields}))\n"
    )


@pytest.mark.slow
def test_machine_code_is_made_anew_when_a_module_it_takes_from_changes(tmp_path: Path) -> None:
    written(tmp_path, factor=1.5)
    assert said_by(tmp_path) == "3.0"
    assert list(tmp_path.rglob("*.nbi"))
    written(tmp_path, factor=2.5)
    assert said_by(tmp_path) == "5.0"


@pytest.mark.slow
def test_machine_code_is_made_anew_when_the_class_of_an_argument_changes(tmp_path: Path) -> None:
    written(tmp_path, factor=1.5)
    assert said_by(tmp_path) == "3.0"
    before = set(tmp_path.rglob("*.nbi"))
    written(tmp_path, factor=1.5, fields="least: float\n    fee: float")
    assert said_by(tmp_path) == "3.0"
    assert set(tmp_path.rglob("*.nbi")) > before


def test_the_version_of_the_figures_covers_the_modules_they_take_from(monkeypatch: pytest.MonkeyPatch) -> None:
    from bknb.domain.least_samples import Gates
    from bknb.kernels import jit, simulate, sweep_figures

    read: list[str] = []
    ours = Path.read_bytes

    def noted(path: Path) -> bytes:
        read.append(path.name)
        return ours(path)

    monkeypatch.setattr(Path, "read_bytes", noted)
    jit.source_version(sweep_figures.__name__, Gates.__module__)
    assert {"sweep_figures.py", "least_samples.py", Path(simulate.__file__).name} <= set(read)


def test_loops_take_the_same_machine_code_of_the_pieces_they_share(monkeypatch: pytest.MonkeyPatch) -> None:
    from bknb.kernels import jit, row_orders_loop, simulate, weight_loop

    versions: dict[str, set[str]] = {}

    def noted(function: Any, _namespace: Any, version: str, **_options: Any) -> Any:
        versions.setdefault(f"{function.__module__}.{function.__name__}", set()).add(version)
        return function

    monkeypatch.setattr(jit, "_jit", noted)
    monkeypatch.setattr(jit, "_made", {})
    nothing: Any = None
    for run in (simulate.simulate, row_orders_loop.simulate_orders, weight_loop.simulate_weights):
        with pytest.raises(AttributeError):  # once it is compiled
            run(*[nothing] * run.__code__.co_argcount)
    (plain,) = versions["bknb.kernels.simulate.hold_to_end"]
    assert versions["bknb.kernels.exit_loop.first_at"] == versions["bknb.kernels.entry_parts.hold_parts"] == {plain}
    own = [versions[f"bknb.kernels.{loop}._go_on"] for loop in ("simulate", "row_orders_loop", "weight_loop")]
    assert own[0] == {plain}
    assert len(set.union(*own)) == 3
