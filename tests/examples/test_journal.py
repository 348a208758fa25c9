"""The journal: what was sent and not answered is found again, and nothing else."""

import json

import pytest

from examples.pmarket_client import Journal, Write


def write(number: object, who: str = "bot") -> Write:
    return Write(str(number), who, "POST", "/markets/m/orders", {"client_order_id": str(number)})


def names(journal: Journal, who: str = "bot") -> list[str]:
    return [each.id for each in journal.unsettled(who)]


def test_what_was_not_answered_is_found_again_and_nothing_else(tmp_path):
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    first, second, third = (write(n) for n in range(3))
    for each in (first, second, third):
        journal.begin(each)
    journal.end(second)
    # The process dies here, in the middle of a line.
    with path.open("ab") as file:
        file.write(b'{"id": "9", "who": "bot", "met')
    found = Journal(path).unsettled("bot")
    assert [(each.id, each.method, each.path, each.body) for each in found] == [
        (each.id, each.method, each.path, each.body) for each in (first, third)
    ]
    assert all(each.is_lost and each.is_in_doubt for each in found)


def test_a_line_is_in_the_file_before_begin_returns(tmp_path):
    path = tmp_path / "journal.jsonl"
    journal = Journal(path, fsync=True)
    journal.begin(write(1))
    assert json.loads(path.read_bytes())["id"] == "1"


def test_clients_that_share_a_journal_find_their_own_writes_only(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    journal.begin(write(1, "alice"))
    journal.begin(write(2, "bob"))
    journal.close()
    again = Journal(tmp_path / "journal.jsonl")
    assert (names(again, "alice"), names(again, "bob"), names(again, "carol")) == (["1"], ["2"], [])


def test_a_long_journal_forgets_what_was_answered(tmp_path, monkeypatch):
    monkeypatch.setattr(Journal, "REWRITE_AFTER_LINES", 10)
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    journal.begin(write("left"))
    for n in range(100):
        journal.begin(write(n))
        journal.end(write(n))
    assert len(path.read_bytes().splitlines()) <= 12
    assert names(Journal(path)) == ["left"]


def test_an_id_that_is_under_way_is_not_begun_again():
    journal = Journal()
    journal.begin(write(1))
    with pytest.raises(ValueError, match="under way"):
        journal.begin(write(1))


def test_lines_of_another_form_are_passed_over(tmp_path):
    path = tmp_path / "journal.jsonl"
    lines = [b"", b"null", b"[]", b'{"id": "2", "method": "GET"}', b'{"id": [], "end": true}', b"\xff"]
    Journal(path).begin(write(1))
    with path.open("ab") as file:
        file.writelines(line + b"\n" for line in lines)
    assert names(Journal(path)) == ["1"]


def test_a_journal_without_a_path_lives_as_long_as_the_process():
    journal = Journal()
    journal.begin(write(1))
    assert names(journal) == ["1"]
    journal.close()


def test_a_journal_that_cannot_be_written_begins_nothing(tmp_path, monkeypatch):
    journal = Journal(tmp_path / "journal.jsonl")

    def full(line: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(journal, "_append", full)
    with pytest.raises(OSError, match="no space"):
        journal.begin(write(1))
    assert names(journal) == []


def test_after_a_write_that_failed_the_file_is_written_anew(tmp_path, monkeypatch):
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    journal.begin(write(1))
    monkeypatch.setattr(journal, "_put", lambda file, lines: file.write(b'{"id": "2", "wh') and full())
    with pytest.raises(OSError, match="no space"):
        journal.begin(write(2))
    monkeypatch.undo()
    journal.begin(write(3))
    assert names(Journal(path)) == ["1", "3"]


def full() -> None:
    raise OSError("no space left")
