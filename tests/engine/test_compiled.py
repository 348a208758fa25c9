"""What `make compile` makes of the hot path: it answers as the sources do, and nothing old is ever run."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from trading import compiled

ROOT = compiled.ROOT
ASK = "import trading.shard.batch as batch; print(batch.__file__)"
OUTER = ("PYTEST_XDIST", "PMARKET_TEST", "DJANGO_SETTINGS_MODULE")
# Cases of every rule on both exchanges, what earlier releases have recorded, snapshots, and a shard at work.
CASES = [
    "tests/engine/test_self_trade.py", "tests/engine/test_conditions.py", "tests/engine/test_amend_priority.py",
    "tests/engine/test_implied.py", "tests/engine/test_expiry.py", "tests/engine/test_fences.py",
    "tests/engine/test_max_cost.py", "tests/engine/test_fees.py", "tests/golden", "tests/crash/test_shard.py",
    "tests/trading/snapshots/test_snapshots.py", "tests/trading/snapshots/test_shard_start.py",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    header = Path(sysconfig.get_paths()["include"]) / "Python.h"
    if not header.is_file() or not (shutil.which("cc") or shutil.which("gcc")):
        pytest.skip("not run: needs a C compiler and Python's headers")
    made = tmp_path_factory.mktemp("compiled") / "compiled"
    answer = _python(made, "manage.py", "compile")
    assert answer.endswith(f"{len(compiled.MODULES)} modules compiled into {made}")
    return made


def _python(folder: Path, *arguments: str, **variables: str) -> str:
    environment = {**os.environ, "COMPILED_DIR": str(folder), "COMPILED": "1", **variables}
    # A pytest in there is no part of this one, and has servers of its own.
    environment = {name: value for name, value in environment.items() if not name.startswith(OUTER)}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout.strip()


def test_processes_run_it_unless_they_are_told_not_to(folder: Path) -> None:
    assert _python(folder, "-c", ASK) == str(folder / "trading" / "shard" / f"batch{compiled.SUFFIX}")
    assert _python(folder, "-c", ASK, COMPILED="0") == str(ROOT / "trading" / "shard" / "batch.py")


def test_it_is_made_once(folder: Path) -> None:
    assert _python(folder, "manage.py", "compile") == f"{folder} is of these sources already"


def test_it_is_left_alone_once_the_sources_have_changed(folder: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(folder, old)
    (old / compiled.DIGEST_FILE).write_text("of other sources")
    assert _python(old, "-c", ASK) == str(ROOT / "trading" / "shard" / "batch.py")


def test_it_answers_as_the_naive_exchange_does(folder: Path) -> None:
    said = _python(folder, "-m", "tests.engine.long_run", "--commands", "15000", "--seed", "7")
    assert "no difference" in said


def test_it_passes_the_cases_of_every_rule(folder: Path) -> None:
    _python(folder, "-m", "pytest", "-q", "-p", "no:cacheprovider", *CASES)
