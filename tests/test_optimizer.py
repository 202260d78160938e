"""An optimizer from end to end: what it shows, asks, sends back, tries, ranks, keeps and writes."""

from __future__ import annotations

import asyncio
import json
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
import without_grammars
from hostile_replies import HONEST, reply
from ollama_server import refusing, saying, serving, silent
from quick import first_quick

import bknb
from bknb.market.resample import resample
from bknb.optimizer.draft_and_judge import SCHEMA

nbformat = pytest.importorskip("nbformat")

TRAIN = [("2024-01-08", "2024-01-10"), ("2024-01-10", "2024-01-12"), ("2024-01-12", "2024-01-14")]
TEST = ("2024-01-14", "2024-01-18")


def idea(fast: int, **changed: Any) -> str:
    """A reply that trades."""
    parameters = [{"name": "FAST", "value": fast, "meaning": "bars of the fast average"}]
    code = HONEST.replace("FAST = 10", f"FAST = {fast}")
    return reply(**{"code": code, "title": f"above average of {fast}", "parameters": parameters} | changed)


def add(replies: list[str], **changed: Any) -> Any:
    values: dict[str, Any] = {
        "sources": ["1h"],
        "range_train": TRAIN[:1],
        "range_test": TEST,
        "model": bknb.llm.recorded(replies),
        "ledger": None,
        "lead_days": 5,
    }
    return bknb.add_optimizer("ideas", **values | changed)


def study(replies: list[str], **changed: Any) -> Any:
    add(replies, **changed)
    return bknb.Optimizer.get_data("BTCUSDT", "ideas")


STOP_ENTRY = """import bknb


def get_signal(ctx):
    level = ctx.price * 1.002
    return bknb.Signal(
        position="long",
        entry="stop",
        price_open=level,
        price_take_profit=level * 1.011,
        price_stop_loss=level * 0.991,
        minute_estimated_time=240,
        id="at " + str(ctx.when),
    )
"""


@pytest.mark.parametrize("execution", first_quick(["pessimistic", "vwap"]))
def test_a_trial_is_the_backtest_of_its_code(execution: str) -> None:
    """Stop entries, on the grid of the exchange: what the engine does with them, it does in a trial."""
    bknb.add_exchange("ticking", get_candles=bknb.exchanges.demo(), tick=25.0)
    (proposal,) = study([idea(10, code=STOP_ENTRY, parameters=[])], execution=execution, exchange="ticking")
    names: dict[str, Any] = {}
    exec(proposal.code, names)  # noqa: S102
    strategy = bknb.add_strategy(proposal.name, interval=proposal.interval, get_signal=names["get_signal"])
    whole = bknb.backtest("BTCUSDT", strategy=strategy, exchange="ticking", frame=TEST, execution=execution)
    trades = proposal.test.trades
    assert len(trades) > 5
    assert trades.equals(whole.trades)
    assert (trades["price_take_profit"] % 25 == 0).all()
    assert "get_candles=bknb.exchanges.demo(), tick=25.0)" in bknb.Optimizer.get_code("BTCUSDT", "ideas")


# --- longer bars --------------------------------------------------------------------------------------------------

FOLLOWS = """import bknb


def get_signal(ctx):
    closes = ctx.candles("BASE", 4).close
    if closes[-1] <= closes[0]:
        return None
    return bknb.Signal(
        position="long",
        price_take_profit=ctx.price * 1.04,
        price_stop_loss=ctx.price * 0.97,
        minute_estimated_time=LASTS,
    )
"""


def bars_of(base: str) -> Any:
    """Hours of a week, or days of half a year of the demo market."""
    count = 50 if base == "1h" else 110
    start = 1_704_067_200_000
    minutes = asyncio.run(bknb.exchanges.demo().get_candles("BTCUSDT", "1m", start, count * 1440))
    return bknb.exchanges.from_frame(resample(minutes, base), symbol="BTCUSDT", name="bars")


def follows(base: str, **changed: Any) -> str:
    code = FOLLOWS.replace("BASE", base).replace("LASTS", "300" if base == "1h" else "4000")
    return reply(**{"code": code, "interval": base, "title": "follows"} | changed)


