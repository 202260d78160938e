"""What was left out or decided in reading a table of candles: of all of it, or of the rows of some symbols."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


class TableNotes:
    """Notes in the order in which they came, each once, and whose candles each is about.

    Parameters
    ----------
    texts
        Notes about the whole table.

    Examples
    --------
    >>> notes = TableNotes(["the times are numbers since 1970"])
    >>> notes.add(["AAPL: sorted"], "AAPL")
    >>> list(notes), notes.symbols
    (['the times are numbers since 1970', 'AAPL: sorted'], {'AAPL: sorted': frozenset({'AAPL'})})
    >>> notes.of("MSFT")
    ['the times are numbers since 1970']
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._symbols: dict[str, frozenset[str]] = dict.fromkeys(texts, frozenset())  # empty: all of them

    def __iter__(self) -> Iterator[str]:
        return iter(self._symbols)

    def add(self, texts: Iterable[str], *symbols: str | None) -> None:
        """Add what holds for the candles of some symbols; for all of the table where none is named, or ``None``."""
        named = frozenset(each for each in symbols if each is not None)
        for text in texts:
            known = self._symbols.get(text)
            self._symbols[text] = named if known is None else known | named if known and named else frozenset()

    def __add__(self, other: TableNotes) -> TableNotes:
        """These notes, and behind them those of another part of the reading."""
        both = TableNotes()
        for text, symbols in (*self._symbols.items(), *other._symbols.items()):
            both.add([text], *symbols)
        return both

    @property
    def symbols(self) -> dict[str, frozenset[str]]:
        """For each note that is about the candles of some symbols which these are."""
        return {text: symbols for text, symbols in self._symbols.items() if symbols}

    def of(self, symbol: str) -> list[str]:
        """The notes about the candles of a symbol, and about all of the table."""
        return [text for text, symbols in self._symbols.items() if not symbols or symbol in symbols]
