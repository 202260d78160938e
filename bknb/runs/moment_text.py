"""A moment of a run as text and as HTML: what was open, what was decided, and the newest candles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..domain.formatting import level_text, minute_text, percent_text, plain_number, points_text, utc_text
from ..domain.html import Html, element, elements
from ..domain.interval import MINUTE, bar_text
from ..domain.position_fills import Fill
from ..domain.profit_of_partial_closes import held, result
from ..domain.signal_events import (
    Rejected,
    RiskRefused,
)
from ..errors import NotEnoughData
from ..reports.managed_marks import fills_between
from .answer_at_moment import row_text
from .stop_table import stop_at

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..domain.signal_events import PositionEvent
    from ..market.candles import Candles
    from ..market.window import Window
    from .moment import Moment
    from .run_record import RunRecord


_SHOWN: Final = 5  # minutes in the table


class MomentText:
    """How a moment shows itself.

    Parameters
    ----------
    moment
        What is shown.
    record, window
        Of its run, and its candles.
    events
        What had happened to the position that was open.
    """

    def __init__(self, moment: Moment, record: RunRecord, window: Window, events: Sequence[PositionEvent]) -> None:
        self._moment, self._record, self._window, self._events = moment, record, window, events

    def _recent(self) -> Candles | None:
        """Return the last few base bars, or as many as there are."""
        for limit in range(_SHOWN, 0, -1):
            try:
                return self._moment.candles(self._window.base, limit)
            except NotEnoughData:
                continue
        return None

    @property
    def _bar(self) -> str:
        """What a base bar of the run is called."""
        return bar_text(self._window.base)

    def _clock(self, when: float) -> str:
        """When a base bar opened: the time of day, with its date where bars are longer than a minute."""
        text = minute_text(when)
        return text[11:] if self._window.base == MINUTE else text

    def _standing(self) -> str:
        moment, signal = self._moment, self._moment.signal
        if signal is None:
            return "nothing open or scheduled"
        row = row_text(signal)
        if moment.state == "scheduled":
            return f"{row} waits for its entry"
        costs = self._record.plan.settings
        parts = fills_between(self._events)
        entry = Fill(number=0, kind="entry", at=signal.scheduled_at, share=1.0, price=signal.price_open)
        fills, slippage, fee = [entry, *parts], costs.percent_slippage, costs.percent_fee
        left = held(fills)
        net = result(signal.position, fills, slippage=slippage, fee=fee, rest=left, price=moment.price)
        leaves = ", and leaves at the next candle" if moment.state == "leaving" else ""
        size = f" with {left:.4g} of its first size" if parts else ""
        worth = percent_text(net.pnl_percentage) if net.points is None else points_text(net.points)
        return f"{row} is open{size}{leaves}, {worth} net at this price{self._stop()}"

    def _stop(self) -> str:
        """The stop in force, where it is not the declared one any more."""
        moment = self._moment
        assert moment.signal is not None  # the caller looked  # noqa: S101
        stop = stop_at(self._record, moment.signal, moment.when_ms)
        if stop is None:
            return "" if moment.signal.price_stop_loss is None else "; no stop now"
        moved = stop.price != moment.signal.price_stop_loss
        return f"; the stop lies at {level_text(stop.price)} now ({stop.reason})" if moved else ""

    def _head(self) -> str:
        moment = self._moment
        try:
            price = f"price {moment.price:.8g}"
        except NotEnoughData:
            price = "no price yet"
        return f"{self._record.plan.strategy.name} on {moment.symbol} at {utc_text(moment.when_ms)}: {price}"

    def _decided(self) -> str:
        decision = self._moment.decision
        if decision is None:
            return ""
        if isinstance(decision, Rejected):
            return f"the run rejected its answer: {'; '.join(reason.text for reason in decision.reasons)}"
        if isinstance(decision, RiskRefused):
            return f"{decision.refused_by} refused: {decision.note}"
        return f"the run {decision.action} {row_text(decision.signal)}"

    def text(self) -> str:
        """The moment for a terminal."""
        moment = self._moment
        lines = [self._head(), f"  {self._standing()}"]
        lines += [f"  {line}" for line in moment.why.splitlines()]
        lines += [f"  {self._decided()}"] if moment.decision else []
        recent = self._recent()
        if recent is not None:
            names = ("open", "high", "low", "close", "volume")
            rows = [names, *(tuple(plain_number(candle[name]) for name in names) for candle in recent)]
            widths = [max(14, *(len(text) + 2 for text in column)) for column in zip(*rows, strict=True)]
            times = [self._bar, *(self._clock(candle["timestamp"]) for candle in recent)]
            widest = max(8, *(len(time) + 2 for time in times))
            for time, row in zip(times, rows, strict=True):
                lines.append("  " + time.ljust(widest) + "".join(map(str.rjust, row, widths)))
        return "\n".join(lines)

    def html(self) -> Html:
        """The moment for a notebook."""
        moment = self._moment
        paragraphs = [
            self._standing(),
            *moment.why.splitlines(),
            *([self._decided()] if moment.decision else []),
        ]
        names = ("open", "high", "low", "close", "volume")
        recent = self._recent()
        table = element("p", f"no {self._bar} had closed yet")
        if recent is not None:
            rows = (
                element(
                    "tr",
                    element("th", self._clock(candle["timestamp"]), scope="row"),
                    elements("td", (plain_number(candle[name]) for name in names)),
                )
                for candle in recent
            )
            table = element(
                "table",
                element("caption", f"the last {len(recent)} closed {self._bar}s of {moment.symbol}"),
                element("thead", element("tr", elements("th", (f"{self._bar} (UTC)", *names), scope="col"))),
                element("tbody", *rows),
            )
        head = element("strong", self._head())
        return element("div", head, elements("div", paragraphs), table, class_="bknb-moment")
