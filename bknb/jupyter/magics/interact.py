"""``--interact``: what it says of sliders, and the cell that runs a combination as a backtest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import bknb

from .. import sliders
from .options_read_from_line import Call, assigned_to, is_pair, split, written_params
from .output import assign_out

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..session import Session

_FORMS: Final = "write --interact fast=5:50 x=0.5:2:0.1 mode=a,b, or a variable in braces: {values}"
_REFUSED: Final = ("capital", "sizing", "account", "costs", "currency", "benchmark", "background")
_NEED_QUOTES: Final = frozenset(" \t'\"")
_LITERALS: Final = (int, float, str, bool, type(None))


def values_of(call: Call) -> Any:
    """The values that ``--interact`` names for each slider: texts by parameter, or what its variable holds.

    Raises
    ------
    UsageError
        For a word that is no ``NAME=VALUES``, a name that is there twice, and options that do not go with sliders.

    Examples
    --------
    >>> values_of(Call(values={"interact": "fast=5:50, mode=a,b"}))
    {'fast': '5:50', 'mode': 'a,b'}
    """
    for name in _REFUSED:
        if name in call.values:
            raise bknb.UsageError(
                f"--{name} does not go with --interact, which redraws a plain backtest as its sliders move\n"
                "leave it out; the cell that keeps a combination can have it"
            )
    given = call.values["interact"]
    if not isinstance(given, str):
        return given
    found: dict[str, str] = {}
    for word in given.split():
        name, equals, values = word.partition("=")
        if not equals or not name.isidentifier():
            raise bknb.UsageError(f"--interact does not understand {word!r}\n{_FORMS}")
        if name in found:
            raise bknb.UsageError(f"--interact has {name} twice\n{_FORMS}")
        found[name] = values.strip(",")
    return found


def show_sliders(session: Session, call: Call, found: Any) -> None:
    """Show sliders in the cell of a magic, and assign them to the variable of ``--out``."""
    params = call.get("params")
    own = written_params(params, such_as="fast=5") if isinstance(params, str) else params
    sliders.show(found, lambda values: kept_cell(call, {**(own or {}), **values}))
    assign_out(session, call, found)


def kept_cell(call: Call, params: Mapping[str, Any]) -> str:
    """The cell of a magic with the values of its sliders as ``--params`` in place of ``--interact``.

    Empty where they cannot be written in a line: values that are no numbers, texts, True, False or None.

    Examples
    --------
    >>> call = Call(values={}, head="%%backtest r << BTCUSDT --interact fast=5:50 slow=9:20 --frame jan", body="...")
    >>> print(kept_cell(call, {"fast": 7, "slow": 12}))
    %%backtest r << BTCUSDT --frame jan --params "fast=7, slow=12"
    ...
    """
    text = ", ".join(f"{name}={value!r}" for name, value in params.items())
    if not all(isinstance(value, _LITERALS) for value in params.values()) or {"'", '"'} <= set(text):
        return ""
    magic, _, line = call.head.partition(" ")
    out, line = assigned_to(line)
    kept: list[str] = [f"{out} <<"] if out else []
    words = split(line)
    while words:
        word = words.pop(0)
        name, equals, _ = word.partition("=")
        if name not in ("--interact", "--params"):
            kept.append(word if word and not set(word) & _NEED_QUOTES else _quoted(word))
            continue
        if not equals:
            words.pop(0)
        while name == "--interact" and words and is_pair(words[0]):
            words.pop(0)
    return f"{' '.join([magic, *kept])} --params {_quoted(text)}\n{call.body}".rstrip("\n")


def _quoted(text: str) -> str:
    return f"'{text}'" if '"' in text else f'"{text}"'
