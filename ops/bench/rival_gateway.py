"""The gateway of the PyPI package matching-engine, as it comes: log flushed, two markets, one process."""

import os
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ops.bench.interpreters import YardstickMissing, interpreter
from ops.embedded.process import free_port

SCRIPT = Path(__file__).with_name("gateway.lua")
START_SECONDS = 20.0


@contextmanager
def rival_gateway(folder: Path) -> Iterator[str]:
    """Its base URL while it runs. Raises YardstickMissing where it cannot."""
    program = interpreter("3.12").with_name("matching-engine")
    port = free_port()
    environment = {"PATH": os.environ.get("PATH", ""), "ME_DATA_DIR": str(folder / "rival"), "ME_FSYNC": "1"}
    with (folder / "rival.txt").open("wb") as log:
        process = subprocess.Popen(
            [str(program), "serve", "--port", str(port)], env=environment, stdout=log, stderr=log
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait(process, f"{url}/healthz")
        yield url
    finally:
        process.terminate()
        process.wait(timeout=20)


def _wait(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=2):  # noqa: S310
                return
        except OSError:
            time.sleep(0.1)
    raise YardstickMissing("the gateway of matching-engine did not start")
