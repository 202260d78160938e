"""Completion of magics: options, and registered names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import bknb

from .kernel import ipython
from .magics.options_read_from_line import HELP, Command, Option, is_pair

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .session import Session

INTERVALS: Final = ("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w")


EXECUTIONS: Final = ("pessimistic", "touch", "vwap")


def completions(command: Command, written: str, *, names: Mapping[str, Any], session: Session) -> list[str]:
    """The completions at the cursor.

    Parameters
    ----------
    command : Command
    written : str
        The line from the magic's name (without it) to the cursor.
    names : mapping
        The notebook's variables.
    session : Session

    Returns
    -------
    list of str
        Whole words that begin with what is being written; ``--option=value`` for a value after ``=``.
    """
    words = written.split()
    fragment = "" if not words or written[-1].isspace() else words.pop()
    if "<<" in words:
        words = words[words.index("<<") + 1 :]
    if fragment.startswith("--") and "=" in fragment:
        name, _, part = fragment.partition("=")
        option = command.option(name)
        found = values(option, part, words, names=names, session=session) if option else []
        return [f"{name}={value}" for value in found]
    waiting = command.option(words[-1]) if words else None
    if waiting and not waiting.flag:
        return values(waiting, fragment, words, names=names, session=session)
    used = {word.partition("=")[0] for word in words}
    options = [option.name for option in (*command.options, HELP) if option.is_named and option.name not in used]
    if fragment.startswith("-"):
        return [name for name in options if name.startswith(fragment)]
    place = _place(command, words)
    found = values(place, fragment, words, names=names, session=session) if place else []
    return found if fragment or found else options


def _place(command: Command, words: list[str]) -> Option | None:
    """The next positional value of the line."""
    taken, after_option = 0, False
    for word in words:
        option = command.option(word.partition("=")[0]) if word.startswith("--") else None
        taken += not (after_option or option is not None or word.startswith("--") or is_pair(word))
        after_option = option is not None and not option.flag and "=" not in word
    return command.places[taken] if taken < len(command.places) else None


def values(option: Option, fragment: str, words: list[str], *, names: Mapping[str, Any], session: Session) -> list[str]:
    """Values of one option that begin with ``fragment``; a brace asks for variables, a comma for one more value."""
    before, comma, fragment = fragment.rpartition(",")
    if comma:
        more = values(option, fragment, words, names=names, session=session)
        return [f"{before},{value}" for value in more if value not in before.split(",")]
    if fragment.startswith("{"):
        part = fragment[1:]
        return [f"{{{name}}}" for name in sorted(names) if (name.startswith(part) if part else _is_own(name))]
    if option.kind == "path":
        return _paths(fragment)
    return [value for value in _known(option.kind, words, names, session) if value.startswith(fragment)]


def _is_own(name: str) -> bool:
    """Whether a variable is the user's, not one of IPython."""
    return not name.startswith("_") and name not in ("In", "Out", "exit", "quit", "get_ipython", "open")


def _known(kind: str, words: list[str], names: Mapping[str, Any], session: Session) -> Iterable[str]:
    """All known values of a kind."""
    match kind:
        case "exchange" | "strategy" | "frame" | "risk" | "walker":
            lists = (bknb.list_exchanges, bknb.list_strategies, bknb.list_frames, bknb.list_risks, bknb.list_walkers)
            return dict(zip(("exchange", "strategy", "frame", "risk", "walker"), lists, strict=True))[kind]()
        case "metric":
            return list(bknb.statistics([]))
        case "optimizer":
            return bknb.list_optimizers()
        case "interval":
            return INTERVALS
        case "execution":
            return EXECUTIONS
        case "source":
            return ("demo",)
        case "run":
            return [str(run.number) for run in reversed(session.runs)]
        case "signal":
            return _newest_signals(session)
        case "symbol":
            return _symbols(words)
        case "variable":
            return [name for name in sorted(names) if _is_own(name)]
        case _:
            return ()


def _symbols(words: list[str]) -> list[str]:
    """Symbols of the exchange named on the line, else of every exchange that knows its own."""
    chosen = [words[at + 1] for at, word in enumerate(words[:-1]) if word == "--exchange"]
    chosen += [word.partition("=")[2] for word in words if word.startswith("--exchange=")]
    found: dict[str, None] = {}
    for name in bknb.list_exchanges():
        if not chosen or name in chosen:
            source = bknb.get_exchange(name).source
            found.update(dict.fromkeys(getattr(source, "symbols", None) or ()))
    return list(found)


def _newest_signals(session: Session) -> list[str]:
    finished = (run.finished() for run in reversed(session.runs))
    return next((signals_of(result) for result in finished if result is not None), [])


def signals_of(result: Any) -> list[str]:
    """Signals of a result that came to an end, newest first."""
    return [str(name) for name in reversed([*result.trades["signal_id"], *result.cancelled["signal_id"]])]


def _paths(fragment: str) -> list[str]:
    folder, _, part = fragment.rpartition("/")
    root = Path(folder or ("/" if fragment.startswith("/") else "."))
    if not root.is_dir():
        return []
    prefix = f"{folder}/" if "/" in fragment else ""
    return sorted(
        f"{prefix}{path.name}{'/' if path.is_dir() else ''}"
        for path in root.iterdir()
        if path.name.startswith(part) and (part or not path.name.startswith("."))
    )


def matcher(session: Session) -> Any:
    """A matcher for IPython's completer that knows the magics of this session."""
    completer = ipython("core.completer")

    def bknb_matcher(context: Any) -> dict[str, Any]:
        line = context.line_with_cursor[: context.cursor_position]
        command, written = _command_at(session, line, first=context.cursor_line == 0)
        if command is None:
            return {"completions": [], "suppress": False}
        found = completions(command, written, names=session.names, session=session)
        fragment = "" if not written or written[-1].isspace() else written.split()[-1]
        return {
            "completions": [completer.SimpleCompletion(word, type="bknb") for word in found],
            "matched_fragment": fragment,
            "suppress": bool(found),
            "ordered": True,
        }

    return completer.context_matcher(identifier="bknb", priority=200)(bknb_matcher)


def _command_at(session: Session, line: str, *, first: bool) -> tuple[Command | None, str]:
    """The magic of this line, and the text after its name."""
    head, mark, rest = line.partition("%")
    if not mark or (head.strip() and not head.rstrip().endswith("=")):
        return None, ""
    cell = rest.startswith("%")
    name, space, written = rest.lstrip("%").partition(" ")
    if not space or (cell and not (first and not head)):
        return None, ""
    return session.commands.get(f"{'%%' if cell else '%'}{name}"), written
