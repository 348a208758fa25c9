"""The log takes only events of its slots, with offsets and versions that its readers walk.

NOT VALID: new rows are checked from now on and no month is read for it. What an existing log holds is for
`manage.py verify_log` to say.
"""

from django.db import migrations

CHECKS = {
    "event_slot": "slot BETWEEN 0 AND 31",
    "event_slot_offset": "slot_offset >= 0",
    "event_version": "version >= 1",
}
ADD = "ALTER TABLE event " + ", ".join(
    f"ADD CONSTRAINT {name} CHECK ({check}) NOT VALID" for name, check in CHECKS.items()
)
DROP = "ALTER TABLE event " + ", ".join(f"DROP CONSTRAINT {name}" for name in CHECKS)


class Migration(migrations.Migration):
    dependencies = [("trading", "0003_trader_market")]
    operations = [migrations.RunSQL(ADD, DROP)]
