"""How often a projection's tables were exchanged, so that a projector notices that its memory is of the old ones."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("trading", "0008_market_closes")]
    operations = [
        migrations.RunSQL(
            "ALTER TABLE projection_checkpoint ADD COLUMN swaps integer NOT NULL DEFAULT 0",
            "ALTER TABLE projection_checkpoint DROP COLUMN swaps",
        )
    ]
