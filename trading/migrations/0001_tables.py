"""Creates the exchange's tables from 0001_tables.sql and the partitions of the coming months."""

from pathlib import Path

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

from trading.eventlog.partitions import make_partitions

SQL = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")

TABLES = [
    "slot",
    "slot_layout",
    "stream",
    "shard",
    "event",
    "published_head",
    "event_archive_slot",
    "event_archive",
    "archived_creation",
    "cash_account",
    "batch",
    "client_order",
    "dead_letter",
    "projection_checkpoint",
    "market",
    "outcome",
    "market_summary",
    '"order"',
    "trade",
    "fill",
    "position",
    "participation",
    "settlement",
    "settlement_account",
    "market_snapshot",
    "dead_man_switch",
]
PARTITIONED = ("event", "order", "trade", "fill")
UNDO = "".join(f"DROP TABLE IF EXISTS {name} CASCADE;" for name in TABLES)
UNDO += "DROP FUNCTION IF EXISTS refuse_event_change, commit_batch;"


def first_partitions(_apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    with schema_editor.connection.cursor() as cursor:
        make_partitions(cursor, months_ahead=3, tables=PARTITIONED)


class Migration(migrations.Migration):
    initial = True
    dependencies: list[tuple[str, str]] = []
    operations = [
        migrations.RunSQL(SQL, reverse_sql=UNDO),
        migrations.RunPython(first_partitions, migrations.RunPython.noop),
    ]
