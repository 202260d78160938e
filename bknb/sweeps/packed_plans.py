"""Plans as bytes for another process, with the user's functions as they are here."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeAlias

from msgspec.structs import replace

from ..engine.registration_checks import definition, make_strategy
from ..engine.registry import Exchange, registry
from ..errors import MissingDependency
from .executor_options import CannotBeSentError
from .pickled_code import to_bytes

if TYPE_CHECKING:
    from ..engine.plan import Plan
    from ..engine.registry import Strategy

PackedPlan: TypeAlias = tuple[str, dict[str, Any], Any, Any, dict[str, Any], dict[str, Any]]
"""A plan without what cannot be pickled: name and definition of its strategy, the rest, its risk profile, models, and
the settings that these may read."""


def packed_plan(plan: Plan, *, with_source: bool) -> PackedPlan:
    """Return a plan as values that can be pickled; callbacks are left out: they are for one run, in one process."""
    from ..provenance.strategy_hash import models_of  # a worker unpacks them, and needs none of it

    strategy = plan.strategy
    source = plan.exchange.source if with_source else None
    risk = None if strategy.risk is None else registry.risks.get(strategy.risk)
    series = dict(registry.series.items) or None if plan.series is None else plan.series
    bare = replace(plan, series=series, strategy=None, exchange=Exchange(plan.exchange.name, source))  # type: ignore[arg-type]  # put back by unpacked_plan
    models = models_of(strategy)
    settings = settings_of_fits() if models else {}
    return strategy.name, {**definition(strategy), "callbacks": None}, bare, risk, models, settings


def unpacked_plan(content: PackedPlan) -> Plan:
    """Return the plan that ``packed_plan`` packed; its risk profile is registered where there is none of its name."""
    name, made, bare, risk, models, settings = content
    plan: Plan = bare
    if models:
        registry.models.items.update(models)
        have_settings_of_fits(settings)
    if risk is not None:
        registry.risks.items.setdefault(risk.name, risk)
    return replace(plan, strategy=make_strategy(name, **made))


def settings_of_fits() -> dict[str, Any]:
    """The settings that models may read and that are not the default."""
    from ..market.model_fit import settings_apart  # few strategies have models

    return settings_apart()


def have_settings_of_fits(apart: dict[str, Any]) -> None:
    """Have the settings of the process that fits are made for."""
    from ..market.model_fit import have_settings  # few strategies have models

    have_settings(apart)


def pickled(content: object, strategies: Sequence[Strategy], *, purpose: str) -> bytes:
    """Return content as bytes that another process can unpickle, functions of notebook cells included.

    Parameters
    ----------
    content
        Anything.
    strategies
        Those in it: modules of their functions are pickled by value, as they are here.
    purpose
        What needs it, for the text of an error.

    Raises
    ------
    MissingDependency
        Without cloudpickle.
    CannotBeSentError
        When it holds something that cannot be sent.
    """
    from ..provenance.source_code_and_hash import own_modules  # a worker unpacks it, and needs none of them
    from ..provenance.strategy_hash import functions_of

    if find_spec("cloudpickle") is None:
        raise MissingDependency("cloudpickle", purpose=purpose, extra="sweep")
    # As they are here: a worker would load the files of helper modules again, whatever was changed since.
    helpers = own_modules(*(function for each in strategies for function in functions_of(each).values()))
    names = {_module_of(each.get_signals or each.get_signal) for each in strategies}
    own = [module for module in helpers if module.__name__ in names]
    try:
        try:
            return to_bytes(content, helpers)
        except Exception:  # noqa: BLE001 -- a helper module that holds what cannot be copied is loaded again after all
            return to_bytes(content, own)
    except Exception as error:
        which = " or ".join(repr(each.name) for each in strategies[:3])
        raise CannotBeSentError(
            f"strategy {which} cannot be sent to a worker: {type(error).__name__}: {error}\n"
            "let its function create what cannot be copied (locks, files, connections), or use executor='inline'"
        ) from error


def _module_of(function: Any) -> str:
    while hasattr(function, "func"):
        function = function.func
    return str(getattr(function, "__module__", None))
