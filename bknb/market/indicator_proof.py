"""Whether an indicator may be believed: made of no later candle, the same when called again, its look-back long enough.

A function of the user's shows it at several cuts of its first block, and at a few of each later one: values up to the
cut are compared with the candles behind it as they are, held at the newest one, and shaken.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NoReturn

import numpy as np

from ..domain.formatting import utc_text
from ..errors import LookaheadError, LookbackTooShort
from .indicator_cuts import Cuts
from .indicator_formula import Made
from .indicator_memory import REMEMBERED, differences, look_back_that_suffices

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .candles import Candles
    from .indicator_blocks import Blocks, BlockValues
    from .indicator_formula import Formula

    Floats = NDArray[np.float64]

_ROUNDING: Final = 1e-12  # of the largest value: what sums in another order differ by
_FARTHEST: Final = 4096  # candles among which a look-back that suffices is looked for, or 64 times that of now


class Proof:
    """What one indicator has shown, for one symbol of a run.

    Parameters
    ----------
    formula, blocks
        The indicator.
    about : str
        What it is called, with interval and symbol.
    warn
        Called with what is to be said of it, once.
    """

    __slots__ = ("_about", "_blocks", "_cuts", "_formula", "_looked", "_told", "_warn")

    def __init__(self, formula: Formula, blocks: Blocks, about: str, warn: Callable[[str], object]) -> None:
        self._formula, self._blocks, self._about, self._warn = formula, blocks, about, warn
        self._looked: set[int] = set()  # blocks
        self._cuts = Cuts()
        self._told = False

    @property
    def is_bit_stable(self) -> bool:
        """Whether what follows a candle has never changed its value by as much as rounding errors."""
        return not self._told

    def tell_of_other_values(self) -> None:
        """Warn that values kept on disk are others than those made of the same candles."""
        self._warn(
            f"{self._about} gives other values than those that were kept on disk for the same candles and code, so "
            "none is taken from there: it reads what its code does not show, such as a file"
        )

    def look(self, values: BlockValues, known: Floats, made: Made, before: int, ask: Callable[[int], Candles]) -> None:
        """Look at a block: its candles with their look-back, its values, and how many candles are before it.

        ``ask`` returns a number of the newest candles, or as many as there are.

        Raises
        ------
        LookaheadError
            When its values are made of later candles, or differ from call to call.
        LookbackTooShort
            When candles before the look-back change them.
        """
        rows = known.shape[1]
        slot = self._blocks.begin(self._time(known, rows - 1))
        if not self._formula.is_known and slot not in self._looked and rows > 1:
            self._look_at_cuts(values, known, made, first=not self._looked)
            self._looked.add(slot)
        if self._formula.looks_back_by_hand and before == self._formula.lookback and rows > before + 1:
            self._look_back(values, known, made, ask)

    # --- causality ----------------------------------------------------------------------------------------------

    def _look_at_cuts(self, values: BlockValues, known: Floats, made: Made, *, first: bool) -> None:
        rows = known.shape[1]
        rng = np.random.default_rng(rows if first else self._time(known, rows - 1))
        if first:
            self._same_again(known, made, values.made_of(known))
            self._of_candles(values, known, made, rng)
        cuts = self._cuts.first(known, made.values[:, :rows], rng) if first else self._cuts.later(known, rng)
        for cut in sorted(cuts):
            held = values.made_of(known[:, :cut])
            self._same_before(known, cut, made, held, "nothing but the newest candle follows")
            shaken = known.copy()
            _shake(shaken[:, cut:], rng)
            self._same_before(known, cut, made, values.made_of(shaken), "those that follow are changed")

    def _same_again(self, known: Floats, made: Made, again: Made) -> None:
        if made.names == again.names and _same(made.values, again.values).all():
            return
        text = "gives other values when it is called again with the same candles"
        if made.values.shape == again.values.shape:
            output, row = _first(~_same(made.values, again.values))
            one, other = _texts(made.values[output, row], again.values[output, row])
            text += f": at {self._moment(known, row)} it was {one}, then {other}"
        self._refuse(f"{text}\nlet it draw no random numbers, and keep nothing from call to call")

    def _of_candles(self, values: BlockValues, known: Floats, made: Made, rng: np.random.Generator) -> None:
        """Refuse values that are the same for other candles at other times: they were made before."""
        other = known.copy()
        _shake(other, rng)
        times, step = other[0].view(np.int64), self._blocks.step
        times += step
        times[len(times) // 2 :] += step  # a gap: values may be made of how far apart candles are
        varies = [len(np.unique(each[~np.isnan(each)])) > 1 for each in made.values]
        if any(varies) and _same(made.values, values.made_of(other).values).all():
            self._refuse(
                "gives the same values whatever its candles are, so they were made from others, perhaps later ones\n"
                "make them of the candles it is given"
            )

    def _same_before(self, known: Floats, cut: int, made: Made, other: Made, how: str) -> None:
        """Refuse values up to a cut that change with what follows it."""
        if made.values.shape != other.values.shape:
            self._refuse("returns another number of arrays for other candles")
        one, two = made.values[:, :cut], other.values[:, :cut]
        same = _same(one, two)
        if same.all():
            return
        leaks = ~same & ~(differences(one, two) <= _ROUNDING)
        if leaks.any():
            output, row = _first(leaks)
            values = _texts(one[output, row], two[output, row])
            where = "" if made.names is None else f" in {made.names[output]}"
            self._refuse(
                f"is made of candles that had not closed: at {self._moment(known, row)} it is {values[0]}{where}, and "
                f"{values[1]} when {how}\na value may use its own candle and earlier ones: look for shift(-1), "
                "center=True, bfill, or a mean, rank or fit over all rows"
            )
        if not self._told:
            self._told = True
            self._warn(
                f"{self._about} is not bit-stable: what follows a candle changes its value by rounding errors, up to "
                f"{differences(one, two).max():.0e} of it, so a live run may differ from a backtest in the last digits"
            )

    def _refuse(self, text: str) -> NoReturn:
        raise LookaheadError(f"{self._about} {text}")

    # --- look-back ----------------------------------------------------------------------------------------------

    def _look_back(self, values: BlockValues, known: Floats, made: Made, ask: Callable[[int], Candles]) -> None:
        """Compare the newest value with that of its look-back alone."""
        lookback, newest = self._formula.lookback, known.shape[1] - 1
        whole, part = made.values[:, : newest + 1], known[:, newest - lookback :]
        alone = values.made_of(part).values[:, lookback]
        wrong = _wrong_at_end(whole, alone)
        if (wrong <= REMEMBERED).all():
            return
        if (
            not self._formula.is_known
            and (_wrong_at_end(whole, self._formula.of(part.copy()).values[:, -1]) <= REMEMBERED).all()
        ):
            held = np.concatenate([whole[:, :-1], alone[:, None]], axis=1)
            self._same_before(known, newest + 1, made, Made(held, made.names), "nothing but the newest candle follows")
        output = int(wrong.argmax())
        with_more, with_less = _texts(made.values[output, newest], alone[output])
        where = "" if made.names is None else f" of {made.names[output]}"
        suffices, hint = look_back_that_suffices(self._formula, ask(max(_FARTHEST, 64 * lookback)))
        raise LookbackTooShort(
            f"{self._about} needs more candles than lookback={lookback} before a value: at "
            f"{self._moment(known, newest)} the value{where} is {with_less} with them, and {with_more} with "
            f"{newest} candles before it\n{hint}",
            suffices=suffices,
        )

    # --- words --------------------------------------------------------------------------------------------------

    def _time(self, known: Floats, row: int) -> int:
        return int(known[0, row : row + 1].copy().view(np.int64)[0])

    def _moment(self, known: Floats, row: int) -> str:
        """When the candle of a row had closed."""
        return utc_text(self._time(known, row) + self._blocks.step)


def _shake(block: Floats, rng: np.random.Generator) -> None:
    """Change candles, in place: each by a factor of its own, with open and close elsewhere between high and low."""
    rows = block.shape[1]
    _, open_, high, low, close, volume = block
    high *= (factors := np.exp(rng.normal(0.0, 0.05, rows)))
    low *= factors
    for price in (open_, close):
        price[:] = low + (high - low) * rng.uniform(0.0, 1.0, rows)
    volume *= np.exp(rng.normal(0.0, 1.0, rows))


def _same(one: Any, two: Any) -> Any:
    return (one == two) | (np.isnan(one) & np.isnan(two))


def _wrong_at_end(values: Floats, newest: Floats) -> Floats:
    """How far values at the last row are from others, as a part of the largest of each output."""
    others = np.concatenate([values[:, :-1], newest[:, None]], axis=1)
    found: Floats = differences(values, others)[:, -1]
    return found


def _first(mask: Any) -> tuple[int, int]:
    """Output and row of the earliest that is set."""
    row = int(mask.any(axis=0).argmax())
    return int(mask[:, row].argmax()), row


def _texts(one: float, two: float) -> tuple[str, str]:
    """Two values as texts that differ."""
    short = f"{one:.8g}", f"{two:.8g}"
    return short if short[0] != short[1] else (repr(float(one)), repr(float(two)))
