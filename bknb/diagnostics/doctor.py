"""``bknb doctor``: checks of Python, packages, JupyterLab, Ollama, clocks and saved files, with advice."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal

from ..domain.formatting import failure_text, utc_text
from ..domain.ranges import Ranges
from ..engine.registry import registry
from ..errors import UsageError
from ..history.candle_store import DEFAULT_FOLDER as CANDLE_FOLDER
from ..history.candle_store import CandleStore
from ..history.partition import SeriesName
from ..ports import BrokerWithAccount
from ..runs.card_of_result import made_with
from ..stores.default_store import DEFAULT_FOLDER as STATE_FOLDER
from . import environment
from .environment import installed, is_older, major
from .findings import Checkup, Finding, State, skew_text

_OLDEST_PYTHON: Final = (3, 11)
_SKEW_MS: Final = 1_000
_EXTRAS: Final = {
    "calendars": "trading sessions of exchanges",
    "ccxt": "exchanges over the network",
    "cluster": "sweeps on several machines",
    "duckdb": "candles from a query",
    "excel": "workbooks of results",
    "indicators": "indicators by TA-Lib",
    "notebook": "magics, figures, bknb run",
    "ollama": "language models",
    "optuna": "sweeps that search",
    "parquet": "Parquet files, stored candles",
    "sweep": "fast sweeps",
    "yfinance": "bars of Yahoo Finance",
}


def doctor(
    *,
    state: str | Path = STATE_FOLDER,
    candles: str | Path = CANDLE_FOLDER,
    network: bool = True,
    broker: str | BrokerWithAccount | None = None,
    market: Literal["spot", "swap"] = "spot",
    symbol: str | None = None,
    real_money: bool = False,
    test_order: bool | None = None,
    price: float | None = None,
) -> Checkup:
    """Check the environment of bknb, or an account at a broker, with advice for whatever is wrong.

    Checked are versions of Python and of every package, the cache of compiled kernels, JupyterLab with its widgets
    and its kernel, Ollama, the clocks of registered exchanges, stored candles, and the folder of saved state. Nothing
    is changed.

    With ``broker=`` its account is checked in place of these: requests of ccxt, clock, what the key may do, rules of
    the market. In a sandbox the smallest order is then placed far from the market, asked about, listed and cancelled,
    and so is a stop, which is moved, too. Whatever happens, what may be left of them is cancelled at the end; where
    that cannot be made sure of, the last finding says so. With real money no order is placed unless
    ``test_order=True``, and no stop.

    Parameters
    ----------
    state
        The folder of saved state.
    candles
        The folder of stored candles.
    network
        Whether Ollama and exchanges are asked.
    broker
        The name of an exchange, whose sandbox is checked, or a broker.
    market
        What is traded there, where it is given by its name.
    symbol
        On which market orders are tried out; by default BTC/USDT.
    real_money
        Check the account with real money in place of the sandbox.
    test_order
        Whether orders are placed; by default in a sandbox alone.
    price
        The last price, in quote currency, where the broker does not tell it.

    Raises
    ------
    UsageError
        An option cannot be read, or a broker with real money was given without ``real_money=True``.

    Examples
    --------
    >>> import bknb
    >>> checkup = bknb.doctor(network=False)
    >>> checkup.findings[0].what
    'Python'
    >>> bool(bknb.doctor(broker=bknb.brokers.paper(), price=50_000.0))
    True
    """
    if broker is not None:
        from .account_check import check_account  # loads the client of an exchange

        options: dict[str, Any] = {"market": market, "symbol": symbol, "real_money": real_money, "price": price}
        return Checkup(tuple(check_account(broker, test_order=test_order, **options)))
    _must_be_of_a_broker(symbol, price, real_money=real_money, test_order=test_order)
    parts: list[Callable[[], Iterator[Finding]]] = [_python, _packages, _kernel_cache, _jupyter]
    if network:
        parts += [_ollama, _clocks]
    parts += [lambda: _stored_candles(Path(candles)), lambda: _saved_state(Path(state))]
    found: list[Finding] = []
    for part in parts:
        try:
            found += part()
        except Exception as error:  # noqa: BLE001 -- one check that fails must not end the others
            name = getattr(part, "__name__", "").strip("_<>") or "state"
            found.append(
                Finding(
                    what=name,
                    state="bad",
                    found=f"could not be looked at: {type(error).__name__}: {error}",
                    advice="report this, with the line above",
                )
            )
    return Checkup(tuple(found))


def _must_be_of_a_broker(symbol: str | None, price: float | None, *, real_money: bool, test_order: bool | None) -> None:
    given = {"symbol": symbol, "price": price, "test_order": test_order, "real_money": real_money or None}
    names = [name for name, value in given.items() if value is not None]
    if names:
        raise UsageError(f"{', '.join(names)} is about an account: give broker= too, such as broker='binance'")


def _judged(what: str, fits: bool, found: str, *, advice: str, otherwise: State = "bad") -> Finding:  # noqa: FBT001
    """An "ok" finding when it fits; else one in another state, with advice."""
    return Finding(what=what, state="ok" if fits else otherwise, found=found, advice="" if fits else advice)


# --- packages ---------------------------------------------------------------------------------------------------


def _python() -> Iterator[Finding]:
    found = f"{platform.python_version()} on {sys.platform} {platform.machine()}"
    fits = sys.version_info >= _OLDEST_PYTHON
    yield _judged("Python", fits, found, advice="bknb needs Python 3.11 or newer")
    versions = made_with()
    yield Finding(what="bknb", state="ok", found=f"{versions['bknb']}, code {versions['bknb code']}")


def _packages() -> Iterator[Finding]:
    groups: dict[str, list[tuple[str, str]]] = {}
    for name, lowest, extra in environment.needs():
        groups.setdefault(extra, []).append((name, lowest))
    yield _group("packages", groups.get("", []), install="pip install -U bknb", always=True)
    for extra, needed in groups.items():
        if extra in ("", "test"):
            continue
        what = f"packages [{extra}]"
        yield _group(what, needed, install=f"pip install -U 'bknb[{extra}]'", purpose=_EXTRAS.get(extra, ""))


def _group(
    what: str, needed: list[tuple[str, str]], *, install: str, always: bool = False, purpose: str = ""
) -> Finding:
    missing = [name for name, _ in needed if installed(name) is None]
    old = [
        f"{name} {have} (needs {lowest})"
        for name, lowest in needed
        if (have := installed(name)) is not None and is_older(have, lowest)
    ]
    if old:
        return Finding(what=what, state="bad", found=f"too old: {', '.join(old)}", advice=install)
    if missing:
        found = f"not installed: {', '.join(missing)}" + (f" ({purpose})" if purpose else "")
        return Finding(what=what, state="bad" if always else "note", found=found, advice=install)
    return Finding(what=what, state="ok", found=", ".join(f"{name} {installed(name)}" for name, _ in needed))


def _kernel_cache() -> Iterator[Finding]:
    if installed("numba") is None:
        return
    folder = environment.kernel_cache()
    there = next(parent for parent in (folder, *folder.parents) if parent.is_dir())
    writable = environment.can_write(there)
    yield _judged(
        "kernel cache",
        writable,
        f"{folder} {'can' if writable else 'cannot'} be written",
        otherwise="note",
        advice="set NUMBA_CACHE_DIR to a folder of yours, or every process compiles anew",
    )


# --- Jupyter ----------------------------------------------------------------------------------------------------


def _jupyter() -> Iterator[Finding]:
    lab, widgets, kernel = (installed(name) for name in ("jupyterlab", "ipywidgets", "ipykernel"))
    if lab is None:
        return  # reported with the packages of [notebook]
    found = f"JupyterLab {lab}, ipykernel {kernel or 'none'}, ipywidgets {widgets or 'none'}"
    yield Finding(what="JupyterLab", state="ok", found=f"{found}, anywidget {installed('anywidget') or 'none'}")
    extensions = environment.lab_extensions()
    if widgets is not None:
        yield _widgets(major(lab), widgets, extensions)
    if installed("anywidget") is not None and "anywidget" not in extensions:
        yield Finding(
            what="anywidget",
            state="bad",
            found="its JupyterLab extension is not where JupyterLab looks",
            advice="pip install --force-reinstall anywidget, then reload the page",
        )
    python = environment.kernel_python()
    if python is None:
        advice = "python -m ipykernel install --user"
        yield Finding(what="kernel", state="bad", found="there is no kernel called python3", advice=advice)
    else:
        same = Path(python).resolve() == Path(sys.executable).resolve() or Path(python) == Path(sys.executable)
        found = "python3 runs this Python" if same else f"python3 runs {python}, which is not this Python"
        yield _judged("kernel", same, found, otherwise="note", advice="start JupyterLab with: bknb lab")


def _widgets(lab: int, widgets: str, extensions: dict[str, str]) -> Finding:
    """Whether ipywidgets and JupyterLab's widget extension fit: ipywidgets 8 needs jupyterlab_widgets 3."""
    front = extensions.get("@jupyter-widgets/jupyterlab-manager")
    if front is None:
        found = f"ipywidgets {widgets}, but JupyterLab has no extension that draws widgets"
        advice = "pip install --force-reinstall jupyterlab_widgets, then reload the page"
        return Finding(what="widgets", state="bad", found=found, advice=advice)
    fits = major(widgets) >= 8 and major(front) >= 5 and lab >= 4
    return _judged(
        "widgets",
        fits,
        f"ipywidgets {widgets} with JupyterLab extension {front}{'' if fits else ': they do not fit'}",
        advice="pip install -U 'jupyterlab>=4.2' 'ipywidgets>=8.1.5' jupyterlab_widgets",
    )


