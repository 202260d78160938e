"""Sixty planted secrets, all made up, in every carrier; and innocent texts that look like secrets.

A case is a carrier (a function that writes the secret into a folder and says which file holds it) and a text.
"""

# ruff: noqa: S311, E501
from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import random
import string
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

Carrier = Callable[[Path, str], Path | None]
"""Writes a text into a folder; returns the file to scan, or None to scan the history of the folder."""

_LETTERS = string.ascii_letters + string.digits
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def made_up(seed: int, length: int = 32, letters: str = _LETTERS) -> str:
    """A random text, the same in every run."""
    return "".join(random.Random(seed).choices(letters, k=length))


def hexa(seed: int, length: int = 64) -> str:
    return made_up(seed, length, "0123456789abcdef")


def base58(raw: bytes) -> str:
    number, text = int.from_bytes(raw, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        text = _BASE58[digit] + text
    return "1" * (len(raw) - len(raw.lstrip(b"\0"))) + text


def checked58(raw: bytes) -> str:
    return base58(raw + hashlib.sha256(hashlib.sha256(raw).digest()).digest()[:4])


def in_base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


# --- carriers ---------------------------------------------------------------------------------------------------


def notebook(cells: list[dict[str, Any]], **metadata: Any) -> dict[str, Any]:
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": cells}


def code_cell(source: str, *outputs: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {"cell_type": "code", "id": "a", "source": source, "metadata": metadata, "outputs": list(outputs)} | {
        "execution_count": 1
    }


def _save(folder: Path, data: dict[str, Any]) -> Path:
    (folder / "story.ipynb").write_text(json.dumps(data))
    return folder / "story.ipynb"


def cell(folder: Path, text: str) -> Path:
    return _save(folder, notebook([code_cell(text)]))


def markdown(folder: Path, text: str) -> Path:
    return _save(folder, notebook([{"cell_type": "markdown", "id": "a", "source": text, "metadata": {}}]))


def printed(folder: Path, text: str) -> Path:
    return _save(folder, notebook([code_cell("x", {"output_type": "stream", "name": "stdout", "text": text})]))


def html_output(folder: Path, text: str) -> Path:
    shown = {"output_type": "display_data", "data": {"text/html": text}, "metadata": {}}
    return _save(folder, notebook([code_cell("x", shown)]))


def json_output(folder: Path, text: str) -> Path:
    shown = {"output_type": "display_data", "data": {"application/json": json.loads(text)}, "metadata": {}}
    return _save(folder, notebook([code_cell("x", shown)]))


def traceback(folder: Path, text: str) -> Path:
    failed = {"output_type": "error", "ename": "E", "evalue": "", "traceback": ["\x1b[0;31mE\x1b[0m", text]}
    return _save(folder, notebook([code_cell("x", failed)]))


def notebook_metadata(folder: Path, text: str) -> Path:
    return _save(folder, notebook([code_cell("x")], **json.loads(text)))


def cell_metadata(folder: Path, text: str) -> Path:
    return _save(folder, notebook([code_cell("x", **json.loads(text))]))


def output_metadata(folder: Path, text: str) -> Path:
    shown = {"output_type": "display_data", "data": {}, "metadata": json.loads(text)}
    return _save(folder, notebook([code_cell("x", shown)]))


def file(name: str, encoding: str = "utf-8") -> Carrier:
    def write(folder: Path, text: str) -> Path:
        (folder / name).write_bytes(text.encode(encoding))
        return folder / name

    return write


def gzipped(folder: Path, text: str) -> Path:
    (folder / "notes.csv.gz").write_bytes(gzip.compress(text.encode()))
    return folder / "notes.csv.gz"


def zipped(folder: Path, text: str) -> Path:
    with zipfile.ZipFile(folder / "book.xlsx", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/sharedStrings.xml", text)
    return folder / "book.xlsx"


def binary(folder: Path, text: str) -> Path:
    (folder / "state.pkl").write_bytes(b"\x80\x04\x95\0\0\0\0" + text.encode() + b"\0\x94.")
    return folder / "state.pkl"


def link(folder: Path, text: str) -> Path:
    (folder / "kept").mkdir()
    (folder / "kept" / "settings.txt").write_text(text)
    (folder / "settings.txt").symlink_to(Path("kept", "settings.txt"))
    return folder / "settings.txt"


def large(folder: Path, text: str) -> Path:
    row = "1704067200000,42283.58,42298.62,42261.02,42298.61,35.92724\n"
    with (folder / "large.csv").open("w") as target:
        target.write(row * 60_000 + text + "\n" + row * 60_000)  # 7 MB
    return folder / "large.csv"


def git(folder: Path, *words: str) -> None:
    """One git command in a folder, with an author of its own and without the settings of whoever runs it."""
    names = ("-c", "user.name=x", "-c", "user.email=x@example.com", "-c", "commit.gpgsign=false")
    plain = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    subprocess.run(["git", *names, "-C", str(folder), *words], check=True, capture_output=True, env=plain)


def history(folder: Path, text: str) -> None:
    git(folder, "init", "-q")
    for content in (text, "nothing"):
        (folder / "config.py").write_text(content)
        git(folder, "add", ".")
        git(folder, "commit", "-q", "-m", "a change")


def deleted_branch_of_history(folder: Path, text: str) -> None:
    git(folder, "init", "-q", "-b", "main")
    (folder / "a.py").write_text("x = 1")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "first")
    git(folder, "checkout", "-q", "-b", "trial")
    (folder / "b.json.gz").write_bytes(gzip.compress(text.encode()))
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "second")
    git(folder, "checkout", "-q", "main")


def commit_message(folder: Path, text: str) -> None:
    git(folder, "init", "-q")
    (folder / "a.py").write_text("x = 1")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", text)


# --- sixty secrets ----------------------------------------------------------------------------------------------

_WORDS = "legal winner thank year wave sausage worth useful legal winner thank yellow"
_PEM = f"-----BEGIN EC PRIVATE KEY-----\n{made_up(90, 64)}\n{made_up(91, 64)}\n-----END EC PRIVATE KEY-----"
_K = made_up

PLANTED: dict[str, tuple[Carrier, str]] = {
    # positional keys
    "ccxt client, positional": (cell, f"client = Client('{_K(1, 64)}', '{_K(2, 64)}')"),
    "positional, lower-case hex": (cell, f"session = kucoin.Trade('{hexa(3, 24)}', '{hexa(4, 36)}')"),
    "positional over lines": (cell, f"exchange = Bybit(\n    '{_K(5, 18)}',\n    '{_K(6, 36)}',\n)"),
    "positional bytes": (cell, f"hmac.new(b'{hexa(7, 32)}', message, sha256)"),
    "positional in a tuple": (cell, f"login = ('me@example.com', '{_K(8, 40)}')"),
    # short names
    "k": (cell, f"k = '{_K(9, 24)}'\ns = '{_K(10, 24)}'"),
    "pw": (cell, "pw = 'Tr4ding!2024'"),
    "pwd without quotes": (file(".netrc.txt"), "machine x login y\npwd=Gr33n-Apple-77"),
    "sk in hex": (cell, f"sk = '{hexa(11, 40)}'"),
    "key, upper-case hex": (cell, f"key: str = '{hexa(12, 32).upper()}'"),
    "subscript": (cell, "settings['pass'] = 'hunter2-hunter3'"),
    # private keys
    "hex with 0x": (cell, f"pk = '0x{hexa(13)}'"),
    "hex, bare": (file("wallet.json"), json.dumps({"address": "0x" + hexa(14, 40), "private": hexa(15)})),
    "hex from_key": (cell, f"account = Account.from_key('{hexa(16)}')"),
    "pem": (file("trade.txt"), _PEM),
    "pem in one line": (file("service.json"), json.dumps({"private_key": _PEM})),
    "openssh": (printed, "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk"),
    "wif": (cell, f"coins = '{checked58(bytes([128]) + bytes.fromhex(hexa(17)) + bytes([1]))}'"),
    "xprv": (file("notes.md"), checked58(bytes.fromhex("0488ade4" + hexa(18, 148)))),
    "solana bytes": (file("id.json"), json.dumps(list(random.Random(19).randbytes(64)))),
    "solana base58": (printed, base58(random.Random(20).randbytes(64))),
    # mnemonics
    "twelve words": (cell, f"seed = '{_WORDS}'"),
    "words in a list": (cell, repr(_WORDS.split())),
    "words over lines": (file("backup.txt"), "\n".join(f"{n}. {w}" for n, w in enumerate(_WORDS.split(), 1))),
    "words in html": (html_output, "".join(f"<td>{word}</td>" for word in _WORDS.split())),
    # webhooks and addresses
    "discord webhook": (cell, f"url = 'https://discord.com/api/webhooks/112233445566778899/{_K(21, 68)}'"),
    "slack webhook": (file("alerts.yaml"), f"to: https://hooks.slack.com/services/T0{_K(22, 8)}/B0{_K(23, 8)}/{_K(24, 24)}"),
    "telegram address": (printed, f"GET https://api.telegram.org/bot123456789:AA{_K(25, 33)}/sendMessage"),
    "node with its key": (cell, f"w3 = Web3(HTTPProvider('https://mainnet.infura.io/v3/{hexa(26, 32)}'))"),
    "key in a query": (printed, f"https://api.example.com/v1/bars?symbol=X&apikey={_K(27, 20)}"),
    "password in an address": (file("db.ini"), "url = postgresql://trader:s3cr3tpw@db.example.com/ticks"),
    # base64
    "base64 of a setting": (cell, f"exec(b64decode('{in_base64(f'api_key={_K(28, 20)}')}'))"),
    "base64 in base64": (file("secret.yaml"), "data: " + in_base64(in_base64(f"password = '{_K(29, 16)}'"))),
    "base64 over lines": (file("blob.txt"), "\n".join(in_base64(_PEM)[at : at + 60] for at in range(0, 300, 60))),
    "kraken secret": (cell, f"s = '{base64.b64encode(random.Random(30).randbytes(64)).decode()}'"),
    # over lines, escaped
    "adjacent literals": (cell, f"api_key = ('{_K(31, 8)}'\n           '{_K(32, 8)}')"),
    "continued line": (cell, f"api_secret = '{_K(33, 9)}\\\n{_K(34, 9)}'"),
    "added up": (cell, f"token = '{_K(35, 9)}' + \\\n    '{_K(36, 9)}'"),
    "yaml on the next line": (file("conf.yaml"), f"api_secret: >\n  {_K(37, 24)}\nname: x"),
    "name above value": (cell, f"config = dict(\n  api_key=\n    '{_K(38, 20)}')"),
    "html entities": (html_output, f"<pre>&quot;apiKey&quot;: &quot;{_K(39, 12)}&#43;{_K(40, 8)}&quot;</pre>"),
    "html tags inside": (html_output, f"<span>ghp_</span><span>{_K(41, 36)}</span>"),
    "html table": (html_output, f"<tr><th>secret</th><td>{_K(42, 20)}</td></tr>"),
    "json in json": (json_output, json.dumps({"body": json.dumps({"secret": _K(43, 20)})})),
    "escapes": (cell, "api_key = '" + "".join(f"\\x{ord(letter):02x}" for letter in _K(44, 20)) + "'"),
    # carriers
    "metadata of the notebook": (notebook_metadata, json.dumps({"papermill": {"parameters": {"api_secret": _K(45, 32)}}})),
    "metadata of a cell": (cell_metadata, json.dumps({"env": {"TOKEN": _K(46, 20)}})),
    "metadata of an output": (output_metadata, json.dumps({"request": {"headers": f"Authorization: Bearer {_K(47, 30)}"}})),
    "text cell": (markdown, f"Log in with `{_K(48, 32)}`."),
    "traceback": (traceback, f"AuthenticationError: binance {{\"apiKey\":\"{_K(49, 64)}\"}}"),
    "csv column": (file("accounts.csv"), f"name,api_key,balance\nmain,{_K(50, 24)},12.5\n"),
    "env file by another name": (file("settings.env.txt"), f"export BINANCE_SECRET={_K(51, 64)}"),
    "gz": (gzipped, f"when,note\n1,\"key is AKIA{made_up(52, 16, string.ascii_uppercase + string.digits)}\"\n"),
    "inside a spreadsheet": (zipped, f"<si><t>{_K(53, 40)}</t></si>"),
    "pickle": (binary, f"api_secret={_K(54, 32)}"),
    "utf-16 with a mark": (file("registry.txt", "utf-16"), f"password = 'S{_K(55, 12)}7'"),
    "utf-16 without a mark": (file("registry.txt", "utf-16-le"), f"api_key = '{_K(56, 24)}'"),
    "large file": (large, f"note;token = '{_K(57, 24)}'"),
    "link": (link, f"secret = {_K(58, 24)}"),
    "git history": (history, f"API_KEY = '{_K(59, 32)}'"),
}  # fmt: skip
ALSO_PLANTED: dict[str, tuple[Carrier, str]] = {
    "another branch, compressed": (deleted_branch_of_history, json.dumps({"secret": _K(60, 32)})),
    "commit message": (commit_message, f"the key was {_K(61, 32)}"),
    "utf-16 big end first": (file("registry.txt", "utf-16-be"), f"api_key = '{_K(62, 24)}'"),
    "value that begins with an a": (cell, f"api_key = 'a{_K(63, 20).lower()}'"),
    "value with slashes": (cell, "api_secret = 'Ab3/xY7/pQ9/mN2/kL5w'"),
    "shopify": (cell, f"x = 'shpat_{hexa(64, 32)}'"),
    "percent": (cell, "u = 'x%3Fapi_key%3D" + _K(65, 20) + "%26y'"),
}

# --- look-alikes ------------------------------------------------------------------------------------------------

_UUID = "3f2b8c1e-9d4a-4b7f-8e21-5c6d7a8b9f01"
_IMAGE = base64.b64encode(b"\x89PNG\r\n\x1a\n" + random.Random(71).randbytes(3000)).decode()

INNOCENT: dict[str, tuple[Carrier, str]] = {
    "sha256": (cell, f"digest = '{hexa(101)}'"),
    "sha256 of a file": (file("SHA256SUMS"), f"{hexa(102)}  candles.csv.gz\n{hexa(103)}  b.csv\n"),
    "sha1 commit": (printed, f"commit {hexa(104, 40)}\nmerged {hexa(105, 7)}"),
    "md5": (file("etags.json"), json.dumps({"etag": hexa(106, 32)})),
    "integrity": (html_output, f'<link integrity="sha384-{base64.b64encode(random.Random(72).randbytes(48)).decode()}">'),
    "uuid": (cell, f"order_id = '{_UUID}'"),
    "uuid in a call": (cell, f"run = load('{_UUID}')"),
    "ulid": (printed, "signal 01HZX3K5M8Q2R7T9V4W6Y1B0CD closed"),
    "signal id": (printed, "BTCUSDT-sma-cross-20240102T0015-000017"),
    "ethereum address": (cell, "usdc = '0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48'"),
    "token address": (cell, "token_address = '0xdAC17F958D2ee523a2206206994597C13D831ec7'"),
    "token as an address": (cell, "token = tokens['0xdAC17F958D2ee523a2206206994597C13D831ec7']"),
    "bitcoin address": (cell, "donate = '1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa'"),
    "bech32 address": (cell, "to = 'bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq'"),
    "solana mint": (cell, "mint = 'EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v'"),
    "transaction": (printed, f"tx 0x{hexa(107)} confirmed in block 19000000"),
    "ipfs": (markdown, "![chart](https://ipfs.io/ipfs/QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWKPbdG)"),
    "xpub": (cell, f"account = '{checked58(bytes.fromhex('0488b21e' + hexa(108, 148)))}'"),
    "picture": (html_output, f'<img src="data:image/png;base64,{_IMAGE}">'),
    "numbers in base64": (json_output, json.dumps({"y": {"dtype": "f8", "bdata": _IMAGE}})),
    "environment": (cell, "api_key = os.environ['BINANCE_API_KEY']\nsecret = os.getenv('BINANCE_SECRET')"),
    "asked for": (cell, "password = getpass.getpass('password for the exchange: ')"),
    "placeholder": (cell, "client = Client('your-api-key-here', api_secret='your-secret-goes-here')"),
    "angle placeholder": (file(".env.example.txt"), "API_KEY=<your key>\nAPI_SECRET=changeme\nTOKEN=\n"),
    "sort key": (cell, "frame.sort_values(key='pnl_percentage')\nsort_key = 'max_drawdown_percent'"),
    "cache key": (cell, f"cache_key = '{hexa(109, 64)}'"),
    "max tokens": (cell, "max_tokens = 4096\ntoken_budget = 12_000\ntokens = tokenizer.encode('text to count here')"),
    "long identifier": (cell, "SimpleMovingAverageCross20Over50WithTrailingStop = strategy_with_long_name_number_12"),
    "column names": (file("bars.csv"), "timestamp,open_price_usd,close_price_usd,quote_asset_volume,number_of_trades\n"),
    "candles": (file("candles.csv"), "1704067200000,42283.58,42298.62,42261.02,42298.61,35.92724\n" * 50),
    "times": (printed, "2024-01-02T03:04:05.123456+00:00 2024-01-02T03:04:06.123456+00:00"),
    "versions": (file("requirements.txt"), "numpy==1.26.4\nmsgspec==0.18.6 --hash=sha256:" + hexa(110) + "\n"),
    "url with a query": (markdown, "https://example.com/docs?page=2&section=key-figures&lang=en"),
    "path": (cell, "path = '/home/me/strategies/2024/Run17-BTCUSDT/equity-curve-final.parquet'"),
    "prose": (markdown, "The secret of a good stop: the token of luck is spent once, the password to profit is patience."),
    "many words": (markdown, "Buy when price will rise above average, sell before it drops again, then wait until next week to act."),
    "traceback of a file": (traceback, "File ~/lab/strategy_v2.py:17, in get_signal(ctx)\n---> 17 raise KeyError('close')"),
    "html of a table": (html_output, "<tr><th>key</th><td>BTCUSDT</td></tr><tr><th>token</th><td>USDT</td></tr>"),
    "bytes": (cell, f"table = {list(range(64))!r}"),
    "git history of hashes": (history, f"expected = '{hexa(111, 40)}'\nrun_id = '{_UUID}'"),
}  # fmt: skip
