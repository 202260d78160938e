"""Requests of ccxt compared, without network, with how they have to leave: another ccxt may write them otherwise."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

from ..domain.text import shown
from ..errors import UsageError
from ..market.fetch_loop import fetch_now
from .exchange_client import client_of, sent_parameters
from .exchange_profile import GoldenRequest, Profile

_OF_THE_MOMENT: Final = frozenset({"timestamp", "signature"})


def check_requests(base: Any, profile: Profile, *, version: str) -> None:
    """Compare each request of a profile with what a client of ccxt would send.

    Parameters
    ----------
    base
        The class of ccxt; a client of it is made without keys of an account, and cannot send anything.
    version
        Of ccxt, for messages.

    Raises
    ------
    UsageError
        This ccxt writes another request.
    """
    different = fetch_now(_different(base, profile))
    if different:
        raise UsageError(
            f"ccxt {version} sends other requests to {profile.exchange} {profile.market} than bknb knows: {different}\n"
            "no order is sent with it; install another ccxt, or a bknb that knows this one"
        )


async def _different(base: Any, profile: Profile) -> str:
    sent: list[tuple[str, str, object]] = []

    class Offline(base):  # type: ignore[misc]  # ccxt has no types
        async def fetch(self, url: str, method: str = "GET", _headers: Any = None, body: Any = None) -> Any:
            sent.append((method, url, body))
            return {}

    client = client_of(Offline, profile, {"apiKey": "none", "secret": "none", "options": dict(profile.options)})
    client.enableRateLimit = False
    client.timeout_on_exit = 0  # no connection is there that would need time to close
    try:
        for golden in profile.golden:
            sent.clear()
            await getattr(client, golden.request.call)(dict(golden.request.params))
            if found := _difference(golden, *sent[0]):
                return found
    finally:
        await client.close()
    return ""


def _difference(golden: GoldenRequest, method: str, url: str, body: object) -> str:
    params = {name: value for name, value in sent_parameters(url, body).items() if name not in _OF_THE_MOMENT}
    found = (method, urlsplit(url).path, params)
    wanted = (golden.method, golden.path, dict(golden.params))
    return "" if found == wanted else f"{shown(found, 300)} in place of {shown(wanted, 300)}"
