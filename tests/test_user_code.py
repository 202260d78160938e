"""What is the user's own code, asked in one place."""

from __future__ import annotations

import json
import logging
import site
import sysconfig
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bknb
from bknb import user_code
from bknb.user_code import is_installed_file, is_users, is_users_file, where_it_failed

PACKAGE = Path(bknb.__file__).parent
FILES = {
    "/home/me/strategies/levels.py": True,
    "levels.py": True,
    "<ipython-input-3-5c2f>": True,
    "/tmp/ipykernel_4711/2053091824.py": True,  # noqa: S108 -- compared, not used
    "<string>": True,
    "<stdin>": True,
    __file__: True,  # beside bknb, not in it
    f"{PACKAGE}_extras/levels.py": True,
    f"{sysconfig.get_path('stdlib')}_of_mine/levels.py": True,
    "<frozen importlib._bootstrap>": False,
    str(PACKAGE / "engine" / "plan.py"): False,
    json.__file__: False,
    np.__file__: False,
    "/opt/other/lib/python3.12/site-packages/ta/momentum.py": False,
    "/usr/lib/python3/dist-packages/yaml/__init__.py": False,
}


@pytest.mark.parametrize(("name", "users"), FILES.items())
def test_a_file_is_the_users_or_it_is_not(name: str, users: bool) -> None:  # noqa: FBT001
    assert is_users_file(name) is users


def made(name: str, **attributes: Any) -> types.ModuleType:
    module = types.ModuleType(name)
    vars(module).update(attributes)
    return module


class Own:
    pass


THINGS: list[tuple[Any, bool]] = [
    (is_users_file, False),
    (json.dumps, False),
    (pd.DataFrame, False),
    (int, False),
    (type(np.float64(1)), False),
    (json, False),
    (bknb, False),
    (logging.Logger, False),
    (lambda: None, True),
    (Own, True),
    (made("levels"), True),
    (made("calendar", __file__="/home/me/calendar.py"), True),  # the user's, though Python has one of that name
    (made("together", __path__=["/opt/lib/python3.12/site-packages/together"]), False),
    (made("_json"), False),
    (made("pandas.moves", __path__=[]), False),  # made by an installed package, as six.moves is
    (made("numpy.moves"), False),
    (made("test_user_code.moves"), True),  # made by a module of the user's
]


@pytest.mark.parametrize(("thing", "users"), THINGS)
def test_a_function_class_or_module_is_the_users_or_it_is_not(thing: Any, users: bool) -> None:  # noqa: FBT001
    assert is_users(thing) is users


def test_a_class_in_a_module_that_its_package_made_is_the_packages() -> None:
    assert not is_users(type("Moved", (), {"__module__": "numpy.moves"}))


def test_a_frozen_application_has_no_list_of_site_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(site, "getsitepackages")
    monkeypatch.delattr(site, "getusersitepackages")
    monkeypatch.setattr(user_code, "_libraries", user_code._libraries.__wrapped__)
    is_installed_file.cache_clear()
    try:
        assert not is_users_file(json.__file__)
        assert is_users_file("/home/me/levels.py")
    finally:
        is_installed_file.cache_clear()


def failing() -> None:
    bknb.backtest("BTCUSDT", strategy=lambda: None, exchange="demo", frame="never")


@pytest.mark.parametrize("call", [failing, lambda: exec(compile("1 / 0", "<cell>", "exec"))])  # noqa: S102
def test_an_error_names_the_line_outside_bknb(call: Callable[[], None]) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011 -- whichever it is
        call()
    where = where_it_failed(caught.value)
    assert where.startswith(("test_user_code.py, line", "<cell>, line 1"))
    assert ("bknb.backtest" in where) == (call is failing)
