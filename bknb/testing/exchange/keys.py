"""The keys of an account at a local exchange, and how requests are signed with them."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass, field


@dataclass(slots=True, kw_only=True)
class Keys:
    """What a client has to know, and what it may do with it.

    Attributes
    ----------
    revoked
        Whether the exchange has taken the key back.
    may_trade, may_withdraw
        Its permissions.

    Examples
    --------
    >>> keys = Keys()
    >>> keys.hex_signature("symbol=BTCUSDT") == keys.hex_signature("symbol=ETHUSDT")
    False
    """

    key: str = "local-key"
    secret: str = field(default="local-secret", repr=False)
    passphrase: str = field(default="local-passphrase", repr=False)
    revoked: bool = False
    may_trade: bool = True
    may_withdraw: bool = False

    def hex_signature(self, text: str) -> str:
        """HMAC-SHA256 in hexadecimal digits."""
        return hmac.new(self.secret.encode(), text.encode(), hashlib.sha256).hexdigest()

    def base64_signature(self, text: str) -> str:
        """HMAC-SHA256 in base64."""
        return base64.b64encode(hmac.new(self.secret.encode(), text.encode(), hashlib.sha256).digest()).decode()


def same(given: str, expected: str) -> bool:
    """Whether two signatures are the same."""
    return hmac.compare_digest(given.encode(), expected.encode())
