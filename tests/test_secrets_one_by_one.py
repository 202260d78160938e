"""Secrets that are found in a line, and ordinary lines that are left alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from bknb.sharing import secrets

nbformat = pytest.importorskip("nbformat")

LETTERS = "q7Wm2Zx9Lp4Rt8Vk3Nd6Bf1Hs5Jg0TcYa2Ue9Io4Qw7Er"
SECRETS = [
    "AKIA" + "Q7W2Z9L4R8V3N6B1",
    "ghp_" + LETTERS[:36],
    "xoxb-" + "123456789012-" + LETTERS[:12],
    "AIza" + LETTERS[:35],
    "sk-ant-" + LETTERS[:30],
    "glpat-" + LETTERS[:20],
    "hf_" + LETTERS[:34],
    "123456789:AA" + LETTERS[:33],
    "eyJ" + LETTERS[:20] + ".eyJ" + LETTERS[:20] + "." + LETTERS[:20],
    "Authorization: Bearer " + LETTERS[:30],
    "postgres://trader:hunter22@db.example.com/ticks",
    f"client = ccxt.binance({{'apiKey': '{LETTERS[:40]}'}})",
    f"'secret': '{LETTERS[:40]}'",
    f'binance_api_secret = "{LETTERS[:40]}"',
    f"password: str = '{LETTERS[:14]}'",
    f"%env BINANCE_SECRET={LETTERS[:24]}",
    f"export API_TOKEN={LETTERS[:24]}",
    "-----BEGIN EC PRIVATE KEY-----",
]


@pytest.mark.parametrize("line", SECRETS)
def test_a_secret_is_found(line: str) -> None:
    (first, *_) = secrets.find_secrets(f"\n{line}", "cell [1]")
    assert first.place == "cell [1], line 2"
    assert LETTERS[:12] not in str(first)


@pytest.mark.parametrize(
    "line",
    [
        "api_key = os.environ['BINANCE_KEY']",
        "api_key = getpass('key: ')",
        "apiKey='your-api-key-here'",
        "token = tokens[0]",
        "password = ''",
        "secret = '<put yours here>'",
        "for key, value in parameters.items():",
        "price_take_profit=price * 1.02, key='signal_id'",
        "digest 5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8",
        "https://example.com/docs?page=2",
        "max_tokens = 4096",
        "sort_key = 'pnl_percentage'",
        "the-token-is-read-from-the-environment",
    ],
)
def test_ordinary_lines_are_left_alone(line: str) -> None:
    assert secrets.find_secrets(line, "cell [1]") == []


@pytest.mark.slow
def test_the_notebooks_of_this_repository_hold_no_secret() -> None:
    for path in (Path(__file__).parent.parent / "notebooks").glob("*.ipynb"):
        for place, text in secrets.notebook_texts(nbformat.read(path, as_version=4)):
            assert secrets.find_secrets(text, f"{path.name} {place}") == []
