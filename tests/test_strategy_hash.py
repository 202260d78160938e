"""The hash of a strategy sees everything of the user's own that it is made of, and nothing else."""

from __future__ import annotations

import importlib
import json
import linecache
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hashed_strategies import HEAD, HELPERS, hashed, later, loading

import bknb
from bknb.engine.registration_checks import make_strategy
from bknb.provenance.source_code_and_hash import read_code, source_hash
from bknb.provenance.strategy_hash import fingerprint

TAIL = """

def never_called(price):
    return price - 1

NEVER_READ = 7
"""


def case(what: str, strategy: str, old: str, new: str) -> Any:
    """Replacing a text, in the strategy's file or in the helper module, changes the strategy."""
    return pytest.param(strategy, old, new, True, id=what)


def same(what: str, strategy: str, old: str, new: str) -> Any:
    """It does not."""
    return pytest.param(strategy, old, new, False, id=what)


# fmt: off
TABLE = [
    # --- helper modules
    case("function of a helper module", """\
def get_signal(price): return helpers.target(price)
""", "price * UP", "price / UP"),
    case("constant a helper reads", "def get_signal(price): return helpers.target(price)", "UP = 1.02", "UP = 1.03"),
    case("constant of a module", "def get_signal(price): return price * helpers.UP", "UP = 1.02", "UP = 1.03"),
    case("list of a module", "def get_signal(price): return helpers.SEEN", "[1, 2]", "[2, 1]"),
    case("name taken from a module", """\
from helpers import target
def get_signal(price): return target(price)
""", "price * UP", "price / UP"),
    case("module imported inside", """\
def get_signal(price):
    import helpers as h
    return h.target(price)
""", "price * UP", "price / UP"),
    case("name imported inside", """\
def get_signal(price):
    from helpers import target as t
    return t(price)
""", "price * UP", "price / UP"),
    case("constant imported inside", """\
def get_signal(price):
    from helpers import UP
    return UP
""", "UP = 1.02", "UP = 1.03"),
    case("module under another name", """\
def get_signal(price):
    h = helpers
    return h.target(price)
""", "price * UP", "price / UP"),
    case("attribute by its text", """\
def get_signal(price): return getattr(helpers, 'target')(price)
""", "price * UP", "price / UP"),
    same("helper that is not called", "def get_signal(price): return helpers.target(price)", "price - 1", "price - 2"),
    same("constant that is not read", "def get_signal(price): return helpers.UP", "NEVER_READ = 7", "NEVER_READ = 8"),
    same("comment elsewhere", "def get_signal(price): return helpers.UP", "NEVER_READ = 7", "NEVER_READ = 7  # so"),
    same("lines above", "def get_signal(price): return helpers.target(price)", "SEEN = [1, 2]", "SEEN = [1, 2]\n\n\n"),
    case("comment inside", "def get_signal(price):\n    return 1", "    return 1", "    # so\n    return 1"),
    # --- the function itself
    case("body", "def get_signal(price): return 1", "return 1", "return 2"),
    case("global", "LEVEL = 3\ndef get_signal(price): return LEVEL", "LEVEL = 3", "LEVEL = 4"),
    case("default", "LEVEL = 3\ndef get_signal(price, level=LEVEL): return level", "LEVEL = 3", "LEVEL = 4"),
    case("default by name", "LEVEL = 3\ndef get_signal(price, *, level=LEVEL): return level", "LEVEL = 3", "LEVEL = 4"),
    case("closure", """\
def make(level):
    def get_signal(price): return level
    return get_signal
get_signal = make(3)
""", "make(3)", "make(4)"),
    case("lambda", "get_signal = lambda price: price + 1", "price + 1", "price + 2"),
    case("lambda of several lines", """\
def same(f): return f
get_signal = same(
    lambda price: (
        price
        + 1
    )
)
""", "+ 1", "+ 2"),
    case("without a text", "exec('def get_signal(price): return 3')", "return 3", "return 4"),
    case("inner function", """\
def get_signal(price):
    def inner(): return helpers.target(price)
    return inner()
""", "price * UP", "price / UP"),
    case("inside a comprehension", """\
def get_signal(price): return [helpers.target(p) for p in (1, 2)]
""", "price * UP", "price / UP"),
    case("function of a library under a name", """\
middle = np.mean
def get_signal(price): return middle([price])
""", "np.mean", "np.median"),
    case("name of a library", "import math as m\ndef get_signal(price): return m.sqrt(price)", "math as", "cmath as"),
    case("attribute of a function", """\
def rule(): return 1
rule.level = 3
def get_signal(price): return rule.level
""", "level = 3", "level = 4"),
    # --- decorators
    case("wrapper", "@helpers.logged\ndef get_signal(price): return 1", "function(*args) + 10", "function(*args) + 20"),
    case("wrapped", "@helpers.logged\ndef get_signal(price): return 1", "return 1\n", "return 2\n"),
    case("wrapped twice", """\
def twice(f):
    @functools.wraps(f)
    def inner(*a): return 2 * f(*a)
    return inner
@helpers.logged
@twice
@helpers.logged
def get_signal(price): return 1
""", "2 * f", "3 * f"),
    case("no longer wrapped", """\
@helpers.logged
@helpers.logged
def get_signal(price): return 1
""", "@helpers.logged\n@", "@"),
    case("wrapper that is an object", """\
class Logged:
    def __init__(self, f):
        functools.update_wrapper(self, f)
        self.f = f
    def __call__(self, *a): return self.f(*a) + 10
@Logged
def rule(price): return 1
def get_signal(price): return rule(price)
""", "+ 10", "+ 20"),
    case("wrapped by an object", """\
class Logged:
    def __init__(self, f):
        functools.update_wrapper(self, f)
        self.f = f
    def __call__(self, *a): return self.f(*a) + 10
@Logged
def rule(price): return 1
def get_signal(price): return rule(price)
""", "rule(price): return 1", "rule(price): return 2"),
    case("cached", """\
@functools.lru_cache
def rule(x): return x + 1
def get_signal(price): return rule(price)
""", "x + 1", "x + 2"),
    case("cached, what it calls", """\
@functools.cache
def rule(x): return helpers.target(x)
def get_signal(price): return rule(price)
""", "price * UP", "price / UP"),
    case("by kind of argument", """\
@functools.singledispatch
def rule(x): return 0
@rule.register
def _(x: float): return x + 1
def get_signal(price): return rule(price)
""", "x + 1", "x + 2"),
    case("wrapped, and called by its attribute", """\
import inspect
def late(f):
    def wrapper(*a): return inspect.unwrap(wrapper)(*a)
    vars(wrapper)['__wrapped__'] = f
    return wrapper
@late
def get_signal(price): return 1
""", "price): return 1", "price): return 2"),
    # --- in containers
    case("in a dict that holds itself", """\
BOOK = {'n': 3}
BOOK['self'] = BOOK
def get_signal(price): return BOOK
""", "'n': 3", "'n': 4"),
    case("set in a lambda", "get_signal = lambda price: price in {'a', 'b', 'c'}", "'c'", "'d'"),
    case("set in an object of a library", """\
SPACE = types.SimpleNamespace(names={'a', 'b', 'c'})
def get_signal(price): return SPACE
""", "'c'", "'d'"),
    case("in a dict", """\
def rule(x): return x + 1
RULES = {'a': rule}
def get_signal(price): return RULES['a'](price)
""", "x + 1", "x + 2"),
    case("in a list", """\
def rule(x): return x + 1
RULES = [rule]
def get_signal(price): return RULES[0](price)
""", "x + 1", "x + 2"),
    case("in a tuple", """\
def rule(x): return x + 1
RULES = (1, rule)
def get_signal(price): return RULES[1](price)
""", "x + 1", "x + 2"),
    case("in a set", """\
def rule(x): return x + 1
RULES = {rule}
def get_signal(price): return [r(price) for r in RULES]
""", "x + 1", "x + 2"),
    case("in a dict of lists", """\
def rule(x): return x + 1
RULES = {'a': [(rule, 1)]}
def get_signal(price): return RULES
""", "x + 1", "x + 2"),
    case("constant of a function in a dict", """\
RULES = {'up': helpers.target}
def get_signal(price): return RULES['up'](price)
""", "UP = 1.02", "UP = 1.03"),
    case("lambdas changing places", """\
one, other = lambda x: x + 1, lambda x: x - 1
RULES = {'a': one, 'b': other}
def get_signal(price): return one, other, RULES
""", "'a': one, 'b': other", "'a': other, 'b': one"),
    case("closures changing places", """\
def make(n):
    def rule(x): return x + n
    return rule
RULES = {'a': make(1), 'b': make(2), 'c': make(1)}
def get_signal(price): return RULES
""", "'c': make(1)", "'c': make(2)"),
    case("default factory", """\
RULES = collections.defaultdict(lambda: 3)
def get_signal(price): return RULES['x']
""", "lambda: 3", "lambda: 4"),
    same("order of a set", """\
LEVELS = {'a', 'b', 'c'}
def get_signal(price): return LEVELS
""", "'a', 'b', 'c'", "'c', 'b', 'a'"),
    same("order of a set of functions", """\
def one(x): return 1
def two(x): return 2
RULES = {one, two}
def get_signal(price): return RULES
""", "{one, two}", "{two, one}"),
    # a strategy may go through it, and the first rule that holds wins
    case("order of a dict", """\
def one(x): return 1
def two(x): return 2
RULES = {'a': one, 'b': two}
def get_signal(price): return RULES
""", "{'a': one, 'b': two}", "{'b': two, 'a': one}"),
    # --- partial, methods, callbacks
    case("partial", """\
def rule(n, price): return price + n
get_signal = functools.partial(rule, 3)
""", "price + n", "price - n"),
    case("argument of partial", """\
def rule(n, price): return n
get_signal = functools.partial(rule, 3)
""", "rule, 3", "rule, 4"),
    case("keyword of partial", """\
def rule(price, n=1): return n
get_signal = functools.partial(rule, n=3)
""", "n=3", "n=4"),
    case("function given to partial", """\
def rule(price, f=None): return f(price)
get_signal = functools.partial(rule, f=helpers.target)
""", "price * UP", "price / UP"),
    case("partial in a dict", """\
def rule(n, x): return x + n
RULES = {'a': functools.partial(rule, 3)}
def get_signal(price): return RULES
""", "rule, 3", "rule, 4"),
    case("callback of an object", """\
class Exit:
    def __init__(self, on_exit): self.on_exit = on_exit
exit = Exit(helpers.target)
def get_signal(price): return exit.on_exit(price)
""", "price * UP", "price / UP"),
    case("bound method", """\
class Cross:
    def get_signal(self, price): return 1
get_signal = Cross().get_signal
""", "return 1", "return 2"),
    case("object of a bound method", """\
class Cross:
    def __init__(self, n): self.n = n
    def get_signal(self, price): return self.n
get_signal = Cross(3).get_signal
""", "Cross(3)", "Cross(4)"),
    case("method in a list", """\
class Cross:
    def up(self, price): return 1
RULES = [Cross().up]
def get_signal(price): return RULES
""", "return 1", "return 2"),
    # --- classes and objects
    case("class attribute", "class Cross:\n    n = 3\ndef get_signal(price): return Cross.n", "n = 3", "n = 4"),
    case("class attribute set later", """\
class Cross:
    n = 3
Cross.n = 5
def get_signal(price): return Cross.n
""", "Cross.n = 5", "Cross.n = 6"),
    case("class attribute from elsewhere", """\
class Cross:
    n = helpers.UP
def get_signal(price): return Cross.n
""", "UP = 1.02", "UP = 1.03"),
    case("function as a class attribute", """\
class Cross:
    up = staticmethod(helpers.target)
def get_signal(price): return Cross.up(price)
""", "price * UP", "price / UP"),
    case("method put in later", """\
class Cross: pass
def up(self): return 3
Cross.up = up
def get_signal(price): return Cross().up()
""", "return 3", "return 4"),
    case("inherited method", """\
class Cross(helpers.Base): pass
def get_signal(price): return Cross().inherited()
""", "return 30", "return 40"),
    case("inherited attribute", """\
class Cross(helpers.Base): pass
def get_signal(price): return Cross.depth
""", "depth = 3", "depth = 4"),
    case("what a method calls", """\
class Cross:
    def up(self, x): return helpers.target(x)
def get_signal(price): return Cross().up(price)
""", "price * UP", "price / UP"),
    case("what a property calls", """\
class Cross:
    @property
    def up(self): return helpers.target(1)
def get_signal(price): return Cross().up
""", "price * UP", "price / UP"),
    case("what a cached property calls", """\
class Cross:
    @functools.cached_property
    def up(self): return helpers.target(1)
def get_signal(price): return Cross().up
""", "price * UP", "price / UP"),
    case("what a class method calls", """\
class Cross:
    @classmethod
    def up(cls): return helpers.target(1)
def get_signal(price): return Cross.up()
""", "price * UP", "price / UP"),
    case("decorator of a method", """\
class Cross:
    @helpers.logged
    def up(self): return 1
def get_signal(price): return Cross().up()
""", "function(*args) + 10", "function(*args) + 20"),
    case("class without a text", """\
exec('class Cross:\\n    def up(self): return 3')
def get_signal(price): return Cross().up()
""", "return 3", "return 4"),
    case("class in a dict", """\
class Cross:
    def up(self): return 3
KINDS = {'a': Cross}
def get_signal(price): return KINDS
""", "return 3", "return 4"),
    case("attribute of an object", """\
class Levels:
    def __init__(self, n): self.n = n
levels = Levels(3)
def get_signal(price): return levels.n
""", "Levels(3)", "Levels(4)"),
    case("object in an object in a list", """\
class Levels:
    def __init__(self, n): self.n = n
ALL = [Levels(Levels(3))]
def get_signal(price): return ALL
""", "Levels(3)", "Levels(4)"),
    same("order of attributes", """\
class Levels: pass
levels = Levels()
levels.a = 1; levels.b = 2
def get_signal(price): return levels
""", "levels.a = 1; levels.b = 2", "levels.b = 2; levels.a = 1"),
    case("slots", """\
class Levels:
    __slots__ = ('n',)
    def __init__(self, n): self.n = n
levels = Levels(3)
def get_signal(price): return levels.n
""", "Levels(3)", "Levels(4)"),
    case("dataclass", """\
@dataclasses.dataclass
class Levels:
    n: int
levels = Levels(3)
def get_signal(price): return levels.n
""", "Levels(3)", "Levels(4)"),
    case("default of a dataclass", """\
@dataclasses.dataclass
class Levels:
    n: float = helpers.UP
def get_signal(price): return Levels().n
""", "UP = 1.02", "UP = 1.03"),
    case("struct with a function", """\
class Levels(msgspec.Struct):
    f: object
levels = Levels(helpers.target)
def get_signal(price): return levels.f(1)
""", "price * UP", "price / UP"),
    case("named tuple", """\
Levels = collections.namedtuple('Levels', 'n')
levels = Levels(3)
def get_signal(price): return levels.n
""", "Levels(3)", "Levels(4)"),
    case("enum", """\
class Side(enum.Enum):
    UP = helpers.UP
def get_signal(price): return Side.UP.value
""", "UP = 1.02", "UP = 1.03"),
    case("list of the user's kind", """\
class Many(list): pass
many = Many([3])
def get_signal(price): return many
""", "Many([3])", "Many([4])"),
    # --- read by other ways than a name
    case("method of a dict", """\
PARAMS = {'tp': 3}
look = PARAMS.get
def get_signal(price): return look('tp')
""", "'tp': 3", "'tp': 4"),
    case("method of the user's dict, under its own name", """\
class Params(dict): pass
get = Params(tp=3).get
def get_signal(price): return get('tp')
""", "tp=3", "tp=4"),
    case("operator of a list", """\
LEVELS = [3]
holds = LEVELS.__contains__
def get_signal(price): return holds(3)
""", "LEVELS = [3]", "LEVELS = [4]"),
    case("private slot", """\
class Levels:
    __slots__ = ('__tp',)
    def __init__(self, n): self.__tp = n
    def get(self): return self.__tp
levels = Levels(3)
def get_signal(price): return levels.get()
""", "Levels(3)", "Levels(4)"),
    *(
        case(f"content of the user's {base}", f"""\
class Levels({base}): pass
levels = {made}
levels.n = 1
def get_signal(price): return levels
""", old, new)
        for base, made, old, new in (
            ("collections.deque", "Levels([3])", "[3]", "[4]"),
            ("np.ndarray", "np.array([3.0]).view(Levels)", "3.0", "4.0"),
            ("datetime.date", "Levels(2024, 1, 3)", "1, 3", "1, 4"),
            ("decimal.Decimal", "Levels('1.5')", "1.5", "1.6"),
            ("bytearray", "Levels(b'a')", "b'a'", "b'b'"),
            ("collections.OrderedDict", "Levels(a=3)", "a=3", "a=4"),
        )
    ),
    case("user's number that says nothing of itself", """\
class Level(float):
    def __repr__(self): return 'a level'
LEVEL = Level(3.0)
def get_signal(price): return LEVEL
""", "Level(3.0)", "Level(4.0)"),
    case("globals by a text", """\
LEVEL = 3
def get_signal(price): return globals()['LEVEL']
""", "LEVEL = 3", "LEVEL = 4"),
    case("module by a text", """\
import sys
def get_signal(price): return sys.modules['helpers'].UP
""", "UP = 1.02", "UP = 1.03"),
    case("module by a text inside", """\
def get_signal(price):
    import sys
    return sys.modules.get('helpers').target(price)
""", "price * UP", "price / UP"),
    case("eval of a text", "LEVEL = 3\ndef get_signal(price): return eval('LEVEL + 1')", "LEVEL = 3", "LEVEL = 4"),
    case("exec of a text", """\
LEVEL = 3
def get_signal(price):
    found = {}
    exec('found["x"] = LEVEL')
    return found
""", "LEVEL = 3", "LEVEL = 4"),
    case("attribute of a thread", """\
import threading
HERE = threading.local()
HERE.n = 3
def get_signal(price): return HERE.n
""", "n = 3", "n = 4"),
    case("default of a context variable", """\
import contextvars
LEVEL = contextvars.ContextVar('LEVEL', default=3)
def get_signal(price): return LEVEL.get()
""", "default=3", "default=4"),
    case("memory", "DATA = memoryview(b'a')\ndef get_signal(price): return DATA", "b'a'", "b'b'"),
    case("weak reference", """\
import weakref
class Levels:
    def __init__(self, n): self.n = n
levels = Levels(3)
ref = weakref.ref(levels)
def get_signal(price): return ref().n
""", "Levels(3)", "Levels(4)"),
    case("class attribute that is a method of a type", """\
class Cross: pass
Cross.up = str.upper
def get_signal(price): return Cross.up('a')
""", "str.upper", "str.lower"),
    case("class attribute with underscores around it", """\
class Cross: pass
Cross._n_ = 3
def get_signal(price): return Cross._n_
""", "_n_ = 3", "_n_ = 4"),
    case("function put on a library", """\
import math
def rule(x): return 3
math.made_rule = rule
def get_signal(price): return math.made_rule(price)
""", "return 3", "return 4"),
    case("sign of zero", "ZERO = 0.0\ndef get_signal(price): return ZERO", "= 0.0", "= -0.0"),
    case("one of two lambdas", """\
RULES = (lambda x: x + 1), (lambda x: x - 1)
def get_signal(price): return RULES[0](price)
""", "x + 1", "x + 3"),
    same("spaces in a lambda", "get_signal = lambda price: price + 1", "price + 1", "price  +  1"),
    same("other of two lambdas", """\
one, other = (lambda x: x + 1), (lambda x: x - 1)
def get_signal(price): return one(price)
""", "x - 1", "x - 3"),
    # --- values
    case("one number of a million", """\
DATA = np.zeros(1_000_000)
DATA[500_000] = 1.0
def get_signal(price): return DATA
""", "= 1.0", "= 1.5"),
    case("table", """\
DATA = pd.DataFrame({'a': [1.0]})
def get_signal(price): return DATA
""", "[1.0]", "[1.5]"),
    case("index of a table", """\
DATA = pd.Series([1.0, 2.0], index=[5, 6])
def get_signal(price): return DATA
""", "[5, 6]", "[5, 7]"),
    case("large table of mixed columns", """\
DATA = pd.DataFrame({'a': np.arange(2000), 'b': ['x'] * 2000})
DATA.loc[1000, 'b'] = 'y'
def get_signal(price): return DATA
""", "'y'", "'z'"),
    case("object of a library", """\
SPACE = types.SimpleNamespace(n=3)
def get_signal(price): return SPACE.n
""", "n=3", "n=4"),
    case("function in an object of a library", """\
SPACE = types.SimpleNamespace(up=helpers.target)
def get_signal(price): return SPACE.up(1)
""", "price * UP", "price / UP"),
    case("seed", """\
RNG = np.random.default_rng(3)
def get_signal(price): return RNG
""", "default_rng(3)", "default_rng(4)"),
    case("pattern", "WORDS = re.compile('a')\ndef get_signal(price): return WORDS", "compile('a')", "compile('b')"),
    case("range", "WHEN = range(3)\ndef get_signal(price): return WHEN", "range(3)", "range(4)"),
    case("moment", """\
WHEN = datetime.date(2024, 1, 1)
def get_signal(price): return WHEN
""", "2024, 1, 1", "2024, 1, 2"),
    case("same name in two modules", """\
UP = 5
def get_signal(price): return UP + helpers.target(price)
""", "UP = 5", "UP = 6"),
    # --- what has nothing to do with it
    same("another function of the file", "def get_signal(price): return 1", "price - 1", "price - 2"),
    same("another constant of the file", "def get_signal(price): return 1", "NEVER_READ = 7", "NEVER_READ = 8"),
]
# fmt: on


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], Any]]:
    yield from loading(tmp_path, monkeypatch)


