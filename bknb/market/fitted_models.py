"""Models of a strategy: which fit is in use at a moment, and what it depends on.

A fit belongs to a moment of the schedule of its model, whenever a run began and whoever asks first. What it returned is
kept by its code, its symbol, that moment and the candles it has read, and given to other runs that have the same.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ..errors import UsageError
from ..process import at_reset
from .fit_context import digest_of
from .model_fit import FailedFit, Fit, Model, make_fit, symbols_of
from .newest_moment import newest_moment
from .strategy_context import Context, reads_of

if TYPE_CHECKING:
    from .sessions import Sessions
    from .strategy_context import RunSources

_KEPT: Final = 256  # fits, the oldest of which is forgotten first

KeptFits: TypeAlias = "OrderedDict[tuple[str, tuple[str, ...], int], Fit]"
"""Fits by code, symbols and moment."""

_kept: Final[KeptFits] = OrderedDict()


@at_reset
def forget_fits() -> None:
    """Forget what was fitted in this process: the next run that needs a fit makes it anew."""
    _kept.clear()


class RunModels:
    """The models of a run.

    Parameters
    ----------
    sources
        Of the run.
    find
        Returns the registered model of a name.
    """

    def __init__(self, sources: RunSources, find: Callable[[str], Model]) -> None:
        self._sources, self._find = sources, find
        self._in_use: dict[tuple[str, str], tuple[int, int, Any]] = {}  # the newest: from and until when, what
        self._fits: dict[tuple[str, tuple[str, ...], int], Any] = {}  # values, or errors that are raised again

    def newest(self, name: str, context: Context) -> Any:
        """What ``fit`` returned for the newest moment of a model that is ``delay`` or longer ago, for this symbol.

        Raises
        ------
        UnknownName
            No model of that name is registered.
        UsageError
            In a live run.
        NotEnoughData
            When ``fit`` asked for more candles than there were.
        StrategyError
            When ``fit`` raised something else.
        """
        when, symbol = context.when_ms, context.symbol
        known = self._in_use.get((name, symbol))
        if known is not None and known[0] <= when < known[1]:
            return known[2]
        model = self._find(name)
        if context.mode == "live":
            raise UsageError(
                f"ctx.model({name!r}): models are fitted in backtests only, not in live runs yet\n"
                "fit it outside of the run, and read what it says as a series: bknb.add_series"
            )
        sessions = self.sessions_of(model, context)
        moment = int(newest_moment(model.every, when - model.delay_ms, sessions).timestamp() * 1000)
        value = self._fitted(model, moment, context)
        following = model.every.next_after(moment, sessions)
        if following is not None:
            self._in_use[name, symbol] = (moment + model.delay_ms, following + model.delay_ms, value)
        return value

    def sessions_of(self, model: Model, context: Context) -> Sessions | None:
        """When the market is open by which a model is fitted; symbols that share one have it in common."""
        symbols = symbols_of(model, context)
        found = [self._sources.window.sessions_of(symbol) for symbol in symbols]
        if any(each != found[0] for each in found[1:]):
            raise UsageError(
                f"ctx.model({model.name!r}): it has shared=True, and its symbols have other trading hours: "
                f"{', '.join(symbols):.200}\ngive each symbol a model of its own, or run them apart"
            )
        return found[0]

    def _fitted(self, model: Model, moment: int, context: Context) -> Any:
        key = (model.name, symbols_of(model, context), moment)
        if key not in self._fits:
            self._fits[key] = self._fit(model, moment, context)
        found = self._fits[key]
        if isinstance(found, FailedFit):
            found.raise_again()
        return found

    def _fit(self, model: Model, moment: int, context: Context) -> Any:
        """What a fit returns, or how it failed; one of another run is taken that has read the same candles."""
        sources = self._sources
        if model.name not in sources.model_codes:  # a fit may change what it reads, and is the same all the same
            sources.model_codes[model.name] = model.code()
        code = sources.model_codes[model.name]
        key = (code, symbols_of(model, context), moment)
        kept = _kept if sources.kept_fits is None else sources.kept_fits
        same = kept.get(key)
        if same is None or any(digest_of(each, context) != each.digest for each in same.reads):
            made = make_fit(model, code, moment, context)
            if isinstance(made, FailedFit):
                return made
            same = made
            if not made.others:
                kept[key] = made
                if len(kept) > _KEPT:
                    kept.popitem(last=False)
        sources.fits.append(same.about._replace(name=model.name))
        return same.value


def model_in_use(context: Context, name: str, find: Callable[[str], Model]) -> Any:
    """What ``ctx.model(name)`` gives, of the models that ``find`` returns by name; see :meth:`RunModels.newest`."""
    *_, sources = reads_of(context)
    if sources.models is None:
        sources.models = RunModels(sources, find)
    return sources.models.newest(name, context)
