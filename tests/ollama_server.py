"""A scripted server of Ollama's protocol on the loopback interface."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[["Exchange"], None]


@dataclass
class Exchange:
    """One request, and the means to answer it."""

    handler: BaseHTTPRequestHandler
    body: dict[str, Any]

    def head(self, status: int = 200, *, kind: str = "application/x-ndjson") -> None:
        self.handler.send_response(status)
        self.handler.send_header("Content-Type", kind)
        self.handler.send_header("Transfer-Encoding", "chunked")
        self.handler.end_headers()

    def send(self, text: str) -> None:
        """One chunk of the transfer encoding."""
        data = text.encode()
        self.handler.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.handler.wfile.flush()

    def line(self, **message: Any) -> None:
        self.send(json.dumps(message) + "\n")

    def end(self) -> None:
        self.handler.wfile.write(b"0\r\n\r\n")


@dataclass
class Server:
    """What was asked, and what is answered next; the last answer is repeated."""

    answers: list[Answer]
    url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    gone: threading.Event = field(default_factory=threading.Event)  # a client hung up


@contextmanager
def serving(*answers: Answer) -> Iterator[Server]:
    server = Server(list(answers))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = server.answers[min(len(server.asked), len(server.answers) - 1)]
            server.asked.append({"path": self.path, **body})
            server.headers.append({name.lower(): value for name, value in self.headers.items()})
            try:
                answer(Exchange(self, body))
            except OSError:
                server.gone.set()
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            return

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    server.url = f"http://127.0.0.1:{http.server_port}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


def saying(text: str, *, thinking: str = "", piece: int = 7) -> Answer:
    """A streamed chat: thinking first, then the text, a few letters at a time, then the numbers."""

    def answer(exchange: Exchange) -> None:
        exchange.head()
        for field_, whole in (("thinking", thinking), ("content", text)):
            for at in range(0, len(whole), piece):
                message = {"role": "assistant", "content": "", field_: whole[at : at + piece]}
                exchange.line(model=exchange.body["model"], message=message, done=False)
        exchange.line(
            model=exchange.body["model"],
            message={"role": "assistant", "content": ""},
            done=True,
            done_reason="stop",
            prompt_eval_count=321,
            eval_count=45,
        )
        exchange.end()

    return answer


def refusing(status: int, error: str) -> Answer:
    """An error as Ollama sends it."""

    def answer(exchange: Exchange) -> None:
        data = json.dumps({"error": error}).encode()
        exchange.handler.send_response(status)
        exchange.handler.send_header("Content-Type", "application/json")
        exchange.handler.send_header("Content-Length", str(len(data)))
        exchange.handler.end_headers()
        exchange.handler.wfile.write(data)

    return answer


def cut_off(text: str) -> Answer:
    """A stream whose connection breaks in the middle."""

    def answer(exchange: Exchange) -> None:
        exchange.head()
        exchange.line(message={"role": "assistant", "content": text}, done=False)
        exchange.handler.wfile.flush()
        exchange.handler.connection.close()

    return answer


def ending_early(text: str) -> Answer:
    """A stream that ends politely, without ever being done."""

    def answer(exchange: Exchange) -> None:
        exchange.head()
        exchange.line(message={"role": "assistant", "content": text}, done=False)
        exchange.end()

    return answer


def failing_midway(text: str, error: str) -> Answer:
    """A stream in which the host reports an error."""

    def answer(exchange: Exchange) -> None:
        exchange.head()
        exchange.line(message={"role": "assistant", "content": text}, done=False)
        exchange.line(error=error)
        exchange.end()

    return answer


def raw(text: str) -> Answer:
    """Something that is not Ollama's protocol."""

    def answer(exchange: Exchange) -> None:
        exchange.head()
        exchange.send(text)
        exchange.end()

    return answer


def truncated(text: str) -> Answer:
    """An answer that did not fit into the context."""

    def answer(exchange: Exchange) -> None:
        exchange.head()
        message = {"role": "assistant", "content": text}
        exchange.line(message=message, done=True, done_reason="length", prompt_eval_count=1, eval_count=1)
        exchange.end()

    return answer


def silent(seconds: float = 20.0, *, first: str = "") -> Answer:
    """A host that accepts the question and then says nothing, until the client has gone."""

    def answer(exchange: Exchange) -> None:
        exchange.head()
        if first:
            exchange.line(message={"role": "assistant", "content": first}, done=False)
        until = time.monotonic() + seconds
        exchange.handler.connection.settimeout(0.05)
        while time.monotonic() < until:
            try:
                if exchange.handler.connection.recv(1) == b"":
                    raise BrokenPipeError
            except TimeoutError:
                continue

    return answer


def dripping(pause: float) -> Answer:
    """A host that sends a letter now and then, and never comes to an end."""

    def answer(exchange: Exchange) -> None:
        exchange.head()
        while True:
            exchange.line(message={"role": "assistant", "content": "x"}, done=False)
            time.sleep(pause)

    return answer
