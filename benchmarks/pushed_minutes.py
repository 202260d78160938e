"""How soon a minute is known that is asked for, and one that is pushed: ``python benchmarks/pushed_minutes.py``.

Needs ``pip install -e '.[ccxt]'``. A local exchange answers, and pushes what closes a minute, after ``--network``
milliseconds. The client of ccxt keeps the rate limit of Binance. Minutes are short: the clock jumps to just before the
end of the next one. The figures are told, not judged.
"""

from __future__ import annotations

import argparse
import asyncio
import threading
import time
from statistics import mean, median
from typing import Any

START = 1_704_067_200_000  # 2024-01-01
MINUTE = 60_000
WARM_UP = 4  # minutes that are not counted: connections are made, and answers agree with what is pushed


class ShortMinutes:
    """A clock in real time that can jump to 0.4 s before the next full minute."""

    def __init__(self) -> None:
        self.base, self.began = START + 600 * MINUTE, time.perf_counter()

    def now(self) -> int:
        """The present, UTC ms."""
        return int(self.base + (time.perf_counter() - self.began) * 1000)

    def jump(self) -> int:
        """The full minute that comes next."""
        end = (self.now() // MINUTE + 1) * MINUTE
        self.base, self.began = end - 400, time.perf_counter()
        return end

    async def sleep_until(self, when: int) -> None:
        """Return at ``when`` (UTC ms) or a little later."""
        while (left := when - self.now()) > 0:  # noqa: ASYNC110 -- an event loop may wake a little early
            await asyncio.sleep(left / 1000)


class Steps:
    """A source of minutes, at once."""

    name, intervals, page_limit = "steps", ("1m",), None

    async def get_candles(self, symbol: str, interval: str, since: int, limit: int) -> Any:  # noqa: ARG002
        """Minutes from ``since`` on."""
        from bknb.market.candles import Candles

        times = range(since // MINUTE * MINUTE, since + limit * MINUTE, MINUTE)
        return Candles.from_rows([(at, 100.0, 101.0, 99.0, 100.5, 1.0 + at // MINUTE % 7) for at in times])


async def known_after(source: Any, symbols: list[str], end: int, clock: ShortMinutes) -> list[int]:
    """When the minute that ends at ``end`` (UTC ms) is known of each symbol, milliseconds after its end."""

    async def known(symbol: str) -> int:
        while True:
            candles = await source.get_candles(symbol, "1m", end - 2 * MINUTE, 2)
            if len(candles) == 2 and int(candles.timestamp[-1]) == end - MINUTE:
                return clock.now() - end
            await asyncio.sleep(0.2)

    await clock.sleep_until(end)
    return await asyncio.gather(*(known(symbol) for symbol in symbols))


def measure(count: int, *, streamed: bool, minutes: int, network: float) -> str:
    """A line of the table."""
    from bknb.exchanges.ccxt_source import CcxtSource
    from bknb.exchanges.ccxt_stream import CcxtStream
    from bknb.market.fetch_loop import fetch_now
    from bknb.market.streamed_source import StreamedSource
    from bknb.testing.fake_binance import LocalBinance, Market
    from bknb.testing.fake_binance_stream import LocalBinanceStream

    clock, steps = ShortMinutes(), Steps()
    markets = [Market(base=f"S{number}") for number in range(count)]
    symbols = [market.id for market in markets]
    times: list[int] = []
    requests: list[int] = []
    with LocalBinance(steps, now=clock.now, markets=markets) as server, LocalBinanceStream(server) as pushes:  # type: ignore[arg-type]
        server.on_klines = lambda: time.sleep(network)
        asked = CcxtSource("binance", now=clock.now, config=pushes.ccxt_config)
        fetch_now(asked.get_candles(symbols[0], "1m", START, 1))
        stream = CcxtStream(asked, now=clock.now, config=pushes.ccxt_config)
        followed = symbols if streamed else []
        for symbol in followed:
            stream.follow(symbol)
        pushes.wait_for(connections=int(streamed), symbols=followed)

        def push(end: int) -> None:
            pushes.push(end - MINUTE, parts=(0, 1, 2))
            time.sleep(max(0.0, (end - clock.now()) / 1000) + network)
            pushes.push(end - MINUTE, parts=(3,))

        for _ in range(WARM_UP + minutes):
            end, before = clock.jump(), len(server.asked("klines"))
            pushing = threading.Thread(target=push, args=(end,))
            pushing.start()
            source = StreamedSource(asked, stream, clock) if streamed else asked
            times += fetch_now(known_after(source, symbols, end, clock))
            pushing.join()
            requests.append(len(server.asked("klines")) - before)
        for symbol in followed:
            stream.leave(symbol)
        pushes.wait_for(connections=0)
    times, how = times[WARM_UP * count :], "streamed" if streamed else "asked"
    return f"| {count} | {how} | {median(times):.0f} | {max(times)} | {mean(requests[WARM_UP:]):g} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--symbols", type=int, nargs="+", default=[1, 200])
    parser.add_argument("--minutes", type=int, default=10)
    parser.add_argument("--network", type=float, default=50, help="milliseconds of an answer, and of a push")
    given = parser.parse_args()
    print("| symbols | how | median ms | longest ms | requests in a minute |")
    print("|---|---|---|---|---|")
    for count in given.symbols:
        for streamed in (False, True):
            print(measure(count, streamed=streamed, minutes=given.minutes, network=given.network / 1000))


if __name__ == "__main__":
    main()