# --- services --------------------------------------------------------------------------------------------------


def _ollama() -> Iterator[Finding]:
    host = environment.ollama_host()
    try:
        models = environment.ollama_models(host)
    except OSError as error:
        found = f"{host} does not answer: {error}"
        advice = "only %optimize needs it: start it with 'ollama serve', or set OLLAMA_HOST"
        yield Finding(what="Ollama", state="note", found=found, advice=advice)
        return
    found = f"{host} has {len(models)} model{'' if len(models) == 1 else 's'}"
    yield _judged("Ollama", bool(models), found, otherwise="note", advice="fetch one: ollama pull NAME")


def _asked_sources() -> Iterator[tuple[str, object]]:
    """The sources of registered exchanges by name; of joined ones each of them."""
    for name, exchange in registry.exchanges.items.items():
        parts: Mapping[str, object] = getattr(exchange.source, "parts", {})
        yield from (
            ((f"{name} ({prefix})", part) for prefix, part in parts.items()) if parts else [(name, exchange.source)]
        )


def _clocks() -> Iterator[Finding]:
    for name, source in _asked_sources():
        measure: Any = getattr(source, "clock_skew_ms", None)
        if not callable(measure):
            continue
        try:
            skew = int(measure())
        except Exception as error:  # noqa: BLE001 -- an exchange may fail in any way; that is the finding
            yield Finding(
                what=f"clock of {name}",
                state="note",
                found=failure_text(error),
                advice="look at the network and the exchange's status",
            )
            continue
        yield _judged(
            f"clock of {name}",
            abs(skew) <= _SKEW_MS,
            skew_text(skew),
            advice="let the system set its clock from the network (NTP)",
        )


