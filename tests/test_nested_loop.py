"""``enable_nested`` changes a whole process, so each case has a process of its own."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import pytest
from quick import first_quick

NESTED = """
import asyncio, bknb
print(bknb.enable_nested(), bknb.enable_nested())
async def inner(): return "inner"
async def outer(): return asyncio.run(inner())
print(asyncio.run(outer()))
"""
WITHOUT = """
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name in {missing!r} else find(name, *rest)
"""
KERNEL = """
import ipykernel.kernelapp as kernelapp, ipykernel
kernelapp.IPKernelApp.initialized = classmethod(lambda cls: True)
ipykernel.version_info = {version!r}
"""
REFUSED = """
import asyncio, bknb
run = asyncio.run
try:
    bknb.enable_nested()
except bknb.BknbError as error:
    print(type(error).__name__, error, sep=": ")
print(asyncio.run is run)
"""

REFUSALS = [
    ((7, 1, 0), "UsageError: nest-asyncio makes ipykernel 7.1.0 lose queued cells"),
    ((6, 31, 0), ""),
    ((7, 0, 1), ""),
    ((8, 0, 0), "UsageError: nest-asyncio makes ipykernel 8.0.0 lose queued cells"),
]


def run(script: str) -> str:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(find_spec("nest_asyncio2") is None, reason="nest-asyncio2 is not installed")
def test_the_maintained_package_is_preferred() -> None:
    assert run(NESTED).split() == ["nest_asyncio2", "nest_asyncio2", "inner"]


@pytest.mark.skipif(find_spec("nest_asyncio") is None, reason="nest-asyncio is not installed")
def test_the_old_package_serves_where_it_is_safe() -> None:
    assert run(WITHOUT.format(missing=["nest_asyncio2"]) + NESTED).split() == ["nest_asyncio", "nest_asyncio", "inner"]


@pytest.mark.slow
@pytest.mark.skipif(
    find_spec("nest_asyncio") is None or find_spec("ipykernel") is None, reason="nest-asyncio or ipykernel is missing"
)
@pytest.mark.parametrize(("version", "told"), first_quick(REFUSALS))
def test_the_old_package_is_refused_where_it_loses_cells(version: tuple[int, ...], told: str) -> None:
    output = run(WITHOUT.format(missing=["nest_asyncio2"]) + KERNEL.format(version=version) + REFUSED)
    assert output.startswith(told)
    assert output.endswith("True\n" if told else "False\n")  # whether asyncio is as it was


def test_without_either_package_the_error_names_the_install_command() -> None:
    output = run(WITHOUT.format(missing=["nest_asyncio", "nest_asyncio2"]) + REFUSED)
    assert output.splitlines() == [
        "MissingDependency: enable_nested() needs the package 'nest-asyncio2', which is not installed",
        "install it with: pip install 'bknb[notebook]'",
        "True",
    ]
