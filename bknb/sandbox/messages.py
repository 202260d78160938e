"""How messages between a trial and the process that waits for it are written."""

from __future__ import annotations

import struct
from typing import Final

LENGTH: Final = struct.Struct("<Q")
"""Bytes of the message that follows."""
END: Final = struct.Struct("<ii")
"""What is told of a fork that is over: the number of the error for which there was none, or 0, and its exit code."""
