"""Paths, numbers and names that mean nothing are refused with what was expected, what came and what to do."""

from __future__ import annotations

import pickle

import pytest

import bknb
from bknb import brokers, exchanges, stores
from bknb.errors import BknbError, MissingDependency, StateError, UnknownName, UsageError

HELD_OUT = {"strategy": lambda: None, "exchange": "demo", "frame": "2024-03-01:2024-03-02"}
NO_PATHS = (None, 3, [], "", "a\0b")


def sweep(ledger):
    return bknb.sweep(
        lambda n=1: None,
        params={"n": [1]},
        symbol="BTCUSDT",
        exchange="demo",
        frame="2024-03-01:2024-03-02",
        ledger=ledger,
    )


CALLS = {
    "open_holdout": lambda path: bknb.open_holdout(**HELD_OUT, path=path),
    "stores.sqlite": stores.sqlite,
    "stores.files": stores.files,
    "share": bknb.share,
    "share to": lambda path: bknb.share("some.ipynb", path),
    "verify_notebook": bknb.verify_notebook,
    "exchanges.bundled": exchanges.bundled,
    "exchanges.stored": lambda path: exchanges.stored(exchanges.demo(), folder=path),
    "brokers.paper": lambda path: brokers.paper(journal=path),
    "sweep": sweep,
    "add_optimizer": lambda path: bknb.add_optimizer(
        "ideas", sources=["1h"], range_train=["2024-01-01:2024-01-02"], range_test="2024-01-03:2024-01-04", ledger=path
    ),
}
DEFAULTS = {"share to", "brokers.paper", "sweep", "add_optimizer"}


@pytest.mark.parametrize("path", NO_PATHS, ids=repr)
@pytest.mark.parametrize("name", CALLS)
def test_what_is_no_path_is_refused_with_advice(name, path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if path is None and name in DEFAULTS:
        pytest.skip("None means the default")
    with pytest.raises(UsageError) as caught:
        CALLS[name](path)
    expected, *advice = str(caught.value).splitlines()
    assert repr(path) in expected
    assert "must be" in expected
    assert len(advice) == 1


@pytest.mark.parametrize("name", ["open_holdout", "brokers.paper", "sweep"])
def test_a_folder_in_place_of_a_file_is_refused_with_advice(name, tmp_path):
    with pytest.raises(BknbError) as caught:
        CALLS[name](tmp_path)
    assert str(caught.value) == (
        f"{tmp_path} is a folder; expected the path of a file\ngive a file in it, such as {tmp_path}/{_example(name)}"
    )


def _example(name):
    return {"open_holdout": "openings.jsonl", "brokers.paper": "orders.jsonl", "sweep": "trials"}[name]


def test_a_sweep_writes_into_no_file_of_somebody_else(tmp_path):
    data = tmp_path / "data.csv"
    data.write_text("time,close\n1,2\n")
    with pytest.raises(StateError, match=r"data.csv holds no trial"):
        sweep(data)
    assert data.read_text() == "time,close\n1,2\n"


# --- sharing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"repository": "me"}, "repository must be 'owner/name'"),
        ({"repository": ""}, "repository must be 'owner/name'"),
        ({"repository": 3}, "repository must be 'owner/name'"),
        ({"repository": "https://gitlab.com/me/strategies"}, "repository must be 'owner/name'"),
        ({"repository": "me/strategies/tree/main"}, "repository must be 'owner/name'"),
        ({"repository": "me/a b"}, "repository must be 'owner/name'"),
        ({"ref": ""}, "ref must be a branch, tag or commit"),
        ({"ref": None}, "ref must be a branch, tag or commit"),
        ({"ref": "a b"}, "ref must be a branch, tag or commit"),
        ({"timeout_seconds": -1}, "timeout_seconds must be a whole number of at least 1"),
        ({"timeout_seconds": 0}, "timeout_seconds must be a whole number of at least 1"),
        ({"timeout_seconds": "5"}, "timeout_seconds must be a whole number of at least 1"),
        ({"timeout_seconds": True}, "timeout_seconds must be a whole number of at least 1"),
        ({"accept": "0123abcd"}, "accept must be a list of fingerprints"),
        ({"accept": [3]}, "accept must be a list of fingerprints"),
        ({"accept": ["abc"]}, "accept must be a list of fingerprints"),
        ({"accept": None}, "accept must be a list of fingerprints"),
    ],
)
@pytest.mark.parametrize("check", [True, False])
def test_options_of_share_are_checked_first(options, expected, check):
    with pytest.raises(UsageError) as caught:
        bknb.share("no-such.ipynb", check=check, **options)
    assert str(caught.value).startswith(expected)
    assert repr(next(iter(options.values()))) in str(caught.value)


