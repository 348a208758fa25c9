"""Where the recorded tapes lie: beside the repository, never in it, unless PMARKET_DATA says otherwise."""

import os
from pathlib import Path

import pytest

BESIDE_THE_REPOSITORY = Path(__file__).resolve().parents[2] / "shared" / "data"


def recorded(name: str) -> Path:
    """The path of a recorded file or folder, as `lobster-amzn/AMZN_driver.csv.gz`.

    Where it is missing, prints `not run: …` and skips the test; with CI=true the test fails.
    """
    path = Path(os.environ.get("PMARKET_DATA", BESIDE_THE_REPOSITORY)) / name
    if not path.exists():
        reason = f"not run: no recorded data at {path}"
        print(reason)
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return path
