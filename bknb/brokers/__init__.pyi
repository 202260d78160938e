"""The public names of ``bknb.brokers``, each with the module it lives in: the one list of them."""

from .factories import (
    paper as paper,
)
from .joined_brokers import (
    JoinedBroker as JoinedBroker,
)
from .joined_brokers import (
    joined as joined,
)
from .paper_broker import (
    PaperBroker as PaperBroker,
)
from .paper_broker import (
    Trouble as Trouble,
)
