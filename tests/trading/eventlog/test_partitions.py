"""The partitions command: three months ahead, harmless to repeat, guarded like the first ones."""

from io import StringIO

import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction

from trading.eventlog.partitions import make_partitions

pytestmark = pytest.mark.django_db(transaction=True, available_apps=["trading"])


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
    import datetime as dt

    far = dt.datetime(2031, 5, 1, tzinfo=dt.UTC)
    with transaction.atomic(), connection.cursor() as cursor:
        made = make_partitions(cursor, months_ahead=0, today=far)
    assert made == ["event_2031_05", "order_2031_05", "trade_2031_05", "fill_2031_05"]
    try:
        with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("TRUNCATE event_2031_05")
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE event_2031_05, order_2031_05, trade_2031_05, fill_2031_05")


def test_the_list_names_each_with_its_bounds():
    out = StringIO()
    call_command("partitions", "--list", stdout=out)
    assert names()[0] in out.getvalue()
    assert "FOR VALUES FROM" in out.getvalue()
