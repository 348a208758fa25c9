"""`manage.py compile`: the hot path to C, for exchanges that want more orders a second from a core."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from trading import compiled

# Each module is checked with what it imports from the others; `make check` has checked the whole.
SETUP = """
from mypyc.build import mypycify
from setuptools import setup
options = ["--config-file=", "--follow-imports=skip", "--ignore-missing-imports"]
setup(name="hotpath", packages=[], py_modules=[], ext_modules=mypycify(options + {sources}, opt_level="3"))
"""


class Command(BaseCommand):
    help = (
        "Compiles the engine's hot path to C with mypyc, from the sources as they are, into .compiled/. Takes half a "
        "minute, needs a C compiler and requirements-dev.txt. Processes started afterwards use it as long as those "
        "sources stay the same; COMPILED=0 has them run the sources."
    )

    def handle(self, *_: Any, **__: Any) -> None:
        if compiled.is_there():
            self.stdout.write(f"{compiled.FOLDER} is of these sources already")
            return
        with tempfile.TemporaryDirectory() as folder:
            built = Path(folder) / "built"
            self._build(Path(folder), built)
            (built / compiled.DIGEST_FILE).write_text(compiled.digest())
            # Processes that run keep the files they have open.
            shutil.rmtree(compiled.FOLDER, ignore_errors=True)
            shutil.move(built, compiled.FOLDER)
        self.stdout.write(f"{len(compiled.MODULES)} modules compiled into {compiled.FOLDER}")

    @staticmethod
    def _build(folder: Path, built: Path) -> None:
        sources = [compiled.file_of(module) for module in compiled.MODULES]
        for source in sources:
            target = folder / source
            target.parent.mkdir(parents=True, exist_ok=True)
            for package in (target.parent, target.parent.parent):
                if package != folder:
                    (package / "__init__.py").touch()
            shutil.copyfile(compiled.ROOT / source, target)
        (folder / "setup.py").write_text(SETUP.format(sources=[str(source) for source in sources]))
        arguments = ["build_ext", "--build-lib", str(built), "--build-temp", "temporary"]
        done = subprocess.run(
            [sys.executable, "setup.py", *arguments], cwd=folder, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise CommandError(f"nothing was changed: {(done.stderr + done.stdout).strip()[-2000:]}")
