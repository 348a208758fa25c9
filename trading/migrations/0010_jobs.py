"""Creates the tables of background work from 0010_jobs.sql, and what a dead letter tells of its job and its end."""

from pathlib import Path

from django.db import migrations, models

SQL = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
UNDO = """
DROP TABLE IF EXISTS job, periodic_round, queue_heartbeat;
DROP INDEX IF EXISTS dead_letter_open, dead_letter_open_key;
ALTER TABLE dead_letter
    DROP COLUMN job_name, DROP COLUMN job_queue, DROP COLUMN job_key, DROP COLUMN tries,
    DROP COLUMN requeued_at, DROP COLUMN requeued_by, DROP COLUMN discarded_at, DROP COLUMN discarded_by;
"""


class Migration(migrations.Migration):
    dependencies = [("trading", "0009_swaps")]
    operations = [
        migrations.RunSQL(SQL, reverse_sql=UNDO),
        migrations.CreateModel(
            name="Job",
            fields=[
                ("id", models.UUIDField(primary_key=True, serialize=False)),
                ("name", models.TextField()),
                ("queue", models.TextField()),
                ("payload", models.JSONField()),
                ("key", models.TextField(unique=True)),
                ("tries", models.SmallIntegerField()),
                ("epoch", models.BigIntegerField()),
                ("due_at", models.DateTimeField()),
                ("hinted_at", models.DateTimeField(null=True)),
                ("claimed_until", models.DateTimeField(null=True)),
                ("give_up_at", models.DateTimeField()),
                ("created_at", models.DateTimeField()),
                ("last_error", models.TextField()),
            ],
            options={"db_table": "job", "managed": False, "default_permissions": ("view",)},
        ),
        migrations.AlterModelOptions(
            name="deadletter",
            options={
                "managed": False,
                "default_permissions": ("view",),
                "permissions": [
                    ("requeue_deadletter", "Can requeue dead letters"),
                    ("discard_deadletter", "Can discard dead letters"),
                ],
            },
        ),
    ]
