"""Totals of months that are over: the log that they were added up from may be archived."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("ops", "0001_event_activity")]

    operations = [
        migrations.CreateModel(
            name="MonthlyTotal",
            fields=[
                ("month", models.DateField(primary_key=True, serialize=False)),
                ("totals", models.JSONField()),
                ("made_at", models.DateTimeField()),
            ],
            options={"default_permissions": ("view",)},
        ),
    ]