@pytest.mark.parametrize(("strategy", "old", "new", "changes"), TABLE)
def test_what_is_reached_counts_and_nothing_else(
    strategy: str, old: str, new: str, changes: object, load: Callable[[str, str], Any]
) -> None:
    whole = HEAD + strategy + TAIL
    assert old in whole + HELPERS
    before, again = (hashed(load(whole, HELPERS).get_signal) for _ in range(2))
    after = hashed(load(whole.replace(old, new), HELPERS if old in strategy else HELPERS.replace(old, new)).get_signal)
    assert before == again
    assert before.startswith("3:")
    assert (before != after) is changes


@pytest.mark.slow
def test_every_process_gives_the_same_hash_whatever_its_order_of_sets(tmp_path: Path) -> None:
    lines = ["from bknb.provenance.source_code_and_hash import read_code, source_hash", "found = {}"]
    for name, strategy in ((case.id, case.values[0]) for case in TABLE):
        lines += [f"space = {{'__name__': '__main__'}}; exec(compile({HEAD + strategy!r}, {name!r}, 'exec'), space)"]
        lines += [f"found[{name!r}] = [source_hash(space['get_signal']), read_code(space['get_signal']).values]"]
    (tmp_path / "helpers.py").write_text(HELPERS)
    (tmp_path / "all.py").write_text("\n".join([*lines, "import json; print(json.dumps(found))"]))
    root = str(Path(bknb.__file__).parent.parent)
    hashes = [
        json.loads(
            subprocess.run(
                [sys.executable, "all.py"], cwd=tmp_path, check=True, capture_output=True, text=True,
                env={**os.environ, "PYTHONPATH": root, "PYTHONHASHSEED": seed},
            ).stdout
        )
        for seed in ("1", "2")
    ]  # fmt: skip
    assert hashes[0] == hashes[1]
    assert len(hashes[0]) == len(TABLE)


