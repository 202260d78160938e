"""``bknb run`` and ``bknb lab``: the notebook functions from a shell."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import bknb
from bknb import BknbError, MissingDependency, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .sharing.execute_notebook import Failure

FIRST_NOTEBOOK: Final = Path("notebooks") / "01-first-backtest.ipynb"

DONE: Final = 0
NOT_FINISHED: Final = 1
WRONG_USE: Final = 2
INTERRUPTED: Final = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status.

    Returns
    -------
    int
        0 done, 1 the notebook did not run to its end, 2 wrong use or a missing package, 130 interrupted.
    """
    parser = _parser()
    ours, jupyterlab_options = _split(list(sys.argv[1:] if arguments is None else arguments))
    options = parser.parse_args(ours)
    try:
        if options.command == "run":
            return _run(options.notebook, out=options.out, save=options.save, timeout_seconds=options.timeout)
        if options.command == "doctor":
            return _doctor(options)
        if options.command == "share":
            return _share(options)
        if options.command == "verify":
            return _verify(options.notebook, code=options.code, yes=options.yes, timeout_seconds=options.timeout)
        if options.command == "lab":
            return _lab(options.notebook, jupyterlab_options=jupyterlab_options)
        parser.print_help()
    except BknbError as error:
        _complain(error.lines())
        return WRONG_USE
    except KeyboardInterrupt:
        _complain(["interrupted"])
        return INTERRUPTED
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bknb",
        description="Run notebooks that backtest trading strategies.",
        epilog="example: bknb run notebooks/01-first-backtest.ipynb --out first-backtest.html",
    )
    parser.add_argument("--version", action="version", version=f"bknb {bknb.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    run = _notebook_parser(
        commands,
        "run",
        does="execute a notebook, print its backtests, write one HTML file",
        description="Execute a notebook with this Python, print each backtest's summary, and write everything it "
        "shows to one HTML file that opens without a network. The notebook itself is not changed.",
        example="notebooks/01-first-backtest.ipynb --out first-backtest.html",
    )
    run.add_argument("--out", metavar="FILE.html", type=Path, help="default: the notebook's name, here")
    run.add_argument(
        "--save", metavar="FILE.ipynb", type=Path, help="also write the notebook with its outputs and run cards"
    )
    _add_timeout(run)
    _sharing_parsers(commands)
    lab = commands.add_parser(
        "lab",
        help="open JupyterLab on the first notebook",
        description="Open JupyterLab on a notebook. Options of JupyterLab itself can follow.",
        epilog="example: bknb lab notebooks/01-first-backtest.ipynb --port 8890",
    )
    lab.add_argument(
        "notebook", metavar="NOTEBOOK.ipynb", nargs="?", type=Path, help=f"default: {FIRST_NOTEBOOK}, else this folder"
    )
    return parser


