"""Servers on the loopback interface that take notices: HTTP with scripted answers, and mail."""

from __future__ import annotations

import json
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Web(ThreadingHTTPServer):
    """Answers 200 with what Telegram says, unless something else is scripted: one answer a request, in order.

    An answer is ``(status, body, headers)``, or ``"drip"``: a byte now and then, without an end.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, port: int = 0) -> None:
        self.requests: list[tuple[str, str, dict[str, str], Any]] = []
        self.script: list[Any] = []
        self.came = threading.Condition()
        super().__init__(("127.0.0.1", port), _Request)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def texts(self) -> list[str]:
        return [str(body.get("text", body.get("content"))) for *_, body in self.requests if isinstance(body, dict)]

    def wait(self, count: int, seconds: float = 5.0) -> None:
        """Wait until so many requests came."""
        with self.came:
            assert self.came.wait_for(lambda: len(self.requests) >= count, seconds), self.requests


class _Request(BaseHTTPRequestHandler):
    server: Web

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = json.loads(self.rfile.read(length)) if length else None
        server = self.server
        with server.came:
            answer = server.script.pop(0) if server.script else (200, '{"ok":true}', {})
            server.requests.append((self.command, self.path, dict(self.headers), body))
            server.came.notify_all()
        if answer == "drip":
            while True:
                try:
                    self.wfile.write(b"H")
                except OSError:
                    return
                time.sleep(0.02)
        status, text, headers = answer
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def web(port: int = 0) -> Iterator[Web]:
    """A server of HTTP."""
    with _served(Web(port)) as server:
        yield server


class Mail(socketserver.ThreadingTCPServer):
    """Takes mail; ``answers`` are its lines in place of the usual ones, by command."""

    daemon_threads = True
    allow_reuse_address = True
    block_on_close = False

    def __init__(self) -> None:
        self.letters: list[tuple[list[str], str]] = []
        self.commands: list[str] = []
        self.answers: dict[str, list[str]] = {}
        super().__init__(("127.0.0.1", 0), _Session)

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Session(socketserver.StreamRequestHandler):
    server: Mail

    def handle(self) -> None:
        self._say("220 here")
        to: list[str] = []
        for line in self.rfile:
            text = line.decode().rstrip("\r\n")
            word = text.split(" ")[0].split(":")[0].upper()
            self.server.commands.append(word)
            scripted = self.server.answers.get(word)
            if scripted:
                self._say(scripted.pop(0))
                continue
            if word == "RCPT":
                to.append(text)
            if word == "DATA":
                self._say("354 go on")
                letter = []
                for part in self.rfile:
                    if part == b".\r\n":
                        break
                    letter.append(part.decode())
                self.server.letters.append((to, "".join(letter)))
                to = []
            self._say("221 bye" if word == "QUIT" else "250 fine")
            if word == "QUIT":
                return

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


@contextmanager
def mail() -> Iterator[Mail]:
    """A mail server."""
    with _served(Mail()) as server:
        yield server


@contextmanager
def _served(server: Any) -> Iterator[Any]:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def free_port() -> int:
    """A port nobody listens at."""
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        return int(server.server_address[1])
