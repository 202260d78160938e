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
from .places_at_moment import events_of
from .stop_table import stop_at

if TYPE_CHECKING:
    from ..domain.signal import OpenSignal, ScheduledSignal
    from ..market.candles import Candles
    from ..market.window import Window
    from .answer_at_moment import Decision
    from .moment import Moment
    from .places_at_moment import PlaceAtMoment
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
    """

    def __init__(self, moment: Moment, record: RunRecord, window: Window) -> None:
        self._moment, self._record, self._window = moment, record, window

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

    def _there(self) -> list[str]:
        """What is open or waits, with its events, place by place."""
        places = self._moment.places
        if not places:
            return ["nothing open or scheduled"]
        return [
            line for place in places for line in (_named(place.place, self._standing(place)), *place.why.splitlines())
        ]

    def _standing(self, place: PlaceAtMoment) -> str:
        moment, signal = self._moment, place.signal
        row = row_text(signal)
        if place.state == "scheduled":
            others = "".join(f"; {row_text(each)} waits beside it" for each in place.beside)
            return f"{row} waits for its entry{others}"
        costs = self._record.plan.settings
        parts = fills_between(events_of(self._record.records, signal, moment.when_ms))
        entry = Fill(number=0, kind="entry", at=signal.scheduled_at, share=1.0, price=signal.price_open)
        fills, slippage, fee = [entry, *parts], costs.percent_slippage, costs.percent_fee
        left = held(fills)
        net = result(signal.position, fills, slippage=slippage, fee=fee, rest=left, price=moment.price)
        leaves = ", and leaves at the next candle" if place.state == "leaving" else ""
        size = f" with {left:.4g} of its first size" if parts else ""
        worth = percent_text(net.pnl_percentage) if net.points is None else points_text(net.points)
        return f"{row} is open{size}{leaves}, {worth} net at this price{self._stop(signal)}"

    def _stop(self, signal: OpenSignal | ScheduledSignal) -> str:
        """The stop in force, where it is not the declared one any more."""
        stop = stop_at(self._record, signal, self._moment.when_ms)
        if stop is None:
            return "" if signal.price_stop_loss is None else "; no stop now"
        moved = stop.price != signal.price_stop_loss
        return f"; the stop lies at {level_text(stop.price)} now ({stop.reason})" if moved else ""

    def _head(self) -> str:
        moment = self._moment
        try:
            price = f"price {moment.price:.8g}"
        except NotEnoughData:
            price = "no price yet"
        return f"{self._record.plan.strategy.name} on {moment.symbol} at {utc_text(moment.when_ms)}: {price}"

    def _decided(self) -> list[str]:
        return [_decision_text(decision) for decision in self._moment.decisions]

    def text(self) -> str:
        """The moment for a terminal."""
        lines = [self._head(), *(f"  {line}" for line in (*self._there(), *self._decided()))]
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
        paragraphs = [*self._there(), *self._decided()]
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


def _named(place: str, text: str) -> str:
    return f"in {place}: {text}" if place else text


def _decision_text(decision: Decision) -> str:
    if isinstance(decision, Rejected):
        return _named(
            decision.place, f"the run rejected its answer: {'; '.join(reason.text for reason in decision.reasons)}"
        )
    if isinstance(decision, RiskRefused):
        return _named(decision.signal.place, f"{decision.refused_by} refused: {decision.note}")
    return _named(decision.signal.place, f"the run {decision.action} {row_text(decision.signal)}")
