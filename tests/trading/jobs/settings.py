"""The exchange's settings, with one round a second for beats that tests start."""

from pmarket.settings import *  # noqa: F403
from trading.jobs.periodic import every

CELERY_BEAT_SCHEDULE = {
    "note": every(1, "tests.trading.jobs.work.note_round", queue="report", args=("round",))
}
CELERY_BEAT_SCHEDULE["note"]["options"]["headers"]["round"] = "note"
