"""Strategies and helper modules written to files and loaded anew, for tests of their hashes."""

from __future__ import annotations

import importlib
import linecache
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bknb.engine.registration_checks import make_strategy
from bknb.provenance.strategy_hash import fingerprint

HELPERS = """
UP = 1.02
SEEN = [1, 2]
NEVER_READ = 7

def target(price):
    return price * UP

def never_called(price):
    return price - 1

def logged(function):
    import functools
    @functools.wraps(function)
    def wrapper(*args):
        return function(*args) + 10
    return wrapper

class Base:
    depth = 3
    def inherited(self):
        return 30
"""
HEAD = """import collections, dataclasses, datetime, decimal, enum, functools, re, types
import msgspec
import numpy as np
import pandas as pd
import helpers
"""


def loading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], Any]]:
    """Write the strategy's file and its helper module, import both anew, and hand out the strategy's module."""
    monkeypatch.syspath_prepend(tmp_path)

    def loaded(strategy: str, helpers: str) -> Any:
        forget()
        (tmp_path / "made_strategy.py").write_text(strategy)
        (tmp_path / "helpers.py").write_text(helpers)
        later(tmp_path / "made_strategy.py", tmp_path / "helpers.py")
        return importlib.import_module("made_strategy")

    yield loaded
    forget()


def forget() -> None:
    for name in ("made_strategy", "helpers"):
        sys.modules.pop(name, None)


_moments = iter(range(1_700_000_000, 1_800_000_000, 10))


def later(*files: Path) -> None:
    """Give files a later moment than ever before, so that Python reads them again, however fast a test is."""
    for file in files:
        os.utime(file, (moment := next(_moments), moment))
    importlib.invalidate_caches()
    linecache.checkcache()


def hashed(get_signal: Any, **more: Any) -> str:
    return fingerprint(make_strategy("x", get_signal, interval="1h", **more))
