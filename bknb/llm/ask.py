"""Functions that make language models, and the request for a signal inside a strategy."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from ..domain.formatting import exact_text, minute_text
from ..domain.interval import interval_ms
from ..domain.signal import Signal
from ..errors import ModelError, ReplyRefused, UsageError
from .ollama_client import DEFAULT_MODEL, OllamaModel

if TYPE_CHECKING:
    from ..ports import Model, ModelReply
    from .recordings import RecordedModel, RecordingModel


def ollama(
    name: str = DEFAULT_MODEL, *, host: str | None = None, key: str | None = None, **options: Any
) -> OllamaModel:
    """A model served by Ollama: on this machine, on any host, or in Ollama's cloud.

    Parameters
    ----------
    name
        The model. ``deepseek-v3.1:671b`` and names ending in ``-cloud`` run in the cloud, others on
        ``OLLAMA_HOST`` or this machine.
    host
        The host's address, such as ``"http://10.0.0.5:11434"``.
    key
        Bearer token; by default ``OLLAMA_API_KEY``, and that only for Ollama's own cloud.
    **options
        ``think``, ``timeout_seconds``, ``silence_seconds``, ``retries``, ``options``; see
        :class:`bknb.llm.ollama_client.OllamaModel`.

    Examples
    --------
    >>> ollama("qwen3:8b", host="http://127.0.0.1:11434", retries=1)
    OllamaModel('qwen3:8b', host='http://127.0.0.1:11434')
    """
    return OllamaModel(name, host=host, key=key, **options)


def recorded(replies: str | Path | Iterable[str | Mapping[str, Any]], *, strict: bool = False) -> RecordedModel:
    """A model that replays recorded replies; offline, the same each time.

    Parameters
    ----------
    replies
        A file written by ``bknb.llm.recording``, or the replies themselves.
    strict
        Give a reply only to the messages it was recorded for; otherwise they are given in order.

    Examples
    --------
    >>> recorded(["{}"])
    RecordedModel(1 replies from a list)
    """
    from .recordings import RecordedModel

    return RecordedModel(replies, strict=strict)


def recording(model: Model, path: str | Path) -> RecordingModel:
    """A model whose replies are written to a file, for ``bknb.llm.recorded``.

    Examples
    --------
    >>> recording(recorded(["{}"]), "replies.json").name
    'recorded'
    """
    from .recordings import RecordingModel

    return RecordingModel(model, path)


# --- a model as a strategy --------------------------------------------------------------------------------------


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    """The reply a model must give to a request for a signal."""

    position: Literal["wait", "long", "short"]
    note: str
    price_open: float
    price_take_profit: float
    price_stop_loss: float
    minute_estimated_time: int


_RULES: Final = """You decide on one trade of {symbol}. You are shown candles, oldest first, and asked once.
Answer with one JSON object and nothing else:
- position: "long", "short", or "wait". Open only on a clear signal; when the picture is weak or contradictory: "wait".
- price_open: the entry price; the price now to enter at once, another price to wait for it. 0 means at once.
- long: price_take_profit > price_open > price_stop_loss. short: the other way round. Each level needs a reason in
  the chart. The take profit is at least {min_take_profit} % away, the stop between {min_stop_loss} % and
  {max_stop_loss} %.
