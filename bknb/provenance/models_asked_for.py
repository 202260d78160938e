"""The models that a strategy asks for with ``ctx.model``, by the text of all it calls."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from .source_code_and_hash import CodeOnly, read_code

if TYPE_CHECKING:
    from ..market.model_fit import Model

_CALL: Final = re.compile(r"""\.model\(\s*(?:name\s*=\s*)?(?:(?P<quote>["'])(?P<name>[^"'\\{}]*)(?P=quote)\s*[,)])?""")


def models_asked_for(
    functions: Iterable[Callable[..., Any] | CodeOnly], registered: Mapping[str, Model]
) -> dict[str, Model]:
    """The registered models that some functions, and what these call, ask for, in the order of their names.

    Where a name is not written in the call, as in ``ctx.model(kind)``, or the text of a function is not known, each
    registered model may be meant.

    Examples
    --------
    >>> def get_signal(ctx):
    ...     return ctx.model("trend")
    >>> models_asked_for([get_signal], {"other": 1, "trend": 2})
    {'trend': 2}
    >>> def get_signal(ctx, kind="trend"):
    ...     return ctx.model(kind)
    >>> models_asked_for([get_signal], {"other": 1, "trend": 2})
    {'other': 1, 'trend': 2}
    """
    found: set[str] = set()
    for written in read_code(*functions).functions:
        named = [call["name"] for call in _CALL.finditer(written.text)]
        if not written.text or None in named:
            found = set(registered)
            break
        found.update(named)
    return {name: registered[name] for name in sorted(found & registered.keys())}
