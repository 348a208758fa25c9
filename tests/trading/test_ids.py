"""Ids in text."""

import pytest

from trading.ids import is_id, new_id


def test_fresh_id_is_an_id() -> None:
    assert is_id(new_id())


@pytest.mark.parametrize(
    "text",
    ["", "my-market", "{}", "٣" * 8 + "-0000-7000-8000-000000000000", "016f5e66e80070008000000000000001"],
)
def test_other_text_is_none(text: str) -> None:
    assert not is_id(text)


def test_id_has_one_spelling() -> None:
    known = "016f5e66-e800-7abc-8000-000000000001"
    assert is_id(known)
    assert not any(map(is_id, (known.upper(), known + "\n", " " + known, "{" + known + "}")))
