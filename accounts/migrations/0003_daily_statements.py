"""Which statements of which days accounts are to be mailed, or were."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0002_notification_channels")]

    operations = [
        migrations.CreateModel(
            name="DailyStatement",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("account_id", models.UUIDField()),
                ("day", models.DateField()),
                ("mailed_at", models.DateTimeField(blank=True, null=True)),
                ("closing_pips", models.BigIntegerField(blank=True, null=True)),
            ],
            options={
                "indexes": [models.Index(fields=["day"], name="accounts_statement_age")],
                "constraints": [
                    models.UniqueConstraint(fields=("account_id", "day"), name="accounts_statement_of_day")
                ],
            },
        ),
    ]
