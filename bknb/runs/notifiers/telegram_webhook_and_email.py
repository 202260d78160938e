"""Notifiers made with one call."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Literal, get_args

from ...domain.interval import interval_ms
from ...errors import UsageError
from ...stores.keys_and_tokens import Secret, checked_name, found, secret_of
from .channels import Body, Channel, Email, ParseMode, Security, TelegramChat, Webhook
from .http_request import checked_url
from .notifier import Notifier, Specification
from .sentences import DEFAULT, TOLD, Told

_TOKEN: Final = re.compile(r"[A-Za-z0-9:_-]+")
_CHAT: Final = re.compile(r"-?\d+|@[A-Za-z0-9_]+")
_ADDRESS: Final = re.compile(r"[^\s@,;<>\"\x00-\x1f]+@[^\s@,;<>\"\x00-\x1f]+")
_TELEGRAM: Final = "https://api.telegram.org"


def telegram(
    chat: int | str | None = None,
    *,
    token_env: str = "BKNB_TELEGRAM_TOKEN",  # noqa: S107 -- the name of a variable
    events: Iterable[Told] | Literal["all"] = DEFAULT,
    parse_mode: ParseMode | None = "HTML",
    heartbeat: str | None = None,
    ping_env: str | None = None,
    ping_every: str = "5m",
    name: str = "telegram",
    limit: int = 200,
    timeout_seconds: float = 10.0,
    address: str = _TELEGRAM,
    start: bool = True,
) -> Notifier:
    """Tell a chat of Telegram what happens in live runs: one sentence each, with its moment in UTC.

    It listens from now on. One of the same name stops, so a cell that is run twice has one notifier.

    Parameters
    ----------
    chat : int or str, optional
        The number of the chat, or the ``@name`` of a channel; ``None``: from ``BKNB_TELEGRAM_CHAT``.
    token_env : str
        The name of the environment variable with the bot's token; where it is not set the keyring of the system is
        asked (service ``bknb``, the same name). The token itself stands in no cell.
    events : iterable of str, or "all"
        What is told: ``"opened"``, ``"closed"``, ``"refused"``, ``"unprotected"`` (a position without its stop at the
        exchange), ``"error"``, ``"stopped"``, ``"silence"`` (no candle comes); also ``"scheduled"``, ``"cancelled"``,
        ``"changed"`` (parts, adds, levels), ``"milestone"``, ``"resumed"``.
    parse_mode : {"HTML", "MarkdownV2"}, optional
        How texts are escaped; ``None``: they are sent as plain text.
    heartbeat : str, optional
        Say so often which live runs go on, such as ``"1h"``. Without a live run nothing is said.
    ping_env : str, optional
        The name of the variable with an address of healthchecks.io, or one like it: it is asked while live runs go on,
        and that service alarms when the pings end, as when the process was killed.
    ping_every : str
        How often, such as ``"5m"``.
    name : str
        What it is called.
    limit : int
        How many messages may wait; then the oldest is lost, and the next message says how many were.
    timeout_seconds : float
        For one try.
    address : str
        Of a server of the Bot API of your own.
    start : bool
        Whether it listens at once.

    Raises
    ------
    UsageError
        There is no token or chat, or an option cannot be read.

    Examples
    --------
    >>> telegram(12345, token_env="BKNB_NO_SUCH_TOKEN")
    Traceback (most recent call last):
        ...
    bknb.errors.UsageError: there is no token of a Telegram bot: set BKNB_NO_SUCH_TOKEN in the environment ...
    """
    given = _given(locals())
    if parse_mode is not None and parse_mode not in get_args(ParseMode):
        raise UsageError(f"parse_mode= is 'HTML', 'MarkdownV2' or None, got {parse_mode!r:.40}")
    address = checked_url(str(address).rstrip("/"), "address=")
    to = found("BKNB_TELEGRAM_CHAT") if chat is None else str(chat).strip()
    if isinstance(chat, bool) or not _CHAT.fullmatch(to):
        raise UsageError(
            "chat= is the number of a chat or the @name of a channel\n"
            "give it, or set BKNB_TELEGRAM_CHAT; write to the bot once, and getUpdates of the Bot API says the number"
        )
    token = secret_of(checked_name(token_env, "token_env"), "token of a Telegram bot")
    if not _TOKEN.fullmatch(token.value):
        raise UsageError(f"{token_env} holds no token of a Telegram bot, such as 123456:ABC...")

    def channel() -> Channel:
        return TelegramChat(token, to, parse_mode=parse_mode, address=address, seconds=timeout_seconds)

    return _made(telegram, given, channel, "a chat of Telegram")


def webhook(
    *,
    url_env: str = "BKNB_WEBHOOK_URL",
    body: Body = "json",
    token_env: str | None = None,
    events: Iterable[Told] | Literal["all"] = DEFAULT,
    heartbeat: str | None = None,
    ping_env: str | None = None,
    ping_every: str = "5m",
    name: str = "webhook",
    limit: int = 200,
    timeout_seconds: float = 10.0,
    start: bool = True,
) -> Notifier:
    """Post what happens in live runs to an address, such as one of Slack, Discord or a server of yours.

    Parameters
    ----------
    url_env : str
        The name of the environment variable with the address, which is a key of its own; else the keyring of the
        system is asked (service ``bknb``).
    body : {"json", "slack", "discord"}
        ``"json"``: an object with ``event``, ``text``, ``symbol``, ``strategy`` and ``at`` (UTC).
    token_env : str, optional
        The name of the variable with a token that is sent as ``Authorization: Bearer``.
    events, heartbeat, ping_env, ping_every, name, limit, timeout_seconds, start
        As for :func:`telegram`.

    Raises
    ------
    UsageError
        There is no address, it is not encrypted, or an option cannot be read.

    Examples
    --------
    >>> webhook(url_env="https://hooks.example.com/planted")
    Traceback (most recent call last):
        ...
    bknb.errors.UsageError: url_env= is the name of an environment variable, such as 'BKNB_TOKEN', not the value itself
    ...
    """
    given = _given(locals())
    if body not in get_args(Body):
        raise UsageError(f"body= is 'json', 'slack' or 'discord', got {body!r:.40}")
    url = secret_of(checked_name(url_env, "url_env"), "address of a webhook")
    checked_url(url.value, url_env)
    token = None if token_env is None else secret_of(checked_name(token_env, "token_env"), "token of a webhook")

    def channel() -> Channel:
        return Webhook(url, body=body, token=token, seconds=timeout_seconds)

    return _made(webhook, given, channel, "a webhook")


def email(
    to: str | Sequence[str],
    *,
    host: str,
    port: int | None = None,
    sender: str | None = None,
    user: str | None = None,
    password_env: str = "BKNB_EMAIL_PASSWORD",  # noqa: S107 -- the name of a variable
    security: Security = "starttls",
    events: Iterable[Told] | Literal["all"] = DEFAULT,
    heartbeat: str | None = None,
    ping_env: str | None = None,
    ping_every: str = "5m",
    name: str = "email",
    limit: int = 200,
    timeout_seconds: float = 20.0,
    start: bool = True,
) -> Notifier:
    r"""Send what happens in live runs by email.

    Parameters
    ----------
    to : str or sequence of str
        Who gets them.
    host, port
        The mail server; by default port 587 for ``"starttls"``, 465 for ``"tls"``, 25 for ``"none"``.
    sender : str, optional
        From whom; by default the user, where that is an address, else the first of ``to``.
    user : str, optional
        Who logs in; the password is read from the variable that ``password_env`` names, else from the keyring of the
        system (service ``bknb``). Without one nobody logs in.
    security : {"starttls", "tls", "none"}
        How the connection is encrypted; a password is never sent over one that is not.
    events, heartbeat, ping_env, ping_every, name, limit, timeout_seconds, start
        As for :func:`telegram`.

    Raises
    ------
    UsageError
        An address cannot be one, there is no password, or an option cannot be read.

    Examples
    --------
    >>> email("me@example.com\nBcc: all@example.com", host="mail.example.com")
    Traceback (most recent call last):
        ...
    bknb.errors.UsageError: expected an address such as 'me@example.com', got 'me@example.com\nBcc: all@example.com'
    """
    given = _given(locals())
    if security not in get_args(Security):
        raise UsageError(f"security= is 'starttls', 'tls' or 'none', got {security!r:.40}")
    receivers = tuple(_checked_address(each) for each in ((to,) if isinstance(to, str) else to))
    if not receivers:
        raise UsageError("to= has no address: name who gets the emails")
    from_whom = sender if sender is not None else user if user and _ADDRESS.fullmatch(user) else receivers[0]
    from_whom = _checked_address(from_whom)
    if user is not None and security == "none":
        raise UsageError("a password is not sent without encryption: give security='starttls' or 'tls', or no user")
    password = None if user is None else secret_of(checked_name(password_env, "password_env"), "password for emails")
    at_port = {"starttls": 587, "tls": 465, "none": 25}[security] if port is None else port

    def channel() -> Channel:
        return Email(
            host, at_port, sender=from_whom, to=receivers, user=user, password=password, security=security,
            seconds=timeout_seconds,
        )  # fmt: skip

    return _made(email, given, channel, "email")


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    events = options["events"]
    several = isinstance(events, Iterable) and not isinstance(events, str)
    return {**options, "events": tuple(events) if several else events}


def _made(
    function: Callable[..., Notifier], given: dict[str, Any], make: Callable[[], Channel], where: str
) -> Notifier:
    start = given.pop("start")
    ping_env = given["ping_env"]
    ping_url = None
    if ping_env is not None:
        ping_url = _ping_url(ping_env)
    notifier = Notifier(
        Specification(
            name=_checked_text(given["name"]),
            where=where,
            events=_checked_events(given["events"]),
            heartbeat_seconds=0.0 if given["heartbeat"] is None else interval_ms(given["heartbeat"]) / 1000,
            ping_seconds=0.0 if ping_env is None else interval_ms(given["ping_every"]) / 1000,
            ping_env=ping_env or "",
            limit=_checked_limit(given["limit"]),
            timeout_seconds=_checked_seconds(given["timeout_seconds"]),
        ),
        make,
        ping_url=ping_url,
        rebuild=(function, given),
    )
    return notifier.start() if start else notifier


def _ping_url(name: object) -> Secret:
    url = secret_of(checked_name(name, "ping_env"), "address for pings")
    checked_url(url.value, str(name))
    return url


def _checked_events(events: object) -> tuple[str, ...]:
    if events == "all":
        return TOLD
    chosen = events if isinstance(events, tuple) else (events,)
    unknown = [each for each in chosen if each not in TOLD]
    if unknown or not chosen:
        what = f"has no event {unknown[0]!r:.60}" if unknown else "is empty: then nothing is ever told"
        raise UsageError(f"events= {what}\nexpected 'all', or some of {', '.join(TOLD)}")
    return tuple(str(each) for each in chosen)


def _checked_text(name: object) -> str:
    if isinstance(name, str) and name.isprintable() and 0 < len(name) <= 60:
        return name
    raise UsageError(f"name= is a short text, got {name!r:.80}")


def _checked_limit(limit: object) -> int:
    if isinstance(limit, int) and not isinstance(limit, bool) and limit >= 1:
        return limit
    raise UsageError(f"limit= is a whole number of messages from 1 on, got {limit!r:.80}")


def _checked_seconds(seconds: object) -> float:
    if isinstance(seconds, int | float) and not isinstance(seconds, bool) and 0 < seconds <= 600:
        return float(seconds)
    raise UsageError(f"timeout_seconds= is a number of seconds above 0 and up to 600, got {seconds!r:.80}")


def _checked_address(address: object) -> str:
    if isinstance(address, str) and _ADDRESS.fullmatch(address):
        return address
    raise UsageError(f"expected an address such as 'me@example.com', got {address!r:.80}")