- minute_estimated_time: whole minutes after which the position is closed, at most {max_minutes}.
- note: one sentence why. With "wait" the numbers are 0."""

_WINDOWS: Final[Mapping[str, int]] = {"1h": 24, "15m": 24, "5m": 24, "1m": 30}
_LONGER: Final = ("3d", "1d", "4h", "1h", "15m", "5m")


def _windows(base: str) -> Mapping[str, int]:
    """The candles shown where none were chosen: over longer base bars these, and two longer intervals made of them."""
    if base == "1m":
        return _WINDOWS
    step = interval_ms(base)
    longer = [each for each in _LONGER if interval_ms(each) > step and interval_ms(each) % step == 0]
    return {**dict.fromkeys(longer[-2:], 24), base: 30}


async def ask_model(
    instructions: str,
    *,
    model: Model | str | None,
    candles: Mapping[str, int] | None = None,
    cache: str | Path | None = "./dump/answers",
    timeout_seconds: float = 60.0,
    seed: int | None = 1,
) -> Signal | None:
    """Ask a language model for a signal, inside ``get_signal``; ``None`` when it says "wait".

    The reply is saved on disk under the fingerprint of the whole request, so a backtest repeats itself without a
    model, to the last trade.

    Parameters
    ----------
    instructions
        The strategy in words.
    model
        The model: from ``bknb.llm``, or the name of a model behind Ollama. ``None``: only what is in the cache.
    candles
        Interval -> how many of the newest closed candles to show. By default 24 of 1h, 15m and 5m, and 30 of 1m; over
        longer base bars 30 of them, and 24 of each of the next two intervals.
    cache
        Folder of the saved replies; ``None``: none are saved.
    timeout_seconds
        A reply that takes longer is cancelled, and the request counts as failed.
    seed
        For models that support one.

    Raises
    ------
    ModelError
        When there is no reply in time, or none in the cache and no model.
    ReplyRefused
        When the reply is not a signal.
    UsageError
        Outside a strategy.

    Notes
    -----
    Use it in a coroutine, so that a live run goes on meanwhile: ``async def get_signal(ctx): return await
    bknb.ask_model(...)``.

    Examples
    --------
    >>> import bknb
    >>> model = bknb.llm.recorded(['{"position": "wait", "note": "", "price_open": 0, "price_take_profit": 0, '
    ...                            '"price_stop_loss": 0, "minute_estimated_time": 0}'] * 5)
    >>> async def get_signal(ctx):
    ...     return await bknb.ask_model("Buy strong dips.", model=model, candles={"1h": 3}, cache=None)
    >>> result = bknb.backtest("BTCUSDT", strategy=get_signal, interval="6h", exchange="demo",
    ...                        frame="2024-01-01:2024-01-02")
    >>> len(result.trades), result.errors
    (0, [])
    """
    import asyncio

    from .recordings import AnswerFolder, fingerprint
    from .structured import schema_of

    messages = _messages(instructions, candles)
    schema = schema_of(Advice)
    chosen = None if model is None else as_model(model)
    name = None if chosen is None else chosen.name
    folder = AnswerFolder(cache) if cache is not None else None
    question = fingerprint(messages, schema=schema, seed=seed)
    reply = folder.find(question, model=name) if folder is not None else None
    if reply is None:
        if chosen is None:
            raise ModelError(
                f"no answer to this question in {cache}, and there is no model to ask\n"
                "run once with a model, or pass the folder of a run that had one"
            )
        try:
            async with asyncio.timeout(timeout_seconds):
                reply = await chosen.chat(messages, schema=schema, seed=seed)
        except TimeoutError:
            raise ModelError(f"{name} gave no answer within {timeout_seconds:g} s") from None
        signal = _signal(reply)  # only what can be read is saved
        if folder is not None:
            folder.save(question, dataclasses.replace(reply, model=chosen.name))
        return signal
    return _signal(reply)


def _messages(instructions: str, windows: Mapping[str, int] | None) -> list[dict[str, str]]:
    from ..config import get_config
    from ..market.get_candles_series_and_average_price import get_average_price, get_candles
    from ..market.get_when_symbol_base_and_mode import get_base, get_symbol, get_when
    from .tables import render

    symbol, when, price = get_symbol(), get_when(), get_average_price()
    rules = _RULES.format(symbol=symbol, **get_config().advice())
    messages = [{"role": "system", "content": rules}]
    for interval, count in (_windows(get_base()) if windows is None else windows).items():
        rows = [
            {"time": exact_text(int(candle["timestamp"])), **{name: candle[name] for name in _PRICES}}
            for candle in get_candles(symbol, interval, count)
        ]
        messages.append({"role": "user", "content": f"{interval} candles of {symbol}\n\n{render(rows).text}"})
        messages.append({"role": "assistant", "content": f"{interval} candles read."})
    request = (
        f"It is {minute_text(when)} UTC, {symbol} is at {price:.8g}. "
        f"Decide by this strategy: {instructions.strip()}\n"
        'When the picture is weak or contradictory, the position is "wait".'
    )
    messages.append({"role": "user", "content": request})
    return messages


_PRICES: Final = ("open", "high", "low", "close", "volume")


def _signal(reply: ModelReply) -> Signal | None:
    from .structured import Objection, read

    advice = read(reply.text, Advice)
    if isinstance(advice, Objection):
        raise ReplyRefused(f"{reply.model or 'the model'} answered something else than a signal: {advice.text}")
    if advice.position == "wait":
        return None
    return Signal(
        position=advice.position,
        price_take_profit=advice.price_take_profit,
        price_stop_loss=advice.price_stop_loss,
        minute_estimated_time=advice.minute_estimated_time,
        price_open=advice.price_open or None,
        note=advice.note[:200],
    )


def _check(model: object) -> None:
    """Raise UsageError for an object that is no model."""
    if not (hasattr(model, "chat") and hasattr(model, "name")):
        raise UsageError(
            f"model must be from bknb.llm (ollama, recorded), the name of an Ollama model, or have name and chat; "
            f"got {model!r:.80}"
        )


def as_model(model: Model | str | None) -> Model:
    """The model for a model, the name of one on Ollama, or ``None`` (the default model).

    Examples
    --------
    >>> as_model(None).name
    'deepseek-v3.1:671b'
    """
    if model is None or isinstance(model, str):
        return ollama(model or DEFAULT_MODEL)
    _check(model)
    return model
