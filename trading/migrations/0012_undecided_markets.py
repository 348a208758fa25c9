"""An index of the markets whose end somebody has to do something about."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("trading", "0011_resolutions")]
    operations = [
        migrations.RunSQL(
            "CREATE INDEX market_undecided ON market (closes_at) "
            "WHERE status IN ('closed', 'reversed', 'proposed', 'disputed')",
            "DROP INDEX market_undecided",
        )
    ]
