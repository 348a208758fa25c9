"""GET /log/heads: the newest line, as the file has it."""

import json

import pytest
from django.db import connection
from rest_framework.test import APIClient

from trading.eventlog import heads
from trading.eventlog.signing import signing_key

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_endpoint_shows_the_newest_line_to_everybody(tmp_path):
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM published_head")
    answer = APIClient().get("/api/v1/log/heads")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    key = signing_key(given="07" * 32, file=tmp_path / "none")
    for minute in range(2):
        heads.publish(key, tmp_path, now_us=1_782_000_000_000_000 + minute * 60_000_000)
    answer = APIClient().get("/api/v1/log/heads")
    assert answer.status_code == 200
    (file,) = tmp_path.glob("*.jsonl")
    assert answer.json() == json.loads(file.read_text().splitlines()[-1])
