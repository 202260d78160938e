"""Sixty planted secrets are found in every carrier, forty look-alikes are left alone, each rule is needed."""

from __future__ import annotations

import gzip
import lzma
import re
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from quick import some_quick
from secrets_cases import ALSO_PLANTED, INNOCENT, PLANTED, Carrier, checked58, git, in_base64, made_up

import bknb
from bknb.sharing import git_history, searched_files, secret_rules, secret_views
from bknb.sharing.constant_texts import constant_texts
from bknb.sharing.secrets import Guard, find_secrets, known_values

EVERY = PLANTED | ALSO_PLANTED


def refusal(carrier: Carrier, text: str, folder: Path) -> str | None:
    path = carrier(folder, text)
    guard = Guard(folder, frozenset())  # it reads the settings files of the folder
    try:
        if path is None:
            guard.check_history(folder)
        else:
            guard.check_file(path, path.name)
    except bknb.UsageError as error:
        return str(error)
    return None


def test_there_are_sixty_planted_and_forty_innocent() -> None:
    assert (len(PLANTED), len(INNOCENT)) == (60, 40)


@pytest.mark.parametrize("name", some_quick(EVERY, {*EVERY} - {"large file"}))
def test_a_planted_secret_is_found_and_not_shown(name: str, tmp_path: Path) -> None:
    said = refusal(*EVERY[name], tmp_path)
    assert said is not None, "not found"
    assert "not scanned" not in said
    for word in re.findall(r"[\w+/=-]{16,}", EVERY[name][1]):
        assert word not in said


@pytest.mark.parametrize("name", INNOCENT)
def test_a_look_alike_is_left_alone(name: str, tmp_path: Path) -> None:
    assert refusal(*INNOCENT[name], tmp_path) is None


# What only one rule or one reading sees, so that each is missed when it is gone.
_HEX = made_up(80, 40, "0123456789abcdef")
NEEDS_RULE: Mapping[str, str] = {
    "format": "x = 'shpat_" + made_up(81, 32, "0123456789abcdef") + "'",
    "address": "db = 'postgresql://trader:hunter22@db.example.com/ticks'",
    "named": "my_password = 'correct-horse-battery'",
    "bare": "export BINANCE_SECRET=" + _HEX,
    "short": f"sk = '{_HEX}'",
    "positional": f"session = kucoin.Trade('{_HEX}')",
    "random": f"print {made_up(82)}",
    "hex key": f"signer 0x{_HEX}{_HEX[:24]}",
    "coin key": "x: " + checked58(bytes.fromhex("0488ade4" + "7c" * 74)),
    "byte key": str([7 * n * n % 251 for n in range(3, 67)]),
    "mnemonic": "legal winner thank year wave sausage worth useful legal winner thank yellow",
}
NEEDS_VIEW: Mapping[str, str] = {
    "html": f"<b>api_key</b><i>=</i>{_HEX}",
    "escapes": '{\\"secret\\": \\"' + _HEX + '\\"}',
    "joined lines": f"s = '{_HEX[:11]}' \\\n  '{_HEX[11:]}'",
    "letters": "[" + ", ".join(map(repr, made_up(83))) + "]",
    "put together": f"a = '{_HEX[:7]}'\nb = '{_HEX[7:]}'\napi_key = a + b",
    "columns": f"exchange,key,balance\nmain,{_HEX},1\n",
    "hexadecimal": f"api_key={_HEX}".encode().hex(),
    "percent": f"x%3Fapi_key%3D{_HEX}%26",
    "base64": in_base64("legal winner thank year wave sausage worth useful " * 2),
}


@pytest.mark.parametrize("name", secret_rules.RULES)
def test_without_a_rule_its_secret_is_missed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_secrets(NEEDS_RULE[name], "x")
    left = {other: rule for other, rule in secret_rules.RULES.items() if other != name}
    monkeypatch.setattr("bknb.sharing.secrets.RULES", left)
    assert not find_secrets(NEEDS_RULE[name], "x")


@pytest.mark.parametrize("name", secret_views.VIEWS)
def test_without_a_reading_its_secret_is_missed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_secrets(NEEDS_VIEW[name], "x")
    left = {other: view for other, view in secret_views.VIEWS.items() if other != name}
    monkeypatch.setattr(secret_views, "VIEWS", left)
    assert not find_secrets(NEEDS_VIEW[name], "x")


