"""Runs the notebooks in ``notebooks/`` and stores their outputs in them, as ``test_notebooks.py`` expects to find them.

::

    python tests/store_notebooks.py                  all of them
    python tests/store_notebooks.py 01-first 06-opt  those whose name begins so

Each runs in a copy of the folder, without a network; a notebook that fails is left as it is.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat

FOLDER = Path(__file__).parent.parent / "notebooks"
NBMAKE = ("-m", "pytest", "--nbmake", "--overwrite", "--nbmake-timeout=300", "-p", "no:cacheprovider", "-q")


def store(path: Path) -> bool:
    """Run one notebook and store its outputs; whether it came to its end."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(shutil.copy(path, scratch))
        shutil.copytree(FOLDER / "data", Path(scratch) / "data")
        if subprocess.run([sys.executable, *NBMAKE, str(copy)], cwd=scratch, check=False).returncode:
            return False
        notebook = nbformat.read(copy, as_version=4)
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # when it ran: nothing that a reader needs
    nbformat.write(notebook, path)
    return True


if __name__ == "__main__":
    chosen = [path for path in sorted(FOLDER.glob("*.ipynb")) if path.name.startswith(tuple(sys.argv[1:] or [""]))]
    failed = [path.name for path in chosen if not store(path)]
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)
