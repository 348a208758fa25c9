"""Jobs and a round for real workers, which import this with `-I`. What they did is read from the table `job_note`."""

import os
import signal
import threading

from celery import shared_task
from django.db import connection

from trading.jobs import job

NOTES = (
    "CREATE TABLE IF NOT EXISTS job_note (what text, at timestamptz DEFAULT clock_timestamp(), pid integer)"
)


def note(what):
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO job_note (what, pid) VALUES (%s, %s)", [what, os.getpid()])


@job("tests.note", queue="notify")
def write_down(payload):
    note(payload["what"])


@job("tests.note_with_the_end", queue="notify", atomic=True)
def write_down_with_the_end(payload):
    note(payload["what"])


@job("tests.poison", queue="notify")
def swallow(payload):
    """Fails until somebody has mended it, which a row says."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM job_note WHERE what = 'mended'")
        if not cursor.fetchone()[0]:
            note("failed")
            raise ValueError("poison")
    note("worked")


@job("tests.kill", queue="notify")
def kill_the_worker(payload):
    """Ends the first process that runs it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM job_note")
        first = not cursor.fetchone()[0]
    note("begun")
    if first:
        os.kill(os.getpid(), signal.SIGKILL)


@job("tests.stay", queue="notify", run_limit_s=0.2)
def stay(payload):
    """Goes on for ever."""
    note("begun")
    threading.Event().wait()


@shared_task
def note_round(what):
    note(what)