@pytest.mark.slow
@pytest.mark.parametrize("base", ["1d", pytest.param("1h", marks=pytest.mark.long)])
def test_a_trial_over_bars_is_the_backtest_of_its_code(base: str) -> None:
    train, test = ([TRAIN[0]], TEST) if base == "1h" else ([("2024-02-01", "2024-03-01")], ("2024-03-02", "2024-04-10"))
    source = bars_of(base)
    options = {"exchange": source, "range_train": train, "range_test": test, "sources": [base], "lead_days": 6}
    (proposal,) = study([follows(base)], **options)
    names: dict[str, Any] = {}
    exec(proposal.code, names)  # noqa: S102
    strategy = bknb.add_strategy(proposal.name, interval=proposal.interval, get_signal=names["get_signal"])
    whole = bknb.backtest("BTCUSDT", strategy=strategy, exchange=source, frame=test)
    trades = proposal.test.trades
    assert len(trades) > 3
    assert trades.equals(whole.trades)
    assert proposal.test.base == base


def test_a_draft_that_is_asked_more_often_than_there_are_bars_is_sent_back() -> None:
    options = {"exchange": bars_of("1h"), "sources": ["1h"], "tries": 2}
    proposals = study([follows("1h", interval="15m"), "I give up."], **options)
    told = "its interval 15m cannot be made of 1h bars: choose one of 1h 2h 4h 6h 8h 12h 1d"
    assert told in str(proposals.attempts[0].objections[0])


# --- the whole ----------------------------------------------------------------------------------------------------


@pytest.mark.kernel
def test_from_three_ranges_to_a_notebook_that_runs(tmp_path: Path) -> None:
    pytest.importorskip("ollama")
    pytest.importorskip("nbmake")
    received: list[Any] = []
    stop = bknb.listen_progress_optimizer(received.append)
    answers = [
        idea(10),
        idea(8, code="import os\n" + HONEST.replace("FAST = 10", "FAST = 8")),
        idea(8),
        refusing(500, "busy"),
        idea(5),
    ]
    scripted = [each if callable(each) else saying(each, thinking="hm", piece=200) for each in answers]

    async def no_pause(_: float) -> None:
        return None

    with serving(*scripted) as server:
        model = bknb.llm.ollama("qwen3:8b", host=server.url, retries=1, sleep=no_pause)
        add([], model=model, range_train=TRAIN, sources=["1h", "15m"], ledger=tmp_path / "ledger")
        proposals = bknb.Optimizer.get_data("BTCUSDT", "ideas")
    stop()

    # three ranges, one proposal each; the refused one came back corrected
    assert {each.name for each in proposals} == {"ideas-1", "ideas-2", "ideas-3"}
    assert [each.rank for each in proposals] == [1, 2, 3]
    assert [attempt.status for attempt in proposals.attempts] == ["proposed", "refused", "proposed", "proposed"]
    assert [len(each["messages"]) for each in server.asked] == [6, 6, 8, 6, 6]
    assert all(each["format"] == SCHEMA for each in server.asked)
    back = server.asked[2]["messages"][-1]["content"]
    assert "line 1: the module os is not allowed" in back
    # results of both ranges, ranked with the number of tries
    assert all(len(each.train.trades) and len(each.test.trades) for each in proposals)
    assert all(each.luck.trials == 3 for each in proposals)
    assert proposals.tokens["read"] == 4 * 321
    # progress
    assert [event.processed for event in received][-1] == received[-1].total == 9
    assert received[-1].progress == 1.0
    assert [event.progress for event in received] == sorted(event.progress for event in received)

    # the same numbers from the notebook, in a kernel that knows nothing of this process
    path = bknb.Optimizer.dump("BTCUSDT", "ideas", tmp_path / "out")
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata["bknb"]["model"] == "qwen3:8b"
    assert len(notebook.metadata["bknb"]["data_sha256"]) == 4
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    assert sum(source.startswith("%%strategy ideas-") for source in code) == 3
    assert any("add_exchange" in source for source in code)
    assert sum(source.count("add_frame") for source in code) == 4
    assert any("add_walker" in source for source in code)
    assert all("bknb-generated" in cell.metadata["tags"] for cell in notebook.cells)
    command = without_grammars.command("pytest", "--nbmake", "--overwrite", "-p", "no:cacheprovider", str(path))
    done = subprocess.run(command, cwd=path.parent, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    told = str(nbformat.read(path, as_version=4).cells[-1].outputs)
    best = max(proposals, key=lambda each: each.test.account["total_return"])
    assert best.test.account.text("total_return") in told

    # and from the program
    text = bknb.Optimizer.get_code("BTCUSDT", "ideas")
    compile(text, "ideas.py", "exec")
    assert text.count("bknb.add_strategy(") == 3


@pytest.mark.slow
def test_every_attempt_is_kept_and_counts_next_time(tmp_path: Path) -> None:
    first = study(["no", idea(10)], ledger=tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "ideas@BTCUSDT.attempts.jsonl").read_text().splitlines()]
    assert [line["status"] for line in lines] == ["refused", "proposed"]
    kept = lines[1]
    assert kept["reply"] == idea(10)
    assert kept["messages"][0]["role"] == "system"
    assert kept["model"] == "recorded"
    assert kept["seed"] == 1
    assert len(kept["data_sha256"]) == 2
    assert all(len(digest) == 64 for digest in [kept["code_sha256"], *kept["data_sha256"].values()])
    assert kept["train"]["n"] == len(first[0].train.trades)
    assert first[0].luck.trials == 1
    again = study([idea(9)], ledger=tmp_path)
    assert again.earlier_looks == 1
    assert again[0].luck.trials == 2
    elsewhere = study([idea(7)], ledger=tmp_path, range_test=("2024-01-20", "2024-01-22"))
    assert elsewhere.earlier_looks == 0


