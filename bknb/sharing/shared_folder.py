"""The shared folder: notebook, candles, files, requirements, binder, README."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from ..errors import UsageError
from ..exchanges.candle_bundle import MANIFEST, Manifest
from ..runs.card_of_result import made_with
from . import secrets
from .binder_link_and_readme import launch_text, python_version, readme
from .fresh_environment import NoFreshEnvironment
from .pins import make_pins
from .recorder import NotebookInputs
from .secrets import Guard
from .verify_notebook import cards_in, compared, execute_recorded
from .wheel import write_wheel

if TYPE_CHECKING:
    from ..provenance.portfolio_card import AnyCard

Checked = Literal["fresh", "here", "no"]

BUNDLED_TAG: Final = "bknb-bundled"
_BUNDLED_CELL: Final = """# The candles of this notebook lie beside it: nothing is fetched. (Added by bknb share.)
import bknb

bknb.exchanges.bundled()"""
_NEVER: Final = re.compile(r"(?i)(^|/)(\.env[^/]*|id_[a-z0-9]+|[^/]*\.(pem|key|p12|pfx|keystore))$")
_DATA: Final = (
    ".csv",
    ".gz",
    ".parquet",
    ".json",
    ".txt",
    ".pkl",
    ".feather",
    ".xlsx",
    ".db",
    ".sqlite",
    ".duckdb",
    ".npy",
    ".npz",
)
_PICTURE: Final = re.compile(r"!\[[^\]]*\]\(([^)\s]+)\)|<img[^>]+src=[\"']([^\"']+)")
_LITERAL: Final = re.compile(r"""["']([^"'\n]{1,200})["']""")


@dataclass(slots=True)
class SharedFolder:
    """A shared folder while it is built."""

    path: Path
    source: Path
    node: Any
    inputs: NotebookInputs
    guard: Guard
    notes: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    cards: list[str] = field(default_factory=list)

    @property
    def manifest(self) -> Manifest:
        """The manifest of the folder."""
        return Manifest(
            notebook=self.source.name,
            candles=self.inputs.candles,
            files=tuple(self.files),
            cards=tuple(self.cards),
            made_with=made_with(),
        )

    def write(self, *, repository: str | None, ref: str, seen: Path) -> None:
        """Write everything but the notebook; ``seen`` holds the recorded candles."""
        if (seen / "candles").is_dir():
            shutil.copytree(seen / "candles", self.path / "candles")
        self._copy_files()
        self._write_cards()
        self._write_manifest()
        wheel = write_wheel(self.path / "wheels", made_with()["bknb"])
        pins = "\n".join([f"./wheels/{wheel.name}", *self._pins()])
        head = f"# what this notebook was executed with, on Python {python_version()}\n"
        (self.path / "requirements.txt").write_text(f"{head}{pins}\n", encoding="utf-8")
        (self.path / "binder").mkdir()
        (self.path / "binder" / "requirements.txt").write_text(f"{pins}\n", encoding="utf-8")
        (self.path / "binder" / "runtime.txt").write_text(f"python-{python_version(2)}\n", encoding="utf-8")
        launch = launch_text(self.source.name, repository, ref)
        text = readme(self.source.name, self.inputs.candles, self.notes, launch=launch)
        (self.path / "README.md").write_text(text, encoding="utf-8")
        self._insert_first_cell()

    def _copy_files(self) -> None:
        folder = self.source.resolve().parent
        text = "\n".join(cell.source for cell in self.node.cells)
        pictures = [
            a or b for cell in self.node.cells if cell.cell_type == "markdown" for a, b in _PICTURE.findall(cell.source)
        ]
        local = [name for name in pictures if "://" not in name and not name.startswith(("data:", "attachment:"))]
        # compiled code may read a database or a Parquet file without an audit event: files named in cells go along
        named = [name for name in _LITERAL.findall(text) if Path(name).suffix in _DATA and not Path(name).is_absolute()]
        for name in dict.fromkeys([*self.inputs.inside, *local, *named]):
            file = folder / name
            if name == self.source.name or not file.is_file():
                continue
            if not file.resolve().is_relative_to(folder):
                if file.is_symlink() or any(parent.is_symlink() for parent in file.parents if parent != folder):
                    raise UsageError(
                        f"the notebook reads {name}, a link to {file.resolve()}, which is outside its folder {folder}\n"
                        "put the file itself beside the notebook"
                    )
                continue
            if file.stat().st_ctime_ns // 1_000_000 >= self.inputs.began:
                continue  # the notebook wrote it, and will again
            if _NEVER.search(name) or _NEVER.search(file.resolve().relative_to(folder).as_posix()):
                self.notes.append(f"it reads {name}, which is not included: its reader needs one of their own")
                continue
            self.guard.check_file(file, name)
            place = Path(os.path.normpath(name)).as_posix()  # "../notebook/prices.csv" stays in the shared folder
            if place.startswith("../"):
                place = file.resolve().relative_to(folder).as_posix()
            (self.path / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, self.path / place)
            self.files.append(place)
        away = [name for name in self.inputs.outside if name.endswith(_DATA) and Path(name).name in text]
        if away:
            raise UsageError(
                f"the notebook reads {away[0]}, which is outside its folder {folder}\n"
                "put the file beside the notebook and name it by a relative path"
            )

    def _write_cards(self) -> None:
        for number, card in enumerate(cards_in(self.node), start=1):
            name = re.sub(r"[^\w.-]+", "-", f"{number:02d}-{card.strategy}-{card.symbol}")
            self.cards.append(f"cards/{name}.json")
            card.save(self.path / self.cards[-1])
            self.guard.check_file(self.path / self.cards[-1], self.cards[-1])

    def _write_manifest(self) -> None:
        content = msgspec.json.format(msgspec.json.encode(self.manifest), indent=1)
        (self.path / MANIFEST).write_bytes(content + b"\n")

    def _pins(self) -> list[str]:
        modules = [name for name in self.files if name.endswith(".py")]
        cells = [cell.source for cell in self.node.cells if cell.cell_type == "code"]
        made = make_pins(
            [*cells, *((self.path / name).read_text("utf-8", errors="replace") for name in modules)],
            loaded=self.inputs.modules,
            local=[Path(name).parts[0].removesuffix(".py") for name in modules],
        )
        self.notes += made.notes
        return list(made.lines)

    def _insert_first_cell(self) -> None:
        from nbformat.v4 import new_code_cell

        cells = self.node.cells
        if any("exchanges.bundled(" in cell.source for cell in cells if cell.cell_type == "code"):
            return
        first = next((at for at, cell in enumerate(cells) if cell.cell_type == "code"), len(cells))
        made = new_code_cell(_BUNDLED_CELL, metadata={"tags": [BUNDLED_TAG]})  # type: ignore[no-untyped-call]
        cells.insert(first, made)

    def check(
        self, before: list[AnyCard], *, timeout: int | None, make_environment: Callable[[Path, Path], Path] | None
    ) -> Checked:
        """Execute a copy without a network and compare the results.

        Parameters
        ----------
        make_environment
            Called with the copy and a path; returns the Python of an environment it made there. ``None``: the
            environment of this process.

        Returns
        -------
        {"fresh", "here"}
            Where it was executed.

        Raises
        ------
        UsageError
            It does not run, or something differs.
        """
        where = "; in the environment of its author: its pins were not tried"
        python: Path | None = None
        with tempfile.TemporaryDirectory(prefix="bknb-seen-") as seen, tempfile.TemporaryDirectory() as place:
            copy = Path(place, "copy")
            shutil.copytree(self.path, copy)
            if make_environment is not None:
                try:
                    python = make_environment(copy, Path(place, "environment"))
                    where = ", in a fresh environment made from its pins"
                except NoFreshEnvironment as reason:
                    where = f"; ONLY in the environment of its author, as {reason}: its pins were not tried"
            try:
                after = execute_recorded(
                    self.node,
                    copy,
                    Path(seen),
                    offline=True,
                    timeout=timeout,
                    on_summary=lambda _c, _t: None,
                    python=python,
                )
            except UsageError as error:
                if python is None:
                    raise
                raise UsageError(f"not shared: in a fresh environment made from its pins, {error}") from None
            self.guard.check(secrets.notebook_texts(self.node))
        verification = compared(before, after)
        if not verification:
            first = next(f"{name}: {found[0].text}" for name, found in verification.differences.items() if found)
            raise UsageError(
                f"not shared: the copy does not give the same. {first}\n"
                "a notebook must not depend on chance, on the clock or on what is outside its folder"
            )
        self.notes.append(f"executed again without a network: {len(after)} results, all the same{where}")
        return "here" if python is None else "fresh"

    def finish(self) -> None:
        """Write the notebook with its last outputs."""
        import nbformat

        shown = cards_in(self.node)
        self.node.metadata["bknb"] = {
            "made_with": made_with(),
            "results": [
                {"strategy": card.strategy, "symbol": card.symbol, "digest": card.outcome.digest} for card in shown
            ],
        }
        nbformat.validate(self.node)
        nbformat.write(self.node, self.path / self.source.name)  # type: ignore[no-untyped-call]
