"""What a test file needs beyond the standard set."""

from __future__ import annotations

import importlib.util

import pytest


def need_packages(*names: str) -> None:
    """Skip the test file that calls it, where a package is not installed.

    None of them is imported: every process that collects the tests would load it, though few run them.
    """
    for name in names:
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed", allow_module_level=True)
