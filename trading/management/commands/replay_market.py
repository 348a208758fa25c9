"""`manage.py replay_market`: a market's price, book and positions as they were at any past moment."""

from typing import Any

import msgspec
from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from trading.checksum import PRICE_TEXTS
from trading.connection import own_connection
from trading.engine.market import Market
from trading.eventlog.codec import timestamp_text
from trading.management.moment import market_named, moment_us
from trading.money import format_pips
from trading.snapshots.past import books_of, state_at
from trading.snapshots.replay import LogUnusable, State


class Command(BaseCommand):
    help = "Prints a market as it was once everything recorded by a time was in it; the exchange may run."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("market", metavar="MARKET", help="its id or slug")
        parser.add_argument(
            "--at", metavar="TIME", help="RFC 3339, UTC unless it says otherwise; now if left out"
        )
        parser.add_argument("--positions", action="store_true", help="what every account held, too")
        parser.add_argument("--depth", type=int, default=20, help="levels of each side that are shown (20)")
        parser.add_argument("--json", action="store_true", help="one JSON object, with the whole book")

    def handle(self, *args: Any, **options: Any) -> None:
        at_us = moment_us(options["at"], "--at")
        try:
            with (
                own_connection("pmarket-replay") as connection,
                connection.cursor() as cursor,
                tqdm(unit=" events", unit_scale=True) as bar,
            ):
                market_id = market_named(cursor, options["market"])
                state = state_at(cursor, market_id, at_us, progress=bar.update)
        except LogUnusable as error:
            raise CommandError(str(error)) from None
        if state.head.version == 0:
            raise CommandError(f"market {market_id} did not exist at {timestamp_text(at_us)}")
        told = _told(state, at_us, positions=options["positions"])
        if options["json"]:
            self.stdout.write(msgspec.json.encode(told).decode())
        else:
            self.stdout.write(_drawn(told, depth=options["depth"]))


def _told(state: State, at_us: int, *, positions: bool) -> dict[str, Any]:
    """Everything as the API would put it."""
    market = state.market
    told: dict[str, Any] = {
        "market_id": market.market_id,
        "at": timestamp_text(at_us),
        "seq": market.seq,
        "recorded_at": timestamp_text(state.recorded_us),
        "hash": state.head.hash.hex(),
        "status": market.status,
        "volume": format_pips(market.volume_pips),
        "open_interest": market.sets,
        "fees": format_pips(market.fees_pips),
        "outcomes": [
            {"name": name, "last_price": None if price is None else PRICE_TEXTS[price]}
            for name, price in zip(market.outcomes, market.last_prices, strict=True)
        ],
        "books": [
            {"outcome": name, "bids": _levels(bids), "asks": _levels(asks)}
            for name, (bids, asks) in zip(market.outcomes, books_of(market), strict=False)
        ],
    }
    if positions:
        told["positions"] = _positions(market)
    return told


def _levels(levels: Any) -> list[list[Any]]:
    return [[PRICE_TEXTS[price_pips], quantity] for price_pips, quantity in levels]


def _positions(market: Market) -> list[dict[str, Any]]:
    """Shares by account, those that back open orders included; whoever holds none is left out."""
    return [
        {"account_id": account_id, "shares": shares}
        for account_id, holding in sorted(market.holdings.items())
        if any(shares := [free + held for free, held in zip(holding.free, holding.held, strict=True)])
    ]


def _drawn(told: dict[str, Any], *, depth: int) -> str:
    lines = [
        f"market {told['market_id']} at {told['at']}: {told['status']}, event {told['seq']} "
        f"of {told['recorded_at']}",
        f"volume ${told['volume']}, {told['open_interest']} sets, fees ${told['fees']}",
        *(f"{outcome['name']}: last {outcome['last_price'] or '-'}" for outcome in told["outcomes"]),
    ]
    for book in told["books"]:
        lines += ["", book["outcome"], f"{'bid':>10}  {'price':>6}  {'ask':>10}"]
        lines += [
            f"{'':>10}  {price:>6}  {quantity:>10}" for price, quantity in reversed(book["asks"][:depth])
        ]
        lines += [f"{quantity:>10}  {price:>6}" for price, quantity in book["bids"][:depth]]
    if "positions" in told:
        lines += ["", "account".ljust(36) + "".join(f"  {each['name']:>10}" for each in told["outcomes"])]
        for position in told["positions"]:
            lines.append(position["account_id"] + "".join(f"  {shares:>10}" for shares in position["shares"]))
    return "\n".join(lines)
