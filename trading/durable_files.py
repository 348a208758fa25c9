"""Files that must outlive a crash: a new name lasts only once its folder was flushed too."""

import os
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Makes names that were added to a folder, or changed in it, last."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
