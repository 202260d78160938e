"""The public names of ``bknb.exchanges``, each with the module it lives in: the one list of them."""

from ..domain.retry_pauses import (
    Patience as Patience,
)
from ..history.cached_source import (
    StoredSource as StoredSource,
)
from ..history.candle_store_source import (
    CandleStoreSource as CandleStoreSource,
)
from ..history.store import (
    CandleStore as CandleStore,
)
from ..market.demo import (
    DemoSource as DemoSource,
)
from ..market.sources import (
    SessionSource as SessionSource,
)
from .binance_zips import (
    binance_archive as binance_archive,
)
from .dataframe_source import (
    FrameSource as FrameSource,
)
from .from_tables import (
    from_csv as from_csv,
)
from .from_tables import (
    from_frame as from_frame,
)
from .from_tables import (
    from_parquet as from_parquet,
)
from .simple_sources import (
    bundled as bundled,
)
from .simple_sources import (
    demo as demo,
)
from .simple_sources import (
    in_sessions as in_sessions,
)
from .sql import (
    from_query as from_query,
)
from .stored_sources import (
    ccxt as ccxt,
)
from .stored_sources import (
    from_store as from_store,
)
from .stored_sources import (
    stored as stored,
)
from .yahoo import (
    yfinance as yfinance,
)
