"""Creates the tables of standings and forecasts from 0006_standings.sql.

They are filled by the projection of positions from where it stands. An exchange that has traded before calls
`manage.py rebuild_projections --only positions` once, so that what went before is in them.
"""

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
UNDO = "DROP TABLE IF EXISTS standing, forecast"


class Migration(migrations.Migration):
    dependencies = [("trading", "0005_ledger")]
    operations = [migrations.RunSQL(SQL, reverse_sql=UNDO)]
