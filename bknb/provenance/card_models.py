"""The fits of models on a run card."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from ..domain.formatting import utc_text

if TYPE_CHECKING:
    from ..market.model_fit import FittedModel


class CardModel(msgspec.Struct, frozen=True, kw_only=True):
    """The fits of a model that a run used of a symbol, oldest first.

    Attributes
    ----------
    name, symbol : str
    moments : tuple of int
        Of the schedule, UTC ms.
    fingerprints : tuple of str
        Of code, symbol, moment, and what the fit read.
    """

    name: str
    symbol: str
    moments: tuple[int, ...]
    fingerprints: tuple[str, ...]


def card_models(fits: Iterable[FittedModel]) -> tuple[CardModel, ...]:
    """The fits of a run, by model and symbol, each once."""
    found: dict[tuple[str, str], dict[int, str]] = {}
    for fit in fits:
        found.setdefault((fit.name, fit.symbol), {})[fit.when] = fit.fingerprint
    return tuple(
        CardModel(
            name=name,
            symbol=symbol,
            moments=tuple(sorted(made)),
            fingerprints=tuple(made[moment] for moment in sorted(made)),
        )
        for (name, symbol), made in sorted(found.items())
    )


def model_changes(old: tuple[CardModel, ...], new: tuple[CardModel, ...]) -> list[str]:
    """How the fits of two cards differ, as sentences."""
    before, after = _by_fit(old), _by_fit(new)
    found = []
    for key, was in before.items():
        if key not in after:
            found.append(f"{_named(key)}: not used any more")
        elif after[key] != was:
            found.append(f"{_named(key)}: another fit, {was} -> {after[key]}")
    return found + [f"{_named(key)}: used now" for key in after if key not in before]


def _by_fit(models: tuple[CardModel, ...]) -> dict[tuple[str, str, int], str]:
    return {
        (each.name, each.symbol, moment): fingerprint
        for each in models
        for moment, fingerprint in zip(each.moments, each.fingerprints, strict=True)
    }


def _named(key: tuple[str, str, int]) -> str:
    name, symbol, moment = key
    return f"model {name} of {symbol} at {utc_text(moment)}"


def model_lines(models: tuple[CardModel, ...]) -> list[str]:
    """The fits as lines of Markdown."""
    rows = [
        f"| {each.name} | {each.symbol} | {len(each.moments)} | {utc_text(each.moments[0])} "
        f"| {utc_text(each.moments[-1])} | `{each.fingerprints[-1]}` |"
        for each in models
    ]
    head = ["## Models", "", "| Model | Symbol | Fits | First | Last | Fingerprint of the last |"]
    return [*head, "|---|---|--:|---|---|---|", *rows, ""] if rows else []
