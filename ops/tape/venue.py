"""The markets and accounts that a tape of many traders is played with: set up, and settled, through the public API."""

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from ops.tape.exchange import Exchange
from ops.tape.polymarket import RecordedMarket
from ops.tape.stage import fund, new_market, resolve, settlement_differences

OpenAccounts = Callable[[Sequence[str]], list[str]]
"""Makes users of these names; answers a key of each."""


@dataclass(frozen=True, slots=True)
class Venue:
    """Ids by the recording's name of a market, keys and deposits (pips) by account."""

    exchange: Exchange
    market_ids: Mapping[str, str]
    keys: Mapping[str, str]
    deposited_pips: Mapping[str, int]


def registering(exchange: Exchange, executor: Executor) -> OpenAccounts:
    """Opens accounts as anybody does, for an exchange whose database is elsewhere."""

    def register(username: str) -> str:
        body = {"username": username, "password": secrets.token_urlsafe(24)}
        key: str = exchange.post("/register", body)["api_key"]
        return key

    return lambda usernames: list(executor.map(register, usernames))


def set_up(
    exchange: Exchange,
    executor: Executor,
    *,
    name: str,
    tick_pips: int,
    markets: Iterable[RecordedMarket],
    needed_pips: Mapping[str, int],
    staff_key: str,
    open_accounts: OpenAccounts,
) -> Venue:
    """A new market for each of the recording's, and a new account with at least that much cash for each name."""
    mark = secrets.token_hex(4)
    market_ids = {
        market.name: new_market(
            exchange,
            f"Tape {name}, {market.name} ({mark})",
            market.outcomes,
            tick_pips=tick_pips,
            key=staff_key,
        )["market_id"]
        for market in markets
    }
    accounts = list(needed_pips)
    keys = open_accounts([f"tape-{number}-{mark}" for number in range(len(accounts))])
    deposits = list(executor.map(lambda key, need: fund(exchange, key, need), keys, needed_pips.values()))
    return Venue(
        exchange,
        market_ids,
        dict(zip(accounts, keys, strict=True)),
        dict(zip(accounts, deposits, strict=True)),
    )


def settle(venue: Venue, markets: Iterable[RecordedMarket], *, staff_key: str) -> list[str]:
    """Resolve each market that has a winner and wait until all are paid; answers what is not as it must be."""
    begun = {
        market.name: resolve(
            venue.exchange, venue.market_ids[market.name], market.outcomes[market.winner], key=staff_key
        )
        for market in markets
        if market.winner is not None
    }
    return [
        f"{name}: {line}"
        for name, settlement_id in begun.items()
        for line in settlement_differences(
            venue.exchange, venue.market_ids[name], settlement_id, key=staff_key
        )
    ]
