"""A browser driven through chromedriver's own HTTP interface: nothing to install but Chromium itself."""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

CHROMIUM, CHROMEDRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,1700",
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Browser:
    """One Chromium; ``with Browser(folder) as browser``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.base = ""

    def __enter__(self) -> Browser:
        port = free_port()
        self.process = subprocess.Popen(
            [str(CHROMEDRIVER), f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.base = f"http://127.0.0.1:{port}"
        wait_for(self._ready, 20, "chromedriver")
        arguments = [*FLAGS, f"--user-data-dir={self.folder}"]
        options = {"goog:chromeOptions": {"binary": str(CHROMIUM), "args": arguments}}
        session = self.call("POST", "/session", {"capabilities": {"alwaysMatch": options}})
        self.base += f"/session/{session['sessionId']}"
        self._focus()
        return self

    def _focus(self) -> None:
        # Some headless Chromiums (150 of Debian 12) give their only page no focus: no focus event comes, and JupyterLab
        # has a current widget only after one.
        focused = {"cmd": "Emulation.setFocusEmulationEnabled", "params": {"enabled": True}}
        self.call("POST", "/goog/cdp/execute", focused)

    def __exit__(self, *_: object) -> None:
        try:
            self.call("DELETE", "")
        finally:
            self.process.terminate()
            self.process.wait(timeout=20)

    def _ready(self) -> bool:
        try:
            return bool(self.call("GET", "/status")["ready"])
        except OSError:
            return False

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if method == "GET" else json.dumps(body or {}).encode()
        request = urllib.request.Request(  # noqa: S310 -- always our own chromedriver
            self.base + path, data=data, method=method, headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310
            return json.loads(answer.read())["value"]

    def open(self, url: str) -> None:
        self.call("POST", "/url", {"url": url})

    @contextmanager
    def tab(self) -> Iterator[None]:
        """A tab of its own, which knows nothing of the page in the other one, to which it goes back."""
        before = self.call("GET", "/window")
        self.call("POST", "/window", {"handle": self.call("POST", "/window/new", {"type": "tab"})["handle"]})
        self._focus()
        try:
            yield
        finally:
            self.call("DELETE", "/window")
            self.call("POST", "/window", {"handle": before})

    def run(self, script: str, *values: Any) -> Any:
        """What a piece of JavaScript returns."""
        return self.call("POST", "/execute/sync", {"script": script, "args": list(values)})

    def count(self, selector: str) -> int:
        return int(self.run("return document.querySelectorAll(arguments[0]).length", selector))

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("GET", "/screenshot")))


def wait_for(condition: Any, seconds: float, what: str) -> Any:
    """What ``condition`` answers once it is true."""
    until = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > until:
            raise AssertionError(f"waited {seconds} s for {what}")
        time.sleep(0.1)
