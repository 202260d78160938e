"""An account at an exchange made, once its requests are known to be the right ones and nothing leads to real money."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, TypeAlias, get_args

from ..domain.broker_account import Unprotected, Watch
from ..domain.whole_number import checked_number
from ..errors import MissingDependency, UsageError
from .binance_spot import BinanceSpot
from .binance_usdm import BinanceUsdm
from .ccxt_broker import CcxtBroker
from .exchange_client import client_of
from .exchange_keys import Keys, keys_of
from .exchange_profile import Profile
from .golden_requests import check_requests
from .okx import OkxSpot
from .okx_swap import OkxSwap
from .refused_exchanges import refused

Market: TypeAlias = Literal["spot", "swap"]

PROFILES: Final[Mapping[tuple[str, str], Callable[[], Profile]]] = {
    ("binance", "spot"): BinanceSpot,
    ("binance", "swap"): BinanceUsdm,
    ("okx", "spot"): OkxSpot,
    ("okx", "swap"): OkxSwap,
}
"""The exchanges and markets where orders are placed."""
_KEYS: Final = frozenset({"apiKey", "secret", "password", "privateKey", "walletAddress", "token"})
_CONNECTION: Final = frozenset(
    {
        *("urls", "hostname", "timeout", "enableRateLimit", "rateLimit", "verify", "cafile", "has"),
        *("httpProxy", "httpsProxy", "socksProxy", "wsProxy", "wssProxy", "wsSocksProxy", "aiohttp_trust_env"),
        *("http_proxy", "https_proxy", "socks_proxy", "ws_proxy", "wss_proxy", "ws_socks_proxy", "aiohttp_proxy"),
    }
)
_OPTIONS: Final = frozenset(
    {"recvWindow", "fetchCurrencies", "fetchMargins", "fetchMarkets", "defaultType", "adjustForTimeDifference"}
)


def make_broker(
    exchange: str,
    *,
    market: Market,
    sandbox: bool,
    real_money: bool,
    config: Mapping[str, Any] | None,
    watch: Watch = "both",
    unprotected: Unprotected = "close",
    leverage: float | None = None,
    keys: Keys | None = None,
    made_as: Callable[..., CcxtBroker] = CcxtBroker,
) -> CcxtBroker:
    """The broker of an exchange; see :func:`bknb.brokers.ccxt`. ``made_as`` makes it of a profile and a client."""
    of_exchange = PROFILES.get((exchange, market))
    if of_exchange is None:
        raise refused(exchange, market, PROFILES)
    profile = of_exchange()
    if watch not in get_args(Watch):
        raise UsageError(f"watch= is 'both', 'exchange' or 'here', got {watch!r}")
    if unprotected not in get_args(Unprotected):
        raise UsageError(f"unprotected= is 'close' or 'watch', got {unprotected!r}")
    _must_be_deliberate(profile, sandbox=sandbox, real_money=real_money)
    leverage = _leverage(leverage, market)
    given = _taken(config)
    try:
        package = importlib.import_module("ccxt.async_support")
    except ImportError:
        raise MissingDependency("ccxt", purpose="orders at an exchange", extra="ccxt") from None
    base = getattr(package, profile.client)
    options = {**given.get("options", {}), **profile.options}
    check_requests(base, profile, version=str(package.__version__), config={**given, "options": options})
    client = client_of(base, profile, {"enableRateLimit": True, **given, "options": options})
    if sandbox:
        profile.demo(client, own_urls="urls" in given)
    address = profile.real_address(client)
    if address and not real_money:
        raise UsageError(f"config= leads to {address}, where orders are worth real money: say so by real_money=True")
    keys = keys or keys_of(exchange, sandbox=sandbox, passphrase=bool(client.requiredCredentials.get("password")))
    client.apiKey, client.secret, client.password = keys.key, keys.secret, keys.passphrase
    return made_as(profile, client, real_money=real_money, watch=watch, unprotected=unprotected, leverage=leverage)


def _leverage(leverage: float | None, market: Market) -> float:
    if leverage is not None and market != "swap":
        raise UsageError(f"leverage={leverage!r} is for market='swap'; a spot account has none")
    what = "a number of at least 1"
    return checked_number("leverage", 1.0 if leverage is None else leverage, what, fits=lambda each: each >= 1.0)


def _must_be_deliberate(profile: Profile, *, sandbox: bool, real_money: bool) -> None:
    name = f"{profile.exchange} {profile.market}"
    if sandbox and real_money:
        raise UsageError(f"sandbox=True and real_money=True for {name}: give sandbox=False for real money")
    if not (sandbox or real_money):
        raise UsageError(f"orders at {name} with sandbox=False are worth real money: say so by real_money=True")


def _taken(config: Mapping[str, Any] | None) -> dict[str, Any]:
    """What a user gives a client: how it is connected, and nothing that changes what leaves, or how often."""
    given = dict(config or {})
    if written := sorted(_KEYS & set(given)):
        raise UsageError(
            f"config= holds {', '.join(written)}: keys stand in no cell\n"
            "they are read from the environment or from a keyring; leave them out to be told the names"
        )
    options = given.get("options", {})
    unknown = sorted(set(given) - _CONNECTION - {"options"})
    if unknown := [*unknown, *(f"options[{name!r}]" for name in sorted(set(options) - _OPTIONS))]:
        raise UsageError(
            f"config= holds {', '.join(unknown)}: orders leave once, as they are known\n"
            f"leave that out; a client for orders takes {', '.join(sorted(_CONNECTION))}, "
            f"and the options {', '.join(sorted(_OPTIONS))}"
        )
    return given
