"""Where a command ends that the engine could not process: kept with error and trace for a person."""

import json
import traceback
from typing import Any

from trading.engine.codec import command_data
from trading.ids import new_id
from trading.shard.crash_points import reach
from trading.wire import Envelope

SOURCE = "shard"
# Far longer than a command can live in a stream: it is dropped after its deadline of seconds.
RECENT_S = 600


def bury(connection: Any, envelope: Envelope, error: Exception) -> None:
    """Inserts the dead letter. Whatever the command holds, this succeeds."""
    reach("before_bury")
    payload = {
        "command_id": envelope.command_id, "account": envelope.account_id, "actor": envelope.actor,
        "request_id": envelope.request_id, "command": command_data(envelope.command),
    }  # fmt: skip
    # PostgreSQL takes no NUL, and what broke the engine need not be JSON.
    text = json.dumps(payload, default=repr).replace("\\u0000", "")
    trace = "".join(traceback.format_exception(error)).replace("\0", "")
    connection.execute(
        "INSERT INTO dead_letter (id, source, payload, error, trace) VALUES (%s, %s, %s, %s, %s)",
        [new_id(), SOURCE, text, repr(error).replace("\0", ""), trace],
    )
    reach("after_bury")


def recent_letters(connection: Any) -> set[str]:
    """The ids of commands set aside of late: their copies in the streams are not tried again."""
    rows = connection.execute(
        "SELECT payload->>'command_id' FROM dead_letter "
        "WHERE source = %s AND created_at > now() - make_interval(secs => %s)",
        [SOURCE, RECENT_S],
    ).fetchall()
    return {str(command_id) for (command_id,) in rows}
