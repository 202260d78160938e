"""The public names of ``bknb.brokers``, each with the module it lives in: the one list of them."""

from ..domain.broker_account import (
    Abilities as Abilities,
)
from ..domain.broker_account import (
    AccountPosition as AccountPosition,
)
from ..domain.broker_account import (
    Balance as Balance,
)
from ..domain.broker_account import (
    BrokerMarket as BrokerMarket,
)
from ..domain.broker_account import (
    Fee as Fee,
)
from ..domain.broker_account import (
    Fill as Fill,
)
from ..domain.broker_orders_and_ids import (
    Order as Order,
)
from ..domain.broker_orders_and_ids import (
    Report as Report,
)
from .ccxt_and_paper import (
    ccxt as ccxt,
)
from .ccxt_and_paper import (
    paper as paper,
)
from .ccxt_broker import (
    CcxtBroker as CcxtBroker,
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
from .paper_trouble import (
    Trouble as Trouble,
)
