"""The lock on a data directory: one `up` a directory. The kernel frees it with its holder, however that ends."""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from ops.embedded.errors import DataDirLocked, EmbeddedError


class DataDirLock:
    """Held from `acquire` until `release`; the file names the holder's pid, for people."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self._descriptor: int | None = None

    def acquire(self) -> Self:
        """Raises DataDirLocked if a live process holds it, EmbeddedError if the directory cannot be written."""
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.data_dir / "up.lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise EmbeddedError(
                f"the data directory {self.data_dir} cannot be written: {error.strerror}"
            ) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise DataDirLocked(f"the data directory {self.data_dir} is in use by process {holder}") from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        self._descriptor = descriptor
        return self

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
