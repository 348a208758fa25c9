"""Creates the table of resolutions and lets settlements be undone, from 0011_resolutions.sql."""

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")


class Migration(migrations.Migration):
    dependencies = [("trading", "0010_jobs")]
    operations = [migrations.RunSQL(SQL)]
