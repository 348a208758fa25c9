"""Channels of notifications, price alerts and known places, as makemigrations wrote it."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import accounts.models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="KnownPlace",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("place_hash", models.BinaryField(max_length=32)),
                ("first_seen_at", models.DateTimeField()),
                ("last_seen_at", models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name="NotificationPreferences",
            fields=[
                ("account_id", models.UUIDField(primary_key=True, serialize=False)),
                ("choices", models.JSONField(default=dict)),
                (
                    "digest",
                    models.CharField(
                        choices=[("off", "Off"), ("hourly", "Hourly"), ("daily", "Daily")],
                        default="off",
                        max_length=8,
                    ),
                ),
                ("confirmed_email", models.CharField(blank=True, default="", max_length=254)),
                ("asked_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "verbose_name_plural": "notification preferences",
            },
        ),
        migrations.CreateModel(
            name="PriceAlert",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=accounts.models.new_uuid, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("account_id", models.UUIDField()),
                ("market_id", models.UUIDField()),
                ("outcome", models.SmallIntegerField()),
                ("price_pips", models.IntegerField()),
                (
                    "direction",
                    models.CharField(
                        choices=[("at_or_above", "At Or Above"), ("at_or_below", "At Or Below")],
                        max_length=16,
                    ),
                ),
                ("created_at", models.DateTimeField()),
                ("fired_at", models.DateTimeField(blank=True, null=True)),
            ],
        ),
        migrations.CreateModel(
            name="ToldMarket",
            fields=[
                ("market_id", models.UUIDField(primary_key=True, serialize=False)),
                ("told_at", models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name="Webhook",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=accounts.models.new_uuid, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("account_id", models.UUIDField(db_index=True)),
                ("url", models.CharField(max_length=500)),
                (
                    "kinds",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=32), size=None
                    ),
                ),
                ("secret", models.CharField(editable=False, max_length=64)),
                ("previous_secret", models.CharField(blank=True, default="", editable=False, max_length=64)),
                ("previous_until", models.DateTimeField(blank=True, editable=False, null=True)),
                ("is_on", models.BooleanField(default=True)),
                ("failing_since", models.DateTimeField(blank=True, null=True)),
                ("tested_at", models.DateTimeField(blank=True, null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
        ),
        migrations.CreateModel(
            name="WebhookDelivery",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=accounts.models.new_uuid, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("delivery_id", models.UUIDField(db_index=True)),
                ("kind", models.CharField(max_length=32)),
                ("try_number", models.SmallIntegerField()),
                ("at", models.DateTimeField(db_index=True)),
                ("duration_ms", models.IntegerField()),
                ("status_code", models.SmallIntegerField(blank=True, null=True)),
                ("error", models.CharField(blank=True, max_length=200)),
            ],
            options={
                "verbose_name_plural": "webhook deliveries",
            },
        ),
        migrations.AddField(
            model_name="notification",
            name="by_email",
            field=models.BooleanField(default=False),
        ),
        migrations.AddField(
            model_name="notification",
            name="in_app",
            field=models.BooleanField(default=True),
        ),
        migrations.AddField(
            model_name="notification",
            name="mailed_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AlterField(
            model_name="notification",
            name="kind",
            field=models.CharField(
                choices=[
                    ("order_filled", "Order Filled"),
                    ("order_cancelled", "Order Cancelled"),
                    ("order_expired", "Order Expired"),
                    ("market_closing", "Market Closing"),
                    ("resolution_proposed", "Resolution Proposed"),
                    ("market_resolved", "Market Resolved"),
                    ("market_voided", "Market Voided"),
                    ("deposit", "Deposit"),
                    ("sign_in", "Sign In"),
                    ("price_alert", "Price Alert"),
                    ("webhook_off", "Webhook Off"),
                ],
                max_length=32,
            ),
        ),
        migrations.AddIndex(
            model_name="notification",
            index=models.Index(
                condition=models.Q(("by_email", True), ("mailed_at__isnull", True)),
                fields=["account_id"],
                name="accounts_note_to_mail",
            ),
        ),
        migrations.AddField(
            model_name="knownplace",
            name="user",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="known_places",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddIndex(
            model_name="pricealert",
            index=models.Index(fields=["account_id", "-id"], name="accounts_alert_of_account"),
        ),
        migrations.AddIndex(
            model_name="pricealert",
            index=models.Index(
                condition=models.Q(("fired_at__isnull", True)),
                fields=["market_id", "outcome"],
                name="accounts_alert_armed",
            ),
        ),
        migrations.AddField(
            model_name="webhookdelivery",
            name="webhook",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="deliveries", to="accounts.webhook"
            ),
        ),
        migrations.AddConstraint(
            model_name="knownplace",
            constraint=models.UniqueConstraint(fields=("user", "place_hash"), name="accounts_place_of_user"),
        ),
        migrations.AddIndex(
            model_name="webhookdelivery",
            index=models.Index(fields=["webhook", "-id"], name="accounts_delivery_of_webhook"),
        ),
    ]
