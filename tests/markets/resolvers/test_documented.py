"""The plug-in that docs/RESOLVERS.md shows works as it stands there."""

import datetime as dt
import re
from pathlib import Path
from typing import Any

import pytest

from markets.resolvers.plugin import AskedMarket, Decision, NotYet

PAGE = Path(__file__).resolve().parents[3] / "docs" / "RESOLVERS.md"
CLOSES = dt.datetime(2027, 1, 31, 12, tzinfo=dt.UTC)


@pytest.fixture
def rain(source: Any) -> Any:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict[str, Any] = {"__name__": "documented"}
    exec(code, names)
    resolver = names["Rain"]()
    resolver.base = source.server.url
    return resolver


@pytest.mark.parametrize(("tenths", "outcome"), [(0, "No"), (3, "Yes")])
def test_the_documented_plug_in_decides(rain: Any, source: Any, tenths: int, outcome: str) -> None:
    market = AskedMarket("m", "Will it rain?", ("Yes", "No"), CLOSES)
    form = rain.form(market.outcomes, {"station": "abc", "if_wet": "Yes", "if_dry": "No"})
    assert form.is_valid(), form.errors
    source.says({"state": "counting"})
    assert isinstance(rain.decide(form.cleaned_data, market, CLOSES), NotYet)
    source.says({"state": "final", "rain_mm_tenths": tenths})
    answer = rain.decide(form.cleaned_data, market, CLOSES)
    assert isinstance(answer, Decision)
    assert answer.outcome == outcome
    assert source.server.asked[-1].path == "/abc/2027-01-31"
