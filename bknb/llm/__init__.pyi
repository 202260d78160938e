"""The public names of ``bknb.llm``, each with the module it lives in: the one list of them."""

from .ask import (
    ask_model as ask_model,
)
from .ask import (
    ollama as ollama,
)
from .ask import (
    recorded as recorded,
)
from .ask import (
    recording as recording,
)
