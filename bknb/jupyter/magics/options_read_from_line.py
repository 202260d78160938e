"""One table of options for each magic: parsed, explained and completed from the same lines."""

from __future__ import annotations

import ast
import difflib
import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bknb import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_BRACED: Final = re.compile(r"\{([A-Za-z_][\w.]*)\}")
_PAIR: Final = re.compile(r"[A-Za-z_]\w*=")
_ASSIGNED: Final = re.compile(r"^\s*([A-Za-z_]\w*)\s*<<\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option or positional value of a magic.

    Attributes
    ----------
    name : str
        ``--exchange`` for an option; ``SYMBOL``, in capitals, for a value without a name.
    help : str
        One line.
    kind : str
        What its values are, for completion: ``exchange``, ``frame``, ``strategy``, ``risk``, ``interval``,
        ``execution``, ``symbol``, ``signal``, ``run``, ``source``, ``path``, ``variable`` or ``text``.
    required : bool
        Whether the magic cannot do without it.
    flag : bool
        Whether it stands alone, without a value.
    several : bool
        Whether more words of the form ``NAME=VALUE`` may follow its value and belong to it.
    """

    name: str
    help: str
    kind: str = "text"
    required: bool = False
    flag: bool = False
    several: bool = False

    @property
    def is_named(self) -> bool:
        """Whether it is written with two dashes."""
        return self.name.startswith("--")

    @property
    def key(self) -> str:
        """Its name as a Python argument."""
        return self.name.removeprefix("--").replace("-", "_").lower()

    @property
    def usage(self) -> str:
        """The option as written in a usage line."""
        if not self.is_named:
            return self.name if self.required else f"[{self.name}]"
        value = "" if self.flag else " NAME=VALUES ..." if self.several else f" {self.kind.upper()}"
        return f"{self.name}{value}" if self.required else f"[{self.name}{value}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A magic: its name, summary and options.

    Attributes
    ----------
    name : str
        With its per cent signs: ``%runs``, ``%%strategy``.
    summary : str
        One sentence.
    options : tuple of Option
        Values without a name first.
    twin : str
        The same in Python.
    details : str
        What the help says after the summary; paragraphs with empty lines between them.
    """

    name: str
    summary: str
    options: tuple[Option, ...]
    twin: str
    details: str = ""

    @property
    def is_cell(self) -> bool:
        """Whether it takes the rest of the cell."""
        return self.name.startswith("%%")

    def option(self, name: str) -> Option | None:
        """The option written ``name``, with its dashes."""
        return next((option for option in self.options if option.is_named and option.name == name), None)

    @property
    def places(self) -> tuple[Option, ...]:
        """The values without a name, in order."""
        return tuple(option for option in self.options if not option.is_named)

    def usage(self) -> str:
        """The usage of the magic, in one line."""
        return " ".join([self.name, *(option.usage for option in self.options)])

    def help(self) -> str:
        """The answer to ``--help``."""
        width = max((len(option.name) for option in self.options), default=0) + 2
        lines = [self.usage(), "", self.summary, "", *([self.details, ""] if self.details else [])]
        for option in (*self.options, HELP):
            need = " (required)" if option.required else ""
            lines.append(f"  {option.name:<{max(width, 9)}}{option.help}{need}")
        if self.option("--out"):
            rest = f"{self.places[0].name} ..." if self.places else "..."
            forms = ["--out r", f"{self.name} r << {rest}"] + ([] if self.is_cell else [f"r = {self.name} {rest}"])
            lines += ["", f"To keep the result as r: {', or '.join(forms)}"]
        lines += [
            "",
            "A value in braces, such as {symbol}, is that variable of the notebook.",
            f"In Python: {self.twin}",
        ]
        return "\n".join(lines)


HELP: Final = Option(name="--help", help="say this", flag=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """The parsed line of a magic.

    Attributes
    ----------
    values : dict
        By the option's Python name; what was not written is not there.
    out : str or None
        The variable named by ``NAME <<`` or ``--out NAME``.
    wants_help : bool
        Whether ``--help`` was among it.
    head, body : str
        The whole first line, and the rest of the cell.
    """

    values: dict[str, Any]
    out: str | None = None
    wants_help: bool = False
    head: str = ""
    body: str = ""

    def get(self, name: str, default: Any = None) -> Any:
        """The value of one option."""
        return self.values.get(name, default)


def split(line: str) -> list[str]:
    """The words of a line; quotes group words and are removed, backslashes are plain characters.

    Raises
    ------
    UsageError
        When a quote is not closed.

    Examples
    --------
    >>> split("--frame '2024-01-01 : 2024-02-01' BTCUSDT")
    ['--frame', '2024-01-01 : 2024-02-01', 'BTCUSDT']
    """
    words = shlex.shlex(line, posix=True)
    words.whitespace_split = True
    words.commenters = ""
    words.escape = ""
    try:
        return list(words)
    except ValueError:
        raise UsageError(f"a quote is not closed in: {line.strip()}") from None


def is_pair(word: str) -> bool:
    """Whether a word is of the form ``NAME=VALUE``.

    Examples
    --------
    >>> is_pair("fast=5:50"), is_pair("--frame=jan"), is_pair("5=5")
    (True, False, False)
    """
    return _PAIR.match(word) is not None


def assigned_to(line: str) -> tuple[str | None, str]:
    """The variable before ``<<`` where a line begins with one, and the rest of the line.

    Examples
    --------
    >>> assigned_to("r << BTCUSDT"), assigned_to("BTCUSDT")
    (('r', 'BTCUSDT'), (None, 'BTCUSDT'))
    """
    assigned = _ASSIGNED.match(line)
    return (assigned[1], line[assigned.end() :]) if assigned else (None, line)


def resolve(word: str, names: Mapping[str, Any]) -> Any:
    """A word with the variables in braces replaced; a word that is only one variable gives its value unchanged.

    Raises
    ------
    UsageError
        When there is no such variable.

    Examples
    --------
    >>> resolve("{days}", {"days": 30}), resolve("{base}USDT", {"base": "BTC"})
    (30, 'BTCUSDT')
    """
    whole = _BRACED.fullmatch(word)
    if whole:
        return _look_up(whole[1], names)
    return _BRACED.sub(lambda found: str(_look_up(found[1], names)), word)


def _look_up(path: str, names: Mapping[str, Any]) -> Any:
    first, *rest = path.split(".")
    if first not in names:
        near = difflib.get_close_matches(first, [name for name in names if not name.startswith("_")], n=1)
        hint = f"; did you mean {{{near[0]}}}?" if near else ""
        raise UsageError(f"there is no variable {first!r} in this notebook{hint}")
    value = names[first]
    for name in rest:
        try:
            value = getattr(value, name)
        except AttributeError:
            raise UsageError(f"{{{path}}}: {type(value).__name__} has no attribute {name!r}") from None
    return value


def _near(word: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""


def _refuse(command: Command, problem: str) -> UsageError:
    return UsageError(f"{command.name}: {problem}\nusage: {command.usage()}\n{command.name} --help says more")


def parse(command: Command, line: str, *, names: Mapping[str, Any], body: str = "") -> Call:
    """The values on a magic's line.

    Parameters
    ----------
    command : Command
    line : str
        The line without the magic's name. It may begin with ``NAME <<``.
    names : mapping
        The notebook's variables, for values in braces.
    body : str
        The rest of the cell; only carried along.

    Raises
    ------
    UsageError
        In at most three lines: what is wrong, how the magic is written, where to read more.

    Examples
    --------
    >>> frame = Option(name="--frame", help="a frame", kind="frame")
    >>> symbol = Option(name="SYMBOL", help="a symbol", kind="symbol", required=True)
    >>> show = Command(name="%show", summary="Shows.", options=(symbol, frame), twin="show(...)")
    >>> parse(show, "r << BTCUSDT --frame=jan", names={}).values
    {'symbol': 'BTCUSDT', 'frame': 'jan'}
    """
    head = f"{command.name} {line}".rstrip()
    out, line = assigned_to(line)
    words = split(line)
    if "--help" in words or "-h" in words:
        return Call(values={}, wants_help=True)
    values: dict[str, Any] = {}
    places = list(command.places)
    while words:
        word = words.pop(0)
        if word.startswith("--"):
            option, given = _named(command, word, words)
        elif places:
            option, given = places.pop(0), word
        else:
            raise _refuse(command, f"does not know what to do with {word!r}")
        if option.key in values:
            raise _refuse(command, f"{option.name} is there twice")
        values[option.key] = True if given is None else resolve(given, names)
    missing = [option for option in command.options if option.required and option.key not in values]
    if missing:
        raise _refuse(command, f"needs {' and '.join(f'{option.name} ({option.help})' for option in missing[:2])}")
    out = _variable(command, values.pop("out", None)) or out
    return Call(values=values, out=out, head=head, body=body)


def _named(command: Command, word: str, rest: list[str]) -> tuple[Option, str | None]:
    """The option that ``word`` names and the text of its value, taken off ``rest`` where it stands apart."""
    name, equals, given = word.partition("=")
    option = command.option(name)
    if option is None:
        known = [known.name for known in command.options if known.is_named]
        raise _refuse(command, f"there is no option {name!r}{_near(name, known)}")
    if option.flag:
        if equals:
            raise _refuse(command, f"{name} takes no value")
        return option, None
    if not equals:
        if not rest or rest[0].startswith("--"):
            raise _refuse(command, f"{name} needs a value ({option.help})")
        given = rest.pop(0)
    while option.several and rest and is_pair(rest[0]):
        given = f"{given} {rest.pop(0)}"
    return option, given


def _variable(command: Command, name: Any) -> str | None:
    """The name given to ``--out``, checked."""
    from keyword import iskeyword

    if name is None:
        return None
    if not isinstance(name, str) or not name.isidentifier() or iskeyword(name):
        raise _refuse(command, f"--out needs the name of a variable, got {name!r}")
    return name


def whole(call: Call, name: str) -> dict[str, Any]:
    """A whole number given to an option, as a keyword; nothing when it was not given."""
    return _read_as(int, "a whole number", call, name)


def number(call: Call, name: str) -> dict[str, Any]:
    """A number given to an option, as a keyword; nothing when it was not given."""
    return _read_as(float, "a number", call, name)


def _read_as(type_: Callable[[Any], object], what: str, call: Call, name: str) -> dict[str, Any]:
    if name not in call.values:
        return {}
    try:
        return {name: type_(call.values[name])}
    except (TypeError, ValueError):
        raise UsageError(f"--{name.replace('_', '-')} takes {what}, got {call.values[name]!r}") from None


def written_params(text: Any, *, such_as: str) -> Any:
    """Parameters parsed from the text of a line; what is no text is returned as it is.

    ``such_as`` is what a message says to write in place of a text that is not understood.

    Raises
    ------
    UsageError
        When the text is not names with literals, lists or ranges.

    Examples
    --------
    >>> written_params("fast=range(5, 15, 5), slow=[100, 200]", such_as="fast=5")
    {'fast': range(5, 15, 5), 'slow': [100, 200]}
    """
    if not isinstance(text, str):
        return text
    try:
        call = ast.parse(f"dict({text})", mode="eval").body
        if not isinstance(call, ast.Call) or call.args or any(keyword.arg is None for keyword in call.keywords):
            raise ValueError
        return {str(keyword.arg): _literal(keyword.value) for keyword in call.keywords}
    except (SyntaxError, ValueError, TypeError):
        raise UsageError(f"--params does not understand {text!r}\nwrite {such_as}") from None


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range" and not node.keywords:
        return range(*(int(ast.literal_eval(one)) for one in node.args))
    return ast.literal_eval(node)