@pytest.mark.slow
def test_a_torn_line_of_the_ledger_is_left_out_and_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    study([idea(10)], ledger=tmp_path)
    ledger = tmp_path / "ideas@BTCUSDT.attempts.jsonl"
    ledger.write_bytes(ledger.read_bytes() + b'{"status": "prop')
    assert not caplog.records
    assert study([idea(9)], ledger=tmp_path).earlier_looks == 1
    (told,) = [record.getMessage() for record in caplog.records if str(ledger) in record.getMessage()]
    assert "lines that cannot be read: 1;" in told


@pytest.mark.slow
def test_results_are_those_of_a_plain_backtest() -> None:
    proposals = study([idea(10)])
    names: dict[str, Any] = {}
    exec(compile(proposals[0].code, "<draft>", "exec"), names)  # noqa: S102 -- written above
    plain = bknb.backtest("BTCUSDT", strategy=names["get_signal"], interval="15m", exchange="demo", frame=TEST)
    ours = proposals[0].test
    columns = ["pending_at", "closed_at", "price_open", "price_close", "pnl_percentage", "close_reason"]
    assert ours.trades[columns].equals(plain.trades[columns])
    assert len(plain.trades) > 3
    total = (plain.stats["equity_final"] - 1) * 100
    assert f"Test range: {len(plain.trades)} trades, {total:+.2f} % compounded, Sharpe" in proposals[0].numbers


@pytest.mark.slow
def test_a_missing_figure_of_a_proposal_has_its_reason() -> None:
    short = study([idea(10)], range_test=("2024-01-15", "2024-01-15 06:00"))
    assert 0 < short[0].test.stats["n"] < 10
    shown = short._repr_html_()
    assert shown.count("N/A: fewer than 10 trades") == 3  # Sharpe ratio, deflated, luck
    assert "—" not in shown


@pytest.mark.slow
def test_each_code_that_was_tried_out_is_a_try_on_its_candles() -> None:
    ideas = [idea(10), idea(8)]
    apart = [("2024-01-08", "2024-01-10"), ("2024-01-11", "2024-01-13")]
    first, other = study(ideas, range_train=apart)
    counts = [(each.test.tries.count, each.test.tries.number) for each in (first, other)]
    assert sorted(counts) == [(1, 1), (2, 2)]
    assert [each.train.tries.count for each in (first, other)] == [1, 1]
    again = study(ideas, range_train=apart)
    assert [each.test.tries.count for each in again] == [2, 2]
    plain = bknb.backtest("BTCUSDT", strategy=lambda: None, exchange="demo", frame=TEST)
    assert plain.tries is not None
    assert plain.tries.count == 3
    bknb.set_config(count_tries=False)
    assert study(ideas[:1])[0].test.tries is None


@pytest.mark.slow
def test_the_numbers_of_the_test_range_never_reach_the_model() -> None:
    replies = [idea(10), reply("def get_signal(ctx):\n    return 1 / 0"), idea(8)]
    proposals = study(replies, drafts=2)
    talk = "".join(message["content"] for attempt in proposals.attempts for message in attempt.messages)
    assert "ZeroDivisionError" in talk  # what went wrong on the training range does
    assert "2024-01-15" not in talk
    assert "24-01-15" not in talk
    assert f"{proposals[0].test.stats['total_pnl']:.2f}" not in talk


# --- asking -------------------------------------------------------------------------------------------------------


def test_a_reply_that_cannot_be_used_is_given_up_after_the_tries() -> None:
    proposals = study(["no", "no", "no", idea(10)], tries=3)
    assert len(proposals) == 0
    assert [attempt.try_ for attempt in proposals.attempts] == [1, 2, 3]
    assert "nothing passed the checks" in proposals._repr_html_()