@pytest.mark.slow
def test_circles_end(load: Callable[[str, str], Any]) -> None:
    text = (
        "class Node: pass\nnode = Node(); node.next = node; node.many = [node]; node.many.append(node.many)\n"
        "BOOK = {}; BOOK['self'] = BOOK\nALL = set()\n"
        "def get_signal(price): return node, BOOK, ALL, other()\ndef other(): return get_signal\nALL.add(other)\n"
    )
    assert hashed(load(text, "").get_signal) == hashed(load(text, "").get_signal)
    chain = "\n".join(f"def f{n}(): return f{n + 1}()" for n in range(2000)) + "\ndef f2000(): return {}\n"
    start = "def get_signal(price): return f0()\n"
    assert len({hashed(load(start + chain.format(n), "").get_signal) for n in (1, 2)}) == 2


def test_values_that_cannot_be_compared_are_noted_and_hash_the_same() -> None:

    def make() -> Any:
        lock, rows = threading.Lock(), (n for n in range(3))
        return lambda price: (lock, rows)

    assert source_hash(make()) == source_hash(make())
    assert all("its content is not compared" in text for text in read_code(make()).values.values())


def test_callbacks_and_rules_of_the_risk_profile_count() -> None:
    def allows(request: Any) -> None:
        return None

    def refuses(request: Any) -> bool:
        return False

    def made_of_nothing() -> None:
        return None

    made = {
        hashed(made_of_nothing, callbacks={name: rule})
        for name in ("on_open", "on_close")
        for rule in (allows, refuses)
    }
    assert len(made | {hashed(made_of_nothing)}) == 5
    found = []
    for rule in (allows, refuses, allows):
        bknb.add_risk("careful", validations=[rule])
        found.append(hashed(made_of_nothing, risk="careful"))
    assert found[0] == found[2] != found[1]


