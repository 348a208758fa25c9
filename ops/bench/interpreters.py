"""The interpreters that yardsticks run in: an environment for each, with pinned packages, kept under DATA_DIR.

The exchange needs none of this. What cannot be had raises YardstickMissing, and the table says so.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings

REQUIREMENTS = Path(__file__).with_name("contestants")
INSTALL_SECONDS = 120
PROBE = "import sys, ensurepip; sys.stdout.write('%d.%d' % sys.version_info[:2])"


class YardstickMissing(Exception):
    """A yardstick cannot run here; the message says why."""


def interpreter(version: str) -> Path:
    """The Python of an environment with requirements-`version`.txt installed; made at the first call.

    Raises YardstickMissing without such a Python or without its packages.
    """
    wanted = REQUIREMENTS / f"requirements-{version}.txt"
    folder = Path(settings.DATA_DIR) / "bench" / f"python-{version}"
    python, installed = folder / "bin" / "python", folder / "installed.txt"
    if installed.is_file() and installed.read_text() == wanted.read_text():
        return python
    base = next((found for found in _candidates(version) if _is_version(found, version)), None)
    if base is None:
        raise YardstickMissing(f"needs Python {version}, which was not found (set BENCH_PYTHON)")
    _call([base, "-m", "venv", "--clear", str(folder)], "no environment could be made")
    quiet = ["--quiet", "--disable-pip-version-check"]
    _call(
        [str(python), "-m", "pip", "install", *quiet, "-r", str(wanted)],
        "its packages could not be installed",
    )
    installed.write_text(wanted.read_text())
    return python


def _candidates(version: str) -> Iterator[str]:
    """Paths where a Python of that version may be: named, our own, on the path, and where version managers put them."""
    if named := os.environ.get("BENCH_PYTHON"):
        yield named
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        yield sys.executable
    if found := shutil.which(f"python{version}"):
        yield found
    home = Path.home()
    for pattern in (
        f".pyenv/versions/{version}*/bin/python",
        f".local/share/uv/python/cpython-{version}*/bin/python",
    ):
        yield from sorted(map(str, home.glob(pattern)), reverse=True)


def _is_version(python: str, version: str) -> bool:
    try:
        done = subprocess.run([python, "-c", PROBE], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and done.stdout == version


def _call(command: list[str], problem: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise YardstickMissing(f"{problem}: {error}") from None
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise YardstickMissing(f"{problem}: {last[:200]}")
