"""Creates the ledger's tables from 0005_ledger.sql, with partitions for every month that has trades' ones.

The projection begins at the first event, so the months of an exchange that has long been trading are needed too.
"""

from pathlib import Path

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

from trading.eventlog.partitions import make_partitions_like

SQL = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
UNDO = "DROP TABLE IF EXISTS ledger_entry, account_ledger"


def first_partitions(_apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    with schema_editor.connection.cursor() as cursor:
        make_partitions_like(cursor, "ledger_entry", model="trade")


class Migration(migrations.Migration):
    dependencies = [("trading", "0004_event_checks")]
    operations = [
        migrations.RunSQL(SQL, reverse_sql=UNDO),
        migrations.RunPython(first_partitions, migrations.RunPython.noop),
    ]
