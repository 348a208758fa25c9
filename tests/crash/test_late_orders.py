"""Orders that the read model does not have yet, or that never came: missing for good is said only when it is known."""

import uuid
from typing import Any

import pytest

from tests.crash.stage import Stage, place
from trading import order_lookup, orders
from trading.errors import ReadLag
from trading.ids import market_slot, new_id
from trading.orders import Caller
from trading.principal import READ, Principal
from trading.projections.projection import load_projections
from trading.projections.runner import Projector
from trading.shard.reserve import claim_of, reserve


def old_id() -> str:
    """An order id of five minutes ago: whatever carried it is past its deadline."""
    return str(uuid.UUID(int=uuid.UUID(new_id()).int - (300_000 << 80)))


def look(account_id: str, order_id: str) -> dict[str, Any]:
    principal = Principal(account_id, 1, None, frozenset({READ}), is_staff=False)
    return orders.find(Caller(principal, ""), order_id=order_id).body


def project() -> None:
    projector = Projector(load_projections())
    while projector.round():
        pass
    projector.close()


def test_late_order_is_missing_for_good_only_once_the_read_side_has_all_of_the_log(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order_lookup, "WAIT_S", 0.1)
    market_id, account_id = stage.market(), stage.account()
    order = place(market_id, account_id, "buy", 1000, 1, order_id=old_id())
    stage.do(order)
    with pytest.raises(ReadLag):
        look(account_id, order.command_id)
    project()
    assert look(account_id, order.command_id)["status"] == "open"
    with pytest.raises(orders.OrderNotFound) as missing:
        look(account_id, old_id())
    assert missing.value.final


def test_late_order_is_not_missing_while_a_batch_is_in_flight(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order_lookup, "WAIT_S", 0.1)
    market_id, account_id = stage.market(), stage.account()
    project()
    order, owned = (
        place(market_id, account_id, "buy", 1000, 1),
        stage.shard.tenure.slots[market_slot(market_id)],
    )
    reserve(stage.shard.backend, slots=[owned], claims=[claim_of(order)], needs={account_id: 1000})
    with pytest.raises(ReadLag):
        look(account_id, old_id())
    stage.shard.crash()
    stage.shard.step()
    with pytest.raises(orders.OrderNotFound):
        look(account_id, old_id())
