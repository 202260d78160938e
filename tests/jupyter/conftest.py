"""One JupyterLab and one browser for all files that need them: each has a folder of its own there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from browser import Browser
from page import Lab, jupyterlab

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def open_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A JupyterLab and a browser; they take ten seconds to begin."""
    folder = tmp_path_factory.mktemp("lab")
    with jupyterlab(folder) as base, Browser(folder / "profile") as browser:
        yield Lab(browser, base, folder / "work")


@pytest.fixture(scope="module")
def lab(open_lab: Lab, request: pytest.FixtureRequest) -> Iterator[Lab]:
    """The same with a folder for the notebooks of a file; its kernels end with it."""
    folder = open_lab.folder / request.module.__name__.rsplit(".", 1)[-1]
    folder.mkdir()
    made = open_lab._replace(folder=folder)
    yield made
    made.end()
