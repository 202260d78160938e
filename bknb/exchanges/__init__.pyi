"""The public names of ``bknb.exchanges``, each with the module it lives in: the one list of them."""

from ..domain.retry_pauses import (
    Patience as Patience,
)
from ..history.cached_source import (
    StoredSource as StoredSource,
)
from ..history.candle_store import (
    CandleStore as CandleStore,
)
from ..history.candle_store_source import (
    CandleStoreSource as CandleStoreSource,
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
from .ccxt_stored_and_from_store import (
    ccxt as ccxt,
)
from .ccxt_stored_and_from_store import (
    from_store as from_store,
)
from .ccxt_stored_and_from_store import (
    stored as stored,
)
from .dataframe_source import (
    FrameSource as FrameSource,
)
from .demo_in_sessions_and_bundled import (
    bundled as bundled,
)
from .demo_in_sessions_and_bundled import (
    demo as demo,
)
from .demo_in_sessions_and_bundled import (
    in_sessions as in_sessions,
)
from .from_csv_frame_and_parquet import (
    from_csv as from_csv,
)
from .from_csv_frame_and_parquet import (
    from_frame as from_frame,
)
from .from_csv_frame_and_parquet import (
    from_parquet as from_parquet,
)
from .joined_exchanges import (
    JoinedSource as JoinedSource,
)
from .joined_exchanges import (
    joined as joined,
)
from .sql import (
    from_query as from_query,
)
from .yahoo import (
    yfinance as yfinance,
)
