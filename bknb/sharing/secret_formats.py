"""Formats of known keys, tokens, webhooks and addresses that hold a key."""

from __future__ import annotations

import re
from typing import Final, NamedTuple


class Format(NamedTuple):
    """What a text of this format is, what it holds at least one of (in lower case), and its pattern."""

    what: str
    marks: tuple[str, ...]
    shape: re.Pattern[str]


FORMATS: Final[tuple[Format, ...]] = tuple(
    Format(what, marks, re.compile(shape))
    for what, marks, shape in (
        (
            "a private key",
            ("-----begin", "putty-user-key", "age-secret-key", "nsec1"),
            (
                r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|PuTTY-User-Key-File-\d"
                r"|\bAGE-SECRET-KEY-1[A-Z0-9]{20,}"
                r"|\bnsec1[02-9ac-hj-np-z]{50,}\b"
            ),
        ),
        ("an AWS access key", ("akia", "asia"), r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
        (
            "a GitHub token",
            ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
            r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{40,})",
        ),
        ("a GitLab token", ("glpat-",), r"\bglpat-[A-Za-z0-9_-]{20,}"),
        ("a Slack token", ("xox",), r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}"),
        (
            "a Google API key",
            ("aiza", "gocspx-", "ya29."),
            r"\b(?:AIza[0-9A-Za-z_-]{35}|GOCSPX-[\w-]{20,}|ya29\.[\w-]{20,})",
        ),
        (
            "a key of a model provider",
            ("sk-", "gsk_", "xai-", "r8_", "pplx-"),
            r"\b(?:sk-(?:ant-|proj-|or-v1-)?(?=[\w-]*\d)[A-Za-z0-9_-]{20,}|(?:gsk_|xai-|r8_|pplx-)[A-Za-z0-9]{30,})",
        ),
        (
            "a Stripe key",
            ("k_live_", "k_test_", "whsec_"),
            r"\b(?:[rs]k_(?:live|test)|whsec)_[A-Za-z0-9]{16,}",
        ),
        ("a Hugging Face token", ("hf_",), r"\bhf_[A-Za-z0-9]{30,}"),
        ("a PyPI token", ("pypi-",), r"\bpypi-[A-Za-z0-9_-]{50,}"),
        ("an npm token", ("npm_",), r"\bnpm_[A-Za-z0-9]{36}\b"),
        ("a Telegram bot token", (":aa",), r"(?<![0-9])[0-9]{8,10}:AA[A-Za-z0-9_-]{32,33}(?![\w-])"),
        ("a Discord bot token", ("m", "n", "o"), r"\b[MNO][A-Za-z\d_-]{23,27}\.[\w-]{6}\.[\w-]{27,}"),
        ("a SendGrid key", ("sg.",), r"\bSG\.[\w-]{16,}\.[\w-]{16,}"),
        (
            "a cloud token",
            ("_v1_", "shpat_", "shpss_", "shpca_", "shppa_", "dapi", "ntn_"),
            r"\b(?:do[opr]_v1_[0-9a-f]{64}|shp(?:at|ss|ca|pa)_[0-9a-fA-F]{32}|dapi[0-9a-f]{32}|ntn_\w{40,})",
        ),
        (
            "a signed web token",
            (".eyj",),
            r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}",
        ),
        (
            "an authorization header",
            ("bearer", "basic"),
            r"(?i)\b(?:bearer|basic)\s+(?=[^\s\"']*[0-9+/=])[A-Za-z0-9+/_.=-]{20,}",
        ),
    )
)
ADDRESSES: Final[tuple[Format, ...]] = tuple(
    Format(what, marks, re.compile(shape))
    for what, marks, shape in (
        (
            "a password in an address",
            ("://",),
            r"\b[a-z][a-z0-9+.-]{0,20}://[^\s/:@'\"]{0,200}:[^\s/@'\"{}$]{3,200}@[^\s'\"]+",
        ),
        (
            "a webhook",
            ("hook", "logic.azure.com", "ifttt.com", "chat.googleapis", "api.telegram.org"),
            (
                r"(?i)\b(?:discord(?:app)?\.com/api/webhooks/\d+/[\w-]{16,}"
                r"|hooks\.slack\.com/(?:services|workflows|triggers)/[\w/-]{16,}"
                r"|(?:webhook\.office\.com|logic\.azure\.com|outlook\.office\.com/webhook)[\w.:-]*/[\w@/?=&%.-]{20,}"
                r"|(?:open\.feishu\.cn|open\.larksuite\.com)/open-apis/bot/v2/hook/[\w-]{16,}"
                r"|qyapi\.weixin\.qq\.com/cgi-bin/webhook/send\?key=[\w-]{16,}"
                r"|hooks\.zapier\.com/hooks/catch/\d+/\w{5,}|maker\.ifttt\.com/trigger/\w+/with/key/[\w-]{10,}"
                r"|hook\.[\w.]*(?:make|integromat)\.com/\w{16,}|chat\.googleapis\.com/v1/spaces/[\w/?=&%.-]{20,}"
                r"|api\.telegram\.org/bot\d+:[\w-]{20,})"
            ),
        ),
        (
            "the address of a node with its key",
            ("infura.io", "alchemy", "quiknode.pro", "ankr.com", "getblock.io"),
            (
                r"(?i)\b(?:infura\.io/(?:ws/)?v3/[0-9a-f]{32}|alchemy(?:api)?\.(?:com|io)/v2/[\w-]{20,}"
                r"|quiknode\.pro/[0-9a-f]{30,}|ankr\.com/\w+/[0-9a-f]{40,}|getblock\.io/[\w-]{20,})"
            ),
        ),
        (
            "a password of a command",
            ("curl", "wget", "http"),
            r"(?:-u|--user|--proxy-user)[ =]['\"]?[\w.@+-]+:[^\s'\"$]{6,}",
        ),
        (
            "a key in an address",
            ("?", "&"),
            (
                r"(?i)[?&](?:\w{0,30}token|api[_-]?key|key|secret|sig|signature|passw(?:or)?d|auth)="
                r"(?=[^\s&'\"]*\d)[\w.%~+/=-]{16,}"
            ),
        ),
    )
)
