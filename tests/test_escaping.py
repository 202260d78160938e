"""Text from outside stays text, never a tag: in every object that shows itself in a notebook, and in every report."""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Callable, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import bknb
from bknb.diagnostics.findings import Finding as DoctorFinding
from bknb.domain.html import Html, element, elements, fragment
from bknb.domain.signal import OpenSignal
from bknb.domain.signal_events import RiskRefused
from bknb.exchanges.audit import Finding as CandleFinding
from bknb.jupyter import display
from bknb.jupyter.dashboard import static_html
from bknb.optimizer.drafts_verdicts_and_proposals import Attempt, Draft, Findings, Verdict
from bknb.optimizer.drafts_verdicts_and_proposals import Proposal as Passed
from bknb.optimizer.prompt import Range, Shown
from bknb.optimizer.proposals import Proposals
from bknb.optimizer.reply import Parameter
from bknb.provenance.card_differences import Difference
from bknb.reports.dashboard_panels import PANELS
from bknb.reports.milestones_and_refusals import milestone_tally, refusal_tally
from bknb.reports.performance_report import performance_info
from bknb.research.comparison import Entry
from bknb.research.holdout_ledger import HoldoutLook
from bknb.research.lookahead_report import Finding as Leak
from bknb.research.lookahead_report import LookaheadReport
from bknb.research.walk_forward_report import Fold, WalkForward
from bknb.research.walk_forward_windows import Stretch
from bknb.runs.holdout import Holdout
from bknb.sharing.execute_notebook import _with_figure

EVIL = """<script>alert("1")</script> & 'x' <b onload="2">"""
PACKAGE = Path(bknb.__file__).parent
FRAME = ("2024-01-01", "2024-01-04")
CALL: Mapping[str, Any] = {"exchange": "demo", "frame": FRAME, "interval": "1h"}