@pytest.mark.parametrize(
    ("value", "is_looked_for"),
    [
        ("correct horse", True),
        ('{"user": "me", "word": "horse battery"}', True),  # credentials in JSON
        ("{'word': 'horse battery'}", True),
        ("<p&ss:w0rd!>", True),
        ("<your secret>", False),
        ("${EXCHANGE_SECRET}", False),
        ("{{ exchange_secret }}", False),
        ("change-me", False),
        ("xxxxxxxxxxxx", False),
    ],
)
def test_a_value_of_a_settings_file_is_looked_for_unless_it_stands_for_another(value: str, is_looked_for: bool) -> None:  # noqa: FBT001 -- a table's column
    assert (value in known_values(f"WORD={value}", origin=".env")) == is_looked_for


def test_a_secret_is_told_once_with_its_line() -> None:
    text = f"x = 1\n\napi_key = '{made_up(84)}'\nagain = '{made_up(84)}'"
    assert [secret.place for secret in find_secrets(text, "cell [1]")] == ["cell [1], line 3"]
    split = f"x = 1\napi_key = ('{made_up(85, 12)}'\n  '{made_up(86, 12)}')"
    assert [secret.place for secret in find_secrets(split, "cell [1]")] == ["cell [1], line 2"]


def refused(path: Path, *, limit: int = 1000, accept: frozenset[str] = frozenset()) -> str:
    with pytest.raises(bknb.UsageError) as told:
        Guard(path.parent, accept).check_file(path, path.name, limit=limit)
    return str(told.value)


def test_what_cannot_be_scanned_is_refused_and_not_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "data.csv"
    file.write_text("1,2\n" * 1000)
    assert "too large to scan: 4,000 bytes, the limit is 1,000" in refused(file)
    packed = tmp_path / "data.csv.gz"
    packed.write_bytes(gzip.compress(b"1,2\n" * 1000))
    assert packed.stat().st_size < 1000
    assert "too large to scan: more than 1,000 bytes" in refused(packed)
    packed.write_bytes(gzip.compress(b"1,2\n" * 10)[:-6])
    assert "it is damaged" in refused(packed)
    for head in (b"7z\xbc\xaf\x27\x1c", b"\x28\xb5\x2f\xfd", b"Rar!\x1a"):
        file.write_bytes(head + b"x" * 100)
        assert "format, which cannot be scanned" in refused(file)
    nested = b"api"
    for _ in range(6):
        nested = gzip.compress(nested)
    file.write_bytes(nested)
    assert "archives within archives" in refused(file)
    mark = refused(file).rpartition("--accept ")[2]
    Guard(tmp_path, frozenset({mark})).check_file(file, file.name, limit=1000)


@pytest.mark.slow
@pytest.mark.parametrize("level", [0, 1, 2, 6, 9])
def test_a_zlib_stream_is_unpacked(level: int, tmp_path: Path) -> None:
    file = tmp_path / "model.joblib"
    packed = zlib.compress(b"\x80\x04 numbers\0" * 20 + f"api_key = '{made_up(93)}'".encode(), level)
    file.write_bytes(packed)
    assert "model.joblib, line 21: a value of api_key" in refused(file)
    file.write_bytes(packed[:-9])
    assert "it is damaged" in refused(file)
    file.write_bytes(packed[:2] + b"\xff" * 50)
    assert "it is damaged" in refused(file)
    file.write_bytes(zlib.compress(b"1,2\n", level) + f"\napi_key = '{made_up(93)}'".encode())
    assert "a value of api_key" in refused(file)
    file.write_bytes(zlib.compress(b"1,2\n" * 1000, level))
    assert "too large to scan" in refused(file)
    file.write_bytes(zlib.compress(b"1,2\n" * 10**6, level))
    Guard(tmp_path, frozenset()).check_file(file, file.name)


def test_a_lone_lzma_stream_is_unpacked(tmp_path: Path) -> None:
    (tmp_path / "a.lzma").write_bytes(lzma.compress(f"api_key = '{made_up(94)}'".encode(), lzma.FORMAT_ALONE))
    assert "a value of api_key" in refused(tmp_path / "a.lzma")


def test_a_text_that_begins_like_a_zlib_stream_is_a_text(tmp_path: Path) -> None:
    file = tmp_path / "formula.txt"
    file.write_text("x^2 + y^2, \u00e4nderbar")
    Guard(tmp_path, frozenset()).check_file(file, file.name)
    file.write_text(f"x^2\napi_key = '{made_up(95)}'")
    assert "formula.txt, line 2: a value of api_key" in refused(file)


def test_a_duckdb_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ticks.db").write_bytes(bytes(range(8)) + b"DUCK" + bytes(100))
    assert "it is a file of the duckdb format, which cannot be scanned" in refused(tmp_path / "ticks.db")


