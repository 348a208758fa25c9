"""Creates the table of resolutions and lets settlements be undone, from 0011_resolutions.sql."""

from pathlib import Path

import django.contrib.postgres.fields
from django.db import migrations, models

SQL = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")


class Migration(migrations.Migration):
    dependencies = [("trading", "0010_jobs")]
    operations = [
        migrations.RunSQL(SQL),
        migrations.CreateModel(
            name="Resolution",
            fields=[
                ("resolution_id", models.UUIDField(primary_key=True, serialize=False)),
                ("market_id", models.UUIDField()),
                (
                    "payouts",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.IntegerField(), null=True, size=None
                    ),
                ),
                ("evidence", models.TextField()),
                ("status", models.TextField()),
                ("proposed_by", models.TextField()),
                ("proposed_at", models.DateTimeField()),
                ("approvals_needed", models.SmallIntegerField()),
                ("window_us", models.BigIntegerField()),
                (
                    "approved_by",
                    django.contrib.postgres.fields.ArrayField(base_field=models.TextField(), size=None),
                ),
                ("disputable_until", models.DateTimeField(null=True)),
                ("disputes", models.IntegerField()),
                (
                    "reversal_by",
                    django.contrib.postgres.fields.ArrayField(base_field=models.TextField(), size=None),
                ),
                ("reversal_id", models.UUIDField(null=True)),
                ("updated_at", models.DateTimeField()),
            ],
            options={
                "db_table": "resolution",
                "managed": False,
            },
        ),
    ]
