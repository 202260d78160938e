"""Where notices go: a chat of Telegram, a webhook, an email."""

from __future__ import annotations

import smtplib
import socket
import ssl
from email.message import EmailMessage
from typing import Any, Final, Literal, Protocol, TypeAlias, cast

import msgspec

from ...domain.formatting import utc_text
from ...stores.keys_and_tokens import Secret, without_keys
from .escaping import for_discord, for_header, for_html, for_markdown, for_slack
from .http_request import Response, Undelivered, ask, ends_within, undelivered
from .sentences import Notice, one_line

ParseMode: TypeAlias = Literal["HTML", "MarkdownV2"]
Body: TypeAlias = Literal["json", "slack", "discord"]
Security: TypeAlias = Literal["starttls", "tls", "none"]
_JSON: Final = {"Content-Type": "application/json"}


class Channel(Protocol):
    """Delivers notices, one at a time."""

    def deliver(self, notice: Notice) -> None:
        """Deliver one; blocks.

        Raises
        ------
        Undelivered
            It did not arrive, as far as is known.
        """
        ...


class TelegramChat:
    """A chat of Telegram, written to by a bot."""

    def __init__(self, token: Secret, chat: str, *, parse_mode: ParseMode | None, address: str, seconds: float) -> None:
        self._token, self._chat, self._mode = token, chat, parse_mode
        self._address, self._seconds = address, seconds

    def deliver(self, notice: Notice) -> None:
        """Send it to the chat; see :class:`Channel`."""
        body: dict[str, Any] = {"chat_id": self._chat, "text": notice.text, "disable_web_page_preview": True}
        if self._mode is not None:
            escaped = for_html(notice.text) if self._mode == "HTML" else for_markdown(notice.text)
            body |= {"text": escaped, "parse_mode": self._mode}
        url = f"{self._address}/bot{self._token.value}/sendMessage"
        try:
            ask(url, msgspec.json.encode(body), _JSON, seconds=self._seconds, keys=(self._token,))
        except Response as answer:
            said = _answered(answer.body)
            after = said.get("parameters", {}).get("retry_after") if isinstance(said.get("parameters"), dict) else None
            why = str(said.get("description") or "")
            raise undelivered(
                answer, says=why, retry_after=float(after) if isinstance(after, int | float) else None
            ) from None


def _answered(body: str) -> dict[str, Any]:
    try:
        said = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return {}
    return said if isinstance(said, dict) else {}


class Webhook:
    """An address that takes JSON, such as one of Slack or Discord."""

    def __init__(self, url: Secret, *, body: Body, token: Secret | None, seconds: float) -> None:
        self._url, self._body, self._token, self._seconds = url, body, token, seconds

    def deliver(self, notice: Notice) -> None:
        """Post it; see :class:`Channel`."""
        headers = dict(_JSON)
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token.value}"
        keys = (self._url,) if self._token is None else (self._url, self._token)
        try:
            ask(self._url.value, msgspec.json.encode(self._said(notice)), headers, seconds=self._seconds, keys=keys)
        except Response as answer:
            raise undelivered(answer) from None

    def _said(self, notice: Notice) -> dict[str, Any]:
        if self._body == "slack":
            return {"text": for_slack(notice.text)}
        if self._body == "discord":
            return {"content": for_discord(notice.text), "allowed_mentions": {"parse": []}}
        at = None if notice.at is None else utc_text(notice.at)
        return {
            "event": notice.kind, "text": notice.text, "symbol": notice.symbol, "strategy": notice.strategy, "at": at,
        }  # fmt: skip


class Email:
    """Emails through a mail server."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        sender: str,
        to: tuple[str, ...],
        user: str | None,
        password: Secret | None,
        security: Security,
        seconds: float,
    ) -> None:
        self._host, self._port, self._sender, self._to = host, port, sender, to
        self._user, self._password, self._security, self._seconds = user, password, security, seconds

    def deliver(self, notice: Notice) -> None:
        """Send it; see :class:`Channel`."""
        message = EmailMessage()
        message["From"], message["To"] = self._sender, ", ".join(self._to)
        message["Subject"] = for_header(f"bknb {notice.kind}: {notice.text}")
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(f"{notice.text}\n")
        keys = () if self._password is None else (self._password,)
        try:
            self._send(message)
            return
        except smtplib.SMTPAuthenticationError as error:
            refused, why = True, f"it takes no such user and password: {error.smtp_code}"
        except smtplib.SMTPRecipientsRefused as error:
            refused = all(code >= 500 for code, _ in error.recipients.values())
            why = f"it takes none of the addresses: {sorted({code for code, _ in error.recipients.values()})}"
        except smtplib.SMTPResponseException as error:
            refused = error.smtp_code >= 500
            said = error.smtp_error
            why = f"{error.smtp_code} {said.decode('utf-8', 'replace') if isinstance(said, bytes) else said}"
        except smtplib.SMTPNotSupportedError as error:
            refused, why = True, str(error)
        except Exception as error:  # noqa: BLE001 -- whatever it is, nobody knows that it arrived
            refused, why = False, f"{type(error).__name__}: {error}"
        raise Undelivered(f"the mail server: {one_line(without_keys(why, keys), 200)}", refused=refused)

    def _send(self, message: EmailMessage) -> None:
        context = _ForHost(self._host)
        more: dict[str, Any] = {"timeout": self._seconds, "local_hostname": "localhost"}
        server: smtplib.SMTP
        if self._security == "tls":
            server = smtplib.SMTP_SSL(context=cast("ssl.SSLContext", context), **more)
        else:
            server = smtplib.SMTP(**more)
        with ends_within(self._seconds, lambda: [*context.sockets, server.sock]):
            try:
                server.connect(self._host, self._port)
                if self._security == "starttls":
                    server.starttls(context=cast("ssl.SSLContext", context))
                if self._user is not None and self._password is not None:
                    server.login(self._user, self._password.value)
                server.send_message(message)
            finally:
                server.close()


class _ForHost:
    """Encrypts connections to one host, whose certificate has to be its own; holds what it has encrypted."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._context = ssl.create_default_context()
        self.sockets: list[socket.socket] = []

    def wrap_socket(self, plain: socket.socket, **_more: Any) -> ssl.SSLSocket:
        """An encrypted connection."""
        self.sockets.append(encrypted := self._context.wrap_socket(plain, server_hostname=self._host))
        return encrypted
