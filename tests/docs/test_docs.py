"""What the documentation names exists: files, folders, commands, variables, paths of the API, events, checksums."""

import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import httpx
import pytest
from django.core.management import get_commands
from django.urls import Resolver404, resolve

from tests.running_exchange import RunningExchange
from trading.engine.codec import EVENT_NAMES
from trading.ids import new_id

PROJECT = Path(__file__).resolve().parents[2]
PAGES = [
    PROJECT / "README.md",
    PROJECT / "trading" / "README.md",
    PROJECT / "examples" / "README.md",
    *sorted((PROJECT / "docs").rglob("*.md")),
]
IN_TICKS = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
FILE = re.compile(
    r"(?:[\w-]+/)*[\w.-]+\.(?:py|md|sql|toml|txt|html|css|js|cfg)|(?:[\w-]+/)+|Procfile|Makefile"
)
COMMAND = re.compile(r"manage\.py ([a-z_]+)")
MAKE = re.compile(r"`make ([a-z]+)")
VARIABLE = re.compile(r"`([A-Z][A-Z0-9_]{3,})(?:=\S*)?`")
URL_PATH = re.compile(r"`(?:(GET|POST|PATCH|DELETE) )?(/[a-z][\w/{}-]*/?)`")
EVENT = re.compile(r"`([a-z_]+/\d+)`")
# Written in capitals, and no variables.
NO_VARIABLES = {"UPDATE", "DELETE", "TRUNCATE", "PATCH", "POST"}

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))


def names(page: Path, pattern: re.Pattern[str]) -> list[str]:
    return sorted(set(pattern.findall(page.read_text())))


def files_named(page: Path) -> Iterator[Path]:
    """Names in backticks start at the project's root, in trading/README.md at its folder; links start at the page."""
    root = page.parent if page.parent.name == "trading" else PROJECT
    for name in names(page, IN_TICKS):
        if FILE.fullmatch(name):
            yield root / name
    for name in names(page, LINK):
        if "://" not in name:
            yield page.parent / name


@pages
def test_every_file_and_folder_that_is_named_exists(page: Path) -> None:
    missing = [str(path) for path in files_named(page) if not path.exists()]
    assert missing == []


@pages
def test_every_command_that_is_named_exists(page: Path) -> None:
    known = get_commands()
    assert [name for name in names(page, COMMAND) if name not in known] == []


@pages
def test_every_make_target_that_is_named_exists(page: Path) -> None:
    targets = re.findall(r"^([a-z]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE)
    assert [name for name in names(page, MAKE) if name not in targets] == []


@pages
def test_every_event_that_is_named_is_written(page: Path) -> None:
    assert [name for name in names(page, EVENT) if name not in EVENT_NAMES.values()] == []


@pages
def test_every_variable_that_is_named_is_read_somewhere(page: Path) -> None:
    sources = "".join(
        path.read_text()
        for path in [
            *(PROJECT / "pmarket").rglob("*.py"), *(PROJECT / "ops").rglob("*.py"), PROJECT / "Procfile",
            *(PROJECT / "accounts").rglob("*.py"), *(PROJECT / "trading").rglob("*.py"),
        ]
    )  # fmt: skip
    unread = [name for name in names(page, VARIABLE) if name not in NO_VARIABLES and name not in sources]
    assert unread == []


@pages
def test_every_path_of_a_page_or_of_the_api_that_is_named_is_routed(page: Path) -> None:
    unrouted = [path for _, path in names(page, URL_PATH) if not is_routed(path)]
    assert unrouted == []


def is_routed(path: str) -> bool:
    if path.startswith(("/ws/", "/static/")) or path == "/ws":
        return True  # the live process has no Django routes
    filled = re.sub(r"\{[^}]*\}", new_id(), path)
    return any(is_known(candidate) for candidate in (filled, f"/api/v1{filled}"))


def is_known(path: str) -> bool:
    try:
        resolve(path)
    except Resolver404:
        return False
    return True


def test_operators_table_names_commands_that_exist() -> None:
    text = (PROJECT / "README.md").read_text().partition("## As an operator")[2].partition("Probes:")[0]
    named = re.findall(r"^\| `([a-z_]+)", text, re.MULTILINE)
    assert len(named) > 5
    assert [name for name in named if name not in get_commands()] == []


def test_journey_of_an_order_names_a_file_for_each_stage() -> None:
    text = (PROJECT / "trading" / "README.md").read_text()
    rows = [
        [cell.strip() for cell in line.split("|")] for line in text.splitlines() if re.match(r"\| \d", line)
    ]
    stages = {row[1].split()[0]: row[3] for row in rows}
    assert len(stages) >= 11
    for stage, where in stages.items():
        # A stage without a file of its own has parts that have.
        parts = where or " ".join(files for part, files in stages.items() if part.startswith(stage))
        assert any(FILE.fullmatch(name) for name in IN_TICKS.findall(parts)), f"stage {stage} names no file"
    for step in ("RESERVE", "MATCH", "COMMIT", "PUBLISH"):
        assert any(step in row[1] for row in rows), f"no stage is called {step}"


def test_glossary_explains_each_word_once() -> None:
    lines = (PROJECT / "docs" / "GLOSSARY.md").read_text().splitlines()
    words = [line.split("|")[1].strip() for line in lines if line[:2] == "| " and line[:6] != "| word"]
    assert len(words) > 30
    assert len(set(words)) == len(words)


def test_decisions_are_numbered_without_gaps_and_all_named() -> None:
    decisions = sorted((PROJECT / "docs" / "adr").glob("*.md"))
    assert [path.name[:4] for path in decisions] == [f"{n:04d}" for n in range(1, len(decisions) + 1)]


def test_examples_of_checksums_are_right() -> None:
    for page in PAGES:
        for lines, number in re.findall(r"`([^`]*\\n[^`]*)` gives (\d+)", page.read_text()):
            assert crc32(lines.replace("\\n", "\n").encode()) == int(number)


@pytest.mark.parametrize(("number", "client_order_id"), [(0, "my-bot-1"), (1, None)], ids=["httpx", "client"])
def test_bots_of_the_readme_trade(
    exchange: RunningExchange,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    client_order_id: str | None,
) -> None:
    programs = re.findall(r"```python\n(.*?)```", (PROJECT / "README.md").read_text(), re.DOTALL)
    assert len(programs) == 2
    name = secrets.token_hex(5)
    with httpx.Client(base_url=f"{exchange.http}/api/v1", headers=exchange.staff_headers()) as staff:
        market = {
            "question": f"Does the bot {name} trade?", "resolution_criteria": "It does.", "category": "tests",
            "outcomes": ["Yes", "No"], "closes_at": "2050-01-01T00:00:00Z",
        }  # fmt: skip
        assert staff.post("/markets", json=market).status_code == 201
    # Other tests leave markets behind that have ended: the newest is open.
    program = programs[number].replace("http://localhost:8000", exchange.http)
    program = program.replace("http://localhost:8001", exchange.live_http)
    program = re.sub(r'"my-(other-)?bot"', f'"bot_{name}"', program)
    monkeypatch.chdir(tmp_path)
    done: dict[str, Any] = {}
    exec(compile(program, "README.md", "exec"), done)
    assert done["order"]["status"] == "open"
    assert client_order_id in (None, done["order"]["client_order_id"])
