"""What must be true, judged at every commit, every answer and at the end, by a replay of its own.

Knows the log only from what was committed and the clients' wishes from the clients; takes nothing from a shard's word.
"""

import dataclasses
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import msgspec
from msgspec import structs

from tests.simulation.tables import EventRecord, Tables
from trading.engine import events as ev
from trading.engine.apply import apply
from trading.engine.codec import event_from_json
from trading.engine.invariants import check as check_market
from trading.engine.market import Market
from trading.engine.snapshot import encode_state, state_hash
from trading.eventlog.append import EMPTY, Head
from trading.eventlog.codec import chain_hash, timestamp_text
from trading.ids import market_slot
from trading.order_view import order_view
from trading.wire import FRAME_FIELD, Envelope, Outcome, command_stream

_metadata = msgspec.json.Decoder(dict[str, Any]).decode


class Violation(AssertionError):
    """An invariant does not hold. `name` says which."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{name}: {text}")
        self.name = name


@dataclasses.dataclass(slots=True)
class Executed:
    """What the log says of a command."""

    slot: int
    offset: int
    first: ev.Event
    cancelled: int = 0


@dataclasses.dataclass(slots=True)
class Wish:
    """A command as a client sent it, and what it was told."""

    envelope: Envelope
    was_claimed_at_504: bool | None = None


class Auditor:
    """Watches the tables. `deposited_pips` is all the money there is."""

    def __init__(self, tables: Tables, *, deposited_pips: int, log: Callable[[str], object]) -> None:
        self.markets: dict[str, Market] = {}
        self.heads: dict[str, Head] = {}
        self.executed: dict[str, Executed] = {}
        self.keys: dict[tuple[str, str], str] = {}
        self.wishes: dict[str, Wish] = {}
        self.events = 0
        self.kinds: dict[str, int] = {}
        self._tables = tables
        self._deposited_pips = deposited_pips
        self._log = log
        self._next_offsets = [0] * len(tables.slots)
        self._recorded_us = [0] * len(tables.slots)
        self._inside: dict[str, int] = {}  # collateral and fees by market
        self._reserved: dict[str, int] = {}
        self._views: dict[str, list[tuple[int, tuple[Any, ...]]]] = {}
        self._mirrors: dict[str, tuple[int, dict[tuple[int, str, int], int]]] = {}
        self._stale: set[str] = set()

    # --- At every commit ----------------------------------------------------------------------------

    def committed(self, session: Any, events: list[EventRecord]) -> None:
        """A transaction has become durable."""
        if session.committed_slots:
            self._check_owner(session)
        touched: dict[str, Market] = {}
        orders: dict[str, tuple[Any, str, int]] = {}
        current: Executed | None = None
        for event in events:
            market = self._check_place(event)
            touched[event.stream_id] = market
            typed = event_from_json(event.type, event.data)
            if event.metadata != "{}":
                current = self._began(event, typed)
            if type(typed) is ev.OrderCancelled and current is not None:
                current.cancelled += 1
            self._follow(market, typed, event, orders)
        for slot in session.committed_slots:
            self._expect(
                "dense log", self._tables.slots[slot].next_offset == self._next_offsets[slot],
                f"slot {slot} ends at {self._tables.slots[slot].next_offset}, its events at {self._next_offsets[slot]}",
            )  # fmt: skip
        for order, market_id, slot in orders.values():
            view = structs.astuple(order_view(order, market_id))
            self._views.setdefault(order.order_id, []).append((self._next_offsets[slot] - 1, _frozen(view)))
        for market_id, market in touched.items():
            self._inside[market_id] = market.collateral_pips + market.fees_pips
            market.touched.clear()
        self._check_money()
        if events:
            last = events[-1]
            self._log(
                f"commit {session.name[-12:]} {len(events)} {last.slot}-{last.slot_offset} {last.hash.hex()[:16]}"
            )

    def _check_owner(self, session: Any) -> None:
        for slot, epoch in session.committed_slots.items():
            row = self._tables.slots[slot]
            self._expect(
                "only the owner commits", row.epoch == epoch and row.owner == session.process.name,
                f"slot {slot} of {row.owner} (epoch {row.epoch}) by {session.process.name} (epoch {epoch})",
            )  # fmt: skip

    def _check_place(self, event: EventRecord) -> Market:
        slot, stream = event.slot, event.stream_id
        self._expect(
            "dense log", event.slot_offset == self._next_offsets[slot] and slot == market_slot(stream),
            f"offset {event.slot_offset} of slot {slot} where {self._next_offsets[slot]} was next",
        )  # fmt: skip
        self._next_offsets[slot] += 1
        self._expect(
            "time never runs backwards", event.recorded_us >= self._recorded_us[slot],
            f"event {slot}-{event.slot_offset} is older than the one before",
        )  # fmt: skip
        self._recorded_us[slot] = event.recorded_us
        head = self.heads.get(stream, EMPTY)
        digest = chain_hash(
            head.hash, stream, event.version, event.type, event.data.encode(), event.metadata.encode(),
            timestamp_text(event.recorded_us),
        )  # fmt: skip
        self._expect(
            "hash chain", event.version == head.version + 1 and digest == event.hash,
            f"version {event.version} of {stream} does not follow from {head.version}",
        )  # fmt: skip
        self.heads[stream] = Head(event.version, event.hash)
        self.events += 1
        self.kinds[event.type] = self.kinds.get(event.type, 0) + 1
        return self.markets.setdefault(stream, Market(stream))

    def _began(self, event: EventRecord, typed: ev.Event) -> Executed | None:
        request_id = _metadata(event.metadata).get("request_id", "")
        if not request_id:
            return None  # a command of the engine's own
        done = Executed(event.slot, event.slot_offset, typed)
        self._expect("once", request_id not in self.executed, f"command {request_id} was executed twice")
        self.executed[request_id] = done
        wish = self.wishes[request_id]
        key = (wish.envelope.account_id, wish.envelope.key)
        self._expect(
            "once", key not in self.keys, f"key {key} was executed by {self.keys.get(key)} and {request_id}"
        )
        self.keys[key] = request_id
        self._expect(
            "claimed", key in self._tables.claims, f"{request_id} was executed and {key} is not claimed"
        )
        self._expect(
            "504 is final", wish.was_claimed_at_504 is not False,
            f"command {request_id} was executed after its sender could look it up in vain",
        )  # fmt: skip
        return done

    def _follow(self, market: Market, typed: ev.Event, event: EventRecord, orders: dict[str, Any]) -> None:
        names = (
            [leg.order for leg in typed.legs]
            if type(typed) is ev.OrderMatched
            else [getattr(typed, "order", None)]
        )
        before = {}
        for name in names:
            if name is not None and (order := market.orders.get(name)) is not None:
                before[name] = order.reserved_pips
                orders[name] = (order, market.market_id, event.slot)
        apply(market, typed, event.recorded_us)
        for name in names:
            if name is None:
                continue
            order = market.orders.get(name)
            if order is not None:
                orders[name] = (order, market.market_id, event.slot)
            change = (order.reserved_pips if order is not None else 0) - before.get(name, 0)
            if change:
                account = orders[name][0].account_id
                self._reserved[account] = self._reserved.get(account, 0) + change

    def _check_money(self) -> None:
        tables = self._tables
        cash = sum(row.cash_pips + row.reserved_pips for row in tables.cash.values())
        held = sum(sum(batch.amounts) for batch in tables.batches.values())
        inside = sum(self._inside.values())
        self._expect(
            "money", cash + held + inside == self._deposited_pips,
            f"{cash} in accounts, {held} in batches, {inside} in markets make not {self._deposited_pips}",
        )  # fmt: skip
        for account, row in tables.cash.items():
            if row.reserved_pips != self._reserved.get(account, 0):
                raise Violation("reserves", f"account {account} has {row.reserved_pips} reserved")

    # --- At every answer ----------------------------------------------------------------------------

    def sent(self, envelope: Envelope) -> None:
        self.wishes[envelope.request_id] = Wish(envelope)

    def answered(self, envelope: Envelope, outcome: Outcome | None) -> None:
        """A client was told something, or that its outcome is unknown."""
        request_id = envelope.request_id
        done = self.executed.get(request_id)
        key = (envelope.account_id, envelope.key)
        if outcome is None:
            claimed = key in self._tables.claims
            self.wishes[request_id].was_claimed_at_504 = claimed
            self._log(f"unknown {request_id} {claimed}")
            return
        self._log(f"told {request_id} {outcome.kind} {outcome.slot}-{outcome.offset}")
        kind, payload = outcome.kind, outcome.payload
        if kind == "repeat":
            self._check_repeat(key, envelope, payload)
        elif kind in ("missing", "failed", "overloaded"):
            self._expect("as in the log", done is None, f"{request_id} is said to be {kind}, the log has it")
        elif kind == "refused":
            told = getattr(done.first, "reason", None) if done else None
            self._expect(
                "as in the log", told == payload[0], f"{request_id} was refused: {payload[0]}, log: {told}"
            )
        elif kind == "order":
            self._expect(
                "acknowledged is durable", done is not None, f"{request_id} is told of, not in the log"
            )
            view = _frozen(tuple(payload))
            seen = [v for offset, v in self._views.get(payload[0], []) if offset <= outcome.offset]
            self._expect(
                "as in the log",
                bool(seen) and seen[-1] == view,
                f"{request_id} was told {view}, log: {seen[-1:]}",
            )
        elif kind == "count":
            told = done.cancelled if done else 0
            self._expect(
                "as in the log", payload == told, f"{request_id} cancelled {told} orders, not {payload}"
            )
        elif kind == "market" and done is None:
            self._expect("acknowledged is durable", False, f"{request_id} is told of, not in the log")

    def _check_repeat(self, key: tuple[str, str], envelope: Envelope, payload: list[Any]) -> None:
        order_id, market_id, is_same, _ = payload
        first = self.wishes.get(self.keys.get(key, ""))
        if first is None:
            # It has left nothing in the log: a cancel of nothing, or a command for a market that is not there.
            claim = self._tables.claims.get(key)
            self._expect("as in the log", claim is not None, f"{key} is no repetition")
            return
        command = first.envelope.command
        self._expect(
            "as in the log",
            is_same == (first.envelope.command_hash == envelope.command_hash)
            and market_id == command.market_id
            and order_id == (command.order_id if hasattr(command, "outcome") and hasattr(command, "by") and
                             type(command).__name__ == "PlaceOrder" else None),
            f"the repetition of {key} was told {payload}",
        )  # fmt: skip

    # --- The feed -----------------------------------------------------------------------------------

    def heard(self, message: bytes, book_of: Callable[[str], dict[str, Any]]) -> None:
        """A message of the feed, as every hub gets it."""
        for update in msgspec.msgpack.decode(message):
            market_id, seq, levels = update["m"], update["seq"], update["levels"]
            market = self.markets.get(market_id)
            self._expect(
                "published after commit", market is not None and seq <= market.seq,
                f"the feed tells of {market_id} at {seq}, the log of {market.seq if market else 0}",
            )  # fmt: skip
            known, book = self._mirrors.get(market_id, (0, {}))
            if update["reset"] or update["prev"] != known:
                book = _levels(book_of(market_id))  # a gap that shows: read again
                seq = int(book_of(market_id).get("seq", seq))
            else:
                book = dict(book)
                for index, side, price, size in levels:
                    book[index, side, price] = size
            self._mirrors[market_id] = (seq, {level: size for level, size in book.items() if size})
            if market is not None and market.seq == seq:
                self._check_mirror(market)

    def _check_mirror(self, market: Market) -> None:
        self._expect(
            "feed", self._mirrors[market.market_id][1] == depth(market),
            f"the feed of {market.market_id} at {market.seq} has led to another book",
        )  # fmt: skip

    # --- In quiet moments ---------------------------------------------------------------------------

    def check_memory(self, shard_name: str, slot: int, loaded: dict[str, Market]) -> None:
        """What a shard at rest has in memory of a slot of its own."""
        for market_id, market in loaded.items():
            if market_slot(market_id) == slot and market.seq:
                ours = self.markets.get(market_id)
                self._expect(
                    "memory is a replay", ours is not None and _hash(ours) == _hash(market),
                    f"market {market_id} in {shard_name} is at {market.seq}, the log at {ours.seq if ours else 0}",
                )  # fmt: skip

    def check_answer(self, envelope: Envelope, outcome: Outcome | None) -> None:
        """When all is calm everybody is answered."""
        self._expect(
            "answers again",
            outcome is not None,
            f"market {envelope.command.market_id} does not answer any more",
        )

    def check_streams(self, streams: dict[bytes, list[Any]], last_ids: dict[bytes, tuple[int, int]]) -> None:
        """When all is quiet, what was written has been consumed, and nothing consumed is kept."""
        for slot, row in enumerate(self._tables.slots):
            stream = command_stream(slot).encode()
            left = [entry for entry, fields in streams.get(stream, []) if FRAME_FIELD in fields]
            milliseconds, sequence = map(int, row.command_offset.split("-"))
            self._expect(
                "consumed", not left and (milliseconds, sequence) >= last_ids.get(stream, (0, 0)),
                f"slot {slot}, consumed to {row.command_offset}, last {last_ids.get(stream)}, still has {left}",
            )  # fmt: skip

    def finish(self, book_of: Callable[[str], dict[str, Any]], lost_feeds: bool) -> None:
        """All is quiet, and everything has to be in its place."""
        self._check_money()
        self._expect("no batch left", not self._tables.batches, f"open batches: {list(self._tables.batches)}")
        for market_id, market in self.markets.items():
            check_market(market)
            stored = self._tables.events[market_id]
            self._expect("memory is a replay", len(stored) == market.seq, f"{market_id} has lost events")
            book = book_of(market_id)
            self._expect(
                "published books", int(book.get("seq", -1)) == market.seq and _levels(book) == depth(market),
                f"the book of {market_id} shows {book.get('seq')}, the log has {market.seq}",
            )  # fmt: skip
            if not lost_feeds:
                seq = self._mirrors.get(market_id, (0, {}))[0]
                self._expect(
                    "feed", seq == market.seq, f"the feed of {market_id} ended at {seq} of {market.seq}"
                )
                self._check_mirror(market)

    def digest(self) -> str:
        """Of all that is in the log."""
        heads = sorted((stream, head.version, head.hash) for stream, head in self.heads.items())
        return sha256(repr(heads).encode()).hexdigest()

    def _expect(self, name: str, holds: bool, text: str) -> None:
        if not holds:
            raise Violation(name, text)


def depth(market: Market) -> dict[tuple[int, str, int], int]:
    """The sizes of all levels."""
    return {
        (index, name, price): size
        for index, book in enumerate(market.books)
        for name, side in (("bid", book.bids), ("ask", book.asks))
        for price, size in side.depth()
    }


def _levels(book: dict[str, Any]) -> dict[tuple[int, str, int], int]:
    levels = {}
    for field, size in book.items():
        if field != "seq":
            index, side, price = field.split("|")
            levels[int(index), side, int(price)] = int(size)
    return levels


def _hash(market: Market) -> bytes:
    return state_hash(encode_state(market))


def _frozen(view: tuple[Any, ...]) -> tuple[Any, ...]:
    """A view with its fills as they are now."""
    return tuple(tuple(map(tuple, field)) if type(field) is list else field for field in view)
