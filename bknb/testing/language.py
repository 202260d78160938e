"""Old path of the contract of language models; import ``ModelContract`` from :mod:`bknb.testing.llm`."""

from __future__ import annotations

import warnings

from .llm import QUESTION, SCHEMA, ModelContract

__all__ = ["QUESTION", "SCHEMA", "ModelContract"]

warnings.warn(
    "bknb.testing.language is an old path and goes with the next release\n"
    "write: from bknb.testing.llm import ModelContract",
    DeprecationWarning,
    stacklevel=2,
)
