"""Compares fills: each take must have hit the orders that the recording says, in that order, at that price."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ops.tape.stage import Stage
from ops.tape.steps import TAKER, ExpectedFill, Place
from trading.money import format_pips

PAGE = 500


class TakenFill(NamedTuple):
    """One fill of a take as the exchange reported it."""

    trade_id: str
    price: str
    quantity_shares: int


class Take(NamedTuple):
    """A take and what came of it."""

    row: int
    step: Place
    fills: tuple[TakenFill, ...]


def take_of(row: int, step: Place, order: Mapping[str, Any]) -> Take:
    """A take from the order that a batch's result shows."""
    fills = tuple(TakenFill(fill["trade_id"], fill["price"], fill["quantity"]) for fill in order["fills"])
    return Take(row, step, fills)


def maker_keys(stage: Stage, as_of: str | None) -> dict[str, list[tuple[str, str, int]]]:
    """Fills of resting orders by trade: (client order id, price in the maker's terms, shares) of each."""
    found: dict[str, list[tuple[str, str, int]]] = {}
    for account, key in stage.keys.items():
        if account != TAKER:
            _add_fills(stage, key, as_of, found)
    return found


def _add_fills(
    stage: Stage, key: str, as_of: str | None, found: dict[str, list[tuple[str, str, int]]]
) -> None:
    parameters: dict[str, str | int] = {"market_id": stage.market_id, "limit": PAGE}
    if as_of:
        parameters["min_as_of"] = as_of
    while True:
        page = stage.exchange.get("/portfolio/fills", key=key, **parameters)
        for fill in page["results"]:
            if fill["role"] == "maker":
                found.setdefault(fill["trade_id"], []).append(
                    (fill["client_order_id"], fill["price"], fill["quantity"])
                )
        if page["next"] is None:
            return
        parameters = {"market_id": stage.market_id, "limit": PAGE, "cursor": page["next"]}


def wrong_takes(takes: Sequence[Take], makers: Mapping[str, list[tuple[str, str, int]]]) -> list[str]:
    """One line for each take whose fills differ from the recording's."""
    wrong = []
    for take in takes:
        got = [_seen(fill, makers) for fill in take.fills]
        expected = [_wanted(fill) for fill in take.step.expected or ()]
        if got != expected:
            wrong.append(f"row {take.row}: take {take.step.key} got {got}, expected {expected}")
    return wrong


def _seen(fill: TakenFill, makers: Mapping[str, list[tuple[str, str, int]]]) -> tuple[str, str, int]:
    names = [key for key, _, shares in makers.get(fill.trade_id, []) if shares == fill.quantity_shares]
    return (names[0] if len(names) == 1 else f"{len(names)} makers"), fill.price, fill.quantity_shares


def _wanted(fill: ExpectedFill) -> tuple[str, str, int]:
    return fill.maker_key, format_pips(fill.price_pips), fill.quantity_shares
