"""Calling a user's function with what it asks for by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Final, NamedTuple
from weakref import WeakKeyDictionary

from ..domain.position_seen_by_manage import HeldPosition
from ..errors import UsageError
from ..market.strategy_context import Context

Ask = Callable[[Context], Any]
Manage = Callable[[Context, HeldPosition], Any]


class ManageQuestion(NamedTuple):
    """A question to ``manage``: whom to ask, about what, average price, last close."""

    ask: Manage
    position: HeldPosition
    price: float
    close: float


_ARGUMENTS: Final[dict[str, Callable[[Context], Any]]] = {
    "ctx": lambda ctx: ctx,
    "symbol": lambda ctx: ctx.symbol,
    "when": lambda ctx: ctx.when,
    "price": lambda ctx: ctx.price,
}


_OTHERS: Final = "others"
_OF_SEVERAL: Final = ("ctx", "when")  # what a function that is asked about several symbols may ask for


def calling_by_name(function: Callable[..., Any], *, several: bool = False) -> Ask:
    """A function of one context that calls ``function`` with what its parameters ask for.

    ``several``: it is asked about several symbols at once.

    Raises
    ------
    UsageError
        When it has a parameter without default that bknb does not offer.
    """
    wanted = _wanted(
        function, _OF_SEVERAL if several else tuple(_ARGUMENTS), "get_weights" if several else "a strategy"
    )
    if wanted is None:
        return function
    if not wanted:
        return lambda _ctx: function()
    if wanted == ["ctx"]:
        return function if _takes_it_first(function) else lambda ctx: function(ctx=ctx)
    if wanted == ["symbol", "price"]:
        return lambda ctx: function(symbol=ctx.symbol, price=ctx.price)
    getters = [(name, _ARGUMENTS[name]) for name in wanted]
    return lambda ctx: function(**{name: get(ctx) for name, get in getters})


def _takes_it_first(function: Callable[..., Any]) -> bool:
    """Whether a function of one name can be called with it as its first argument."""
    first = next(iter(inspect.signature(function).parameters.values()))
    return first.name == "ctx" and first.kind is first.POSITIONAL_OR_KEYWORD


def managing_by_name(function: Callable[..., Any], params: Mapping[str, Any] | None = None) -> Manage:
    """A function of context and position that calls ``function`` with what its parameters ask for.

    Of ``params``, those of the strategy, it gets the ones that it names.

    Raises
    ------
    UsageError
        When it has a parameter without default that bknb does not offer.
    """
    offered = (*_ARGUMENTS, "position")
    own = {name: value for name, value in named(function, params or {}).items() if name not in offered}
    if own:
        function = partial(function, **own)
    wanted = _wanted(function, offered, "manage")
    if wanted is None:
        return function
    getters = [(name, _ARGUMENTS[name]) for name in wanted if name != "position"]
    if "position" not in wanted:
        return lambda ctx, _position: function(**{name: get(ctx) for name, get in getters})
    return lambda ctx, position: function(position=position, **{name: get(ctx) for name, get in getters})


def params_given(name: str, params: object) -> dict[str, Any]:
    """The parameters that strategy ``name`` was given, by name.

    Raises
    ------
    UsageError
        They are no mapping.
    """
    if params is None:
        return {}
    if not isinstance(params, Mapping):
        raise UsageError(
            f"params of strategy {name!r} must be a mapping from names to values, got {params!r}\n"
            "such as params={'top': 0.5}"
        )
    return dict(params)


def parameters_of(
    function: Callable[..., Any], manage: Callable[..., Any] | None, params: Mapping[str, Any]
) -> dict[str, Any]:
    """The parameters of a function by name, those of ``manage`` behind its own: the given ones over the defaults.

    Where nothing is given for one of both and the defaults differ, that of ``manage`` is added as ``fast of manage``.

    Examples
    --------
    >>> parameters_of(lambda ctx, fast=5, slow=20: None, None, {"slow": 30})
    {'fast': 5, 'slow': 30}
    >>> parameters_of(lambda ctx, fast=5: None, lambda ctx, position, fast=8: None, {})
    {'fast': 5, 'fast of manage': 8}
    """
    own, _ = own_parameters(function, manage)
    defaults = {name: each.default for name, each in own.items() if each.default is not each.empty}
    found = {name: params.get(name, default) for name, default in defaults.items()} | dict(params)
    of_manage, _ = own_parameters(None, manage)
    for name, each in of_manage.items():
        if name not in params and each.default is not own[name].default:
            found[f"{name} of manage"] = each.default
    return found


def defaults_of(function: Callable[..., Any], manage: Callable[..., Any] | None) -> dict[str, Any]:
    """The defaults of a function and ``manage`` by name, but for those on which both differ.

    Examples
    --------
    >>> defaults_of(lambda ctx, fast=5, slow=20: None, lambda ctx, position, fast=8, top=2.0: None)
    {'slow': 20, 'top': 2.0}
    """
    found = parameters_of(function, manage, {})
    return {name: default for name, default in found.items() if f"{name} of manage" not in found and " " not in name}


def own_parameters(
    function: Callable[..., Any] | None, manage: Callable[..., Any] | None
) -> tuple[dict[str, inspect.Parameter], bool]:
    """What a function and ``manage`` ask for besides what bknb hands in; whether one of them takes anything else."""
    own, takes_any = dict[str, inspect.Parameter](), False
    for asked, offered in ((function, (*_ARGUMENTS, "candles")), (manage, (*_ARGUMENTS, "position"))):
        try:
            known = {} if not callable(asked) else inspect.signature(asked).parameters
        except (TypeError, ValueError):
            return own, True
        ours = (*offered, _OTHERS) if "candles" in known else offered
        named = {name: each for name, each in known.items() if each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)}
        takes_any = takes_any or any(each.kind is each.VAR_KEYWORD for each in known.values())
        own |= {name: each for name, each in named.items() if name not in ours and name not in own}
    return own, takes_any


def takes_others(function: Callable[..., Any]) -> bool:
    """Whether a ``get_signals`` takes candles of other intervals and symbols, as ``others``.

    Examples
    --------
    >>> takes_others(lambda candles, others: None), takes_others(lambda candles, fast=10: None)
    (True, False)
    """
    return _OTHERS in (_names(function) or ())


def named(function: Callable[..., Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """Those parameters that a function names.

    Examples
    --------
    >>> named(lambda price, fast=1: None, {"fast": 5, "slow": 30})
    {'fast': 5}
    """
    names = _names(function)
    return dict(params) if names is None else {name: value for name, value in params.items() if name in names}


_known_names: WeakKeyDictionary[Callable[..., Any], frozenset[str] | None] = WeakKeyDictionary()
"""What functions name, as long as they are there: a sweep asks for the same one at every combination."""


def _names(function: Callable[..., Any]) -> frozenset[str] | None:
    """The parameters that a function names; ``None``: it takes any."""
    try:
        return _known_names[function]
    except (KeyError, TypeError):  # not yet asked for, or an object that cannot be remembered
        pass
    try:
        known = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return frozenset()
    names = None
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in known):
        names = frozenset(parameter.name for parameter in known if parameter.kind is not parameter.POSITIONAL_ONLY)
    with suppress(TypeError):
        _known_names[function] = names
    return names


def _wanted(function: Callable[..., Any], known: tuple[str, ...], who: str) -> list[str] | None:
    """The names of what a function asks for; ``None`` where it does not say."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    wanted: list[str] = []
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.name in known and parameter.kind != parameter.POSITIONAL_ONLY:
            wanted.append(parameter.name)
        elif parameter.default is parameter.empty:
            name = _name_of(function, who)
            advice = "give other parameters a default"
            if parameter.name == "position":
                advice = "what is open is decided about by a second function, manage(ctx, position)"
            raise UsageError(
                f"{name} asks for {parameter.name!r}\n{who} may ask for any of {', '.join(known)} by name; {advice}"
            )
    return wanted


def _name_of(function: Callable[..., Any], who: str) -> str:
    """The name of a user's function, also where parameters are given to it already."""
    while isinstance(function, partial):
        function = function.func
    return getattr(function, "__name__", "get_signal" if who == "a strategy" else who)