def test_what_callbacks_and_rules_collect_from_run_to_run_does_not_count() -> None:
    log: list[int] = []

    class AtMost:
        def __init__(self, limit: int) -> None:
            self.limit = limit
            self.calls = 0

        def __call__(self, request: Any) -> bool:
            self.calls += 1
            return self.calls < self.limit

    def made_of_nothing() -> None:
        return None

    def noted(*what: Any) -> None:
        log.append(len(what))

    rule = AtMost(3)
    bknb.add_risk("counted", validations=[rule])
    more: dict[str, Any] = {"risk": "counted", "callbacks": {"on_open": noted}}
    before = hashed(made_of_nothing, **more)
    rule(None)
    noted(1)
    assert hashed(made_of_nothing, **more) == before
    bknb.add_risk("counted", validations=[AtMost(4)])
    assert hashed(made_of_nothing, **more) != before  # what a rule is made with counts


def test_a_changed_helper_of_a_rule_counts_without_another_registration() -> None:
    space: dict[str, Any] = {"LIMIT": 3}
    exec("def rule(request):\n    return request.count < LIMIT", space)  # noqa: S102
    bknb.add_risk("helped", validations=[space["rule"]])

    def made_of_nothing() -> None:
        return None

    before = hashed(made_of_nothing, risk="helped")
    space["LIMIT"] = 4
    assert hashed(made_of_nothing, risk="helped") != before


