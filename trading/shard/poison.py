"""What the engine cannot process: commands that are set aside one by one, and markets that are halted.

One command or one market that breaks must not keep the others from trading.
"""

import logging
from collections.abc import Callable
from typing import Any

from trading.engine.commands import Command, SuspendMarket
from trading.shard.dead_letter import bury, recent_letters
from trading.shard.faults import is_outage
from trading.shard.inbox import Entry, Inbox
from trading.shard.markets import Markets
from trading.shard.publish import Publisher
from trading.shard.tenure import Tenure, failed, internal
from trading.wire import Envelope

log = logging.getLogger(__name__)


class Poison:
    """Remembers what is set aside. `working` answers the tenure, which `restart` replaces after a failure."""

    def __init__(
        self, *, working: Callable[[], Tenure], restart: Callable[[], None], inbox: Inbox, publisher: Publisher
    ) -> None:  # fmt: skip
        self._working = working
        self._restart = restart
        self._inbox = inbox
        self._publisher = publisher
        self._halted: set[str] = set()  # markets whose log cannot be applied: nobody's commands reach them
        self._buried: set[str] = set()  # commands set aside, of which copies may still be in the streams

    def is_barred(self, envelope: Envelope) -> bool:
        """Whether a command must not run."""
        return envelope.command_id in self._buried or envelope.command.market_id in self._halted

    def recall(self, connection: Any) -> None:
        """Learns what was set aside of late, by this shard or by the former owner of a slot."""
        self._buried = recent_letters(connection)

    def load_or_halt(self, markets: Markets, market_id: str) -> None:
        """A market whose log makes no sense must not keep the others from trading."""
        if market_id in self._halted:
            return
        try:
            markets.get(market_id)
        except Exception as error:
            if is_outage(error):
                raise
            log.critical("market %s is halted, its log cannot be applied", market_id, exc_info=error)
            self._halted.add(market_id)

    def one_by_one(self, entries: list[Entry], now_us: int) -> None:
        """After two failures: each command and each chore on its own, so that only the failing one is set aside."""
        for entry in entries:
            offset_before = self._working().owned(entry.slot).command_offset
            for envelope in entry.envelopes[:-1]:
                self._alone(entry._replace(entry_id=offset_before, envelopes=[envelope]))
            self._alone(entry._replace(envelopes=entry.envelopes[-1:]))
        for chore in self._working().markets.chores(now_us):
            self._chore_alone(chore)
        # Whoever was set aside has had the streams read again from where they stood then.
        self._inbox.rewind(self._working().slots.values())

    def _alone(self, single: Entry) -> None:
        try:
            self._working().work([single], chores=())
        except Exception as error:
            if is_outage(error):
                raise
            self._set_aside(single, error)

    def _set_aside(self, single: Entry, error: Exception) -> None:
        """Writes a dead letter, suspends the market in the command's place, and tells the sender."""
        log.critical("command set aside: %s", error, exc_info=error)
        if not single.envelopes:
            raise error
        envelope = single.envelopes[0]
        self._restart()
        self._bury(envelope, error)
        suspend = internal(SuspendMarket(envelope.command.market_id, "internal error"))
        try:
            self._working().work([single._replace(gateway_id="", envelopes=[suspend])], chores=())
        except Exception as second:
            if is_outage(second):
                raise
            # Not even that is possible, as for a market that cannot be loaded: the command is passed over.
            log.critical("market %s not suspended", envelope.command.market_id, exc_info=second)
            self._restart()
            self._working().work([single._replace(envelopes=[])], chores=())
        self._publisher.answer(single.gateway_id, [failed(envelope, single.slot)])

    def _chore_alone(self, chore: Command) -> None:
        try:
            self._working().work([], chores=[chore])
        except Exception as error:
            if is_outage(error):
                raise
            log.critical("market %s is halted, its orders cannot be ended", chore.market_id, exc_info=error)
            self._halted.add(chore.market_id)
            self._restart()
            self._bury(internal(chore), error)

    def _bury(self, envelope: Envelope, error: Exception) -> None:
        bury(self._working().connection(), envelope, error)
        self._buried.add(envelope.command_id)
