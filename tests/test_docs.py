"""The pages in docs/: every example runs, every named test exists, every link leads somewhere."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
from test_architecture import DOORS
from test_managed_positions import ROWS as MANAGED_ROWS
from test_market_orders import ROWS as CLOCK_ROWS
from test_scenarios import ROWS

from bknb.metrics.account_definitions import ACCOUNT_DEFINITIONS
from bknb.metrics.trade_definitions import DEFINITIONS

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs").glob("*.md"))
CONTRACTS = ("execution.md", "live.md", "positions.md", "money.md")


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


TEST = re.compile(r"^ *(?:async )?def (test_\w+)\(", re.MULTILINE)


@cache
def known_tests() -> set[str]:
    """Every test function and method of this repository, the shipped contracts included."""
    files = [*(ROOT / "tests").rglob("test_*.py"), *(ROOT / "bknb" / "testing").glob("*.py")]
    return {name for path in files for name in TEST.findall(text(path))}


def bullets(page: Path) -> list[str]:
    return [line[2:] for line in text(page).splitlines() if line.startswith("* ")]


def named(sentence: str) -> tuple[list[str], list[str], list[str]]:
    """The tests, the scenarios and the rows of managed positions, or of the market's clock, a sentence rests on."""
    tests = re.findall(r"`(test_\w+)`", sentence)
    return tests, re.findall(r"\*scenario: ([^*]+)\*", sentence), re.findall(r"\*row: ([^*]+)\*", sentence)


@pytest.mark.parametrize("page", CONTRACTS)
def test_every_sentence_of_the_contract_has_a_test_behind_it(page: str) -> None:
    known, rows, managed = known_tests(), {row.name for row in ROWS}, {row.name for row in (*MANAGED_ROWS, *CLOCK_ROWS)}
    sentences = bullets(ROOT / "docs" / page)
    assert len(sentences) > 15
    for sentence in sentences:
        names, scenarios, of_managed = named(sentence)
        assert names or scenarios or of_managed, f"nothing stands behind: {sentence}"
        assert set(names) <= known, sentence
        assert set(scenarios) <= rows, sentence
        assert set(of_managed) <= managed, set(of_managed) - managed


def test_every_bad_day_has_tests_behind_it() -> None:
    table = text(ROOT / "docs" / "live.md").partition("## Bad days")[2].partition("\n* ")[0]
    _, _, *rows = [line for line in table.splitlines() if line.startswith("|")]
    assert len(rows) >= 20
    for row in rows:
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert len(cells) == 7, row
        assert all(cells), row
        assert named(cells[-1])[0], f"nothing stands behind: {row}"
        assert set(named(row)[0]) <= known_tests(), row


def test_every_kind_of_data_has_tests_behind_it() -> None:
    rows = [line for line in text(ROOT / "docs" / "data.md").splitlines() if line.startswith("|")]
    rows = [row for row in rows if not row.startswith(("| What comes", "|---"))]
    assert len(rows) >= 30
    for row in rows:
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert len(cells) == 3, row
        names = named(cells[-1])[0]
        assert names, f"nothing stands behind: {row}"
        assert set(names) <= known_tests(), set(names) - known_tests()


def test_every_scenario_is_in_the_contract_or_a_variation_of_one_that_is() -> None:
    """Not every row needs a sentence; a page that names less than half of them would not be the contract."""
    told = {name for sentence in bullets(ROOT / "docs" / "execution.md") for name in named(sentence)[1]}
    assert len(told) > len(ROWS) / 2
    told = {name for sentence in bullets(ROOT / "docs" / "positions.md") for name in named(sentence)[2]}
    assert len(told) > len(MANAGED_ROWS) / 2


def test_every_statistic_is_defined_with_its_source() -> None:
    page = text(ROOT / "docs" / "statistics.md")
    for definition in DEFINITIONS.values():
        (row,) = [line for line in page.splitlines() if f"| `{definition.key}` |" in line]
        plain = row.replace("\\|", "|")
        for part in (definition.label, definition.formula, definition.source, definition.null_when):
            assert part in plain, f"docs/statistics.md tells another {definition.key}"


def test_every_figure_of_an_account_is_defined_with_its_source() -> None:
    page = text(ROOT / "docs" / "statistics.md")
    for definition in ACCOUNT_DEFINITIONS.values():
        (row,) = [line for line in page.splitlines() if f'| `account["{definition.key}"]` |' in line]
        for part in (definition.label, definition.formula, definition.source, definition.null_when):
            assert part in row, f"docs/statistics.md tells another {definition.key} of an account"


def links() -> list[tuple[Path, str]]:
    return [
        (page, target) for page in PAGES for target in re.findall(r"\]\(([^)#\s]+)", text(page)) if "://" not in target
    ]


@pytest.mark.parametrize(("page", "target"), links(), ids=lambda part: getattr(part, "stem", part))
def test_a_link_leads_somewhere(page: Path, target: str) -> None:
    assert (page.parent / target).exists()


def blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", text(page), flags=re.MULTILINE | re.DOTALL)


