"""Old path of what seals saved state; import ``seal``, ``unseal`` and their companions from :mod:`bknb.stores`."""

from __future__ import annotations

import warnings

from ..stores.file_names import decode_name, encode_name, is_shortened
from ..stores.sealed_values import (
    FORMAT,
    Key,
    Unreadable,
    address_of,
    check_address,
    check_kind,
    claims,
    describe,
    seal,
    unseal,
)

__all__ = [
    "FORMAT",
    "Key",
    "Unreadable",
    "address_of",
    "check_address",
    "check_kind",
    "claims",
    "decode_name",
    "describe",
    "encode_name",
    "is_shortened",
    "seal",
    "unseal",
]

warnings.warn(
    "bknb.adapters.envelope is an old path and goes with the next release\n"
    "write: from bknb.stores import Unreadable, check_address, check_kind, seal, unseal",
    DeprecationWarning,
    stacklevel=2,
)
