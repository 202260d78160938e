"""Searches of a sweep: all combinations, a seeded random sample, or what an Optuna sampler suggests next."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final, Literal, TypeAlias

from ..domain.whole_number import whole_number
from ..errors import MissingDependency, UnknownName, UsageError
from ..kernels.sweep_figures import FIGURES

Search: TypeAlias = Literal["grid", "random", "optuna"]
Params: TypeAlias = dict[str, Any]

SEARCHES: Final = ("grid", "random", "optuna")
METRICS: Final = tuple(name for name in FIGURES if name not in ("cancelled", "ambiguous"))
_PART: Final = 8192  # combinations of a grid in a round
ROUND: Final = 16  # combinations between two updates of the Optuna sampler; no result depends on the executor


class Space:
    """The values each parameter may take.

    Examples
    --------
    >>> space = Space({"fast": range(5, 20, 5), "slow": [50, 100]})
    >>> len(space), space.at(1)
    (6, {'fast': 5, 'slow': 100})
    """

    def __init__(self, params: Mapping[str, Any]) -> None:
        given: object = params
        if not isinstance(given, Mapping):
            raise UsageError(f"params must be a mapping such as {{'fast': range(5, 50, 5)}}, got {params!r:.80}")
        self.values: dict[str, tuple[Any, ...]] = {name: _values(name, values) for name, values in params.items()}

    def __len__(self) -> int:
        return math.prod(len(values) for values in self.values.values())

    def at(self, number: int) -> Params:
        """Return one combination by its number; the last parameter changes fastest."""
        found: list[tuple[str, Any]] = []
        for name, values in reversed(self.values.items()):
            number, at = divmod(number, len(values))
            found.append((name, values[at]))
        return dict(reversed(found))


def _values(name: str, values: Any) -> tuple[Any, ...]:
    if hasattr(values, "tolist"):
        values = values.tolist()
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, (Sequence, range, set, frozenset)):
        values = (values,)
    found = tuple(sorted(values) if isinstance(values, (set, frozenset)) else values)
    if not found:
        raise UsageError(f"parameter {name!r} has no value to try")
    return tuple(value.item() if hasattr(value, "item") else value for value in found)


def checked_search(search: object, metric: object, trials: object) -> None:
    """Raise ``UnknownName`` or ``UsageError`` for a search, metric or number of trials that is not valid."""
    if search not in SEARCHES:
        raise UnknownName("search", str(search), known=SEARCHES)
    if metric not in METRICS:
        near = get_close_matches(str(metric), METRICS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise UsageError(f"a sweep cannot rank by {metric!r}{hint}\nit can rank by: {', '.join(METRICS)}")
    if trials is not None:
        whole_number("trials", trials, least=1)
    if trials is None and search != "grid":
        raise UsageError(f"search={search!r} needs trials=, the number of combinations to try")


class Listed:
    """A grid, or a random sample of it without repetition: all combinations are known from the start."""

    def __init__(self, space: Space, *, search: str, trials: int | None, seed: int) -> None:
        total = len(space)
        if search == "random" and trials is not None and trials < total:
            numbers: Sequence[int] = random.Random(seed).sample(range(total), trials)  # noqa: S311 -- no secret
        else:
            numbers = range(total if trials is None else min(trials, total))
        self._space, self._numbers = space, numbers

    @property
    def total(self) -> int:
        """Number of combinations."""
        return len(self._numbers)

    def rounds(self) -> Iterator[list[Params]]:
        """Yield all combinations, up to 8192 at a time."""
        for at in range(0, len(self._numbers), _PART):
            yield [self._space.at(number) for number in self._numbers[at : at + _PART]]

    def tell(self, params: Sequence[Params], scores: Sequence[float]) -> None:
        """Do nothing: a grid does not depend on scores."""


class Sampled:
    """Combinations that an Optuna TPE sampler suggests from the scores of those before.

    Raises
    ------
    MissingDependency
        Without optuna.
    """

    def __init__(self, space: Space, *, trials: int, seed: int, lower_is_better: bool) -> None:
        try:
            import optuna
        except ImportError:
            raise MissingDependency("optuna", purpose="search='optuna'", extra="optuna") from None
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._space = space
        self._study: Any = optuna.create_study(
            direction="minimize" if lower_is_better else "maximize",
            sampler=optuna.samplers.TPESampler(seed=seed, multivariate=False),
        )
        self._distributions = {
            name: optuna.distributions.CategoricalDistribution(range(len(values)))
            if not _is_even(values)
            else optuna.distributions.IntDistribution(0, len(values) - 1)
            for name, values in space.values.items()
        }
        self.total = trials
        self._asked: list[Any] = []

    def rounds(self) -> Iterator[list[Params]]:
        """Yield the next combinations, a fixed number at a time."""
        left = self.total
        while left:
            size = min(ROUND, left)
            left -= size
            self._asked = [self._study.ask(self._distributions) for _ in range(size)]
            yield [
                {name: values[trial.params[name]] for name, values in self._space.values.items()}
                for trial in self._asked
            ]

    def tell(self, params: Sequence[Params], scores: Sequence[float]) -> None:
        """Give the sampler the scores of the last round, in order; NaN is a failed trial."""
        import optuna

        for trial, _, score in zip(self._asked, params, scores, strict=True):
            failed = math.isnan(score)
            state = optuna.trial.TrialState.FAIL if failed else optuna.trial.TrialState.COMPLETE
            self._study.tell(trial, None if failed else score, state=state)


def _is_even(values: tuple[Any, ...]) -> bool:
    """Whether the values are numbers in ascending order; the sampler then treats them as an integer range."""
    numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
    return numbers and list(values) == sorted(values)


def make_search(space: Space, *, search: str, trials: int | None, seed: int, lower_is_better: bool) -> Listed | Sampled:
    """Return the search of that name."""
    if search == "optuna":
        assert trials is not None  # checked_search saw to it  # noqa: S101
        return Sampled(space, trials=trials, seed=seed, lower_is_better=lower_is_better)
    return Listed(space, search=search, trials=trials, seed=seed)
