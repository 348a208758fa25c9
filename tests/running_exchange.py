"""The real processes of an exchange, started for a test and stopped after it."""

from pathlib import Path


class RunningExchange:
    def __init__(self, folder: Path, *, database_url: str) -> None:
        self.folder = folder
        self.database_url = database_url

    def start(self) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        pass
