"""What Django knows of the tables of 0001: unmanaged models, so this changes no table."""

import django.contrib.postgres.fields
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("trading", "0001_tables"),
    ]

    operations = [
        migrations.CreateModel(
            name="CashAccount",
            fields=[
                ("account_id", models.UUIDField(primary_key=True, serialize=False)),
                ("cash_pips", models.BigIntegerField()),
                ("reserved_pips", models.BigIntegerField()),
                ("debt_pips", models.BigIntegerField()),
                ("fees_paid_pips", models.BigIntegerField()),
            ],
            options={
                "db_table": "cash_account",
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="DeadLetter",
            fields=[
                ("id", models.UUIDField(primary_key=True, serialize=False)),
                ("source", models.TextField()),
                ("payload", models.JSONField()),
                ("error", models.TextField()),
                ("trace", models.TextField()),
                ("created_at", models.DateTimeField()),
            ],
            options={
                "db_table": "dead_letter",
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="Event",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "slot", "slot_offset", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("slot", models.SmallIntegerField()),
                ("slot_offset", models.BigIntegerField()),
                ("stream_id", models.UUIDField()),
                ("version", models.BigIntegerField()),
                ("type", models.TextField()),
                ("data", models.JSONField()),
                ("metadata", models.JSONField()),
                ("hash", models.BinaryField()),
                ("recorded_at", models.DateTimeField()),
            ],
            options={
                "db_table": "event",
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="Fill",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "order_id", "trade_id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("trade_id", models.UUIDField()),
                ("order_id", models.UUIDField()),
                ("account_id", models.UUIDField()),
                ("market_id", models.UUIDField()),
                ("client_order_id", models.TextField(null=True)),
                ("outcome", models.SmallIntegerField()),
                ("side", models.TextField()),
                ("price_pips", models.IntegerField()),
                ("quantity", models.BigIntegerField()),
                ("fee_pips", models.BigIntegerField()),
                ("role", models.TextField()),
                ("executed_at", models.DateTimeField()),
                ("seq", models.BigIntegerField()),
            ],
            options={
                "db_table": "fill",
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="MarketState",
            fields=[
                ("market_id", models.UUIDField(primary_key=True, serialize=False)),
                ("slot", models.SmallIntegerField()),
                ("status", models.TextField()),
                ("tick_pips", models.IntegerField()),
                ("taker_fee_e4", models.IntegerField()),
                ("maker_fee_e4", models.IntegerField()),
                ("created_at", models.DateTimeField()),
                ("opens_at", models.DateTimeField(null=True)),
                ("closes_at", models.DateTimeField()),
                ("resolved_at", models.DateTimeField(null=True)),
                ("resolution", models.JSONField(null=True)),
                ("settlement_id", models.UUIDField(null=True)),
                ("seq", models.BigIntegerField()),
            ],
            options={
                "db_table": "market",
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="MarketSummary",
            fields=[
                ("market_id", models.UUIDField(primary_key=True, serialize=False)),
                ("volume_pips", models.BigIntegerField()),
                ("trade_count", models.BigIntegerField()),
                ("trader_count", models.BigIntegerField()),
                ("open_interest_sets", models.BigIntegerField()),
                ("fees_pips", models.BigIntegerField()),
                (
                    "last_prices",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.IntegerField(null=True), size=None
                    ),
                ),
                ("seq", models.BigIntegerField()),
                ("updated_at", models.DateTimeField()),
            ],
            options={
                "db_table": "market_summary",
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="Order",
            fields=[
                ("order_id", models.UUIDField(primary_key=True, serialize=False)),
                ("market_id", models.UUIDField()),
                ("account_id", models.UUIDField()),
                ("client_order_id", models.TextField(null=True)),
                ("outcome", models.SmallIntegerField()),
                ("side", models.TextField()),
                ("type", models.TextField()),
                ("price_pips", models.IntegerField()),
                ("quantity", models.BigIntegerField()),
                ("filled", models.BigIntegerField()),
                ("cost_pips", models.BigIntegerField()),
                ("fees_pips", models.BigIntegerField()),
                ("reserved_pips", models.BigIntegerField()),
                ("time_in_force", models.TextField()),
                ("expires_at", models.DateTimeField(null=True)),
                ("status", models.TextField()),
                ("reason", models.TextField(null=True)),
                ("created_at", models.DateTimeField()),
                ("updated_at", models.DateTimeField()),
                ("seq", models.BigIntegerField()),
            ],
            options={
                "db_table": "order",
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="Outcome",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "market_id", "index", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("index", models.SmallIntegerField()),
                ("name", models.TextField()),
            ],
            options={
                "db_table": "outcome",
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="Position",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "market_id",
                        "account_id",
                        "outcome",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("market_id", models.UUIDField()),
                ("account_id", models.UUIDField()),
                ("outcome", models.SmallIntegerField()),
                ("quantity", models.BigIntegerField()),
                ("cost_pips", models.BigIntegerField()),
                ("realized_pips", models.BigIntegerField()),
            ],
            options={
                "db_table": "position",
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="Settlement",
            fields=[
                ("settlement_id", models.UUIDField(primary_key=True, serialize=False)),
                ("market_id", models.UUIDField()),
                ("kind", models.TextField()),
                ("status", models.TextField()),
                (
                    "payouts",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.IntegerField(), null=True, size=None
                    ),
                ),
                ("accounts_total", models.BigIntegerField()),
                ("accounts_paid", models.BigIntegerField()),
                ("paid_pips", models.BigIntegerField()),
                ("collateral_pips", models.BigIntegerField()),
                ("cause_slot", models.SmallIntegerField()),
                ("cause_offset", models.BigIntegerField()),
                ("created_at", models.DateTimeField()),
                ("finished_at", models.DateTimeField(null=True)),
            ],
            options={
                "db_table": "settlement",
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="Slot",
            fields=[
                ("slot", models.SmallIntegerField(primary_key=True, serialize=False)),
                ("kind", models.TextField()),
                ("owner", models.TextField(null=True)),
                ("epoch", models.BigIntegerField()),
                ("next_offset", models.BigIntegerField()),
                ("command_offset", models.TextField()),
                ("recorded_at", models.DateTimeField()),
            ],
            options={
                "db_table": "slot",
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="Trade",
            fields=[
                ("trade_id", models.UUIDField(primary_key=True, serialize=False)),
                ("market_id", models.UUIDField()),
                ("outcome", models.SmallIntegerField()),
                ("price_pips", models.IntegerField()),
                ("quantity", models.BigIntegerField()),
                ("taker_side", models.TextField()),
                ("executed_at", models.DateTimeField()),
                ("seq", models.BigIntegerField()),
            ],
            options={
                "db_table": "trade",
                "managed": False,
            },
        ),
    ]
