"""Picks a tape's reader by the header of its file."""

import gzip
from pathlib import Path

from ops.tape import kalshi, lobster, polymarket
from ops.tape.kalshi import KalshiTape
from ops.tape.lobster import LobsterTape
from ops.tape.polymarket import PolymarketTape
from ops.tape.steps import BadTape


def open_tape(path: Path, *, merge_sweeps: bool = False) -> LobsterTape | KalshiTape | PolymarketTape:
    """The tape in a driver file (`*_driver.csv.gz`) or a file of trades. Raises BadTape or OSError."""
    try:
        with gzip.open(path, "rt", encoding="utf-8-sig") as file:
            columns = [name.strip(' "') for name in file.readline().strip().split(",")]
    except (gzip.BadGzipFile, UnicodeDecodeError, EOFError) as error:
        raise BadTape(f"{path.name}: {error}") from error
    if columns == lobster.COLUMNS:
        return LobsterTape(path, merge_sweeps=merge_sweeps)
    if columns == kalshi.COLUMNS:
        if merge_sweeps:
            raise BadTape(f"{path.name} does not say which of its trades were one sweep")
        return KalshiTape(path)
    if set(polymarket.COLUMNS) <= set(columns):
        if merge_sweeps:
            raise BadTape(f"{path.name} has trades, and no sweeps to merge")
        return PolymarketTape(path)
    raise BadTape(f"{path.name} has the header of no tape that is known here: {','.join(columns)[:100]}")
