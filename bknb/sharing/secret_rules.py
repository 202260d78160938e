"""Rules that tell a secret in a text: known formats, key-like names, random-looking values, private keys, mnemonics.

Each rule is a function from a text to its matches. :data:`RULES` names them.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib.resources import files
from itertools import pairwise
from typing import Final, NamedTuple

from .secret_formats import ADDRESSES, FORMATS, Format


class Match(NamedTuple):
    """A secret in a text: what it looks like, its value, where the value begins."""

    what: str
    value: str
    start: int


Rule = Callable[[str], Iterator[Match]]

_NAME: Final = (
    r"(?:api[_-]?key|apikey|secret|token|passw(?:or)?d|passphrase|private[_-]?key|access[_-]?key|credential"
    r"|auth[_-]?key|signing[_-]?key|consumer[_-]?key|encryption[_-]?key|session[_-]?key|account[_-]?key|mnemonic)"
)
_NAME_WORDS: Final = (*("key", "secret", "token", "passw", "passphrase", "credential", "mnemonic"),)
_SIGN: Final = r"""["'\]]{0,2} \s* (?::\s*\w+\s*)? (?:=>|==|[=:,]) [\s(\[{>|\\-]* [rbuf]{0,2}"""
_NAMED: Final = re.compile(
    rf"""(?ix)
    (?P<name>[\w-]{{0,60}}?{_NAME}[\w-]{{0,60}})
    {_SIGN}
    (?P<quote>["'`]{{1,3}}) (?P<value>[^"'`\n]{{8,}}) (?P=quote)
    """
)
_BARE: Final = re.compile(  # NAME=value of a shell, %env NAME=value, name: value of YAML, name<tab>value, name,value
    rf"""(?ixm)
    (?P<name>[\w.-]{{0,60}}?(?:{_NAME}|[A-Z]_KEY\b)[\w-]{{0,60}})
    ["']?[ \t]*(?:=>|[=:,;|]|[ \t])[ \t=>|-]*(?:\n[ \t]+)?
    (?P<value>[^\s"'$(){{}}\[\],;<>]{{8,}})
    """
)
_SHORT: Final = re.compile(
    r"""(?ix)
    (?<![\w.-])["']?(?P<name>k|s|p|ak|sk|pk|pw|pwd|pass|pin|key|priv|prv|pvk|auth|cred|creds|seed|jwt|totp|otp|sid|cookie|signer|wallet|hmac|salt
        |\w+_(?:sk|pk|pw|pwd|pass|priv|auth|seed|cred|creds|signer))
    ["'\]]{0,2} \s* (?::\s*\w+\s*)? (?:=>|[=:,]) \s* (?:[rbuf]{0,2})
    (?P<quote>["'`]?) (?P<value>[^\s"'`$(){}\[\],;<>]{8,}) (?P=quote)
    """
)
_PASSWORD: Final = re.compile(r"(?i)pw|pass|pin$")
_CALL: Final = re.compile(
    r"""(?ix)
    (?P<name>[\w.]{0,60}?(?:client|exchange|session|auth|login|connect|account|wallet|signer|keypair|totp|from_key|from_secret\w*
        |hmac\.new|hmac|broker|binance|bybit|okx|okex|kraken|coinbase|kucoin|bitget|bitfinex|bitmex|bitstamp|gate(?:io)?
        |deribit|huobi|htx|mexc|alpaca|hyperliquid|dydx|poloniex|gemini|oanda|tradier|polygon|finnhub|tiingo
        |alphavantage|alpha_vantage|api|trade|spot|futures?|rest\w{0,20})) \s*
    \( (?P<arguments>[^()]{8,400}) \)
    """
)
_QUOTED: Final = re.compile(
    r"""(?P<before>[\w\]"']\s*[=:]\s*)?[rbuf]{0,2}(?P<quote>["'`])(?P<value>[^"'`\s]{16,})(?P=quote)"""
)
_RANDOM: Final = re.compile(r"(?<![A-Za-z0-9+/_%.-])[A-Za-z0-9+/_-]{20,100}={0,2}(?![A-Za-z0-9+/=_-])")
_CALL_WORDS: Final = (
    *(
        "client",
        "exchange",
        "session",
        "auth",
        "login",
        "connect",
        "account",
        "wallet",
        "signer",
        "keypair",
        "from_key",
    ),
    *("from_secret", "hmac.new", "broker", "binance", "bybit", "okx", "okex", "kraken", "coinbase", "kucoin", "bitget"),
    *("bitfinex", "bitmex", "bitstamp", "gate", "deribit", "huobi", "htx", "mexc", "alpaca", "hyperliquid", "dydx"),
    *("poloniex", "gemini", "oanda", "tradier", "polygon", "finnhub", "tiingo", "alphavantage", "alpha_vantage", "api"),
    *("trade", "spot", "future", "rest"),
)
_HEX: Final = re.compile(r"(?<![0-9a-zA-Z])(?:0x)?[0-9a-fA-F]{64}(?![0-9a-zA-Z])")
_HEX_NAME: Final = re.compile(
    r"(?i)(?:(?<![a-z])priv\w*|(?<![a-z])secret\w*|signer\w*|wallet\w*|mnemonic|(?<![a-z])[ps]k|from_key|privateKeyToAccount"
    r"|(?<![a-z])seed|(?<![\w])key|account)[\"'\]]{0,2}(?:\W{1,12}|\W{1,6}key\W{1,6}|\s*:\s*\w+\s*=\s*)[rbuf]?[\"']?$"
)
_WIF: Final = re.compile(
    r"(?<![A-Za-z0-9])(?:[5KLc9][1-9A-HJ-NP-Za-km-z]{50,51}|[xyzt]prv[1-9A-HJ-NP-Za-km-z]{100,112})(?![A-Za-z0-9])"
)
_BYTES_KEY: Final = re.compile(r"\[\s*(?:\d{1,3}\s*,\s*){63}\d{1,3}\s*,?\s*\]")
_WORDS: Final = re.compile(r"(?<![A-Za-z])[A-Za-z]{3,8}(?:[\s,;\"'\[\]\d.):|/+-]{1,12}[A-Za-z]{3,8}){11,}(?![A-Za-z])")
_HARMLESS: Final = re.compile(
    r"(?i)^(?:your|my|the|a|an|some|example|sample|test|dummy|fake|placeholder|changeme|none|null|true|false|redacted)"
    r"(?![a-z0-9])|^(?:your|example|changeme|placeholder|redacted|x{3,}|\*+|\.+|-+|<.*>|\{.*\}|\$.*|%\(.*)|\s"
)
_PATH: Final = re.compile(r"^(?:~|\.{0,2}/|[A-Za-z]:\\|[a-z][a-z0-9+.-]*://)|^[\w.-]+(?:/[\w.-]+)*\.[a-z]{1,5}$")
_CODE: Final = re.compile(r"^[A-Za-z_][\w]*(?:\.[A-Za-z_]\w*)+$|^[a-z]+(?:[_-][a-z]+)+$|^[A-Za-z]+$|^[\d.,:TZ+-]+$")
_INNOCENT_NAME: Final = re.compile(
    r"(?i)(?:^|[_\W])(?:\w*hash|\w*digest|\w*sha\d*|\w*checksum|commit|rev(?:ision)?|etag|integrity|fingerprint|\w*address|\w*addr|"
    r"mint|pubkey|public_?key|\w*_?id|uuid|cid|program|contract|txid|tx|\w*_tx|signature|block|token_?address|owner|list|v|utm_\w+)"
    r"[\"'\]]{0,2}\s*[=:,|>]*\s*(?:\w+-)?[\"'`]?$"
)
_LONGEST_NAME: Final = 60
_ENTROPY: Final = 3.0  # bits per character; English words in snake case are below
_BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def entropy(text: str) -> float:
    """Shannon entropy of the characters of a text, in bits per character.

    Examples
    --------
    >>> entropy("aaaa"), entropy("abcd")
    (0.0, 2.0)
    """
    total = len(text)
    return -sum(n / total * math.log2(n / total) for n in Counter(text).values()) + 0.0 if total else 0.0


def looks_random(value: str) -> bool:
    """Whether a value mixes lower case, upper case and digits as no word, name, number or address does.

    Examples
    --------
    >>> looks_random("Zx9Qm2Lp7Rt4Vw8Ky3Nd"), looks_random("SimpleMovingAverage20Cross")
    (True, False)
    """
    body = value.rstrip("=")
    kinds = [_kind(letter) for letter in body if letter.isalnum()]
    if len(set(kinds)) < 3 or body[:2].lower() == "0x" or entropy(body) < 3.5:
        return False
    if body.count("-") + body.count("_") + body.count("/") > len(body) / 6:
        return False
    if sum(map(len, re.findall(r"[a-z]{3,}", body))) > 0.45 * len(body):
        return False  # words, as in CamelCase
    changes = sum(one != two for one, two in pairwise(kinds)) / (len(kinds) - 1)
    return changes >= (0.36 if kinds.count("0") > 1 else 0.45) and not _is_public(body) and not _is_solana(body)


def _kind(letter: str) -> str:
    return "0" if letter.isdigit() else "a" if letter.islower() else "A"


def _base58(text: str) -> bytes | None:
    number = 0
    for letter in text:
        digit = _BASE58.find(letter)
        if digit < 0:
            return None
        number = number * 58 + digit
    return b"\0" * (len(text) - len(text.lstrip("1"))) + number.to_bytes((number.bit_length() + 7) // 8, "big")


def _checked(raw: bytes | None) -> bool:
    """Whether the last four bytes are the checksum of those before, as in addresses and keys of Bitcoin."""
    if raw is None or len(raw) < 20:
        return False
    return hashlib.sha256(hashlib.sha256(raw[:-4]).digest()).digest()[:4] == raw[-4:]


def _is_public(value: str) -> bool:
    """Whether a value is an address, an extended public key or the identifier of a content, by its own checksum."""
    if value.startswith(("sha256-", "sha384-", "sha512-")):
        return True
    raw = _base58(value) if len(value) < 120 else None
    if raw is None:
        return False
    extended = value[1:4] == "pub" and _checked(raw)
    return extended or (len(raw) == 25 and _checked(raw)) or (len(raw) == 34 and raw[:2] == b"\x12\x20")


def _is_harmless(value: str) -> bool:
    return bool(_HARMLESS.search(value) or _PATH.search(value))


def _lower(text: str) -> str:
    """The text in lower case, every letter at its old place."""
    lower = text.lower()
    return lower if len(lower) == len(text) else "".join(letter.lower()[0] for letter in text)


@cache
def _any_of(words: tuple[str, ...], then: str) -> re.Pattern[str]:
    return re.compile(f"(?:{'|'.join(map(re.escape, words))}){then}")


def _around(words: tuple[str, ...], pattern: re.Pattern[str], text: str, *, then: str = "") -> Iterator[re.Match[str]]:
    """Matches of a pattern that begins with a name, where the name holds one of the words (in lower case).

    ``then`` is a pattern of what follows the word.
    """
    lower = _lower(text)
    if not any(word in lower for word in words):
        return
    last, end = -1, -1
    for word in _any_of(words, then).finditer(lower):
        left = word.start()
        while left > max(0, word.start() - _LONGEST_NAME) and (text[left - 1].isalnum() or text[left - 1] in "_.-"):
            left -= 1
        if left == last or left < end:
            continue
        last = left
        found = pattern.match(text, left)
        if found is not None:
            end = found.end()
            yield found


def _shaped(shapes: tuple[Format, ...], text: str) -> Iterator[Match]:
    lower = _lower(text)
    for what, marks, shape in shapes:
        if any(mark in lower for mark in marks):
            for found in shape.finditer(text):
                yield Match(what, found[0], found.start())


def _formats(text: str) -> Iterator[Match]:
    yield from _shaped(FORMATS, text)


def _addresses(text: str) -> Iterator[Match]:
    for match in _shaped(ADDRESSES, text):
        if not re.search(r"(?i)[=:/](?:your|example|\{|<)", match.value):
            yield match


def _named(text: str) -> Iterator[Match]:
    for found in _around(_NAME_WORDS, _NAMED, text):
        value = found["value"]
        if _is_harmless(value) or _is_address(value) or _is_public(value):
            continue
        if _is_solana(value) and re.search(r"(?i)address|mint|^token$", found["name"]):
            continue
        if entropy(value) >= _ENTROPY or len(value) >= 32:
            yield Match(f"a value of {found['name'].lstrip('.-')}", value, found.start("value"))


def _bare(text: str) -> Iterator[Match]:
    for found in _around(_NAME_WORDS, _BARE, text):
        value = found["value"]
        password = _PASSWORD.search(found["name"]) and len(set(map(_kind, filter(str.isalnum, value)))) >= 2
        if _is_harmless(value) or _CODE.search(value) or _is_public(value) or _is_address(value):
            continue
        if entropy(value) >= (2.5 if password else _ENTROPY) and (
            password or (len(value) >= 12 and any(map(str.isdigit, value)))
        ):
            yield Match(f"a value of {found['name'].lstrip('.-')}", value, found.start("value"))


def _is_address(value: str) -> bool:
    return bool(re.fullmatch(r"0x[0-9a-fA-F]{40}", value))


def _is_solana(value: str) -> bool:
    """Whether a value has the form of an address of Solana; a key under a key-like name may have it too."""
    return len(value) in (43, 44) and len(_base58(value) or b"") == 32


def _short(text: str) -> Iterator[Match]:
    for found in _SHORT.finditer(text):
        name, value = found["name"], found["value"]
        if _is_harmless(value) or _CODE.search(value) or _is_address(value) or _is_public(value):
            continue
        mixed = len(set(map(_kind, filter(str.isalnum, value)))) >= 2
        if _PASSWORD.search(name):
            likely = mixed and (found["quote"] != "" or len(value) >= 10)
        else:
            likely = len(value) >= 16 and mixed and not re.search(r"[_.-][a-z]+[_.-]", value)
        if likely and entropy(value) >= _ENTROPY:
            yield Match(f"a value of {name}", value, found.start("value"))


def _positional(text: str) -> Iterator[Match]:
    for call in _around(_CALL_WORDS, _CALL, text, then=r"\w*\s*\("):
        for found in _QUOTED.finditer(call["arguments"]):
            value = found["value"]
            if _is_harmless(value) or _CODE.search(value) or _is_address(value) or _is_public(value):
                continue
            plain = (
                re.fullmatch(r"[A-Za-z0-9+/_=-]+", value) and re.search(r"\d", value) and re.search(r"[A-Za-z]", value)
            )
            if not found["before"] and plain and entropy(value) >= _ENTROPY and not re.search(r"[_-][a-z]+[_-]", value):
                yield Match(f"a value given to {call['name']}", value, call.start("arguments") + found.start("value"))


def _random(text: str) -> Iterator[Match]:
    for found in _RANDOM.finditer(text):
        value = found[0]
        if looks_random(value) and not _INNOCENT_NAME.search(text[max(0, found.start() - 60) : found.start()]):
            yield Match("a random-looking text", value, found.start())


def _hex_keys(text: str) -> Iterator[Match]:
    for found in _HEX.finditer(text):
        if _HEX_NAME.search(text[max(0, found.start() - 60) : found.start()]):
            yield Match("a private key in hexadecimal digits", found[0], found.start())


def _coin_keys(text: str) -> Iterator[Match]:
    for found in _WIF.finditer(text):
        if _checked(_base58(found[0])):
            yield Match("a private key of a wallet", found[0], found.start())


def _byte_keys(text: str) -> Iterator[Match]:
    for found in _BYTES_KEY.finditer(text):
        numbers = [int(number) for number in re.findall(r"\d+", found[0])]
        steps = {two - one for one, two in pairwise(numbers)}
        if max(numbers) in range(200, 256) and len(set(numbers)) > 40 and len(steps) > 40:
            yield Match("a private key as a list of bytes", found[0], found.start())


@cache
def _mnemonic_words() -> frozenset[str]:
    return frozenset((files(__package__) / "bip39_english.txt").read_text("ascii").split())


def _mnemonics(text: str) -> Iterator[Match]:
    known = _mnemonic_words()
    for found in _WORDS.finditer(text):
        run: list[re.Match[str]] = []
        for word in [*re.finditer(r"[A-Za-z]+", found[0]), None]:
            if word is not None and word[0].lower() in known:
                run.append(word)
                continue
            if len(run) >= 12 and len({one[0] for one in run}) >= 2:
                start = found.start() + run[0].start()
                yield Match("the words of a wallet", " ".join(one[0].lower() for one in run), start)
            run = []


RULES: Final[Mapping[str, Rule]] = {
    "format": _formats,
    "address": _addresses,
    "named": _named,
    "bare": _bare,
    "short": _short,
    "positional": _positional,
    "random": _random,
    "hex key": _hex_keys,
    "coin key": _coin_keys,
    "byte key": _byte_keys,
    "mnemonic": _mnemonics,
}
"""The rules by name, in the order in which they name a finding."""
