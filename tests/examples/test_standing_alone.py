"""What is copied needs nothing that is not copied with it."""

import ast
import sys
from pathlib import Path

import pytest

from tests.running_exchange import PROJECT

EXAMPLES = sorted((PROJECT / "examples").glob("*.py"))
NEEDED = {"httpx", "websockets"}


def imported(path: Path) -> set[str]:
    """The top-level names of the modules that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_imports_the_standard_library_httpx_websockets_and_the_client_only(path: Path):
    further = imported(path) - set(sys.stdlib_module_names) - NEEDED
    assert further <= ({"examples"} if path.name != "pmarket_client.py" else set())


def test_what_the_client_needs_is_what_the_exchange_pins():
    pinned = (PROJECT / "requirements.txt").read_text()
    assert all(f"\n{name}==" in pinned for name in NEEDED)
