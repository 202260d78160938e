"""Contract suite for state stores, to inherit.

Examples
--------
A test module for a store of your own holds::

    class TestMyStore(StateStoreContract):
        def make_store(self, folder):
            return MyStore(folder / "state")

        def stored(self, store, kind, key):  # the bytes as they lie there
            ...

        def damage(self, store, kind, key, sealed):  # put other bytes in their place, behind the store's back
            ...
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ..errors import BknbError, StateError, UsageError
from ..ports import StateStore
from ..stores.sealed_values import seal, unseal

PLACE = ("sma", "BTCUSDT")
AWKWARD_NAMES = (
    *("", " ", ".", "..", "...", "~", "-", "%", "%2E", "%%", "a/b", "../../etc/passwd", "/etc/passwd", "a\\b", "C:\\x"),
    *("C:", "a\0b", "\n", "a.", "a ", ".a", "con", "CON", "nul.txt", "COM1", "aux.json", "x.json", "x.JSON", ".json"),
    *("x.json.corrupt-1", ".bknb-1-1.tmp", "bknb.lock", "x" * 120, "x" * 121, "x" * 5000, "ä" * 300, "日本"),
    *("e\u0301", "\u00e9", "🦀" * 99, "'; DROP TABLE state", '"', "*?<>|", "null"),
)

NAMES = st.one_of(
    st.text(max_size=8),
    st.text(alphabet="./\\%~aA-_ \0", max_size=6),
    st.sampled_from(AWKWARD_NAMES),
    st.builds(str.__mul__, st.text(min_size=1, max_size=3), st.integers(30, 200)),
)
KEYS = st.lists(NAMES, min_size=1, max_size=3).map(tuple)


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "emptied": lambda sealed: sealed[:0],
    "one byte left": lambda sealed: sealed[:1],
    "half of it": lambda sealed: sealed[: len(sealed) // 2],
    "last byte lost": lambda sealed: sealed[:-1],
    "one byte more": lambda sealed: sealed + b"\n",
    "edited": lambda sealed: sealed.replace(b"100", b"900"),
    "another number of format": lambda sealed: sealed.replace(b'"format":1', b'"format":9'),
    "zeros": lambda sealed: b"\0" * len(sealed),
    "of another symbol": lambda sealed: seal("signal", ("sma", "ETHUSDT"), unseal(sealed, "signal", PLACE)),
    "of another kind": lambda sealed: seal("schedule", PLACE, unseal(sealed, "signal", PLACE)),
}
"""Ways to spoil sealed bytes; each must be noticed."""


class StateStoreContract:
    """Contract tests of a state store; inherit, and override the methods that make one."""

    durable = True
    """Whether a second store object on the same folder sees what the first one saved."""

    def make_store(self, folder: Path) -> StateStore:
        """A store that saves everything below ``folder`` (which exists); the same folder is the same state."""
        raise NotImplementedError

    def stored(self, store: StateStore, kind: str, key: tuple[str, ...]) -> bytes:
        """The sealed bytes of a value as they lie in the store, which is acquired."""
        raise NotImplementedError

    def damage(self, store: StateStore, kind: str, key: tuple[str, ...], sealed: bytes) -> None:
        """Put bytes in the place of a value behind the store's back; the store is acquired, and is so after."""
        raise NotImplementedError

    def test_is_a_state_store(self, tmp_path: Path) -> None:
        """It has the methods of the port."""
        check(isinstance(self.make_store(tmp_path), StateStore), "does not have the methods of StateStore")

    def test_nothing_is_there_at_first(self, tmp_path: Path) -> None:
        """An unknown key is None, not an error; forgetting it is allowed."""
        store = self.acquired(tmp_path)
        same(store.read("signal", PLACE), None)
        same(store.keys("signal"), [])
        store.delete("signal", PLACE)
        store.release()

    def test_returns_what_was_written_last(self, tmp_path: Path) -> None:
        """Byte for byte, long or short, and only under its own kind and key."""
        store = self.acquired(tmp_path)
        for payload in (b"null", b' {"a" : [1, 2.5, "\xc3\xa9"]} ', b'"' + b"x" * 300_000 + b'"', b"{}"):
            store.write("signal", PLACE, payload)
            same(store.read("signal", PLACE), payload)
        same(store.read("schedule", PLACE), None)
        same(store.read("signal", ("BTCUSDT", "sma")), None)
        same(store.keys("signal"), [PLACE])
        same(store.keys("schedule"), [])
        store.release()

    def test_forgets(self, tmp_path: Path) -> None:
        """A deleted value is gone, the others are not."""
        store = self.acquired(tmp_path)
        store.write("signal", PLACE, b"1")
        store.write("signal", ("sma", "ETHUSDT"), b"2")
        store.delete("signal", PLACE)
        same(store.read("signal", PLACE), None)
        same(store.read("signal", ("sma", "ETHUSDT")), b"2")
        same(store.keys("signal"), [("sma", "ETHUSDT")])
        store.release()

    def test_lists_what_is_under_a_name(self, tmp_path: Path) -> None:
        """Only longer keys that begin with the given names, whole names, whatever they are made of."""
        store = self.acquired(tmp_path)
        names = ("sma", "sma2", 'a"b', "a,b", "[", "日本", "x" * 300)
        for name in names:
            for key in ((name,), (name, "BTCUSDT"), (name, "BTCUSDT", "2"), (name, "BTCUSDT", "1"), (name, "BTC", "1")):
                store.write("ended", key, b"1")
        for name in names:
            same(store.keys("ended", (name, "BTCUSDT")), [(name, "BTCUSDT", "1"), (name, "BTCUSDT", "2")])
            same(len(store.keys("ended", (name,))), 4)
        same(store.keys("ended", ("nobody",)), [])
        same(len(store.keys("ended")), 5 * len(names))
        store.release()

    def test_any_names(self, tmp_path: Path) -> None:
        """Whatever a strategy or a symbol is called, it has a place of its own."""
        store = self.acquired(tmp_path)

        @settings(deadline=None, database=None)
        @given(st.dictionaries(KEYS, st.integers(), max_size=6))
        def hold(values: dict[tuple[str, ...], int]) -> None:
            for key, number in values.items():
                store.write("partial", key, b"%d" % number)
            same(store.keys("partial"), sorted(values))
            for key, number in values.items():
                same(store.read("partial", key), b"%d" % number)
                store.delete("partial", key)
            same(store.keys("partial"), [])

        hold()
        for number, name in enumerate(AWKWARD_NAMES):
            store.write("signal", (name, name), b"%d" % number)
            store.write("signal", (name,), b"-%d" % (number + 1))
        for number, name in enumerate(AWKWARD_NAMES):
            same(store.read("signal", (name, name)), b"%d" % number)
            same(store.read("signal", (name,)), b"-%d" % (number + 1))
        same(len(store.keys("signal")), 2 * len(AWKWARD_NAMES))
        store.release()

    def test_refuses_what_it_cannot_keep(self, tmp_path: Path) -> None:
        """Mistakes of the caller raise at once and save nothing."""
        store = self.acquired(tmp_path)
        for kind in ("", "Signal", "../signal", "a b", "x" * 33):
            refused(UsageError, lambda kind=kind: store.write(kind, PLACE, b"1"))  # type: ignore[misc]
            refused(UsageError, lambda kind=kind: store.keys(kind))  # type: ignore[misc]
        refused(UsageError, lambda: store.write("signal", (), b"1"))
        refused(UsageError, lambda: store.read("signal", ("\ud800",)))
        for payload in (b"", b"{", b"nan", b"{}{}", b'"\xff"'):
            refused(UsageError, lambda payload=payload: store.write("signal", PLACE, payload))  # type: ignore[misc]
        same(store.keys("signal"), [])
        store.release()

    def test_is_used_only_while_acquired(self, tmp_path: Path) -> None:
        """Every user acquires and releases; the last release ends it."""
        store = self.make_store(tmp_path)
        refused(UsageError, lambda: store.read("signal", PLACE))
        refused(UsageError, store.release)
        store.acquire()
        store.acquire()
        store.release()
        store.write("signal", PLACE, b"1")
        store.release()
        refused(UsageError, lambda: store.write("signal", PLACE, b"2"))
        store.acquire()
        same(store.read("signal", PLACE), b"1")
        store.release()

    def test_many_threads(self, tmp_path: Path) -> None:
        """Calls from several threads at once neither mix nor lose values."""
        store = self.acquired(tmp_path)
        failures: list[BaseException] = []

        def work(number: int) -> None:
            try:
                for turn in range(20):
                    mine = b"[%d]" % (number * 1000 + turn)
                    store.write("signal", ("mine", str(number)), mine)
                    store.write("signal", ("ours",), b'"' + mine * 50 + b'"')
                    same(store.read("signal", ("mine", str(number))), mine)
                    ours = store.read("signal", ("ours",)) or b""
                    check(ours == b'"' + ours[1 : ours.index(b"]") + 1] * 50 + b'"', f"a mixed value: {ours!r}")
            except BaseException as error:  # noqa: BLE001 - whatever it is, the test must see it
                failures.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        same(failures, [])
        same(len(store.keys("signal")), 7)
        store.release()

    def test_survives_a_restart(self, tmp_path: Path) -> None:
        """What was written is there for the next store object."""
        self.only_durable()
        store = self.acquired(tmp_path)
        store.write("signal", PLACE, b"1")
        store.write("risk", ("calm", "positions"), b"[]")
        store.write("signal", ("sma", "ETHUSDT"), b"2")
        store.delete("signal", ("sma", "ETHUSDT"))
        store.release()
        again = self.acquired(tmp_path)
        same(again.read("signal", PLACE), b"1")
        same(again.keys("signal"), [PLACE])
        same(again.read("risk", ("calm", "positions")), b"[]")
        again.release()

    def test_has_one_owner(self, tmp_path: Path) -> None:
        """A second store object on the same place is refused while the first has it; the error names the holder."""
        self.only_durable()
        first, second = self.acquired(tmp_path), self.make_store(tmp_path)
        text = refused(StateError, second.acquire)
        check("in use" in text and "share" in text, f"does not say who has it and what to do: {text}")
        first.write("signal", PLACE, b"1")
        first.release()
        second.acquire()
        same(second.read("signal", PLACE), b"1")
        refused(StateError, first.acquire)
        second.release()

    @pytest.mark.parametrize("way", sorted(DAMAGES))
    def test_damage_is_told_and_kept(self, tmp_path: Path, way: str) -> None:
        """Damage is an error until a user decides, over restarts too; the damaged bytes are not overwritten."""
        store = self.acquired(tmp_path)
        store.write("signal", ("rsi", "BTCUSDT"), b"7")
        self.spoil(store, DAMAGES[way])
        store = self.restarted(store, tmp_path)
        refused(StateError, partial(store.read, "signal", PLACE))
        store.write("signal", PLACE, b"{}")
        same(store.read("signal", PLACE), b"{}")
        self.spoil(store, DAMAGES[way])
        store = self.restarted(store, tmp_path)
        store.delete("signal", PLACE)
        for _ in range(2):
            same(store.read("signal", PLACE), None)
            same(store.keys("signal"), [("rsi", "BTCUSDT")])
            store.write("signal", PLACE, b"{}")
            store.delete("signal", PLACE)
        same(store.read("signal", ("rsi", "BTCUSDT")), b"7")
        store.release()

    def test_a_later_format_is_refused_and_left_alone(self, tmp_path: Path) -> None:
        """Going back to an older bknb must not cost the state a newer one wrote."""
        store = self.acquired(tmp_path)
        store.write("signal", PLACE, b"1")
        later = b'{"format":2,"what":"only the first member is promised"}'
        self.damage(store, "signal", PLACE, later)
        for _ in range(2):
            check("newer" in refused(StateError, lambda: store.read("signal", PLACE)), "does not say why")
            same(self.stored(store, "signal", PLACE), later)
        store.release()

    def test_stored_and_damage_hooks(self, tmp_path: Path) -> None:
        """The two hooks really reach what the store reads."""
        store = self.acquired(tmp_path)
        store.write("signal", PLACE, b"1")
        same(unseal(self.stored(store, "signal", PLACE), "signal", PLACE), b"1")
        self.damage(store, "signal", PLACE, seal("signal", PLACE, b"2"))
        same(store.read("signal", PLACE), b"2")
        store.release()

    def acquired(self, folder: Path) -> StateStore:
        """A store, ready for use."""
        store = self.make_store(folder)
        store.acquire()
        return store

    def restarted(self, store: StateStore, folder: Path) -> StateStore:
        """The store of the next process; the same object for a store without a disk."""
        if not self.durable:
            return store
        store.release()
        return self.acquired(folder)

    def spoil(self, store: StateStore, change: Callable[[bytes], bytes]) -> None:
        """Save a price, damage it, and expect an error at every read."""
        store.write("signal", PLACE, b'{"price":100}')
        self.damage(store, "signal", PLACE, change(self.stored(store, "signal", PLACE)))
        for _ in range(2):
            text = refused(StateError, lambda: store.read("signal", PLACE))
            check(PLACE[0] in text and PLACE[1] in text, f"does not say what is damaged: {text}")
            same(store.keys("signal"), [("rsi", "BTCUSDT"), PLACE])

    def only_durable(self) -> None:
        """Skip what a store without a disk cannot do."""
        if not self.durable:
            pytest.skip("this store ends with its object")


def check(holds: bool, problem: str) -> None:  # noqa: FBT001 - reads like an assertion
    """Fail with a text; assertions in a shipped module would not survive ``python -O``."""
    if not holds:
        raise AssertionError(problem)


def same(found: object, expected: object) -> None:
    """Fail unless two values are equal."""
    check(found == expected, f"expected {expected!r:.500}, found {found!r:.500}")


def refused(error: type[BknbError], call: Callable[[], object]) -> str:
    """The text of the error a call must raise, which must fit the three lines a notebook shows."""
    with pytest.raises(error) as caught:
        call()
    text = str(caught.value)
    check(len(text.splitlines()) <= 3, f"more than three lines: {text}")
    return text
