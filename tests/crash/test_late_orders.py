"""Orders that the read model does not have yet, or that never came: missing for good is said only when it is known."""

import threading
import uuid
from functools import partial
from typing import Any

import pytest

from tests.crash.stage import Stage, place
from trading import order_lookup, orders
from trading.errors import InvalidRequest, ReadLag
from trading.ids import market_slot, new_id
from trading.orders import Caller
from trading.principal import READ, Principal
from trading.projections.projection import load_projections
from trading.projections.runner import Projector
from trading.shard.reserve import claim_of, reserve


def old_id() -> str:
    """An order id of five minutes ago: whatever carried it is past its deadline."""
    return str(uuid.UUID(int=uuid.UUID(new_id()).int - (300_000 << 80)))


def caller_of(account_id: str) -> Caller:
    return Caller(Principal(account_id, 1, None, frozenset({READ}), is_staff=False), "")


def look(account_id: str, order_id: str) -> dict[str, Any]:
    return orders.find(caller_of(account_id), order_id=order_id).body


def project() -> None:
    projector = Projector(load_projections())
    while projector.round():
        pass
    projector.close()


@pytest.fixture
def short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not readable at once is not waited for."""
    monkeypatch.setattr(order_lookup, "WAIT_S", 0.1)


def test_late_order_is_missing_for_good_only_once_the_read_side_has_all_of_the_log(
    stage: Stage, short_wait: None
) -> None:
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


def test_late_order_is_not_missing_while_a_batch_is_in_flight(stage: Stage, short_wait: None) -> None:
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


@pytest.fixture
def full_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many look-ups wait as may."""
    monkeypatch.setattr(order_lookup, "_waiting_room", threading.BoundedSemaphore(1))
    assert order_lookup._waiting_room.acquire(blocking=False)


def test_order_that_may_come_is_not_called_missing_while_nobody_can_wait_for_it(
    stage: Stage, full_room: None
) -> None:
    market_id, account_id = stage.market(), stage.account()
    order = place(market_id, account_id, "buy", 1000, 1, client_id="mine")
    stage.do(order)
    for names in ({"order_id": order.command_id}, {"client_order_id": "mine"}, {"order_id": new_id()}):
        with pytest.raises(ReadLag) as lag:
            orders.find(caller_of(account_id), **names)
        assert lag.value.headers == {"Retry-After": "1"}
    project()
    assert orders.find(caller_of(account_id), client_order_id="mine").body["status"] == "open"


def test_market_of_an_order_is_known_from_its_claim_before_it_can_be_read(
    stage: Stage, full_room: None
) -> None:
    market_id, other_id, account_id = stage.market(), stage.market(), stage.account()
    project()
    plain, named = (place(market_id, account_id, "buy", 1000, 1, client_id=name) for name in (None, "mine"))
    # The id of one order as the client id of another, elsewhere.
    borrowed = place(other_id, account_id, "buy", 1000, 1, client_id=named.command_id)
    for order in (plain, named, borrowed):
        stage.do(order)
    home = partial(orders.home_of, caller_of(account_id))
    assert home(order_id=plain.command_id).market_id == market_id
    assert home(client_order_id="mine").market_id == market_id
    with pytest.raises(ReadLag):
        home(order_id=named.command_id)
    project()
    assert home(order_id=named.command_id).market_id == market_id


def test_client_id_is_free_for_good_once_what_was_sent_under_it_is_late(
    stage: Stage, short_wait: None
) -> None:
    market_id, account_id = stage.market(), stage.account()
    project()
    look_up = partial(orders.find, caller_of(account_id), client_order_id="mine")
    for sent_as, is_final in ((old_id(), True), (new_id(), False), (None, False)):
        with pytest.raises(orders.OrderNotFound) as missing:
            look_up(sent_as=sent_as)
        assert missing.value.final is is_final
    with pytest.raises(InvalidRequest):
        look_up(sent_as="yesterday")
    # An earlier attempt has brought the order: it is found, or said not to be readable yet, and never missing.
    order = place(market_id, account_id, "buy", 1000, 1, client_id="mine")
    stage.do(order)
    with pytest.raises(ReadLag):
        look_up(sent_as=old_id())
    project()
    assert look_up(sent_as=old_id()).body["order_id"] == order.command_id


def test_client_id_is_not_free_while_a_batch_with_it_is_in_flight(stage: Stage, short_wait: None) -> None:
    market_id, account_id = stage.market(), stage.account()
    project()
    order = place(market_id, account_id, "buy", 1000, 1, client_id="mine")
    slots = [stage.shard.tenure.slots[market_slot(market_id)]]
    look_up = partial(orders.find, caller_of(account_id), client_order_id="mine", sent_as=old_id())
    reserve(stage.shard.backend, slots=slots, claims=[claim_of(order)], needs={account_id: 1000})
    with pytest.raises(ReadLag):
        look_up()
    stage.shard.crash()
    stage.shard.step()
    # Its batch was given back, and nobody sends it again.
    with pytest.raises(orders.OrderNotFound) as missing:
        look_up()
    assert missing.value.final
