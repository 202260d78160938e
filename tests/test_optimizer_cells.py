"""Proposals as cells: harmless words, a file that stands alone, a panel, recorded replies, the magic."""

from __future__ import annotations

import ast
import asyncio
import html
import json
from pathlib import Path
from typing import Any

import pytest
from hostile_replies import HONEST, reply
from hypothesis import given
from hypothesis import strategies as st

import bknb
from bknb.optimizer.lint import lint
from bknb.optimizer.proposal_as_cells import harmless
from bknb.optimizer.standalone import standalone

EVIL = "<script>alert(1)</script> ![x](http://evil/x.png) [go](javascript:x) $\\frac12$ `code` | cell |"


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def add(*replies: str, **changed: Any) -> Any:
    values: dict[str, Any] = {
        "sources": ["1h"],
        "range_train": [("2024-01-08", "2024-01-10")],
        "range_test": ("2024-01-10", "2024-01-12"),
        "model": bknb.llm.recorded(replies or [reply()]),
        "ledger": None,
        "lead_days": 5,
    }
    return bknb.add_optimizer("ideas", **values | changed)


# --- words --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@given(st.text())
def test_nothing_special_to_markdown_is_left(text: str) -> None:
    made = harmless(text)
    for sign in "<>[]`*_|$\\!~#":
        assert sign not in made.replace("&#", "")
    assert "://" not in made
    if "&" not in text:
        assert html.unescape(made) == text


@pytest.mark.slow
def test_text_of_a_model_is_escaped_in_cells() -> None:
    add(reply(rationale=EVIL, title="<img src=x>"))
    proposals = bknb.Optimizer.get_data("BTCUSDT", "ideas")
    assert proposals[0].rationale == EVIL  # word for word for whoever wants it
    page = proposals._repr_html_()
    assert "<script" not in page
    assert "<img" not in page
    text = bknb.Optimizer.dump("BTCUSDT", "ideas").read_text()
    notebook = json.loads(text)
    words = "".join(cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "markdown")
    assert "<script" not in words
    assert "](" not in words
    assert "://" not in words


# --- code ---------------------------------------------------------------------------------------------------------


def test_two_strategies_in_one_notebook_do_not_share_constants() -> None:
    names: dict[str, Any] = {}
    functions = []
    for fast in (10, 20):
        code = lint(HONEST.replace("FAST = 10", f"FAST = {fast}")).code
        exec(compile(code, "<cell>", "exec"), names)  # noqa: S102 -- written above
        functions.append(names["get_signal"])
    assert "FAST" not in names
    results = [
        bknb.backtest("BTCUSDT", strategy=f, interval="15m", exchange="demo", frame=("2024-01-08", "2024-01-12"))
        for f in functions
    ]
    assert not results[0].trades.drop(columns="strategy").equals(results[1].trades.drop(columns="strategy"))


@pytest.mark.parametrize(
    "code",
    [
        HONEST,
        "import bknb\nX = 1; Y = 2\ndef get_signal(ctx): return X + Y",
        'import bknb\nTEXT = """a\n  b"""\ndef get_signal(ctx):\n    return TEXT',
        (
            "import bknb\ndef half(x):\n    # half\n    return (x /\n            2)\n\n\n"
            "def get_signal(\n    ctx,\n):\n"
            "    '''doc'''\n    y = half(4)  # two\n    return '#' + str(y)"
        ),
        "from math import pi\ndef get_signal(ctx):\n\n\n\n    x = '# no comment'\n    return x, pi",
        "def get_signal(ctx):\n    return helper(ctx)\ndef helper(ctx):\n    'only a docstring'\nLATE = 3",
    ],
)
def test_a_standalone_function_behaves_as_its_module(code: str) -> None:
    made = standalone(code)
    tree = ast.parse(made)
    outside = [node for node in tree.body if not isinstance(node, (ast.Import, ast.ImportFrom))]
    assert [type(node).__name__ for node in outside] == ["FunctionDef"]
    assert ast.dump(ast.parse(standalone(made))) == ast.dump(tree)
    assert answer_of(made) == answer_of(code)


def answer_of(code: str) -> Any:
    """What the get_signal of some code answers, or how it fails."""
    names: dict[str, Any] = {}
    exec(compile(code, "<cell>", "exec"), names)  # noqa: S102 -- written here
    try:
        return names["get_signal"](None)
    except Exception as error:  # noqa: BLE001 -- failing the same way is the same
        return type(error)


@pytest.mark.slow
def test_a_notebook_with_ones_own_exchange_carries_its_candles(tmp_path: Path) -> None:
    demo = bknb.exchanges.demo()

    async def get_candles(symbol: str, interval: str, since: int, limit: int) -> Any:
        return await demo.get_candles(symbol, interval, since, limit)

    bknb.add_exchange("desk", get_candles=get_candles, intervals=["1m"])
    add()
    path = bknb.Optimizer.dump("BTCUSDT", "ideas", tmp_path / "out")
    candles = path.with_name("ideas@BTCUSDT.csv.gz")
    assert candles.is_file()
    cells = json.loads(path.read_text())["cells"]
    (exchange,) = [cell["source"] for cell in cells if "add_exchange" in cell["source"]]
    assert 'bknb.exchanges.from_csv("ideas@BTCUSDT.csv.gz", symbol="BTCUSDT")' in exchange
    shipped = bknb.exchanges.from_csv(candles, symbol="BTCUSDT")
    ours = bknb.Optimizer.get_data("BTCUSDT", "ideas")[0]
    names: dict[str, Any] = {}
    exec(compile(ours.code, "<cell>", "exec"), names)  # noqa: S102 -- written above
    again = bknb.backtest(
        "BTCUSDT", strategy=names["get_signal"], interval="15m", exchange=shipped, frame=("2024-01-10", "2024-01-12")
    )
    assert again.trades["pnl_percentage"].tolist() == ours.test.trades["pnl_percentage"].tolist() != []
    first = candles.read_bytes()
    bknb.Optimizer.dump("BTCUSDT", "ideas", tmp_path / "out")
    assert candles.read_bytes() == first


