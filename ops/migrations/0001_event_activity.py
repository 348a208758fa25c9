"""A BRIN index on the time of events, so that "events of the last minute" does not read a month.

The log is in time order on disk, which is what BRIN wants: a few kilobytes a gigabyte, next to nothing an append.
"""

from django.db import migrations


class Migration(migrations.Migration):
    initial = True
    dependencies = [("trading", "0001_tables")]
    operations = [
        migrations.RunSQL(
            "CREATE INDEX event_recorded_at ON event USING brin (recorded_at)"
            " WITH (pages_per_range = 32, autosummarize = on)",
            "DROP INDEX event_recorded_at",
        )
    ]