@pytest.mark.slow
def test_the_same_code_again_is_refused() -> None:
    proposals = study([idea(10), idea(10), idea(9)], drafts=2)
    assert [attempt.status for attempt in proposals.attempts] == ["proposed", "refused", "proposed"]
    assert "again; propose another idea" in proposals.attempts[1].objections[0]
    assert "above average of 10" in proposals.attempts[1].messages[-1]["content"]


@pytest.mark.slow
def test_a_failing_model_ends_the_study_but_not_what_it_found() -> None:
    proposals = study([idea(10)], range_train=TRAIN)
    assert len(proposals) == 1
    assert "no recorded reply is left" in proposals.problem
    with pytest.raises(bknb.ModelError, match="no recorded reply is left"):
        study([])


@pytest.mark.slow
def test_seeds_differ_and_are_written_down() -> None:
    proposals = study([idea(10), idea(9)], drafts=2, seed=40)
    assert [attempt.seed for attempt in proposals.attempts] == [40, 41]
    assert study([idea(10)], seed=None).attempts[0].seed is None


@pytest.mark.slow
def test_own_call_of_a_model() -> None:
    asked: list[Any] = []

    async def get_prompt(symbol: str, messages: list[dict[str, str]]) -> str:
        asked.append((symbol, messages[-1]["role"]))
        return idea(10)

    proposals = study([], model=None, get_prompt=get_prompt)
    assert asked == [("BTCUSDT", "user")]
    assert proposals.model == "get_prompt"
    assert len(proposals) == 1
    with pytest.raises(bknb.ModelError, match="get_prompt failed: KeyError"):
        study([], model=None, get_prompt=lambda symbol, messages: {}["x"])
    with pytest.raises(bknb.ModelError, match="must return text, got int"):
        study([], model=None, get_prompt=lambda symbol, messages: 5)


@pytest.mark.slow
def test_callbacks_and_templates() -> None:
    told: list[tuple[Any, ...]] = []
    proposals = study(
        [idea(10)],
        callbacks={
            "on_source_data": lambda *values: told.append(("rows", values[1], len(values[2]))),
            "on_data": lambda *values: told.append(("data", len(values[1]))),
            "on_code": lambda *values: told.append(("code", values[1].count("PANTS"))),
        },
        templates={
            "system": lambda symbol, facts: f"Trade {symbol} with at most {facts['max_minutes']} minutes.",
            "request": lambda **_: "Now!",
            "title_cell": lambda setting: f"# PANTS of {setting.symbol}",
        },
    )
    bknb.Optimizer.get_code("BTCUSDT", "ideas")
    assert told == [("rows", "1h candles", 48), ("data", 1), ("code", 1)]
    talk = proposals.conversation()
    assert talk[0]["content"] == "Trade BTCUSDT with at most 1440 minutes."
    assert talk[-2]["content"] == "Now!"
    assert [message["role"] for message in talk] == ["system", "user", "assistant", "user", "assistant"]


@pytest.mark.slow
def test_a_callback_that_raises_does_not_stop_the_study() -> None:
    failures: list[Any] = []
    stop = bknb.listen_error(failures.append)
    proposals = study([idea(10)], callbacks={"on_data": lambda *_: 1 / 0})
    bknb.events.listen.drain()
    stop()
    assert len(proposals) == 1
    assert ["ZeroDivisionError" in failure.message for failure in failures] == [True]


# --- waiting ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_background_stop_and_follow() -> None:
    pytest.importorskip("ollama")
    with serving(saying(idea(10), piece=500), silent(first="{")) as server:
        model = bknb.llm.ollama("qwen3:8b", host=server.url)
        add([], model=model, range_train=TRAIN)
        task = bknb.Optimizer.background("BTCUSDT", "ideas")
        assert bknb.Optimizer.background("BTCUSDT", "ideas") is task
        asking = threading.Event()
        while not (len(server.asked) == 2 or task.done):
            asking.wait(0.02)
        bknb.Optimizer.stop("BTCUSDT", "ideas", now=True)
        proposals = task.result(timeout=20)
        assert server.gone.wait(10)
    assert proposals.problem == "stopped"
    assert len(proposals) == 1
    assert 0 < task.progress < 1

    async def follow() -> list[str]:
        return [step.kind async for step in bknb.Optimizer.run("BTCUSDT", "ideas")]

    add([idea(10)])
    kinds = asyncio.run(follow())
    assert [kind for kind in kinds if kind != "text"] == ["source", "ask", "trial", "trial", "proposed", "end"]
    assert bknb.Optimizer.list()[0].status == "fulfilled"