@pytest.mark.slow
def test_an_exchange_without_a_name_gets_no_backtest_cell() -> None:
    add(exchange=bknb.exchanges.from_frame(_frame(), name="mine"))
    shown = bknb.Optimizer.cells("BTCUSDT", "ideas")
    assert not [cell for cell in shown.cells if cell.source.startswith("%backtest")]
    add(exchange="demo")
    shown = bknb.Optimizer.cells("BTCUSDT", "ideas")
    assert [cell.kind for cell in shown.cells] == ["code", "markdown", "code", "code"]
    assert shown.path.is_file()
    assert f"notebook: {shown.path}" in repr(shown)


def _frame() -> Any:
    candles = asyncio.run(bknb.exchanges.demo().get_candles("BTCUSDT", "1m", 1_703_980_800_000, 1440 * 20))
    return candles.to_pandas()


@pytest.mark.slow
def test_a_folder_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    add()
    with pytest.raises(bknb.UsageError, match="cannot write"):
        bknb.Optimizer.dump("BTCUSDT", "ideas", tmp_path / "file")
    add(ledger=tmp_path / "file")
    with pytest.raises(bknb.UsageError, match=r"the ledger .* cannot be written"):
        bknb.Optimizer.get_data("BTCUSDT", "ideas")


# --- the panel ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_panel_lists_attempts_and_reasons_of_refusal() -> None:
    add("I would rather not.", reply())
    proposals = bknb.Optimizer.get_data("BTCUSDT", "ideas")
    page = proposals._repr_html_()
    for words in (
        "1 proposal from 2 answers (1 refused, 0 failed when tried out); the test range was looked at 1 time in all.",
        "the answer is not JSON",
        "48 rows",
        "budget 24,000",
        "Tried out behind limits of: ",
        "conversation about 2024-01-08 00:00 UTC to 2024-01-10 00:00 UTC",
        "def get_signal(ctx):",
    ):
        assert words in page
    frame = proposals.ranking
    assert list(frame["strategy"]) == ["ideas-1"]
    assert frame["test_trades"][0] == len(proposals[0].test.trades)
    assert proposals["ideas-1"] is proposals[0]
    with pytest.raises(bknb.UnknownName, match="no proposal is called 'ideas-2'"):
        proposals["ideas-2"]
    with pytest.raises(bknb.UnknownName, match="conversation"):
        proposals.conversation(2)


# --- recorded replies ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_what_was_recorded_is_played_back(tmp_path: Path) -> None:
    path = tmp_path / "replies.json"
    add(model=bknb.llm.recording(bknb.llm.recorded([reply()]), path))
    first = bknb.Optimizer.get_data("BTCUSDT", "ideas")
    add(model=bknb.llm.recorded(path, strict=True))
    again = bknb.Optimizer.get_data("BTCUSDT", "ideas")
    assert again[0].test.trades.equals(first[0].test.trades)
    add(model=bknb.llm.recorded(path, strict=True), seed=99)
    with pytest.raises(bknb.ModelError, match="no recorded reply is for this question"):
        bknb.Optimizer.get_data("BTCUSDT", "ideas")


@pytest.mark.parametrize("content", ["", "[]", "{", '{"format": "other", "replies": []}', '{"replies": []}'])
def test_a_file_without_replies_is_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "replies.json"
    path.write_text(content)
    with pytest.raises(bknb.UsageError, match="does not hold recorded replies"):
        bknb.llm.recorded(path)
    with pytest.raises(bknb.UsageError, match="no recorded replies at"):
        bknb.llm.recorded(tmp_path / "nothing.json")
    with pytest.raises(bknb.UsageError, match="a recorded reply is a text"):
        bknb.llm.recorded([5])  # type: ignore[list-item]


# --- the magic ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_magic_runs_shows_and_keeps(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("IPython")
    from bknb.jupyter.magics.optimize import MAGICS, optimize
    from bknb.jupyter.magics.options_read_from_line import parse

    class Desk:
        def __init__(self) -> None:
            self.names: dict[str, Any] = {}

    desk: Any = Desk()
    add()
    ((command, _action),) = MAGICS
    call = parse(command, "BTCUSDT --optimizer ideas --path made --out found", names={})
    assert optimize(desk, call) is None
    assert desk.names["found"][0].name == "ideas-1"
    assert Path("made/ideas@BTCUSDT.ipynb").is_file()
    task = optimize(desk, parse(command, "BTCUSDT --optimizer ideas --background --again", names={}))
    with pytest.raises(bknb.ModelError, match="no recorded reply is left"):
        task.result()
    with pytest.raises(bknb.UnknownName, match="did you mean 'ideas'"):
        optimize(desk, parse(command, "BTCUSDT --optimizer idea", names={}))