class Tags(HTMLParser):
    """The tags, attributes and text of a page; every tag that opens is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.text += "".join(f" {value}" for _, value in attrs)
        if tag not in ("br", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


# -- one object of every kind, with hostile text wherever there is room for text ------------------------------------


def trades(ctx: Any) -> bknb.Signal | None:
    if ctx.when.hour == 3:
        raise ValueError(EVIL)
    limit = ctx.price * 0.999 if ctx.when.hour % 2 else None
    return bknb.Signal(
        position="long",
        price_open=limit,
        price_take_profit=ctx.price * 1.01,
        price_stop_loss=ctx.price * 0.98,
        minute_estimated_time=50,
        note=EVIL,
        id=f"{EVIL} {ctx.when}",
    )


def evil_strategy() -> str:
    if EVIL not in bknb.list_strategies():
        bknb.add_strategy(EVIL, get_signal=trades, interval="1h")
        bknb.add_frame(EVIL, start=FRAME[0], end=FRAME[1])
    return EVIL


def run(symbol: str = EVIL) -> bknb.Result:
    return bknb.backtest(symbol, strategy=evil_strategy(), exchange="demo", frame=EVIL)


def statistics() -> Any:
    return run().stats


def account() -> Any:
    return run().account


def heat_statistics() -> Any:
    row = {"symbol": EVIL, "pending_at": 60_000, "closed_at": 120_000, "pnl_percentage": 1.5}
    return bknb.heat_statistics([row])


def result() -> Any:
    return run()


def moment() -> Any:
    found = run()
    return found.at(str(found.trades["signal_id"].iloc[1]))


def verification() -> Any:
    found = run()
    verified = bknb.verify(found.card)
    card = msgspec.structs.replace(found.card, strategy=EVIL)
    different = Difference(kind="strategy", text=EVIL)
    return dataclasses.replace(verified, card=card, differences=(different,), surroundings=(different,))


def holdout() -> Any:
    look = HoldoutLook(
        **dict.fromkeys(("data", "strategy_hash", "strategy", "symbol", "exchange"), EVIL), opened_at=0, start=0, end=1
    )
    return Holdout(result=run(), opened_at=0, earlier=(look,), strategies=2, path=Path("x"))


def heat() -> Any:
    run()
    return dataclasses.replace(bknb.Heat.get_data(EVIL, results=[run()]), warnings=(EVIL,))


def schedule() -> Any:
    run()
    return bknb.Schedule.get_data(EVIL, EVIL)


def performance() -> Any:
    class Event:
        metric, duration_ms, at, previous_at = EVIL, 1.0, 2, 1

    return performance_info(EVIL, EVIL, [Event(), Event()], limit=10)


def belief() -> Any:
    return bknb.belief(run())


def sweep() -> Any:
    def never(ctx: Any, *, word: str = "", n: int = 1) -> None:
        raise ValueError(EVIL)

    never.__name__ = EVIL
    params = {"word": [EVIL, "a"], "n": [1, 2]}
    return bknb.sweep(never, params=params, symbol=EVIL, exchange="demo", frame=FRAME, interval="1h", executor="inline")


def comparison() -> Any:
    found = bknb.walker("BTCUSDT", strategies=[evil_strategy()], exchange="demo", frame=EVIL, metric="n")
    failed = Entry(strategy=EVIL, stats={}, value=None, error=EVIL)
    return dataclasses.replace(
        found, walker=EVIL, symbol=EVIL, exchange=EVIL, warnings=(EVIL,), entries=(*found.entries, failed)
    )


def walk_forward() -> Any:
    found = run()
    stretch = Stretch(train_start=0, train_end=1, test_start=2, test_end=3)
    fold = Fold(
        stretch=stretch, params={EVIL: EVIL}, tried=1, train={"n": 0}, train_value=None, test_value=None, result=found
    )
    return WalkForward(strategy=EVIL, symbol=EVIL, metric="n", anchored=False, folds=(fold,))


def lookahead() -> Any:
    leak = Leak(kind="future", what=EVIL, how=EVIL, when=0, candle=0, signal=EVIL)
    return LookaheadReport(
        strategy=EVIL, symbol=EVIL, interval="1h", moments=1, signals=1, looks_back=EVIL, findings=(leak,), failure=EVIL
    )


def proposals() -> Any:
    train, test = Range(start=0, end=86_400_000, note=EVIL), Range(start=0, end=86_400_000, note=EVIL)
    found = run("BTCUSDT")
    parameter = Parameter(name="A", value=1, meaning=EVIL)
    draft = Draft(
        name=EVIL, title=EVIL, rationale=EVIL, interval=EVIL, parameters=(parameter,), code=EVIL, imports=(EVIL,)
    )
    verdict = Verdict(objections=(), result=found, figures={}, data_sha256="", enforced_limits=("memory",))
    attempt = Attempt(
        number=1,
        **dict.fromkeys(("optimizer", "symbol", "draft", "model", "reply", "thinking", "status", "code"), EVIL),
        range=train,
        test=test,
        try_=1,
        seed=None,
        messages=[],
        tokens_in=1,
        tokens_out=1,
        tokens_counted=1,
        objections=[EVIL, EVIL],
        code_sha256="",
        train={},
        trial={},
        data_sha256={},
        at=0,
    )
    messages: list[Any] = [{"role": EVIL, "content": EVIL, "thinking": EVIL}]
    findings = Findings(
        proposals=[Passed(draft=draft, range=train, train=verdict, test=verdict)],
        attempts=[attempt],
        shown={str(train): [Shown(source=EVIL, rows=2, shown=1, tokens=1)]},
        conversations={str(train): messages},
        problem=EVIL,
    )
    return Proposals(
        findings,
        optimizer=EVIL,
        symbol=EVIL,
        model=EVIL,
        train=(train,),
        test=test,
        earlier_looks=0,
        token_budget=1,
    )


def audit() -> Any:
    finding = CandleFinding(symbol=EVIL, kind="wild", text=EVIL, when=0)
    return bknb.Audit(
        exchange=EVIL, start=0, end=60_000, compared={(EVIL, EVIL): 1}, hashes={EVIL: EVIL}, findings=(finding,)
    )


def downloaded() -> Any:
    from bknb.exchanges.downloaded_candles import Downloaded, DownloadedSeries

    series = DownloadedSeries(symbol=EVIL, candles=1, added=1, absent=(), missing=(), content_hash=EVIL)
    return Downloaded(exchange=EVIL, interval="1m", start=0, end=60_000, series=(series,), requests=1, warnings=(EVIL,))


def checkup() -> Any:
    return bknb.Checkup((DoctorFinding(what=EVIL, state="bad", found=EVIL, advice=EVIL),))


def portfolio() -> Any:
    return bknb.PortfolioResult(EVIL, {(EVIL, EVIL): result()}, (), warnings=(EVIL,))


def luck() -> Any:
    import numpy as np

    from bknb.runs.luck import Luck

    return Luck(
        name=EVIL, total=1.0, totals=np.arange(20.0), trades=3, n=20, seed=0, filled=60, overlapping=0.1, any_hour=EVIL
    )


def slippage() -> Any:
    from bknb.reports.slippage_report import Slippage

    return Slippage(strategy=EVIL, symbol=EVIL, currency=EVIL, assumed_basis_points=0.0, each=())


def live_comparison() -> Any:
    from bknb.reports.live_comparison import Difference, LiveComparison

    found = Difference(signal_id=EVIL, decided_at=0, cause="order", amount=1.0, text=EVIL)
    sums = dict.fromkeys(("backtest", "recorded", "record", "live"), 0.0)
    return LiveComparison(
        strategy=EVIL,
        symbol=EVIL,
        start=0,
        end=60_000,
        unit=EVIL,
        trades=1,
        backtest_trades=1,
        open=0,
        differences=(found,),
        notes=(EVIL,),
        **sums,
    )


OBJECTS: dict[str, Callable[[], Any]] = {
    "Slippage": slippage,
    "LiveComparison": live_comparison,
    "Luck": luck,
    "Statistics": statistics,
    "Account": account,
    "HeatStatistics": heat_statistics,
    "Result": result,
    "PortfolioResult": portfolio,
    "Moment": moment,
    "Verification": verification,
    "Holdout": holdout,
    "HeatInfo": heat,
    "ScheduleInfo": schedule,
    "PerformanceInfo": performance,
    "Belief": belief,
    "SweepResult": sweep,
    "Comparison": comparison,
    "WalkForward": walk_forward,
    "LookaheadReport": lookahead,
    "Proposals": proposals,
    "Audit": audit,
    "Downloaded": downloaded,
    "Checkup": checkup,
    "TearSheet": lambda: portfolio().tearsheet(),
}


def showing() -> set[str]:
    """Every class of the package that shows itself as HTML."""
    found = set()
    sources = [path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")]
    for source in sources:
        for node in ast.walk(ast.parse(source)) if "_repr_html_" in source else ():
            if isinstance(node, ast.ClassDef):
                names = {item.name for item in node.body if isinstance(item, ast.FunctionDef)}
                found |= {node.name} if "_repr_html_" in names else set()
    return found


def test_every_object_that_shows_itself_is_looked_at() -> None:
    assert showing() == set(OBJECTS)


@pytest.mark.parametrize("name", OBJECTS)
def test_hostile_text_is_text_in_a_notebook(name: str) -> None:
    page = OBJECTS[name]()._repr_html_()
    tags = Tags(page)
    assert "script" not in tags.seen
    assert "onload" not in tags.attributes
    if name not in ("Statistics", "Account", "TearSheet"):  # numbers only; a page in an attribute: test_tearsheet.py
        assert EVIL in tags.text
    assert isinstance(page, str)


WITH_REPORT = (
    *("Result", "Holdout", "HeatInfo", "ScheduleInfo", "PerformanceInfo", "Belief", "SweepResult", "Comparison"),
    *("WalkForward", "LookaheadReport", "PortfolioResult"),
)


@pytest.mark.parametrize("name", WITH_REPORT)
def test_hostile_text_is_text_in_a_report(name: str) -> None:
    text = OBJECTS[name]().report()
    assert "<script" not in text
    assert "<b onload" not in text
    assert "&lt;script" in text


def test_hostile_text_is_text_in_tallies() -> None:
    signal = OpenSignal(
        **dict.fromkeys(("id", "symbol", "strategy", "exchange", "note"), EVIL),
        **dict.fromkeys(("price_open", "price_take_profit", "price_stop_loss"), 1.0),
        position="long",
        minute_estimated_time=60,
        scheduled_at=0,
        pending_at=0,
    )
    refused = RiskRefused(
        **dict.fromkeys(("symbol", "strategy", "exchange", "risk", "note"), EVIL),
        frame=None,
        mode="backtest",
        when=0,
        price=1.0,
        signal=signal,
        open_positions=0,
    )
    for tally in (refusal_tally(EVIL, [refused]), milestone_tally(EVIL, [])):
        assert "<script" not in tally.report()
        assert "&lt;script" in tally.report()


def test_hostile_text_is_text_in_a_saved_dashboard_and_beside_a_picture() -> None:
    found = run()
    board = bknb.dashboard(found)
    view = board._views.view
    page = static_html.static_html(view, PANELS, png=b"1", hint=EVIL, place="x")
    numbers = display.numbers(found, hint=EVIL)[0]["text/html"]
    figure = _with_figure(
        {"image/png": "abc"}, {"layout": {"title": "</script><script>"}}, element_id="figure-0", alt=EVIL
    )["text/html"]
    for html, scripts in ((page, 0), (numbers, 0), (figure, 1)):
        tags = Tags(html)
        assert html.count("<script") == scripts
        assert "onload" not in tags.attributes
        assert EVIL in tags.text


# -- the builder ---------------------------------------------------------------------------------------------------


def test_text_and_attributes_are_escaped_and_html_is_not() -> None:
    made = element("p", EVIL, Html("<i>i</i>"), None, False, "", title=EVIL, class_="a", data_x=1, hidden=True)  # noqa: FBT003
    tags = Tags(made)
    assert tags.seen == {"p", "i"}
    assert tags.attributes == {"title", "class", "data-x", "hidden"}
    assert tags.text.count(EVIL) == 2
    assert element("p", element("b", "&")) == "<p><b>&amp;</b></p>"
    assert fragment(made, "&") == made + "&amp;"
    assert elements("li", ["<", Html("<br>")]) == "<li>&lt;</li><li><br></li>"


def test_numbers_are_text_and_booleans_and_none_are_left_out() -> None:
    assert fragment(12, " of ", 0, " at ", 1.5) == "12 of 0 at 1.5"
    assert fragment(np.int64(3), np.float64(0.5)) == "30.5"  # type: ignore[arg-type]
    assert fragment(None, True, False, np.bool_(True)) == ""  # type: ignore[arg-type]  # noqa: FBT003


def test_joining_html_as_text_makes_it_text() -> None:
    """What is added up or formatted is a plain str again, so it is escaped rather than trusted."""
    assert fragment(Html("<b>") + EVIL) == fragment("<b>", EVIL)
    assert type(Html("<b>") + "x") is str
    assert type(f"{Html('<b>')}") is str


BY_HAND = ("domain/html.py", "testing/fake_binance.py")  # it builds them; it answers as a web server does


def test_nothing_else_builds_tags_by_hand() -> None:
    """A tag in a literal is a place where escaping can be forgotten."""
    tag = re.compile(
        r"</?(?:table|thead|tbody|tr|t[dh]|div|span|[pbi]|[uo]l|li|details|summary|pre|code|strong|img)[ >]"
    )
    found: dict[str, list[int]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        source = path.read_text(encoding="utf-8")
        nodes = list(ast.walk(ast.parse(source))) if tag.search(source) else []
        docs = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
        texts = [node for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
        lines = [node.lineno for node in texts if id(node) not in docs and tag.search(str(node.value))]
        if lines and name not in BY_HAND:
            found[name] = lines
    assert found == {}