def test_every_member_of_an_archive_is_read(tmp_path: Path) -> None:
    inner = tmp_path / "inner.zip"
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("a.txt", "nothing")
        archive.writestr("b.txt.gz", gzip.compress(f"api_key = '{made_up(87)}'".encode()))
    assert "inner.zip, b.txt.gz, line 1: a value of api_key" in refused(inner)


def test_parquet_is_read_by_its_columns_and_notes(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pa.table({"close": [1.0, 2.0], "note": ["", f"key {made_up(88)}"]})
    parquet.write_table(table, tmp_path / "a.parquet", compression="zstd")
    assert "a.parquet, column note, line" in refused(tmp_path / "a.parquet", limit=100_000)
    plain = table.drop(["note"]).replace_schema_metadata({"api_key": made_up(89)})
    parquet.write_table(plain, tmp_path / "b.parquet", compression="zstd")
    assert "b.parquet, line" in refused(tmp_path / "b.parquet", limit=100_000)


@pytest.mark.parametrize(
    ("values", "notes"),
    [
        (["a value of some length"] * 200_000, {}),  # some hundred bytes on the disk
        ([f"a value {number}" for number in range(20_000)], {}),
        ([["one", "two"]] * 20_000, {}),
        ([""] * 200_000, {}),
        (["a"], {"note": "n" * 200_000}),
    ],
    ids=["repeated", "different", "nested", "rows", "notes"],
)
def test_parquet_that_is_too_large_once_read_is_refused(
    tmp_path: Path, values: list[Any], notes: dict[str, str]
) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"note": values}).replace_schema_metadata(notes), path, compression="zstd")
    assert list(searched_files.texts_of_file(path, "a.parquet", limit=10_000_000))
    with pytest.raises(searched_files.Unreadable, match="too large to scan: more than 100,000 bytes"):
        list(searched_files.texts_of_bytes(path.read_bytes(), "a.parquet", limit=100_000))


@pytest.mark.parametrize(
    "values", [[f"{number:080}" for number in range(1000)], [[f"{number:080}"] for number in range(1000)]]
)
def test_the_bytes_of_parquet_are_counted_once(tmp_path: Path, values: list[Any]) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pa.table({"note": values}), tmp_path / "a.parquet")
    assert list(searched_files.texts_of_file(tmp_path / "a.parquet", "a.parquet", limit=100_000))


@pytest.mark.slow
@pytest.mark.parametrize(
    "values",
    [[{"inner": ["x" * 100_000] * 1_000}], [["x" * 100_000] * 1_000], [[{"note": "x" * 100_000}] * 1_000]],
    ids=["list in a struct", "list", "structs in a list"],
)
def test_a_large_value_that_a_nested_column_repeats_is_not_written_out(tmp_path: Path, values: list[Any]) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"note": values}), path, compression="zstd")
    del values
    pool, whole = pa.proxy_memory_pool(pa.default_memory_pool()), pa.default_memory_pool()
    pa.set_memory_pool(pool)
    try:
        with pytest.raises(searched_files.Unreadable, match="too large to scan: more than 10,000,000 bytes"):
            list(searched_files.texts_of_file(path, "a.parquet", limit=10_000_000))
    finally:
        pa.set_memory_pool(whole)
    assert pool.max_memory() < 20_000_000  # written out it is 100 MB


def test_a_secret_in_a_nested_column_of_parquet_is_found(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = [{"api_key": made_up(88), "tags": ["a", "a"]}, {"api_key": None, "tags": []}]
    parquet.write_table(pa.table({"note": rows}), tmp_path / "a.parquet")
    assert "a.parquet, column note, line" in refused(tmp_path / "a.parquet", limit=100_000)


@pytest.mark.slow
def test_a_secret_across_the_edge_of_two_pieces_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searched_files, "_PIECE", 1 << 16)
    secret = f"api_key = '{made_up(92)}'"
    for shift in range(0, 60, 7):
        padding = "x" * (searched_files._PIECE - 30 + shift - 1) + "\n"
        (tmp_path / "a.txt").write_text(padding + secret)
        assert "a value of api_key" in refused(tmp_path / "a.txt", limit=10**8)


def test_a_history_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    PLANTED["git history"][0](tmp_path, "x = 1")
    assert [place for place, _ in git_history.history_of(tmp_path)]
    with pytest.raises(searched_files.Unreadable, match=r"too large to scan: \d+ bytes, the limit is 3"):
        list(git_history.history_of(tmp_path, limit=3))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(bknb.UsageError, match="git is not installed"):
        Guard(tmp_path, frozenset()).check_history(tmp_path)


