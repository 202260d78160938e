"""The public names of ``bknb.notify``, each with the module it lives in: the one list of them."""

from .notifier import (
    Notifier as Notifier,
)
from .notifier import (
    running as running,
)
from .telegram_webhook_and_email import (
    email as email,
)
from .telegram_webhook_and_email import (
    telegram as telegram,
)
from .telegram_webhook_and_email import (
    webhook as webhook,
)