def _notebook_parser(commands: Any, name: str, *, does: str, description: str, example: str) -> argparse.ArgumentParser:
    """A command that executes one notebook, given by its path."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=does, description=description, epilog=f"example: bknb {name} {example}"
    )
    parser.add_argument("notebook", metavar="NOTEBOOK.ipynb", type=Path)
    return parser


def _add_timeout(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--timeout", metavar="SECONDS", type=_seconds, help="longest time for one cell (default: no limit)"
    )


def _sharing_parsers(commands: Any) -> None:
    share = _notebook_parser(
        commands,
        "share",
        does="make a folder with which somebody else gets the same numbers",
        description="Execute a notebook and write it to a folder with exactly the candles it used, the files it read, "
        "pinned requirements, binder/ and a README; then execute that copy without a network and compare. Secrets are "
        "looked for, and refused. The notebook itself is not changed.",
        example="notebooks/01-first-backtest.ipynb --to first.zip --repository me/strategies",
    )
    share.add_argument("--to", metavar="FOLDER|FILE.zip", type=Path, help="default: NOTEBOOK-share, here")
    share.add_argument("--repository", metavar="OWNER/NAME", help="where it will be on GitHub, for the launch link")
    share.add_argument("--ref", metavar="BRANCH", default="HEAD", help="branch or commit there (default: HEAD)")
    share.add_argument(
        "--accept", metavar="FINGERPRINT", action="append", default=[], help="a finding that is no secret"
    )
    share.add_argument("--no-check", action="store_true", help="do not execute the copy")
    verify = _notebook_parser(
        commands,
        "verify",
        does="execute a notebook or the run of a report again, and say what differs from the stored results",
        description="Execute a notebook (or the one in a shared folder) and compare every result with the run card "
        "stored beside it: candles, lines of the strategy, settings, every trade. Before that it says whose code "
        "will run, and asks. The notebook itself is not changed. Of a report in HTML or a saved run card the one run "
        "is run again, without a question; --code names the file with its strategy.",
        example="notebooks/01-first-backtest.ipynb",
    )
    verify.add_argument(
        "--code", metavar="FILE.py", type=Path, help="of a report: the file that registers its strategy; it is run"
    )
    verify.add_argument("--yes", action="store_true", help="run the code of a notebook without asking, as in a script")
    doctor = commands.add_parser(
        "doctor",
        help="say what works here, what does not, and what to do",
        description="Look at versions, the cache of compiled kernels, JupyterLab and its widgets, Ollama, the clocks "
        "of exchanges, stored candles and saved state. Nothing is changed. With --broker: an account at an exchange, "
        "and in its sandbox the smallest order and a stop, far from the market, which are cancelled again. The exit "
        "status is 1 when something is bad.",
        epilog="example: bknb doctor --broker binance",
    )
    doctor.add_argument("--state", metavar="FOLDER", type=Path, help="folder of saved state (default: ./dump/data)")
    doctor.add_argument("--candles", metavar="FOLDER", type=Path, help="stored candles (default: ./dump/candles)")
    doctor.add_argument("--offline", action="store_true", help="ask neither Ollama nor exchanges")
    doctor.add_argument(
        "--broker", metavar="EXCHANGE", help="check an account there in place of all this, by default in its sandbox"
    )
    doctor.add_argument("--market", choices=("spot", "swap"), help="what is traded there (default: spot)")
    doctor.add_argument("--symbol", help="on which market orders are tried out (default: BTC/USDT)")
    doctor.add_argument("--real-money", action="store_true", help="the account with real money; no order is placed")
    doctor.add_argument("--test-order", action="store_true", help="place the smallest order there all the same")
    for parser in (share, verify):
        _add_timeout(parser)


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """The own arguments, and the options for JupyterLab behind ``bknb lab [NOTEBOOK]``."""
    if arguments[:1] == ["lab"]:
        for position, argument in enumerate(arguments):
            if argument.startswith("-") and argument not in {"-h", "--help"}:
                return arguments[:position], arguments[position:]
    return arguments, []


def _seconds(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"expected a whole number of seconds above 0, got {text!r}")
    return int(text)


def _run(path: Path, *, out: Path | None, save: Path | None, timeout_seconds: int | None) -> int:
    from .sharing import execute_notebook

    target = out if out is not None else Path(f"{path.stem}.html")
    notebook = execute_notebook.read_notebook(path)
    for wanted in (target, save or target):  # known before the notebook runs for an hour
        if not wanted.parent.is_dir():
            raise UsageError(f"cannot write {wanted}: there is no folder {wanted.parent}")
    for package in ("ipykernel", "nbclient", "nbconvert"):
        _need(package, purpose="bknb run")
    failure = execute_notebook.execute(
        notebook,
        folder=path.resolve().parent,
        timeout_seconds=timeout_seconds,
        on_summary=lambda cell, text: _echo(f"[{cell}] {text}\n"),
    )
    execute_notebook.write_html(notebook, target, title=path.stem)
    if save is not None:
        execute_notebook.write_notebook(notebook, save)
    if failure is not None:
        _complain(_failure_lines(path, failure, target))
        return NOT_FINISHED
    _echo(f"written: {target}")
    return DONE


def _failure_lines(path: Path, failure: Failure, target: Path) -> list[str]:
    where = f"cell [{failure.cell}] of {path.name}" if failure.cell else path.name
    first, *more = [line.strip() for line in failure.text.splitlines() if line.strip()] or ["failed"]
    middle = [" ".join(more)] if more else []
    return [f"{where} failed: {first}", *middle, f"written up to there: {target}"]


def _doctor(options: argparse.Namespace) -> int:
    names = ("state", "candles", "broker", "market", "symbol")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    test_order = True if options.test_order else None
    report = bknb.doctor(network=not options.offline, real_money=options.real_money, test_order=test_order, **given)
    _echo(repr(report))
    return DONE if report else NOT_FINISHED


def _share(options: argparse.Namespace) -> int:
    for package in ("ipykernel", "nbclient", "nbformat"):
        _need(package, purpose="bknb share")
    shared = bknb.share(
        options.notebook,
        options.to,
        repository=options.repository,
        ref=options.ref,
        accept=options.accept,
        check=not options.no_check,
        timeout_seconds=options.timeout,
        on_summary=lambda cell, text: _echo(f"[{cell}] {text}\n"),
    )
    _echo(repr(shared))
    return DONE


def _verify(path: Path, *, code: Path | None, yes: bool, timeout_seconds: int | None) -> int:
    if path.suffix.lower() in (".html", ".htm", ".json"):
        from .sharing.verify_report import verify_report

        if timeout_seconds is not None:
            raise UsageError(f"--timeout is for the cells of a notebook; {path} has one run\nleave it out")
        told = verify_report(path, code)
        _echo(repr(told))
        return DONE if told else NOT_FINISHED
    if code is not None:
        raise UsageError(f"--code is for a report in HTML or a run card; {path} has its code in it\nleave it out")
    from .sharing.verify_notebook import read_verifiable
    from .sharing.whose_code import ask_to_run, received, whose_code

    for package in ("ipykernel", "nbclient", "nbformat"):
        _need(package, purpose="bknb verify")
    if not yes:
        notebook, manifest = received(path)
        node, _ = read_verifiable(notebook)
        ask_to_run(whose_code(notebook, node, manifest), how=f"bknb verify --yes {path}")
    verification = bknb.verify_notebook(path, yes=True, timeout_seconds=timeout_seconds)
    _echo(repr(verification))
    return DONE if verification else NOT_FINISHED


def _lab(path: Path | None, *, jupyterlab_options: Sequence[str]) -> int:
    _need("jupyterlab", purpose="bknb lab")
    if path is not None and not path.exists():
        raise UsageError(f"no notebook at {path}; expected the path of an .ipynb file")
    if path is None and FIRST_NOTEBOOK.is_file():
        path = FIRST_NOTEBOOK
    opened = [str(path)] if path is not None else []
    command = [sys.executable, "-m", "jupyterlab", *opened, *jupyterlab_options]
    # a kernel somebody installed under the name python3 must not win over the one beside bknb
    environment = {"JUPYTER_PREFER_ENV_PATH": "1", **os.environ}
    os.execvpe(sys.executable, command, environment)  # noqa: S606 -- replaces this process, so Ctrl-C reaches Jupyter


def _need(package: str, *, purpose: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise MissingDependency(package, purpose=purpose, extra="notebook")


def _echo(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _complain(lines: Sequence[str]) -> None:
    first, *more = lines
    sys.stderr.write("\n".join([f"bknb: {first}", *more]) + "\n")


if __name__ == "__main__":
    sys.exit(main())
