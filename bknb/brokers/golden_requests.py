"""Requests of ccxt compared, without network, with how they have to leave: another ccxt may write them otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from ..domain.text import shown
from ..errors import UsageError
from ..market.fetch_loop import fetch_now
from .exchange_client import as_given, client_of, sent_parameters
from .exchange_profile import GoldenRequest, Profile

_OF_THE_MOMENT: Final = frozenset({"timestamp", "signature"})


def check_requests(base: Any, profile: Profile, *, version: str, config: Mapping[str, Any] | None = None) -> None:
    """Compare each request of a profile with what a client of ccxt would send.

    Parameters
    ----------
    base
        The class of ccxt; a client of it is made without keys of an account, and cannot send anything.
    version
        Of ccxt, for messages.
    config
        That of the user, which must not change any.

    Raises
    ------
    UsageError
        This ccxt writes another request, or does so with this configuration.
    """
    name = f"{profile.exchange} {profile.market}"
    if different := fetch_now(_different(base, profile, {"options": dict(profile.options)})):
        raise UsageError(
            f"ccxt {version} sends other requests to {name} than bknb knows: {different}\n"
            "no order is sent with it; install another ccxt, or a bknb that knows this one"
        )
    if config and (different := fetch_now(_different(base, profile, config))):
        raise UsageError(
            f"with this config= ccxt sends other requests to {name} than bknb knows: {different}\n"
            "no order is sent with it; leave out what changes them"
        )


async def _different(base: Any, profile: Profile, config: Mapping[str, Any]) -> str:
    sent: list[tuple[str, str, object]] = []

    class Offline(base):  # type: ignore[misc]  # ccxt has no types
        async def fetch(self, url: str, method: str = "GET", _headers: Any = None, body: Any = None) -> Any:
            sent.append((method, url, body))
            return {}

    client = client_of(Offline, profile, {**config, "apiKey": "none", "secret": "none", "password": "none"})
    client.enableRateLimit = False
    client.timeout_on_exit = 0  # no connection is there that would need time to close
    try:
        for golden in profile.golden:
            sent.clear()
            await getattr(client, golden.request.call)(as_given(golden.request))
            if found := _difference(golden, sent):
                return found
    finally:
        await client.close()
    return ""


def _difference(golden: GoldenRequest, sent: list[tuple[str, str, object]]) -> str:
    wanted = (golden.method, golden.path, dict(golden.params))
    if len(sent) != 1:
        return f"{len(sent)} requests in place of {shown(wanted, 300)}"
    method, url, body = sent[0]
    params = {name: value for name, value in sent_parameters(url, body).items() if name not in _OF_THE_MOMENT}
    path = urlsplit(url).path
    found = (method, golden.path if path.endswith(golden.path) else path, params)
    return "" if found == wanted else f"{shown(found, 300)} in place of {shown(wanted, 300)}"
