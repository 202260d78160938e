"""Language models: served by Ollama, or recorded; and a request to one inside a strategy.

Any object with a ``name`` and an asynchronous ``chat`` can be passed wherever these can (:class:`bknb.ports.Model`).

Examples
--------
>>> import bknb.llm
>>> bknb.llm.ollama().name
'deepseek-v3.1:671b'
"""

from __future__ import annotations

from .. import lazy_names

__getattr__, __dir__, __all__ = lazy_names.attach(__name__, __file__)