@pytest.mark.parametrize(
    "given",
    [
        "me/strategies",
        "https://github.com/me/strategies",
        "https://github.com/me/strategies/",
        "https://github.com/me/strategies.git",
        "http://www.github.com/me/strategies",
        "github.com/me/strategies",
        "git@github.com:me/strategies.git",
    ],
)
def test_a_repository_is_a_name_or_an_address_on_github(given):
    from bknb.sharing.binder_link_and_readme import repository_name

    assert repository_name(given) == "me/strategies"


# --- patience --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"attempts": 0}, "attempts must be a whole number from 1 on, got 0"),
        ({"attempts": 2.5}, "attempts must be a whole number from 1 on, got 2.5"),
        ({"attempts": "3"}, "attempts must be a whole number from 1 on, got '3'"),
        ({"attempts": True}, "attempts must be a whole number from 1 on, got True"),
        ({"first_pause_ms": -1}, "first_pause_ms must be a whole number from 0 on, got -1"),
        ({"longest_pause_ms": None}, "longest_pause_ms must be a whole number from 0 on, got None"),
        ({"longest_retry_after_ms": float("inf")}, "longest_retry_after_ms must be a whole number from 0 on, got inf"),
        ({"jitter": 1.5}, "jitter must be a number from 0 to 1, got 1.5"),
        ({"jitter": float("nan")}, "jitter must be a number from 0 to 1, got nan"),
        ({"jitter": "0"}, "jitter must be a number from 0 to 1, got '0'"),
    ],
)
def test_patience_checks_its_numbers(options, expected):
    with pytest.raises(UsageError) as caught:
        exchanges.Patience(**options)
    assert str(caught.value).startswith(expected)


def test_patience_takes_the_bounds():
    exchanges.Patience(attempts=1, first_pause_ms=0, longest_pause_ms=0, jitter=1, longest_retry_after_ms=0)
    exchanges.Patience(jitter=0)


@pytest.mark.parametrize("patience", ["x", 0, {"attempts": 3}], ids=repr)
def test_ccxt_takes_patience_only(patience, tmp_path):
    pytest.importorskip("ccxt")
    with pytest.raises(UsageError, match=r"patience must be bknb\.exchanges\.Patience\(\.\.\.\) or None, got "):
        exchanges.ccxt("binance", patience=patience)


# --- errors between processes ----------------------------------------------------------------------------------------


def _errors():
    return [
        UnknownName("strategy", "sma-cros", known=["sma-cross", "rsi"]),
        UnknownName("thing", 7, known=[], listing="ask somebody"),
        MissingDependency("ccxt", purpose="asking exchanges", extra="ccxt"),
        bknb.GapError("gap", ranges=[(1, 2)]),
    ]


@pytest.mark.parametrize("error", _errors(), ids=lambda error: type(error).__name__)
def test_an_error_survives_pickle(error):
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 -- of our own
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)


def test_every_error_that_bknb_raises_survives_pickle():
    from bknb import errors

    kinds = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, BknbError)]
    tried = {type(error) for error in _errors()}
    for kind in kinds:
        if kind not in tried:
            assert str(pickle.loads(pickle.dumps(kind("text")))) == "text"  # noqa: S301 -- of our own


# --- names -----------------------------------------------------------------------------------------------------------


def test_messages_have_the_right_article():
    for register, what in ((bknb.add_exchange, "an exchange"), (bknb.add_frame, "a frame")):
        options = {"start": "2024-01-01", "end": "2024-01-02"} if what == "a frame" else {}
        with pytest.raises(UsageError, match=f"the name of {what} must be"):
            register("", **options)


def test_a_calendar_is_suggested_whatever_its_case():
    pytest.importorskip("exchange_calendars")
    with pytest.raises(UnknownName, match="did you mean 'XLON'") as caught:
        exchanges.in_sessions(exchanges.demo(), "xlon")
    assert "calendar" in str(caught.value)
    with pytest.raises(UnknownName, match="did you mean 'XLON'"):
        bknb.Sessions.of_exchange("xlon")
    with pytest.raises(UnknownName) as caught:
        bknb.Sessions.of_exchange("us-equities")
    assert "in_sessions(source, 'us-equities')" in str(caught.value)
