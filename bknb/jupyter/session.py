"""What one notebook session remembers, and Tab completion of the magics' options and values."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import bknb

from .display import ipython
from .magics.arguments import HELP, Command, Option

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

INTERVALS: Final = ("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d")
EXECUTIONS: Final = ("pessimistic", "touch", "vwap")
RUNS_KEPT: Final = 20
"""How many finished runs a session keeps; each holds the candles it ran over."""


@dataclass(slots=True)
class Run:
    """One run of this session.

    Attributes
    ----------
    number : int
        Counted from 1.
    label : str
        Strategy, symbol and frame.
    result : Result or None
        None while it runs in the background.
    task : object or None
        The background task.
    """

    number: int
    label: str
    result: Any = None
    task: Any = None

    def finished(self) -> Any:
        """The result if there is one by now."""
        if self.result is None and self.task is not None and self.task.done:
            self.result = self.task.result()
        return self.result


@dataclass(slots=True)
class Session:
    """The state behind the magics of one IPython shell."""

    shell: Any
    commands: dict[str, Command]
    runs: list[Run] = field(default_factory=list)
    shown: tuple[Any, int] | None = None
    quiet: bool = False
    listener: logging.Handler | None = None
    counted: int = 0

    @property
    def names(self) -> dict[str, Any]:
        """The notebook's variables."""
        names: dict[str, Any] = self.shell.user_ns
        return names

    @contextmanager
    def quietly(self) -> Iterator[None]:
        """Keep the registry's notices back while a magic registers something and tells of it itself."""
        self.quiet = True
        try:
            yield
        finally:
            self.quiet = False

    def add(self, label: str, *, result: Any = None, task: Any = None) -> Run:
        """Remember a run; the oldest is forgotten when there are too many."""
        self.counted += 1
        run = Run(number=self.counted, label=label, result=result, task=task)
        self.runs = [*self.runs, run][-RUNS_KEPT:]
        return run

    def run(self, number: Any = None) -> Run:
        """The run of that number, or the newest.

        Raises
        ------
        UsageError
            When there is none.
        """
        if number is None:
            if not self.runs:
                raise bknb.UsageError("nothing has run in this session yet\nstart with %backtest --help")
            return self.runs[-1]
        for run in self.runs:
            if str(run.number) == str(number):
                return run
        known = ", ".join(str(run.number) for run in self.runs) or "none yet"
        raise bknb.UsageError(f"there is no run {number}\nruns of this session: {known}; %runs lists them")


class ReplacedNotices(logging.Handler):
    """Prints what the registry says when a name is registered again; in a notebook that should not pass unseen."""

    def __init__(self, session: Session) -> None:
        super().__init__(logging.INFO)
        self.session = session

    def emit(self, record: logging.LogRecord) -> None:
        """Print a notice, unless a magic is about to say it better."""
        text = record.getMessage()
        if text.endswith(" replaced") and not self.session.quiet:
            print(text)  # noqa: T201 -- the notebook's own output


# -- completion --------------------------------------------------------------------------------------------------


def completions(command: Command, written: str, *, names: Mapping[str, Any], session: Session) -> list[str]:
    """What could stand at the cursor.

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
    """The value without a name that comes next."""
    taken, after_option = 0, False
    for word in words:
        option = command.option(word.partition("=")[0]) if word.startswith("--") else None
        taken += not after_option and option is None and not word.startswith("--")
        after_option = option is not None and not option.flag and "=" not in word
    return command.places[taken] if taken < len(command.places) else None


def values(option: Option, fragment: str, words: list[str], *, names: Mapping[str, Any], session: Session) -> list[str]:
    """Values of one option that begin with ``fragment``; a brace asks for variables."""
    if fragment.startswith("{"):
        part = fragment[1:]
        return [f"{{{name}}}" for name in sorted(names) if (name.startswith(part) if part else _is_own(name))]
    if option.kind == "path":
        return _paths(fragment)
    return [value for value in _known(option.kind, words, names, session) if value.startswith(fragment)]


def _is_own(name: str) -> bool:
    """Whether a variable is the user's, and not one that IPython put there."""
    return not name.startswith("_") and name not in ("In", "Out", "exit", "quit", "get_ipython", "open")


def _known(kind: str, words: list[str], names: Mapping[str, Any], session: Session) -> Iterable[str]:
    """Every value of a kind that is known here and now."""
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


def signals(result: Any) -> list[str]:
    """Signals of a result that came to an end, newest first."""
    return [str(name) for name in reversed([*result.trades["signal_id"], *result.cancelled["signal_id"]])]


def _newest_signals(session: Session) -> list[str]:
    finished = (run.finished() for run in reversed(session.runs))
    return next((signals(result) for result in finished if result is not None), [])


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
    """The magic whose line this is, and what is written after its name."""
    head, mark, rest = line.partition("%")
    if not mark or (head.strip() and not head.rstrip().endswith("=")):
        return None, ""
    cell = rest.startswith("%")
    name, space, written = rest.lstrip("%").partition(" ")
    if not space or (cell and not (first and not head)):
        return None, ""
    return session.commands.get(f"{'%%' if cell else '%'}{name}"), written


def attach(session: Session) -> None:
    """Let completion and notices of replaced names work in a shell."""
    session.shell.Completer.custom_matchers.append(matcher(session))
    session.listener = ReplacedNotices(session)
    log = logging.getLogger("bknb")
    if log.level == logging.NOTSET:
        log.setLevel(logging.INFO)
    log.addHandler(session.listener)


def detach(session: Session) -> None:
    """Undo :func:`attach`."""
    matchers = session.shell.Completer.custom_matchers
    matchers[:] = [known for known in matchers if getattr(known, "matcher_identifier", "") != "bknb"]
    if session.listener is not None:
        logging.getLogger("bknb").removeHandler(session.listener)