RUN_BY_TESTS_OF_THEIR_OWN = ("strategies",)
"""Pages whose blocks are run, and their results looked at, by ``test_strategy_page.py``."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if blocks(page) and page.stem not in RUN_BY_TESTS_OF_THEIR_OWN],
    ids=lambda page: page.stem,
)
def test_the_examples_run_as_printed(page: Path, tmp_path: Path) -> None:
    """A block that begins with the name of a test file is run by pytest; all others of a page run in one process."""
    plain = []
    for block in blocks(page):
        name = re.match(r"# (test_\w+\.py)\n", block)
        if name:
            (tmp_path / name[1]).write_text(block, encoding="utf-8")
        else:
            plain.append(block)
    python = [sys.executable, "-W", "error", "-c", "\n".join(plain)]
    done = subprocess.run(python, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stderr.splitlines() if ": its loops " not in line]  # compiled by who comes first
    assert not said
    if list(tmp_path.glob("test_*.py")):
        command = [sys.executable, "-m", "pytest", "-q", "-c", "/dev/null", "--rootdir", str(tmp_path), str(tmp_path)]
        done = subprocess.run(
            [*command, "-p", "no:cacheprovider"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == 0, done.stdout[-3000:]


PUBLIC_PLACES = re.compile(
    r"bknb(\.(ports|errors|panels|sources|exchanges|stores|brokers|llm|testing(\.(?!language\b)\w+)?))?"
)
"""The modules a page may tell its readers to import from."""


def imported(source: str) -> list[str]:
    """The modules of bknb that a block of code imports from."""
    nodes = list(ast.walk(ast.parse(source)))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    return [name for name in names if name.split(".")[0] == "bknb"]


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.stem)
def test_examples_import_public_places_alone(page: Path) -> None:
    internal = [name for block in blocks(page) for name in imported(block) if not PUBLIC_PLACES.fullmatch(name)]
    assert not internal, f"{page.name} sends its readers to {internal}"


def test_an_internal_place_is_seen() -> None:
    assert imported("import os\nfrom bknb.stores.sealed_values import seal") == ["bknb.stores.sealed_values"]
    assert not PUBLIC_PLACES.fullmatch("bknb.stores.sealed_values")
    assert not PUBLIC_PLACES.fullmatch("bknb.testing.language")
    assert not PUBLIC_PLACES.fullmatch("bknb.adapters.state")
    assert PUBLIC_PLACES.fullmatch("bknb.testing.stores")


PATHS = re.compile(r"`((?:bknb|tests|benchmarks|notebooks|docs)/[^`\s]*)`")
"""A file or folder of the repository, as a page names it."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_file_a_page_names_exists(page: Path) -> None:
    missing = [path for path in PATHS.findall(text(page)) if not (ROOT / path).exists()]
    assert not missing, f"{page.name} names {missing}"


def test_what_benchmarks_import_is_there() -> None:
    trees = [ast.parse(text(path)) for path in sorted((ROOT / "benchmarks").glob("*.py"))]
    froms = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names = {
        (node.module, each.name) for node in froms for each in node.names if (node.module or "").startswith("bknb.")
    }
    assert len(names) > 10
    missing = [
        f"{module}.{name}"
        for module, name in sorted(names)
        if module and not hasattr(import_module(module), name) and find_spec(f"{module}.{name}") is None
    ]
    assert not missing


NAMED_IN = re.compile(r"`(?P<path>bknb/\S+\.py)`\s\(`(?P<name>[\w.]+)`\)")
NAMED_BEFORE = re.compile(r"`(?P<name>[\w.]+)`\)?\s(?:in|of)\s`(?P<path>bknb/\S+\.py)`")


def test_every_function_a_page_names_is_in_the_file_it_names() -> None:
    page = text(ROOT / "docs" / "architecture.md")
    found = [match for pattern in (NAMED_IN, NAMED_BEFORE) for match in pattern.finditer(page)]
    assert len(found) > 15
    for match in found:
        last = match["name"].rpartition(".")[2]
        source = text(ROOT / match["path"])
        assert re.search(rf"^\s*(?:async def|def|class) {last}\b", source, re.MULTILINE), match[0]


def walks() -> list[str]:
    """The sections of docs/architecture.md that follow something through the code."""
    return re.findall(
        r"^## (From .*?)(?=^## |\Z)", text(ROOT / "docs" / "architecture.md"), flags=re.MULTILINE | re.DOTALL
    )


@pytest.mark.parametrize("walk", walks(), ids=lambda walk: walk.splitlines()[0])
def test_a_walk_states_the_number_of_its_files(walk: str) -> None:
    files = {path for path in PATHS.findall(walk) if path.endswith(".py")}
    rooms = {path.split("/")[1] for path in files}
    assert f"passes {len(files)} files in {len(rooms)} rooms" in walk


def test_the_rooms_are_listed_from_the_ground_floor_up() -> None:
    page = text(ROOT / "docs" / "architecture.md")
    listed = re.findall(r"^\| `bknb/(\w+)(?:\.py|/)` \|", page, flags=re.MULTILINE)
    assert listed == [room for room in DOORS if room]


def test_there_are_pages() -> None:
    assert len(walks()) == 3
    assert {page.name for page in PAGES} >= {
        "architecture.md",
        "contributing.md",
        "execution.md",
        "positions.md",
        "money.md",
        "statistics.md",
        "live.md",
        "extending.md",
        "coming-from.md",
        "data.md",
    }


def test_every_page_is_linked_from_the_readme() -> None:
    readme = text(ROOT / "README.md")
    assert all(f"(docs/{page.name})" in readme for page in PAGES)