def commit(folder: Path, name: str, text: str, message: str) -> None:
    (folder / name).write_text(text)
    git(folder, "add", ".")
    git(folder, "commit", "-m", message)


def test_a_side_branch_that_was_merged_and_deleted_is_in_the_history(tmp_path: Path) -> None:
    git(tmp_path, "init", "-b", "main")
    commit(tmp_path, "a.py", "x = 1", "first")
    git(tmp_path, "checkout", "-b", "side")
    commit(tmp_path, "keys.py", f"api_key = '{made_up(96)}'", f"password = '{made_up(97)}'")
    (tmp_path / "keys.py").unlink()
    commit(tmp_path, "a.py", "x = 1", "without it")
    git(tmp_path, "checkout", "main")
    commit(tmp_path, "b.py", "y = 1", "second")
    git(tmp_path, "merge", "--no-ff", "-m", "merged", "side")
    git(tmp_path, "branch", "-D", "side")
    git(tmp_path, "reflog", "expire", "--expire=all", "--all")
    with pytest.raises(bknb.UsageError) as told:
        Guard(tmp_path, frozenset()).check_history(tmp_path)
    assert "keys.py" in str(told.value)
    assert "commit messages" in str(told.value)


def test_a_folder_that_only_a_deleted_side_branch_held_has_a_history(tmp_path: Path) -> None:
    git(tmp_path, "init", "-b", "main")
    commit(tmp_path, "a.py", "x = 1", "first")
    git(tmp_path, "checkout", "-b", "side")
    inner = tmp_path / "inner"
    inner.mkdir()
    commit(inner, "keys.py", f"api_key = '{made_up(98)}'", "added")
    git(tmp_path, "rm", "inner/keys.py")
    git(tmp_path, "commit", "-m", "removed")
    git(tmp_path, "checkout", "main")
    git(tmp_path, "merge", "--no-ff", "-m", "merged", "side")
    git(tmp_path, "branch", "-D", "side")
    inner.mkdir(exist_ok=True)
    with pytest.raises(bknb.UsageError, match=r"inner/keys\.py"):
        Guard(inner, frozenset()).check_history(inner)


def test_what_a_repository_does_not_hold_has_no_history(tmp_path: Path) -> None:
    git(tmp_path, "init", "-b", "main")
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "a.py").write_text("x = 1")
    assert not list(git_history.history_of(inner))  # nothing was committed yet
    git(tmp_path, "add", ".")
    Guard(inner, frozenset()).check_history(inner)
    git(tmp_path, "rm", "--cached", "inner/a.py")
    git(tmp_path, "commit", "--allow-empty", "-m", "first")
    assert not list(git_history.history_of(inner))


def test_a_folder_in_no_repository_has_no_history(tmp_path: Path) -> None:
    assert not list(git_history.history_of(tmp_path))


_KEY = made_up(90, 24)


@pytest.mark.parametrize(
    "code",
    [
        "a = '{0}'\nb = '{1}'\napi_key = a + b",
        "%pip install x\na = '{0}'  # one\nb: str = '{1}'\nconnect(api_key=a + b)",
        "a, b = '{0}', '{1}'\nd = dict()\nd['api_key'] = f'{{a}}{{b}}'",
        "def f():\n    api_key = '{0}'\n    api_key += '{1}'\n",
        "a = b'{0}'\nself.b = b'{1}'\napi_key = a + self.b",
        "a = '{0}'\nb = '{1}'\napi_key = ''.join([a, b])",
        "a = '{0}'\nb = a\nc = '{1}'\nif x:\n    api_key = (b +\n        c)",
    ],
)
def test_a_secret_in_two_lines_is_found_where_they_are_put_together(code: str) -> None:
    (secret,) = find_secrets(code.format(_KEY[:7], _KEY[7:]), "cell [1]")
    assert secret.what == "a value of api_key"
    assert not find_secrets(code.format("BTC", "USDT"), "cell [1]")


def test_what_no_python_reads_or_nobody_could_run_is_left_alone() -> None:
    deep = "a = 'x'\nb = " + " + ".join(["a"] * 50_000)
    doubled = "a = 'xy'\n" + "\n".join(f"a = a + a  # {n}" for n in range(60))
    for text in (deep, doubled, "a = 'x'\nb = a +", "a = '\0'\nb = a + a", "a = 'x'\nb = " + "(" * 5000 + "a + a"):
        assert len(constant_texts(text)) < 2_000_000
