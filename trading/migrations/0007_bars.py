"""Creates the tables of the books and candles projections from 0007_bars.sql."""

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")

TABLES = ["resting_order", "book_level", "quote_bar", "trade_bar", "activity_hour"]
UNDO = "".join(f"DROP TABLE IF EXISTS {name};" for name in TABLES)


class Migration(migrations.Migration):
    dependencies = [("trading", "0006_standings")]
    operations = [migrations.RunSQL(SQL, UNDO)]
