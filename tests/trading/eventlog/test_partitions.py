"""The partitions command: three months ahead, harmless to repeat, guarded like the first ones."""

import datetime as dt
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction

from trading.eventlog.partitions import KEY, make_partitions, make_partitions_like

pytestmark = pytest.mark.django_db(transaction=True, available_apps=["trading"])
LONG_AGO = dt.datetime(2021, 12, 7, tzinfo=dt.UTC)


def names():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'event'::regclass ORDER BY 1"
        )
        return [name for (name,) in cursor.fetchall()]


def test_the_coming_months_are_made_once():
    out = StringIO()
    call_command("partitions", stdout=out)
    assert len(names()) >= 4
    call_command("partitions", stdout=out)
    assert "all partitions are there" in out.getvalue()


def test_a_new_months_partition_refuses_changes_too():
    far = dt.datetime(2031, 5, 1, tzinfo=dt.UTC)
    with transaction.atomic(), connection.cursor() as cursor:
        made = make_partitions(cursor, months_ahead=0, today=far)
    assert made == [f"{table}_2031_05" for table in KEY]
    try:
        with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("TRUNCATE event_2031_05")
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"DROP TABLE {', '.join(made)}")


def test_the_list_names_each_with_its_bounds():
    out = StringIO()
    call_command("partitions", "--list", stdout=out)
    assert names()[0] in out.getvalue()
    assert "FOR VALUES FROM" in out.getvalue()


def test_a_new_table_gets_every_month_that_another_one_has():
    """A read model that is added to an old exchange begins at its first event."""
    with transaction.atomic(), connection.cursor() as cursor:
        long_ago = make_partitions(cursor, months_ahead=1, today=LONG_AGO, tables=("trade",))
        assert make_partitions_like(cursor, "ledger_entry", model="trade") == [
            "ledger_entry_2021_12", "ledger_entry_2022_01",
        ]  # fmt: skip
        assert make_partitions_like(cursor, "ledger_entry", model="trade") == []
        cursor.execute(
            "INSERT INTO ledger_entry VALUES (uuidv7(), '2022-01-31', 16, 0, 0, 5, NULL, NULL, 'deposit')"
        )
        cursor.execute("SELECT tableoid::regclass::text FROM ledger_entry WHERE at < '2023-01-01'")
        assert cursor.fetchall() == [("ledger_entry_2022_01",)]
        cursor.execute(f"DROP TABLE {', '.join(long_ago)}, ledger_entry_2021_12, ledger_entry_2022_01")
