"""Hash of a strategy: its source code with that of all it calls, and the values it reads."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Final

from ..domain.interval import MINUTE_MS
from ..engine.registry import registry
from .source_code_and_hash import CodeOnly, changing_itself, read_code, source_hash, unnamed_hash
from .source_walk import READER

if TYPE_CHECKING:
    from ..engine.registry import Risk, Strategy
    from ..market.model_fit import Model

VERSION: Final = READER
"""Version of the hash, in front of every one; those of 0.1.0 have none. Different versions cannot be compared."""

_PLAIN: Final = (int, float, complex, str, bytes, bool, type(None))


def fingerprint(strategy: Strategy) -> str:
    """The hash of a strategy; its name and comments elsewhere in the file do not change it.

    It is that of everything :func:`functions_of` lists, with what these call and read (see
    :mod:`bknb.provenance.source_code_and_hash`), and of the intervals and the length of a window. What comes from an
    installed package counts by its name only.

    Examples
    --------
    >>> from bknb.engine.registration_checks import make_strategy
    >>> def rests(price): return None
    >>> made = [make_strategy(name, rests, interval="1h") for name in ("one", "other")]
    >>> fingerprint(made[0])[:2], fingerprint(made[0]) == fingerprint(made[1])
    ('3:', True)
    """
    return _hash_of(strategy, source_hash)


def hash_if_readable(strategy: Strategy) -> str:
    """The hash of a strategy as ``fingerprint``; empty where its source cannot be read."""
    try:
        return fingerprint(strategy)
    except Exception:  # noqa: BLE001 -- it can be run all the same
        return ""


def unnamed_fingerprint(strategy: Strategy) -> str:
    """The hash of a strategy as ``fingerprint``, which renaming its function or another docstring does not change.

    Examples
    --------
    >>> from bknb.engine.registration_checks import make_strategy
    >>> def one(price): return None
    >>> def other(price): return None
    >>> made = [make_strategy("rests", function, interval="1h") for function in (one, other)]
    >>> unnamed_fingerprint(made[0]) == unnamed_fingerprint(made[1]), fingerprint(made[0]) == fingerprint(made[1])
    (True, False)
    """
    return _hash_of(strategy, unnamed_hash)


def _hash_of(strategy: Strategy, hash_of: Callable[..., str]) -> str:
    functions = functions_of(strategy)
    source = hash_of(
        *(
            CodeOnly(part, constants=True) if name.startswith("rule ") and not isinstance(part, CodeOnly) else part
            for name, part in functions.items()
        )
    )
    parts: tuple[object, ...] = (
        *(strategy.interval, strategy.lookback, strategy.risk, list(functions)[1:], source, _rules_hash(strategy)),
        *(() if strategy.manage is None else (strategy.manages_every,)),
        *(() if strategy.at is None else (f"at {strategy.at}", strategy.late)),
        *(() if strategy.manage_at is None else (f"manage at {strategy.manage_at}",)),
        *(() if strategy.tolerance is None else ("weights", strategy.tolerance, strategy.symbols)),
        *(name for name in ("reenter", "together") if getattr(strategy, name)),
        *((("places", strategy.places),) if strategy.places > 1 else ()),
        *((("uses", strategy.uses),) if strategy.uses else ()),
        *(("model", *model_text(model)) for model in models_of(strategy).values()),
        *((("cash buffer", strategy.cash_buffer_percent),) if strategy.cash_buffer_percent else ()),
    )
    return f"{VERSION}:{hashlib.sha256(repr(parts).encode()).hexdigest()}"


def _rules_hash(strategy: Strategy) -> str:
    """The hash of the rules of a risk profile with their state when first seen: what they count in runs is left out."""
    risk = None if strategy.risk is None else registry.risks.items.get(strategy.risk)
    if risk is None:
        return ""
    known = _RULES.get(id(risk))
    if known is None or known[0] is not risk:
        if len(_RULES) >= _RULES_HELD:
            _RULES.clear()
        known = _RULES[id(risk)] = risk, source_hash(*(rule.validate for rule in risk.validations))
    return known[1]


_RULES: Final[dict[int, tuple[Risk, str]]] = {}  # by identity, each profile held so that the identity stays its own
_RULES_HELD: Final = 64


def not_compared(strategy: Strategy) -> tuple[str, ...]:
    """What may change a strategy without another hash: files it reads, modules whose names it computes, and so on.

    Examples
    --------
    >>> from bknb.engine.registration_checks import make_strategy
    >>> def reads(price): return open("levels.txt").read()
    >>> not_compared(make_strategy("reads", reads, interval="1h"))
    ('it reads files, databases or the network while it runs: what they hold is not compared',)
    """
    return read_code(*functions_of(strategy).values()).not_compared


def running(strategy: Strategy, *more: Callable[..., Any]) -> AbstractContextManager[None]:
    """Around a run that is waited for: what the strategy changes of itself in it makes no other hash.

    ``more`` are other functions of the run, those of its account. Not around one in the background, during which the
    user may change what the strategy reads.
    """
    parameters = (value for value in strategy.params.values() if type(value) not in _PLAIN)
    return changing_itself(*functions_of(strategy).values(), *parameters, *more)


def version_of(strategy_hash: str) -> int:
    """The version of a hash; 0 for one whose version is no number, which bknb never writes.

    Examples
    --------
    >>> version_of("2:ab12"), version_of("ab12"), version_of("x:ab12")
    (2, 1, 0)
    """
    try:
        return int(strategy_hash.rpartition(":")[0] or 1)
    except ValueError:
        return 0


def functions_of(strategy: Strategy) -> dict[str, Callable[..., Any] | CodeOnly]:
    """What a run calls of the user's, by what it is: strategy, ``manage``, models, rules of its risk, callbacks.

    The strategy comes first, and the rules in their order. Of callbacks only the code counts: what they collect from
    run to run decides nothing.
    """
    found = _asked(strategy)
    found |= {f"model {name}": model.fit for name, model in models_of(strategy).items()}
    risk = None if strategy.risk is None else registry.risks.items.get(strategy.risk)
    if risk is not None:
        found |= {f"rule {number}": rule.validate for number, rule in enumerate(risk.validations, start=1)}
        found |= {name: CodeOnly(function) for name, function in sorted(risk.callbacks.items())}
    return found | {name: CodeOnly(function) for name, function in sorted(strategy.callbacks.items())}


def _asked(strategy: Strategy) -> dict[str, Callable[..., Any] | CodeOnly]:
    """The functions of a strategy that are asked for answers."""
    found: dict[str, Callable[..., Any] | CodeOnly] = {"strategy": strategy.get_signals or strategy.get_signal}
    if strategy.manage is not None:
        found["manage"] = strategy.manage
    return found


def models_of(strategy: Strategy) -> dict[str, Model]:
    """The registered models that a strategy asks for, by name; each, where it computes a name."""
    registered = registry.models.items
    if not registered:
        return {}
    from .models_asked_for import models_asked_for  # few strategies have one

    return models_asked_for([*_asked(strategy).values(), *filter(callable, strategy.params.values())], registered)


def model_text(model: Model) -> tuple[str, ...]:
    """The name of a model and when it is fitted: ``("forest", "month, in use after 60 minutes")``."""
    shared = ", one for all symbols" if model.shared else ""
    return model.name, f"{model.every}, in use after {model.delay_ms / MINUTE_MS:g} minutes{shared}"


def params_text(params: Mapping[str, Any], defaults: Mapping[str, Any] | None = None) -> str:
    """Parameters as text that changes when they do; what is more than a number or a text by its source and content.

    Those that are as in ``defaults`` are left out.

    Examples
    --------
    >>> params_text({"slow": 30, "fast": 10}), params_text({"slow": 30, "fast": 10}, {"fast": 10, "slow": 20})
    ("{'fast': 10, 'slow': 30}", "{'slow': 30}")
    """
    if defaults:
        params = {name: value for name, value in params.items() if not _is_default(value, name, defaults)}
    ordered = dict(sorted(params.items()))
    if all(type(value) in _PLAIN for value in ordered.values()):  # asked for every combination of a sweep
        return repr(ordered)
    return repr({name: value if type(value) in _PLAIN else source_hash(value) for name, value in ordered.items()})


def _is_default(value: object, name: str, defaults: Mapping[str, Any]) -> bool:
    if name not in defaults or type(value) is not type(default := defaults[name]):
        return False
    return value is default or params_text({name: value}) == params_text({name: default})
