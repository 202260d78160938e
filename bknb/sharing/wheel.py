"""A wheel of the running bknb: a shared notebook brings the code that made its results."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Final

_PACKAGE: Final = Path(__file__).resolve().parent.parent
_MOMENT: Final = (1980, 1, 1, 0, 0, 0)  # the earliest of a zip file: the same code gives the same bytes
_TAG: Final = "py3-none-any"
_LEFT_OUT: Final = ("__pycache__", ".ipynb_checkpoints")


def write_wheel(folder: Path, version: str) -> Path:
    """Write the package as it is imported now into ``folder``; returns the path of the wheel.

    Raises
    ------
    OSError
        When it cannot be written.
    """
    info = f"bknb-{version}.dist-info"
    entries = {
        f"bknb/{path.relative_to(_PACKAGE).as_posix()}": path.read_bytes()
        for path in sorted(_PACKAGE.rglob("*"))
        if path.is_file() and path.suffix != ".pyc" and not set(path.parts) & set(_LEFT_OUT)
    }
    entries[f"{info}/METADATA"] = _metadata(version).encode()
    entries[f"{info}/WHEEL"] = f"Wheel-Version: 1.0\nGenerator: bknb\nRoot-Is-Purelib: true\nTag: {_TAG}\n".encode()
    entries[f"{info}/entry_points.txt"] = b"[console_scripts]\nbknb = bknb.cli:main\n"
    entries[f"{info}/RECORD"] = _record(entries, info).encode()
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"bknb-{version}-{_TAG}.whl"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            entry = zipfile.ZipInfo(name, date_time=_MOMENT)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)
    return target


def _metadata(version: str) -> str:
    try:
        return str(metadata("bknb"))
    except PackageNotFoundError:  # run from a checkout
        names = ("msgspec", "numpy", "packaging", "pandas", "tqdm")
        needs = "\n".join(f"Requires-Dist: {name}" for name in names)
        return f"Metadata-Version: 2.1\nName: bknb\nVersion: {version}\n{needs}\n"


def _record(entries: dict[str, bytes], info: str) -> str:
    lines = []
    for name, content in entries.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(content)}")
    return "\n".join([*lines, f"{info}/RECORD,,", ""])
