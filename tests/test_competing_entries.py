"""A list of signals of one place: the first that fills takes it; tables by hand, both sides, each execution model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from scenarios import MINUTE, ORIGIN, Candle, line, long, source

import bknb

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def up(take: float, stop: float, at: float, **more: Any) -> dict[str, Any]:
    return long(take, stop, at=at) | more


def down(take: float, stop: float, at: float, **more: Any) -> dict[str, Any]:
    return up(take, stop, at, **more) | {"position": "short"}


STRADDLE = [up(120, 96.5, 104, entry="stop"), down(80, 104.5, 97, entry="stop")]
LIMITS = [up(110, 94, 97), down(90, 106, 104)]
LADDER = [up(112, 90, 97), up(112, 90, 95)]
WAIT = "scheduled 104 @m0; scheduled 97 @m0"
FAR = "scheduled 104 @m0; scheduled 96 @m0"
REST = "scheduled 97 @m0; scheduled 104 @m0"
TAKEN = "cancelled place_taken @m3"
OUT = "closed time_expired 100 @m13"
HEAVY = 1e25  # the average price is that of this candle

# name: signals, candles, volumes, and what comes of it: pessimistic, touch, vwap ("" : as the one before)
ROWS: dict[str, tuple[list[dict[str, Any]], dict[int, Candle], dict[int, float], tuple[str, str, str]]] = {
    "none is touched": (
        [each | {"valid": 5} for each in STRADDLE],
        {3: (100, 103, 98, 100)},
        {},
        (f"{WAIT}; cancelled timeout @m5; cancelled timeout @m5", "", ""),
    ),
    "each waits as long as it says": (
        [STRADDLE[0] | {"valid": 3}, STRADDLE[1] | {"valid": 6}],
        {},
        {},
        (f"{WAIT}; cancelled timeout @m3; cancelled timeout @m6", "", ""),
    ),
    "the later of the list is over first": (
        [STRADDLE[0] | {"valid": 6}, STRADDLE[1] | {"valid": 3}],
        {},
        {},
        (f"{WAIT}; cancelled timeout @m3; cancelled timeout @m6", "", ""),
    ),
    "a gap beyond one of them, and its stop": (
        STRADDLE,
        {3: (106, 107, 96, 97)},
        {},
        (f"{WAIT}; opened 106 @m3; {TAKEN}; closed stop_loss 96.5 @m3", "-", "-"),
    ),
    "what is left fills": (
        [STRADDLE[0] | {"valid": 3}, STRADDLE[1]],
        {4: (97, 97, 97, 97)},
        {4: HEAVY},
        (f"{WAIT}; cancelled timeout @m3; opened 97 @m4; closed time_expired 100 @m14", "", ""),
    ),
    "the first of two is touched": (
        STRADDLE,
        {3: (100, 104.2, 100, 104)},
        {},
        (f"{WAIT}; opened 104 @m3; {TAKEN}; {OUT}", "", "-"),
    ),
    "the second of two is touched": (
        STRADDLE,
        {3: (97, 97, 97, 97)},
        {3: HEAVY},
        (f"{WAIT}; opened 97 @m3; {TAKEN}; {OUT}", "", ""),
    ),
    "both are touched, the candle ends high": (
        STRADDLE,
        {3: (100, 105, 96, 103)},
        {},
        (f"{WAIT}; opened 97 @m3; {TAKEN}; {OUT} ambiguous", "", "-"),
    ),
    "both are touched, the candle ends low": (
        STRADDLE,
        {3: (100, 105, 96, 97)},
        {},
        (f"{WAIT}; opened 104 @m3; {TAKEN}; {OUT} ambiguous", f"{WAIT}; opened 97 @m3; {TAKEN}; {OUT} ambiguous", "-"),
    ),
    "both are touched, with stops in percent that are not": (
        [{k: v for k, v in each.items() if k != "price_stop_loss"} | {"stop_percent": 10.0} for each in STRADDLE],
        {3: (100, 105, 96, 103)},
        {},
        (f"{WAIT}; opened 97 @m3; {TAKEN}; {OUT} ambiguous", "", "-"),
    ),
    "a gap beyond one of them, and the other is reached": (
        STRADDLE,
        {3: (106, 107, 96.8, 106.5)},
        {},
        (
            f"{WAIT}; opened 106 @m3; {TAKEN}; {OUT}",
            f"{WAIT}; opened 104 @m3; {TAKEN}; {OUT} ambiguous",
            "-",
        ),
    ),
    "a candle without volume": (
        STRADDLE,
        {3: (100, 105, 96, 97), 4: (100, 104.2, 100, 104)},
        {3: 0.0},
        (
            f"{WAIT}; opened 104 @m4; cancelled place_taken @m4; closed time_expired 100 @m14",
            f"{WAIT}; opened 97 @m3; {TAKEN}; {OUT} ambiguous",
            "-",
        ),
    ),
    "two limits, one is touched": (
        LIMITS,
        {3: (100, 105, 98, 100)},
        {},
        (f"{REST}; opened 104 @m3; {TAKEN}; {OUT}", "", "-"),
    ),
    "two limits are touched": (
        LIMITS,
        {3: (100, 105, 96, 102)},
        {},
        (f"{REST}; opened 104 @m3; {TAKEN}; {OUT} ambiguous", f"{REST}; opened 97 @m3; {TAKEN}; {OUT} ambiguous", "-"),
    ),
    "two limits are touched, and the stop of one": (
        LIMITS,
        {3: (100, 107, 96, 98)},
        {},
        (
            f"{REST}; opened 104 @m3; {TAKEN}; closed stop_loss 106 @m3 ambiguous",
            f"{REST}; cancelled price_reject @m3; opened 97 @m3; {OUT}",
            "-",
        ),
    ),
    "two limits of one side: the nearer rests before the farther": (
        LADDER,
        {3: (100, 100, 94, 96)},
        {},
        (
            f"scheduled 97 @m0; scheduled 95 @m0; opened 97 @m3; {TAKEN}; {OUT} ambiguous",
            "",
            "-",
        ),
    ),
    "a gap through both limits: the earlier of the list": (
        LADDER[::-1],
        {3: (93, 95, 92, 94)},
        {},
        (
            f"scheduled 95 @m0; scheduled 97 @m0; opened 93 @m3; {TAKEN}; {OUT}",
            f"scheduled 95 @m0; scheduled 97 @m0; opened 95 @m3; {TAKEN}; {OUT} ambiguous",
            "-",
        ),
    ),
    "one fills at the first open": (
        [up(112, 94, 101), LIMITS[1]],
        {},
        {},
        ("opened 100 @m0; cancelled place_taken @m0; closed time_expired 100 @m10", "", "-"),
    ),
    "both fill at the first open: the earlier of the list": (
        [down(90, 106, 99), up(112, 94, 101)],
        {},
        {},
        ("opened 100 @m0; cancelled place_taken @m0; closed time_expired 100 @m10", "", "-"),
    ),
    "the stop of one before its entry: the other waits on": (
        [up(120, 98.5, 104, entry="stop"), down(80, 101.5, 96, entry="stop")],
        {3: (100, 100, 98, 100), 5: (96, 96, 96, 96), 6: (100, 100, 100, 100)},
        {3: 1.0, 5: HEAVY, 6: HEAVY},
        (
            f"{FAR}; cancelled price_reject @m3; opened 96 @m5; closed time_expired 100 @m15",
            "",
            "-",
        ),
    ),
    "the frame ends": (STRADDLE, {}, {}, (f"{WAIT}; cancelled frame_end @m30; cancelled frame_end @m30", "", "-")),
    "one is broken, the other stands": (
        [up(90, 95, 97), STRADDLE[1]],
        {3: (97, 97, 97, 97)},
        {3: HEAVY},
        (f"scheduled 97 @m0; opened 97 @m3; {OUT}", "", ""),
    ),
    "an order at the market leaves nothing to the others": (
        [long(110, 95), STRADDLE[1] | {"valid": 4}],
        {},
        {},
        ("scheduled 97 @m0; cancelled timeout @m4", "", ""),
    ),
    "two of one id": (
        [STRADDLE[0] | {"id": "a", "valid": 4}, STRADDLE[1] | {"id": "a"}],
        {},
        {},
        ("scheduled 104 @m0; cancelled timeout @m4", "", ""),
    ),
    "three, of which the last is first": (
        [*STRADDLE, up(112, 90, 98)],
        {3: (100, 100, 97.5, 100)},
        {},
        (f"{WAIT}; scheduled 98 @m0; opened 98 @m3; {TAKEN}; {TAKEN}; {OUT}", "", "-"),
    ),
    "a list of one is that one": ([long(110, 95)], {}, {}, ("opened 100 @m0; closed time_expired 100 @m10", "", "-")),
    "an empty list is nothing": ([], {}, {}, ("", "", "")),
}


def told(result: bknb.Result) -> list[str]:
    return [line(event) for event in result.events]


def run(
    answer: object, candles: Mapping[int, Candle], volumes: Mapping[int, float], execution: str, **options: Any
) -> bknb.Result:
    rows = [(ORIGIN + k * MINUTE, *candles.get(k, (100.0,) * 4), volumes.get(k, 100.0)) for k in range(-60, 41)]
    strategy = bknb.add_strategy(
        "lists",
        interval="1m",
        get_signal=lambda when: answer if when.timestamp() * 1000 == ORIGIN else None,
        risk=options.pop("risk", None),
    )
    return bknb.backtest(
        "BTCUSDT",
        strategy=strategy,
        exchange=source(rows),
        frame=(ORIGIN, ORIGIN + 30 * MINUTE),
        execution=execution,
        **options,
    )


def expected(texts: tuple[str, str, str], model: int) -> list[str] | None:
    text = next(each for each in reversed(texts[: model + 1]) if each) if any(texts) else ""
    return None if texts[model] == "-" else [each for each in text.split("; ") if each]


def mirrored(answer: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    flip = {"long": "short", "short": "long"}
    return [
        {name: 200 - value if name.startswith("price") else value for name, value in each.items()}
        | {"position": flip[each["position"]]}
        for each in answer
    ]


def flipped(text: str) -> str:
    return " ".join(f"{200 - float(word):.10g}" if word[0].isdigit() else word for word in text.split())


@pytest.mark.parametrize("name", ROWS)
def test_what_comes_of_a_list(name: str) -> None:
    answer, candles, volumes, texts = ROWS[name]
    other = {k: (200 - o, 200 - low, 200 - high, 200 - c) for k, (o, high, low, c) in candles.items()}
    for model, execution in enumerate(("pessimistic", "touch", "vwap")):
        wanted = expected(texts, model)
        if wanted is None:
            continue
        assert told(run(answer, candles, volumes, execution)) == wanted, execution
        mirror = told(run(mirrored(answer), other, volumes, execution))
        assert mirror == [flipped(each) for each in wanted], f"{execution}, mirrored"


def test_each_signal_of_a_list_is_judged_by_itself() -> None:
    broken = [up(90, 95, 97), long(110, 95), STRADDLE[0] | {"id": "a"}, STRADDLE[1] | {"id": "a"}, 7, None]
    result = run(broken, {}, {}, "pessimistic")
    assert result.rejected["codes"].tolist() == ["shape", "take_profit_side", "list", "repeated"]
    assert told(result)[0] == "scheduled 104 @m0"
    assert run([STRADDLE, None], {}, {}, "pessimistic").rejected["codes"].tolist() == ["shape"]
    assert [event.signal.id[-2:] for event in run(STRADDLE, {}, {}, "pessimistic").events[:2]] == ["00", "#2"]
