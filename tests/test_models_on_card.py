"""Models in the hash of a strategy, and their fits on run cards."""

from __future__ import annotations

from typing import Any

import pytest
from test_models import source

import bknb
from bknb.engine.registration_checks import make_strategy
from bknb.provenance.models_asked_for import models_asked_for
from bknb.provenance.strategy_hash import fingerprint, functions_of

FRAME = ("2024-01-16", "2024-01-30")


def mean(ctx: Any) -> float:
    return float(ctx.candles("4h", 20).close.mean())


def highest(ctx: Any) -> float:
    return float(ctx.candles("4h", 20).close.max())


def below(ctx: Any) -> Any:
    if ctx.candles("4h", 1).close[0] < ctx.model("m"):
        return bknb.Signal(position="long", target_percent=2.0, stop_percent=2.0, bars=5)
    return None


def without(ctx: Any) -> None:
    ctx.candles("4h", 1)


def by_name(ctx: Any, kind: str = "m") -> None:
    ctx.model(kind)


def helper(ctx: Any) -> Any:
    return ctx.model(name="m")


def through_a_helper(ctx: Any) -> None:
    helper(ctx)


def hash_with(get_signal: Any, fit: Any, **options: Any) -> str:
    bknb.model("m", **{"every": "mon"} | options)(fit)
    return fingerprint(make_strategy("s", get_signal, interval="4h"))


@pytest.mark.parametrize("asks", [below, by_name, through_a_helper])
def test_the_hash_of_a_strategy_is_of_the_models_it_asks_for(asks: Any) -> None:
    changes: list[tuple[Any, dict[str, Any]]] = [
        *((mean, {}), (highest, {}), (mean, {"every": "tue"})),
        *((mean, {"delay": "1h"}), (mean, {"shared": True})),
    ]
    assert len({hash_with(asks, fit, **options) for fit, options in changes}) == len(changes)
    assert hash_with(asks, mean) == hash_with(asks, mean)


def test_a_model_that_is_not_asked_for_does_not_count() -> None:
    before = fingerprint(make_strategy("s", without, interval="4h"))
    assert hash_with(without, mean) == hash_with(without, highest) == before
    bknb.model("other", every="mon")(mean)
    bknb.model("m", every="mon")(mean)
    assert list(functions_of(make_strategy("s", below, interval="4h"))) == ["strategy", "model m"]
    assert list(functions_of(make_strategy("s", by_name, interval="4h"))) == ["strategy", "model m", "model other"]


def test_where_no_text_is_known_each_model_may_be_meant() -> None:
    space: dict[str, Any] = {}
    exec("def get_signal(ctx): return ctx.model('m')", space)  # noqa: S102 -- a function of which nobody has the text
    models: Any = {"m": 1, "other": 2}
    assert models_asked_for([space["get_signal"]], models) == models
    assert models_asked_for([below], models) == {"m": 1}


def run(fit: Any, **options: Any) -> Any:
    bknb.model("m", every="mon")(fit)
    given: dict[str, Any] = {"interval": "4h", "exchange": source(), "frame": FRAME}
    return bknb.backtest("BTCUSDT", strategy=below, **given | options)


def test_the_card_has_the_fits_and_says_which_one_is_another() -> None:
    card = run(mean).card
    (model,) = card.models
    assert (model.name, model.symbol, len(model.moments)) == ("m", "BTCUSDT", 3)
    assert list(model.fingerprints) == run(mean).models["fingerprint"].tolist()
    assert [written.name.rpartition(".")[2] for written in card.code.functions][:2] == ["below", "mean"]
    assert card.code.values["model m"] == "mon, in use after 0 minutes"
    assert "| m | BTCUSDT | 3 | 2024-01-15 00:00" in card.report()
    again = bknb.Card.from_json(card.to_json())
    assert again == card
    assert not card.diff(again)
    others = [part.text for part in card.diff(run(highest).card) if part.kind == "models"]
    assert len(others) == 3
    assert others[0].startswith("model m of BTCUSDT at 2024-01-15 00:00 UTC: another fit, ")
    shorter = run(mean, frame=("2024-01-16", "2024-01-23")).card
    sooner = [part.text for part in card.diff(shorter) if part.kind == "models"]
    assert sooner == ["model m of BTCUSDT at 2024-01-29 00:00 UTC: not used any more"]


def test_a_card_is_verified_with_its_models() -> None:
    card, exchange = run(mean).card, source()
    assert bknb.verify(card, strategy=below, exchange=exchange).same
    bknb.model("m", every="mon")(highest)
    found = bknb.verify(card, strategy=below, exchange=exchange)
    assert not found.same
    assert {part.kind for part in found.differences} >= {"models", "code"}
    assert "test_models_on_card.highest is called now" in str(found)


def test_a_card_without_models_has_nothing_of_them() -> None:
    bknb.model("m", every="mon")(mean)
    result = bknb.backtest("BTCUSDT", strategy=without, interval="4h", exchange=source(), frame=FRAME)
    assert result.card.models == ()
    assert '"models":' not in result.card.to_json()
