"""Indexes for an account's orders and fills in one market, newest first.

Without them a page of a market that the account rarely trades in walks through all it ever did. They cost the
projection one more index entry a fill and two an order. Writes to both tables wait while they are built.
"""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("trading", "0002_models")]
    operations = [
        migrations.RunSQL(
            'CREATE INDEX order_trader_market ON "order" (account_id, market_id, order_id DESC)',
            "DROP INDEX order_trader_market",
        ),
        migrations.RunSQL(
            "CREATE INDEX fill_trader_market ON fill (account_id, market_id, trade_id DESC)",
            "DROP INDEX fill_trader_market",
        ),
    ]