# --- wrong use ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"range_test": ("2024-01-09", "2024-01-12")}, "overlaps the training range"),
        ({"range_train": []}, "range_train must not be empty"),
        ({"range_train": "2024-01-01:2024-01-02"}, "range_train must be a list"),
        ({"range_test": ("2024-01-12", "2024-01-12")}, "must end after it starts"),
        ({"range_test": {"start": "2024-01-12"}}, "needs 'start' and 'end'"),
        ({"sources": []}, "sources must not be empty"),
        ({"sources": ["7m"]}, "7m"),
        ({"sources": [5]}, "source 1 must be a function"),
        ({"sources": [{"name": "x"}]}, "'fetch' is not a function"),
        ({"sources": [lambda symbol, colour: []]}, "asks for 'colour'"),
        ({"model": 5}, "model must be from bknb.llm"),
        ({"get_prompt": lambda: ""}, "exclude each other"),
        ({"templates": {"sytem": str}}, "did you mean 'system'"),
        ({"templates": {"system": "text"}}, "must be a function that returns text"),
        ({"callbacks": {"on_dta": print}}, "did you mean 'on_data'"),
        ({"limits": {"second": 5}}, "did you mean 'seconds'"),
        ({"limits": {"seconds": 0}}, "must be a number above 0"),
        ({"tries": 0}, "tries must be a whole number"),
        ({"execution": "psimistic"}, "pessimistic"),
    ],
)
def test_wrong_use_is_reported_at_registration(changed: dict[str, Any], says: str) -> None:
    with pytest.raises(bknb.UsageError) as told:
        add([], **changed)
    assert says in str(told.value)
    assert len(told.value.lines()) <= 3


def test_names() -> None:
    with pytest.raises(bknb.UnknownName, match="no optimizer is called 'idea'"):
        bknb.Optimizer.get_data("BTCUSDT", "idea")
    with pytest.raises(bknb.UsageError, match="letters, digits"):
        bknb.add_optimizer("my ideas", sources=["1h"], range_train=TRAIN, range_test=TEST)
    add([])
    assert bknb.list_optimizers() == ["ideas"]
    with pytest.raises(bknb.UsageError, match="exists already"):
        add([], strict=True)
    with pytest.raises(bknb.UnknownName, match="no optimizer is called 'idaes'; did you mean 'ideas'"):
        bknb.get_optimizer("idaes")


@pytest.mark.slow
def test_which_exchange() -> None:
    bknb.add_exchange("one", get_candles=bknb.exchanges.demo())
    add([idea(10)])
    assert bknb.Optimizer.background("BTCUSDT", "ideas").exchange.name == "one"
    bknb.add_exchange("two", get_candles=bknb.exchanges.demo())
    add([idea(10)])
    with pytest.raises(bknb.UsageError, match="several exchanges are registered: one, two"):
        bknb.Optimizer.background("BTCUSDT", "ideas")
    add([idea(10)], exchange="two")
    assert bknb.Optimizer.background("BTCUSDT", "ideas").result().problem == ""


def test_a_source_or_template_that_fails_is_named() -> None:
    with pytest.raises(bknb.DataError, match="source 'news' failed: OSError: offline"):
        study([idea(10)], sources=[{"name": "news", "fetch": _offline}])
    with pytest.raises(bknb.UsageError, match="template 'system' failed: KeyError"):
        study([idea(10)], templates={"system": lambda symbol, facts: facts["nothing"]})
    with pytest.raises(bknb.UsageError, match="template 'request' must return text, got NoneType"):
        study([idea(10)], templates={"request": lambda **_: None})


def _offline(symbol: str) -> list[Any]:
    raise OSError("offline")


@pytest.mark.slow
def test_a_replaced_optimizer_is_not_answered_with_the_old_one() -> None:
    pytest.importorskip("ollama")
    with serving(silent()) as server:
        add([], model=bknb.llm.ollama("qwen3:8b", host=server.url))
        old = bknb.Optimizer.background("BTCUSDT", "ideas")
        assert study([idea(10)])[0].name == "ideas-1"
        assert not old.done
        old.stop(now=True)
        assert old.result(timeout=20).problem == "stopped"


@pytest.mark.slow
def test_a_limit_that_is_not_enforced_is_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    from bknb.sandbox import process

    assert "audit events" in study([idea(10)]).enforced_limits
    weaker = process._START.replace("main()", "from bknb.sandbox import seccomp; seccomp._MACHINES = {}; main()")
    monkeypatch.setattr(process, "_START", weaker)
    proposals = study([idea(9)])
    assert "system calls" not in proposals.enforced_limits
    assert "audit events" in proposals.enforced_limits
    with pytest.warns(DeprecationWarning, match="write: enforced_limits"):
        assert proposals.fences == proposals.enforced_limits