def test_a_name_a_module_and_a_later_process_do_not_count(load: Callable[[str, str], Any]) -> None:
    text = HEAD + "def get_signal(price): return helpers.target(price)"
    in_file = load(text, HELPERS).get_signal
    space: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(text, "made_strategy.py", "exec"), space)  # noqa: S102
    linecache.cache["made_strategy.py"] = (len(text), None, text.splitlines(keepends=True), "made_strategy.py")
    assert hashed(in_file) == hashed(space["get_signal"])
    assert fingerprint(make_strategy("other", in_file, interval="1h")) == hashed(in_file)
    assert fingerprint(make_strategy("x", in_file, interval="2h")) != hashed(in_file)


# --- modules that are edited while they are loaded --------------------------------------------------------------


def test_a_module_that_was_edited_and_not_loaded_again_is_what_runs(
    load: Callable[[str, str], Any], tmp_path: Path
) -> None:
    get_signal = load("import helpers\ndef get_signal(price): return helpers.target(price)", HELPERS).get_signal
    (tmp_path / "helpers.py").write_text(HELPERS.replace("price * UP", "price / UP"))
    later(tmp_path / "helpers.py")
    stale = hashed(get_signal)
    (_, target) = read_code(get_signal).functions
    assert target.text == ""  # the text in the file is not that of what runs
    importlib.reload(sys.modules["helpers"])
    assert hashed(get_signal) != stale
    assert "price / UP" in read_code(get_signal).functions[1].text


