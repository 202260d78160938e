"""Brokers made with one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

from ..domain.broker_account import Abilities, BrokerMarket, Unprotected, Watch
from .broker_at_exchange import make_broker
from .ccxt_broker import CcxtBroker
from .paper_account import PaperKind
from .paper_broker import PaperBroker
from .paper_trouble import Script, TroubleKind


def ccxt(
    exchange: str,
    *,
    market: Literal["spot", "swap"] = "spot",
    sandbox: bool = True,
    real_money: bool = False,
    watch: Watch = "both",
    unprotected: Unprotected = "close",
    leverage: float | None = None,
    config: Mapping[str, Any] | None = None,
) -> CcxtBroker:
    """An account at an exchange, through ccxt: its sandbox, unless real money is asked for twice.

    Only exchanges whose requests are known to the last parameter are there; each request of the installed ccxt is
    compared with the known one, without network, before this returns. The keys are read from the environment
    (``BKNB_BINANCE_SANDBOX_KEY`` and ``BKNB_BINANCE_SANDBOX_SECRET``, at OKX also ``BKNB_OKX_SANDBOX_PASSPHRASE``,
    without ``_SANDBOX`` for real money) or from the keyring of the system (service ``bknb``, the same names).

    Parameters
    ----------
    exchange : str
        Such as ``"binance"``.
    market : {"spot", "swap"}
        What is traded there.
    sandbox : bool
        Trade in the exchange's demo account, whose keys are other ones.
    real_money : bool
        Has to be given together with ``sandbox=False``.
    watch : {"both", "exchange", "here"}
        ``"both"``: the stop of a position rests at the exchange, too, for as much of it as was filled, and whoever is
        first ends it. ``"exchange"``: the same, but a minute that reaches the stop waits for the exchange to sell, 5
        minutes at most. ``"here"``: nothing rests there, and nothing sells while no process runs.
    unprotected : {"close", "watch"}
        What becomes of a position whose stop the exchange does not take: after a minute it is sold at the market, or it
        is watched by the process alone.
    leverage : float, optional
        Of positions in swaps, which are kept with isolated margin, 1 by default: it is set before something is opened,
        and read back. What would be liquidated before its stop is refused.
    config : mapping, optional
        How the client of ccxt is connected: ``urls``, ``timeout``, proxies; no keys, and nothing that changes requests.

    Raises
    ------
    UsageError
        The exchange has no profile here, with the reason; this ccxt, or one with this ``config``, writes another
        request; there are no keys; keys stand in ``config``; real money is asked for once; leverage at a spot market.
    MissingDependency
        ccxt is not installed.

    Examples
    --------
    >>> ccxt("binance", sandbox=False)
    Traceback (most recent call last):
        ...
    bknb.errors.UsageError: orders at binance spot with sandbox=False are worth real money: say so by real_money=True
    """
    make = partial(
        make_broker, exchange, market=market, sandbox=sandbox, real_money=real_money, config=config, watch=watch,
        unprotected=unprotected, leverage=leverage,
    )  # fmt: skip
    broker = make()
    broker.made_by = make
    return broker


def paper(
    *,
    journal: str | Path | None = None,
    script: Script | None = None,
    rates: Mapping[TroubleKind, float] | None = None,
    seed: int = 0,
    price_of: Callable[[str], float] | None = None,
    market: PaperKind | None = None,
    rules: BrokerMarket | None = None,
    abilities: Abilities | None = None,
) -> PaperBroker:
    """A paper broker: fills orders by candles, as ``pessimistic`` does, and simulates the failures it is given.

    Parameters
    ----------
    journal : str or Path, optional
        A file in which its orders survive restarts; without one they end with the process.
    script : mapping or callable, optional
        Trouble call by call, such as ``{"place": [None, Trouble(kind="lost_reply")]}`` for the second order.
    rates : mapping, optional
        Trouble by chance, such as ``{"lost_reply": 0.05}``; repeated exactly by the same ``seed``.
    seed : int
        For ``rates``.
    price_of : callable, optional
        The price of a symbol now (quote currency): market orders, and limit orders that it has passed, fill at once at
        it. By default orders are filled by the candles of the run.
    market : {"spot", "swap"}, optional
        ``"spot"``: no more is sold than is free, and a stop that rests holds what it would sell. ``"swap"``: what
        closes or protects never does more than that. By default neither is looked at.
    rules : BrokerMarket, optional
        Steps, least amounts and fees of all markets, such as ``BrokerMarket(symbol="", step=0.001, taker=0.1,
        fee_in="base")``: 0.1 % of each purchase, taken from what was bought.
    abilities : Abilities, optional
        What its orders can do, where it is to be less than a paper broker can.

    Raises
    ------
    UsageError
        When trouble is given in both ways, or for a call a broker does not have; for another market.

    Examples
    --------
    >>> broker = paper(rates={"lost_reply": 0.1, "refuse": 0.05}, seed=7)
    >>> broker.position("BTCUSDT")
    0.0
    """
    return PaperBroker(
        journal=journal, script=script, rates=rates, seed=seed, price_of=price_of, market=market, rules=rules,
        abilities=abilities,
    )  # fmt: skip
