"""Import paths of the manual of 0.1.0 still work, and warn with the new path."""

from __future__ import annotations

import importlib
import subprocess
import sys
import warnings

import pytest

OLD: dict[str, tuple[str, tuple[str, ...]]] = {
    "bknb.adapters.envelope": ("bknb.stores", ("Unreadable", "check_address", "check_kind", "seal", "unseal")),
    "bknb.adapters.state": ("bknb.stores", ("FileStore", "MemoryStore")),
    "bknb.testing.binance": ("bknb.testing.fake_binance", ("Fault", "LocalBinance", "Market")),
    "bknb.testing.language": ("bknb.testing.llm", ("ModelContract",)),
}


@pytest.mark.parametrize("path", OLD)
def test_an_old_path_warns_who_imports_it_and_names_the_new_one(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, path, raising=False)
    home, names = OLD[path]
    with pytest.warns(DeprecationWarning, match=f"{path} is an old path") as told:
        exec(compile(f"from {path} import {names[-1]}", "cell.py", "exec"), {})  # noqa: S102
    (warning,) = told
    assert warning.filename == "cell.py"
    (written,) = [line for line in str(warning.message).splitlines() if line.startswith("write: ")]
    assert written == f"write: from {home} import {', '.join(names)}"


@pytest.mark.parametrize("path", OLD)
def test_the_names_are_the_same_objects(path: str) -> None:
    home, names = OLD[path]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old = importlib.import_module(path)
    new = importlib.import_module(home)
    for name in names:
        assert getattr(old, name) is getattr(new, name)
    assert all(hasattr(old, name) for name in old.__all__)


def test_what_is_sealed_with_the_old_name_is_opened_with_the_new_one() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from bknb.adapters.envelope import seal
    from bknb.stores import unseal

    assert unseal(seal("signal", ("sma", "BTCUSDT"), b"[1]"), "signal", ("sma", "BTCUSDT")) == b"[1]"


@pytest.mark.slow
def test_nothing_of_bknb_imports_an_old_path() -> None:
    testing = "bknb.testing.stores, bknb.testing.fake_binance, bknb.testing.llm, bknb.testing.faults"
    script = f"import bknb, bknb.stores, {testing}, sys; print([*sys.modules])"
    python = [sys.executable, "-W", "error", "-c", script]
    loaded = subprocess.run(python, capture_output=True, text=True, check=True).stdout
    assert not [path for path in ("bknb.adapters", *OLD) if f"'{path}'" in loaded]