def test_a_class_of_a_module_that_was_edited_after_it_was_read_is_what_was_loaded(
    load: Callable[[str, str], Any], tmp_path: Path
) -> None:
    levels = "class Levels:\n    UP = 3\n"
    get_signal = load("import helpers\ndef get_signal(price): return helpers.Levels.UP", levels).get_signal
    loaded = hashed(get_signal)
    (tmp_path / "helpers.py").write_text(levels.replace("3", "4"))
    later(tmp_path / "helpers.py")
    assert hashed(get_signal) == loaded
    importlib.reload(sys.modules["helpers"])
    assert hashed(get_signal) != loaded
    assert "UP = 4" in read_code(get_signal).functions[1].text


def test_a_comment_above_a_loaded_function_does_not_hide_its_text(
    load: Callable[[str, str], Any], tmp_path: Path
) -> None:
    get_signal = load("import helpers\ndef get_signal(price): return helpers.target(price)", HELPERS).get_signal
    (tmp_path / "helpers.py").write_text(f"# a\n# b\n{HELPERS}")
    later(tmp_path / "helpers.py")
    stale = hashed(get_signal)
    assert "price * UP" in read_code(get_signal).functions[1].text
    importlib.reload(sys.modules["helpers"])
    assert hashed(get_signal) == stale


