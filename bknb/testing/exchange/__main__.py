"""``python -m bknb.testing.exchange --port 0 --journal FILE``: a local exchange in a process of its own."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from pathlib import Path


def main() -> None:
    """Serve until the process is ended."""
    from .server import serve

    parser = argparse.ArgumentParser(prog="python -m bknb.testing.exchange", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="where it listens on 127.0.0.1; 0: any free port")
    parser.add_argument("--journal", type=Path, help="a file that gets a line of JSON for everything that happens")
    options = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(options.port, options.journal))


if __name__ == "__main__":
    main()
