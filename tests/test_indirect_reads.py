"""What a strategy reads from outside the program: a `load` of others does, one of the user's own does not."""

from __future__ import annotations

import json
import sqlite3
import types
from typing import Any

import numpy as np
import pytest

from bknb.provenance.source_code_and_hash import read_code

helpers = types.ModuleType("helpers")
exec("def load(price): return price", helpers.__dict__)  # noqa: S102 -- as a module is
helpers.__file__ = "/home/me/helpers.py"


class Model:
    connect = 3

    def load(self) -> int:
        return self.connect

    def twice(self) -> int:
        return 2 * self.load()


def load(price: Any) -> Any:
    return price


MODEL, OWN, DATABASE = Model(), Model, sqlite3.Connection(":memory:")


def own_function(price: Any) -> Any:
    return load(price)


def own_object(price: Any) -> Any:
    return MODEL.load() + MODEL.connect


def own_class(price: Any) -> Any:
    return OWN.load(price)


def own_module(price: Any) -> Any:
    return helpers.load(price)


def field(candles: Any) -> Any:
    load = candles.load / 2
    return load.connect


@pytest.mark.parametrize("read", [own_function, own_object, own_class, own_module, field, MODEL.twice])
def test_load_and_connect_of_the_users_own_read_no_files(read: Any) -> None:
    assert read_code(read).notes == ()


def of_a_module(price: Any) -> Any:
    return np.load("levels.npy")


def of_a_module_inside(price: Any) -> Any:
    import pickle

    return pickle.load(price)  # noqa: S301


def another_name(price: Any) -> Any:
    read = json.load
    return read(price)


def of_an_object(price: Any) -> Any:
    return DATABASE.connect(price)  # type: ignore[attr-defined]


def of_a_call(price: Any) -> Any:
    return price.engine().connect()


def of_a_local(price: Any) -> Any:
    engine = price
    return engine.connect()


@pytest.mark.parametrize(
    "read",
    [of_a_module, of_a_module_inside, another_name, of_an_object, of_a_call, of_a_local],
)
def test_load_and_connect_of_others_are_noted(read: Any) -> None:
    assert "it reads files, databases" in read_code(read).not_compared[0]
