"""`manage.py slots`: who owns which slot of the log, and who would with another number of engine processes."""

from collections.abc import Iterable, Sequence
from typing import Any

import redis
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection

from trading.shard.overview import (
    ShardState,
    SlotState,
    live_shards,
    slot_states,
    trading_markets,
    waiting_commands,
)
from trading.shard.placement import cast_of, placement

NOBODY = "-"


class Command(BaseCommand):
    help = (
        "Shows each market slot: owner, epoch, markets, offset, and commands that wait (lag). Exits 1 if a slot has "
        "no living owner. With --plan it shows which slots would move with N engine processes, and changes nothing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--plan",
            type=int,
            metavar="N",
            help="who would own what with N engine processes: those that run, and new ones or without the youngest",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        with connection.cursor() as cursor:
            states, shards, markets = slot_states(cursor), live_shards(cursor), trading_markets(cursor)
        if options["plan"] is not None:
            self._plan(states, shards, options["plan"])
        else:
            self._show(states, shards, markets)

    def _show(
        self, states: Sequence[SlotState], shards: Sequence[ShardState], markets: dict[int, int]
    ) -> None:
        valkey = redis.Redis.from_url(settings.VALKEY_URL, socket_timeout=5, socket_connect_timeout=5)
        try:
            lags = waiting_commands(valkey, states)
        except redis.RedisError as error:
            raise CommandError(f"what waits in the slots cannot be counted: {error}") from error
        rows = [
            (s.slot, _owner(s), s.epoch, markets.get(s.slot, 0), s.next_offset, lags[s.slot]) for s in states
        ]
        self._table(("slot", "owner", "epoch", "markets", "offset", "lag"), rows)
        self.stdout.write(f"engine processes alive: {len(shards)}")
        if orphans := [s.slot for s in states if not s.is_owned]:
            raise CommandError(f"without a living owner: slots {', '.join(map(str, orphans))}")

    def _plan(self, states: Sequence[SlotState], shards: Sequence[ShardState], number: int) -> None:
        if number < 1:
            raise CommandError("--plan takes a number of engine processes, at least 1")
        cast = cast_of([shard.shard_id for shard in shards], number)
        plan = placement([s.slot for s in states], cast)
        moves = [(s.slot, _owner(s), plan[s.slot]) for s in states if s.owner != plan[s.slot]]
        self._table(("slot", "from", "to"), moves)
        loads = [f"{shard} {list(plan.values()).count(shard)}" for shard in cast]
        self.stdout.write(f"{len(moves)} of {len(states)} slots would move; then: {', '.join(loads)}")
        if len(cast) > len(shards):
            self.stdout.write("which slots a new process gets depends on its name, how many does not")

    def _table(self, head: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> None:
        texts = [head, *(tuple(map(str, row)) for row in rows)]
        widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
        for text in texts:
            self.stdout.write(
                "  ".join(cell.ljust(width) for cell, width in zip(text, widths, strict=True)).rstrip()
            )


def _owner(state: SlotState) -> str:
    if state.owner is None:
        return NOBODY
    return state.owner if state.is_owned else f"{state.owner} (silent)"
