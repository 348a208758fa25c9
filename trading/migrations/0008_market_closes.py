"""An index for lists of markets in the order of their ends."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("trading", "0007_bars")]
    operations = [
        migrations.RunSQL(
            "CREATE INDEX market_closes ON market (closes_at, market_id)", "DROP INDEX market_closes"
        )
    ]
