"""The magics: ``%%strategy``, ``%%backtest`` and their companions. Thin: parse the line, call bknb, show the answer."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import bknb

from .. import frontend
from .completion import matcher
from .kernel import ipython
from .magics import (
    backtest,
    dashboard,
    download_and_audit,
    live,
    optimize,
    portfolio,
    runs_why_and_report,
    share_verify_and_doctor,
    strategy_risk_exchange_and_frame,
    sweep,
    walker_and_lookahead,
)
from .magics.options_read_from_line import parse
from .magics.output import echo, still_live
from .session import Action, Session

if TYPE_CHECKING:
    from collections.abc import Callable

_MODULES: Final = (
    *(strategy_risk_exchange_and_frame, backtest, portfolio, runs_why_and_report, dashboard),
    *(live, share_verify_and_doctor, sweep, walker_and_lookahead, download_and_audit, optimize),
)
COMMANDS: Final = tuple(command for module in _MODULES for command, _action in module.MAGICS)
_ACTIONS: Final[dict[str, Action]] = {command.name: action for module in _MODULES for command, action in module.MAGICS}


def _answer(session: Session, name: str, line: str, cell: str | None = None) -> Any:
    """The value of a magic's cell: its help or the result of its action."""
    command = session.commands[name]
    call = parse(command, line, names=session.names, body=cell or "")
    if call.wants_help:
        echo(command.help())
        return None
    try:
        return _ACTIONS[name](session, call)
    except KeyboardInterrupt as stop:
        text = f"KeyboardInterrupt: {str(stop) or f'{name} was interrupted'}"
        stop._render_traceback_ = text.splitlines  # type: ignore[attr-defined] # IPython's hook: no traceback of ours
        raise


def _magic(session: Session, name: str) -> Callable[..., Any]:
    """The function IPython calls; a name that exists as ``%x`` and ``%%x`` is one function."""
    line_name, cell_name = f"%{name}", f"%%{name}"

    def magic(line: str, cell: str | None = None) -> Any:
        if cell is None and line_name not in session.commands:
            if {"--help", "-h"} & set(line.split()):
                return _answer(session, cell_name, "--help")
            raise bknb.UsageError(
                f"{cell_name} needs the rest of the cell: write it with two per cent signs in the first line"
            )
        return _answer(session, line_name if cell is None else cell_name, line, cell)

    magic.__doc__ = "\n\n".join(
        session.commands[known].help() for known in (line_name, cell_name) if known in session.commands
    )
    return magic


def load_ipython_extension(shell: Any) -> None:
    """Add the magics to an IPython shell; ``%load_ext bknb`` calls this.

    Parameters
    ----------
    shell : IPython.core.interactiveshell.InteractiveShell
    """
    unload_ipython_extension(shell)
    no_var_expand = ipython("core.magic").no_var_expand
    session = Session(shell=shell, commands={command.name: command for command in COMMANDS})
    for name in dict.fromkeys(command.name.lstrip("%") for command in COMMANDS):
        kind = "line_cell" if f"%%{name}" in session.commands else "line"
        shell.register_magic_function(no_var_expand(_magic(session, name)), magic_kind=kind, magic_name=name)
    attach(session)
    shell.bknb_session = session
    frontend.register(frontend.notebook())


def unload_ipython_extension(shell: Any) -> None:
    """Take the magics out of an IPython shell; ``%unload_ext bknb`` calls this.

    Parameters
    ----------
    shell : IPython.core.interactiveshell.InteractiveShell
    """
    session = getattr(shell, "bknb_session", None)
    if session is None:
        return
    for command in COMMANDS:
        for kind in ("line", "cell"):
            shell.magics_manager.magics[kind].pop(command.name.lstrip("%"), None)
    detach(session)
    shell.bknb_session = None
    frontend.register(None)


class ReplacedNotices(logging.Handler):
    """A log handler that prints the registry's notice when a name is registered again."""

    def __init__(self, session: Session) -> None:
        super().__init__(logging.INFO)
        self.session = session

    def emit(self, record: logging.LogRecord) -> None:
        """Print a notice, unless a magic reports it itself."""
        text = record.getMessage()
        if text.endswith(" replaced") and not self.session.quiet:
            echo(text)
            kind, name = record.args if isinstance(record.args, tuple) and len(record.args) == 2 else ("", "")
            if kind == "strategy" and (goes_on := still_live(str(name))):
                echo(goes_on)


def attach(session: Session) -> None:
    """Add completion and notices of replaced names to a shell."""
    session.shell.Completer.custom_matchers.append(matcher(session))
    handler = ReplacedNotices(session)
    session.listen(handler)
    log = logging.getLogger("bknb")
    if log.level == logging.NOTSET:
        log.setLevel(logging.INFO)
    log.addHandler(handler)


def detach(session: Session) -> None:
    """Undo :func:`attach`."""
    matchers = session.shell.Completer.custom_matchers
    matchers[:] = [known for known in matchers if getattr(known, "matcher_identifier", "") != "bknb"]
    if session.listener is not None:
        logging.getLogger("bknb").removeHandler(session.listener)
