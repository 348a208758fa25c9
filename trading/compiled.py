"""The hot path compiled to C, where `make compile` has made that of these very sources.

mypyc compiles the modules as they are. What it made stands under FOLDER beside a digest of the sources and the
interpreter; if either has changed since, the sources run, so nothing old can. Only speed differs: the tests prove it.
"""

import hashlib
import importlib.machinery
import importlib.util
import os
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = Path(os.environ.get("COMPILED_DIR") or ROOT / ".compiled")
SUFFIX = str(sysconfig.get_config_var("EXT_SUFFIX"))
DIGEST_FILE = "sources.sha256"

MODULES = (
    "trading.money",
    "trading.engine.book",
    "trading.engine.fees",
    "trading.engine.market",
    "trading.engine.liquidity",
    "trading.engine.matching",
    "trading.engine.lifecycle",
    "trading.engine.resolution",
    "trading.engine.decide",
    "trading.engine.apply",
    "trading.engine.trades",
    "trading.engine.codec",
    "trading.eventlog.append",
    "trading.eventlog.codec",
    "trading.order_view",
    "trading.shard.batch",
)


def file_of(module: str, suffix: str = ".py") -> Path:
    """Where a module stands under ROOT, or with SUFFIX under FOLDER."""
    return Path(f"{module.replace('.', '/')}{suffix}")


def digest() -> str:
    """Of all that the compiled modules depend on, in hex."""
    sources = b"".join((ROOT / file_of(module)).read_bytes() for module in MODULES)
    return hashlib.sha256(SUFFIX.encode() + sources).hexdigest()


def is_there() -> bool:
    """Whether FOLDER holds what these sources compile to."""
    made_of = FOLDER / DIGEST_FILE
    return made_of.is_file() and made_of.read_text() == digest()


def is_used() -> bool:
    """Whether this process runs the compiled modules."""
    return any(isinstance(finder, _Finder) for finder in sys.meta_path)


def use() -> None:
    """Has this process import the compiled modules, if they are there and COMPILED=0 does not forbid it."""
    if os.environ.get("COMPILED") != "0" and not is_used() and is_there():
        sys.meta_path.insert(0, _Finder())
        sys.path.append(str(FOLDER))  # The modules share a library, which they import by its name.


class _Finder:
    """Finds the modules in FOLDER before their sources are found."""

    @staticmethod
    def find_spec(
        name: str, path: object = None, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name not in MODULES:
            return None
        return importlib.util.spec_from_file_location(name, FOLDER / file_of(name, SUFFIX))
