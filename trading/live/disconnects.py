"""Sockets whose orders go when they go: cancelled through the gateway, or by the engines if this process dies.

Each such socket has a row among the dead-man switches, which this process renews. A row that is not renewed lapses, and
then the engines cancel.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from django.db import Error as DatabaseError

from trading import dead_man
from trading.errors import Overloaded
from trading.ids import new_id
from trading.live.blocking import in_thread
from trading.live.desk import Desk
from trading.principal import Principal

STANDS_S = 30
RENEW_EVERY_S = 10.0

log = logging.getLogger(__name__)


class Disconnects:
    """Watches the sockets of one process; for use on its event loop."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._watched: dict[str, Callable[[], None]] = {}
        self._renewing: asyncio.Task[None] | None = None

    async def watch(self, principal: Principal, on_lapse: Callable[[], None]) -> str:
        """Answers the switch's id. `on_lapse` is called if it was not renewed in time: the orders are gone then."""
        switch_id, by = new_id(), dead_man.placer(principal)
        try:
            await in_thread(
                lambda: dead_man.watch_connection(
                    switch_id, account_id=principal.account_id, by=by, timeout_s=STANDS_S
                )
            )
        except DatabaseError as error:
            log.warning("a socket's end cannot be watched: %s", error)
            raise Overloaded("cancel_on_disconnect cannot be promised at the moment.") from None
        self._keep(switch_id, on_lapse)
        return switch_id

    async def withdraw(self, switch_id: str) -> None:
        """The client wants its orders kept after all. Overloaded, and they are watched on, if that cannot be noted."""
        on_lapse = self._watched.pop(switch_id, None)
        try:
            await in_thread(lambda: dead_man.forget_connection(switch_id))
        except DatabaseError as error:
            log.warning("a socket's switch is still there: %s", error)
            if on_lapse is not None:
                self._keep(switch_id, on_lapse)
            raise Overloaded("cancel_on_disconnect cannot be ended at the moment.") from None

    def _keep(self, switch_id: str, on_lapse: Callable[[], None]) -> None:
        self._watched[switch_id] = on_lapse
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.create_task(self._renew())

    async def gone(self, principal: Principal, switch_id: str) -> None:
        """The socket has ended and nothing of it is in flight: cancels what is meant, or leaves that to the engines."""
        try:
            is_done = await self._desk.cancel_of_the_gone(principal)
        except Exception:
            # Whatever it was, the switch is still there.
            log.exception("orders of a socket that has ended could not be cancelled here")
            is_done = False
        self._watched.pop(switch_id, None)
        settle = dead_man.forget_connection if is_done else dead_man.lapse_connection
        try:
            await in_thread(lambda: settle(switch_id))
        except DatabaseError as error:
            # Not renewed any more, so it lapses by itself; cancelling twice changes nothing.
            log.warning("the switch of a socket that has ended stays until it lapses: %s", error)

    async def _renew(self) -> None:
        while self._watched:
            await asyncio.sleep(RENEW_EVERY_S)
            switch_ids = list(self._watched)
            if not switch_ids:
                return
            try:
                standing = await in_thread(
                    partial(dead_man.renew_connections, switch_ids, timeout_s=STANDS_S)
                )
            except DatabaseError as error:
                log.warning("sockets' switches are not renewed, trying again: %s", error)
                continue
            for switch_id in switch_ids:
                if switch_id not in standing and (on_lapse := self._watched.pop(switch_id, None)):
                    on_lapse()