def _stored_candles(folder: Path) -> Iterator[Finding]:
    if not folder.is_dir():
        return
    store = CandleStore(folder)
    damaged = store.problems()
    if damaged:
        yield Finding(
            what="stored candles",
            state="bad",
            found=f"{len(damaged)} file{'' if len(damaged) == 1 else 's'} cannot be used: {damaged[0]}",
            advice="remove the file and download that stretch again: bknb.download",
        )
        return
    series = store.series()
    yield Finding(what="stored candles", state="ok", found=f"{len(series)} series in {folder}")
    for name in series:
        known = store.known(name)
        begin, end = known[0][0], known[-1][1]
        unknown = store.missing(name, begin, end)
        absent = store.absent(name, begin, end)
        if unknown or absent:
            yield _gaps(name, unknown=unknown, absent=absent)


def _gaps(name: SeriesName, *, unknown: Ranges, absent: Ranges) -> Finding:
    """The finding for gaps of a series: ranges never requested, and those without candles at the exchange."""
    parts = []
    if unknown:
        parts.append(f"{len(unknown)} never asked for, the first at {utc_text(unknown[0][0])}")
    if absent:
        parts.append(f"{len(absent)} without candles at the exchange, the first at {utc_text(absent[0][0])}")
    advice = "download them: bknb.download" if unknown else "a run over them needs allow_gaps=True, or market hours"
    return Finding(what=f"candles {name}", state="note", found=f"gaps: {'; '.join(parts)}", advice=advice)


def _saved_state(root: Path) -> Iterator[Finding]:
    if not root.is_dir():
        yield Finding(what="saved state", state="ok", found=f"nothing saved yet in {root}")
        return
    good, damaged, aside = environment.state_health(root)
    holder = environment.state_holder(root)
    found = f"{good} value{'' if good == 1 else 's'} in {root}"
    found += f", in use by {holder}" if holder else ""
    if not environment.can_write(root):
        yield Finding(
            what="saved state",
            state="bad",
            found=f"{found}; cannot be written",
            advice="give yourself the right to write",
        )
    elif damaged:
        yield Finding(
            what="saved state",
            state="bad",
            found=f"{found}; damaged: {', '.join(damaged[:3])}",
            advice="look at your exchange before the next live run: what was open there is not known here",
        )
    else:
        yield Finding(what="saved state", state="ok", found=found)
    if aside:
        yield Finding(
            what="moved aside",
            state="bad",
            found=f"{len(aside)} damaged value{'' if len(aside) == 1 else 's'}: {', '.join(aside[:3])}",
            advice="look at your exchange, then remove or repair the file; the run says how",
        )
