"""Where a command ends that the engine could not process: kept with error and trace for a person."""

import traceback
from typing import Any

from psycopg.types.json import Jsonb

from trading.engine.codec import command_data
from trading.ids import new_id
from trading.wire import Envelope


def bury(connection: Any, envelope: Envelope, error: Exception) -> None:
    """Inserts the dead letter."""
    payload = {
        "command_id": envelope.command_id, "account": envelope.account_id, "actor": envelope.actor,
        "request_id": envelope.request_id, "command": command_data(envelope.command),
    }  # fmt: skip
    connection.execute(
        "INSERT INTO dead_letter (id, source, payload, error, trace) VALUES (%s, 'shard', %s, %s, %s)",
        [new_id(), Jsonb(payload), repr(error), "".join(traceback.format_exception(error))],
    )