PINNED = {
    "dataclass": ("""\
@dataclasses.dataclass(frozen=True, order=True)
class Levels:
    n: int = 3
levels = Levels()
def get_signal(price): return levels
""", "16c06c522f650bc3"),
    "enum": ("""\
class Side(enum.Enum):
    UP = 1
    DOWN = 2
def get_signal(price): return Side.UP, Side
""", "7ac1bf87eabfd02b"),
    "flag": ("""\
class Side(enum.IntFlag):
    UP = 1
    DOWN = 2
def get_signal(price): return Side.UP | Side.DOWN
""", "2302220de0f2673c"),
    "named tuple": ("""\
Levels = collections.namedtuple('Levels', 'n')
levels = Levels(3)
def get_signal(price): return levels
""", "cdb44e6cb43c48f8"),
    "protocol": ("""\
import typing
@typing.runtime_checkable
class Rule(typing.Protocol):
    def up(self): ...
class Up(Rule):
    def up(self): return 3
def get_signal(price): return Up().up()
""", "876d3c6f1997acc4"),
    "lambda": ("""\
RULES = {'a': lambda: 3, 'b': lambda x: f'{x:>4}'}
def get_signal(price): return RULES
""", "569914d01a5b2962"),
    "comprehension": ("A, B = 1, 2\ndef get_signal(price): return [A + x for x in (1, 2)], B\n", "7b0883764165e7f5"),
}  # fmt: skip


@pytest.mark.parametrize("kind", PINNED)
def test_every_version_of_python_gives_the_same_hash(kind: str, load: Callable[[str, str], Any]) -> None:
    text, expected = PINNED[kind]
    assert source_hash(load(HEAD + text, HELPERS).get_signal)[:16] == expected
