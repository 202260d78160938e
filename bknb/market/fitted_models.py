"""Models of a strategy: which fit is in use at a moment, and what it depends on.

A fit belongs to a moment of the schedule of its model, whenever a run began and whoever asks first. What it returned is
kept by its code, its symbol, that moment and the candles it has read, and given to other runs that have the same.
"""

from __future__ import annotations

from collections import ChainMap, OrderedDict
from collections.abc import Callable, MutableMapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ..errors import UsageError
from ..process import at_reset
from .fit_context import digest_of
from .model_fit import FailedFit, Fit, Model, hash_of, make_fit, settings_apart, symbols_of
from .newest_moment import newest_moment
from .strategy_context import Context, reads_of

if TYPE_CHECKING:
    from .sessions import Sessions
    from .strategy_context import RunSources

_KEPT: Final = 256  # fits, the oldest of which is forgotten first

KeptFits: TypeAlias = "MutableMapping[tuple[str, tuple[str, ...], int], Fit]"
"""Fits by code, symbols and moment."""

MakeFit: TypeAlias = Callable[[Model, str, int, Context], Fit | FailedFit]
"""Makes the fit of a model, with the digest of its code, at a moment (UTC ms), of the run of a context."""

_kept: Final[OrderedDict[tuple[str, tuple[str, ...], int], Fit]] = OrderedDict()


@at_reset
def forget_fits() -> None:
    """Forget what was fitted in this process: the next run that needs a fit makes it anew."""
    _kept.clear()


def kept_fits_of_process() -> KeptFits:
    """The fits that runs of this process have made."""
    return _kept


def kept_key(model: Model, code: str, symbols: tuple[str, ...], moment: int) -> tuple[str, tuple[str, ...], int]:
    """By what a fit is kept; one that symbols share is another one, also where there is one symbol."""
    return code, (*symbols, "") if model.shared else symbols, moment


def keep(kept: KeptFits, key: tuple[str, tuple[str, ...], int], fit: Fit, model: Model) -> None:
    """Keep a fit, for other runs of this process, too, unless its code reads what its digest does not know."""
    is_for_others = not model.reads_unseen()
    if kept is not _kept or is_for_others:
        kept[key] = fit
    if kept is not _kept and isinstance(kept, ChainMap) and is_for_others:
        _kept[key] = fit
    while len(_kept) > _KEPT:
        _kept.popitem(last=False)


def code_in_run(model: Model, context: Context) -> str:
    """A digest of the code of a model, as it was when a run asked for it first: a fit may change what it reads.

    It is of settings, too, that are not the default: ``bknb.outcomes`` has its costs from them.
    """
    *_, sources = reads_of(context)
    if model.name not in sources.model_codes:
        code, apart = model.code(), settings_apart()
        sources.model_codes[model.name] = hash_of(code, sorted(apart.items())) if apart else code
    return sources.model_codes[model.name]


def kept_or_made(model: Model, code: str, moment: int, context: Context, make: MakeFit = make_fit) -> Fit | FailedFit:
    """The fit of another run that has read the same candles, or a new one, or how that failed.

    Raises
    ------
    NotEnoughData
        A candle that has closed is not here yet.
    """
    *_, sources = reads_of(context)
    kept = _kept if sources.kept_fits is None else sources.kept_fits
    key = kept_key(model, code, symbols_of(model, context), moment)
    same = kept.get(key)
    if same is not None and all(digest_of(each, context) == each.digest for each in same.reads):
        return same._replace(about=same.about._replace(name=model.name))
    made = make(model, code, moment, context)
    if isinstance(made, Fit):
        keep(kept, key, made, model)
    return made


def moment_of(model: Model, when: int, context: Context) -> int:
    """The newest moment of a model at or before ``when``, both in UTC ms."""
    return int(newest_moment(model.every, when, sessions_of(model, context)).timestamp() * 1000)


def sessions_of(model: Model, context: Context) -> Sessions | None:
    """When the market is open by which a model is fitted; symbols that share one have it in common."""
    *_, sources = reads_of(context)
    symbols = symbols_of(model, context)
    found = [sources.window.sessions_of(symbol) for symbol in symbols]
    if any(each != found[0] for each in found[1:]):
        raise UsageError(
            f"ctx.model({model.name!r}): it has shared=True, and its symbols have other trading hours: "
            f"{', '.join(symbols):.200}\ngive each symbol a model of its own, or run them apart"
        )
    return found[0]


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
        self._made: dict[tuple[str, tuple[str, ...], int], Fit | FailedFit] = {}
        self._used: set[tuple[str, str, int]] = set()  # fits that were told
        self._models: dict[str, Model] = {}  # as they were when they were asked for first

    def newest(self, name: str, context: Context) -> Any:
        """What ``fit`` returned for the newest moment of a model that is ``delay`` or longer ago, for this symbol.

        Raises
        ------
        UnknownName
            No model of that name is registered.
        UsageError
            Where a live run has nothing that fits beside it.
        ModelLate
            When it is not fitted yet, in a live run.
        NotEnoughData
            When ``fit`` asked for more candles than there were.
        StrategyError
            When ``fit`` raised something else.
        """
        when, symbol = context.when_ms, context.symbol
        known = self._in_use.get((name, symbol))
        if known is not None and known[0] <= when < known[1]:
            return known[2]
        model = self._model(name)
        moment = moment_of(model, when - model.delay_ms, context)
        made = self._fit(model, moment, context)
        if isinstance(made, FailedFit):
            made.raise_again()
        about = made.about
        if (about.name, about.symbol, about.when) not in self._used:
            self._used.add((about.name, about.symbol, about.when))
            self._sources.fits.append(about)
            self._sources.indicators_read |= made.indicators
        following = model.every.next_after(moment, sessions_of(model, context))
        if following is not None:
            self._in_use[name, symbol] = (moment + model.delay_ms, following + model.delay_ms, made.value)
        return made.value

    def _model(self, name: str) -> Model:
        """The model of a name; one that is registered anew while a run goes on is for later runs."""
        if name not in self._models:
            beside = self._sources.fits_beside
            begun = None if beside is None else beside.models.get(name)
            self._models[name] = self._find(name) if begun is None else begun
        return self._models[name]

    def _fit(self, model: Model, moment: int, context: Context) -> Fit | FailedFit:
        """What a fit returned, or how it failed; it is called once."""
        code = code_in_run(model, context)
        if context.mode == "live":
            beside = self._sources.fits_beside
            if beside is None:
                raise UsageError(
                    f"ctx.model({model.name!r}): no model was registered when this live run began: nothing fits it\n"
                    "register it before the run: @bknb.model"
                )
            return beside.made(model, code, moment, context)
        key = (model.name, symbols_of(model, context), moment)
        if key not in self._made:
            self._made[key] = kept_or_made(model, code, moment, context)
        return self._made[key]


def model_in_use(context: Context, name: str, find: Callable[[str], Model]) -> Any:
    """What ``ctx.model(name)`` gives, of the models that ``find`` returns by name; see :meth:`RunModels.newest`."""
    *_, sources = reads_of(context)
    if sources.models is None:
        sources.models = RunModels(sources, find)
    return sources.models.newest(name, context)
