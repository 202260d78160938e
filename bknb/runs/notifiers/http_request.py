"""One request over HTTP with a limit for all of it: a server that answers a byte at a time holds nobody up."""

from __future__ import annotations

import http.client
import ipaddress
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlsplit

from ...domain.formatting import plain_number
from ...errors import UsageError
from ...market.system_clock import SystemClock
from ...stores.keys_and_tokens import Secret, without_keys
from .sentences import one_line

_MOST_BYTES: Final = 65_536
_LATER: Final = frozenset({408, 425, 429})


class Undelivered(Exception):  # noqa: N818 -- never reaches a user
    """A message did not arrive.

    Attributes
    ----------
    refused
        Whether it would be refused again: it is not tried again.
    retry_after
        When the other side wants to be asked again, in seconds; ``None``: it does not say.
    """

    def __init__(self, text: str, *, refused: bool = False, retry_after: float | None = None) -> None:
        super().__init__(text)
        self.refused = refused
        self.retry_after = retry_after


class Response(Exception):  # noqa: N818 -- raised where the status is an error
    """An answer whose status is an error, with what it says."""

    def __init__(self, status: int, body: str, retry_after: float | None) -> None:
        super().__init__(str(status))
        self.status, self.body, self.retry_after = status, body, retry_after


def checked_url(url: str, name: str) -> str:
    """An address that may be asked: encrypted, unless it is of this machine or its own network.

    Raises
    ------
    UsageError
        It is another one; the text does not repeat it.

    Examples
    --------
    >>> checked_url("http://127.0.0.1:8080/x", "BKNB_WEBHOOK_URL")
    'http://127.0.0.1:8080/x'
    >>> checked_url("http://example.com/x", "BKNB_WEBHOOK_URL")
    Traceback (most recent call last):
        ...
    bknb.errors.UsageError: BKNB_WEBHOOK_URL holds no address that begins with https://
    what is sent there could be read on the way; http:// is taken for this machine and its own network alone
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port_is_fine = parts.port is None or parts.port > 0
    except ValueError:
        host, port_is_fine, parts = "", False, urlsplit("")
    plain = url.isascii() and url.isprintable() and " " not in url
    if plain and port_is_fine and host and (parts.scheme == "https" or (parts.scheme == "http" and _is_near(host))):
        return url
    raise UsageError(
        f"{name} holds no address that begins with https://\n"
        "what is sent there could be read on the way; http:// is taken for this machine and its own network alone"
    )


def _is_near(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return False


class _StaysHere(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_args: Any) -> None:
        """Follow none: what is sent is for the address that was given."""


def _handlers(sockets: list[Any]) -> list[urllib.request.BaseHandler]:
    """Handlers whose connections put their socket into a list."""

    class Plain(http.client.HTTPConnection):
        def connect(self) -> None:
            super().connect()
            sockets.append(self.sock)

    class Encrypted(http.client.HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            sockets.append(self.sock)

    class OverPlain(urllib.request.HTTPHandler):
        def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
            return self.do_open(Plain, request)

    class OverEncrypted(urllib.request.HTTPSHandler):
        def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
            return self.do_open(Encrypted, request)

    return [OverPlain(debuglevel=0), OverEncrypted(debuglevel=0), _StaysHere()]


def ask(url: str, body: bytes | None, headers: dict[str, str], *, seconds: float, keys: tuple[Secret, ...]) -> str:
    """What an address answers to a request: a POST of a body, or a GET without one.

    Parameters
    ----------
    seconds
        For all of it.
    keys
        What must be in no text of an error.

    Raises
    ------
    Response
        The status is an error.
    Undelivered
        There is no answer.
    """
    sockets: list[Any] = []
    opener = urllib.request.build_opener(*_handlers(sockets))
    request = urllib.request.Request(url, data=body, headers={"User-Agent": "bknb", **headers})  # noqa: S310 -- checked
    try:
        with ends_within(seconds, lambda: sockets), opener.open(request, timeout=seconds) as answer:
            return str(answer.read(_MOST_BYTES).decode("utf-8", "replace"))
    except urllib.error.HTTPError as error:
        with error:
            raise Response(error.code, _body(error, keys), _retry_after(error.headers.get("Retry-After"))) from None
    except Exception as error:  # noqa: BLE001 -- whatever it is, there is no answer, and its text may hold the address
        reason = getattr(error, "reason", error)
        why = one_line(without_keys(str(reason), keys), 200) or type(reason).__name__
    raise Undelivered(f"no answer within {plain_number(seconds)} s: {why}")


@contextmanager
def ends_within(seconds: float, sockets: Callable[[], Iterable[Any]]) -> Iterator[None]:
    """End the connections of what is done in it once so many seconds are over."""

    def end() -> None:
        for each in sockets():
            with suppress(OSError, AttributeError):  # it has ended already, or was never there
                each.shutdown(2)

    over = threading.Timer(seconds, end)
    over.daemon = True
    with suppress(RuntimeError):  # the interpreter is ending
        over.start()
    try:
        yield
    finally:
        over.cancel()


def _body(error: urllib.error.HTTPError, keys: tuple[Secret, ...]) -> str:
    try:
        return without_keys(error.read(_MOST_BYTES).decode("utf-8", "replace"), keys)
    except Exception:  # noqa: BLE001 -- the status says enough
        return ""


def _retry_after(text: str | None) -> float | None:
    """What a header says, in seconds: a number, or a date."""
    if not text:
        return None
    try:
        return max(float(text), 0.0)
    except ValueError:
        pass
    try:
        return max(parsedate_to_datetime(text).timestamp() - SystemClock().now() / 1000, 0.0)
    except (ValueError, TypeError, OverflowError):
        return None


def undelivered(answer: Response, *, says: str = "", retry_after: float | None = None) -> Undelivered:
    """What an answer with an error means for the message: tried again later, or refused for good.

    Examples
    --------
    >>> undelivered(Response(429, "", 3.0)).retry_after, undelivered(Response(404, "", None)).refused
    (3.0, True)
    """
    after = answer.retry_after if retry_after is None else retry_after
    refused = answer.status < 500 and answer.status not in _LATER
    text = f"it answers {answer.status}: {one_line(says or answer.body, 200) or 'nothing'}"
    return Undelivered(text, refused=refused, retry_after=after)
