"""GET /account/ledger: what cash did, newest first, and what each change left."""

import itertools

import pytest
from django.db import connection

from tests.trading.projections.written_log import WrittenMarket, append_to_account, funded_account
from tests.trading.reads.test_read_api import client, get
from trading.ids import new_id
from trading.money import format_pips, parse_pips
from trading.projections.ledger import KINDS

pytestmark = pytest.mark.django_db(transaction=True)


def pages(account_id, limit):
    """Every entry, by pages."""
    found, cursor = [], {}
    while True:
        page = get(client(account_id), "/account/ledger", limit=limit, **cursor)
        assert len(page["results"]) <= limit
        found += page["results"]
        if page["next"] is None:
            return found
        cursor = {"cursor": page["next"]}


def signed(text):
    return -parse_pips(text[1:]) if text.startswith("-") else parse_pips(text)


def test_entries_tell_what_moved_cash_and_what_it_left(project):
    trader = funded_account(1_000_000)
    market = WrittenMarket()
    order_id = market.place(trader, "buy", 0, 5000, 10)
    project()
    reserved, deposited = get(client(trader), "/account/ledger")["results"]
    slot, offset, leg = reserved["entry_id"].split("-")
    assert (reserved["event_id"], leg) == (f"{slot}-{offset}", "0")
    assert reserved["at"].endswith("Z")
    assert {name: reserved[name] for name in ("kind", "amount", "cash_after", "market_id", "order_id")} == {
        "kind": "order_reserved", "amount": "-5.0000", "cash_after": "95.0000", "market_id": market.market_id,
        "order_id": order_id,
    }  # fmt: skip
    assert (deposited["kind"], deposited["amount"], deposited["cash_after"]) == (
        "deposit", "100.0000", "100.0000",
    )  # fmt: skip
    assert deposited["market_id"] is deposited["order_id"] is None


def test_an_entry_is_found_in_the_log_by_its_event_id(project):
    trader = funded_account()
    project()
    (entry,) = get(client(trader), "/account/ledger")["results"]
    (event,) = get(client(trader), "/events")["results"]
    assert entry["event_id"] == event["event_id"]
    assert entry["at"] == event["recorded_at"]


def test_whatever_the_pages_the_same_entries_lead_back_to_nothing(project):
    accounts = [funded_account() for _ in range(3)]
    for seed, market in enumerate((WrittenMarket(taker_fee_e4=70), WrittenMarket(("A", "B", "C")))):
        market.trade_randomly(accounts, 60, seed)
    project()
    for account_id in accounts:
        at_once = pages(account_id, 500)
        assert len(at_once) > 20
        assert pages(account_id, 7) == at_once
        assert [entry["at"] for entry in at_once] == sorted((entry["at"] for entry in at_once), reverse=True)
        assert at_once[0]["cash_after"] == get(client(account_id), "/portfolio")["cash"]
        for newer, older in itertools.pairwise(at_once):
            assert signed(newer["cash_after"]) - signed(newer["amount"]) == signed(older["cash_after"])
        assert at_once[-1]["cash_after"] == at_once[-1]["amount"]
        assert {entry["kind"] for entry in at_once} <= set(KINDS)


def test_two_legs_of_one_match_are_two_entries_even_across_pages(project):
    maker, taker = funded_account(), funded_account()
    market = WrittenMarket(("A", "B", "C"), taker_fee_e4=700)
    market.place(maker, "buy", 0, 3000, 5)
    market.place(maker, "buy", 1, 3100, 5)
    market.place(taker, "buy", 2, 4000, 5)
    project()
    second, first = pages(maker, 1)[:2]
    assert second["event_id"] == first["event_id"]
    assert (second["entry_id"][-2:], first["entry_id"][-2:]) == ("-1", "-0")


def test_new_entries_do_not_move_the_pages_behind_them(project):
    trader = funded_account()
    market = WrittenMarket()
    market.place(trader, "buy", 0, 5000, 10)
    project()
    first = get(client(trader), "/account/ledger", limit=1)
    append_to_account(trader, ("funds_deposited/1", {"amount": 5, "client_id": None, "repaid": 0}))
    project()
    (older,) = get(client(trader), "/account/ledger", limit=1, cursor=first["next"])["results"]
    assert (older["kind"], older["cash_after"]) == ("deposit", format_pips(10**12))


def test_while_there_is_debt_cash_is_shown_less_it(project):
    trader = funded_account(100)
    project()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE account_ledger SET cash_pips = cash_pips - 300")
    (entry,) = get(client(trader), "/account/ledger")["results"]
    assert entry["cash_after"] == "-0.0200"


def test_another_ones_ledger_is_his(project):
    funded_account()
    stranger = funded_account()
    project()
    assert len(get(client(stranger), "/account/ledger")["results"]) == 1


def test_an_account_that_never_had_cash_has_an_empty_ledger(project):
    page = get(client(new_id()), "/account/ledger")
    assert (page["results"], page["next"]) == ([], None)


def test_the_ledger_waits_for_what_the_caller_has_seen(project):
    trader = funded_account()
    project()
    as_of = get(client(trader), "/account/ledger")["as_of"]
    assert as_of
    assert get(client(trader), "/account/ledger", min_as_of=as_of)["as_of"] == as_of
