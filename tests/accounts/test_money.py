"""Deposits, withdrawals and the account's view, through the API."""

import pytest

from tests.accounts.callers import Caller, code_of


def cash_of(caller: Caller) -> str:
    return caller.get("/account").json()["cash"]


def test_money_in_and_out_shows_in_the_account(trader):
    answer = trader.post("/account/deposit", {"amount": "1250.0000"})
    assert (answer.status_code, answer.json()["cash"]) == (201, "1250.0000")
    assert answer.json()["as_of"]
    answer = trader.post("/account/withdraw", {"amount": 0.5})
    assert (answer.status_code, answer.json()["cash"]) == (201, "1249.5000")
    view = trader.get("/account").json()
    assert {
        name: view[name] for name in ("cash", "reserved", "positions_value", "equity", "debt", "fees_paid")
    } == {
        "cash": "1249.5000",
        "reserved": "0.0000",
        "positions_value": "0.0000",
        "equity": "1249.5000",
        "debt": "0.0000",
        "fees_paid": "0.0000",
    }


@pytest.mark.parametrize("amount", [b'"10"', b'"10.0000"', b"10", b"10.0", b"10.0000"])
def test_an_exact_amount_is_taken_as_string_or_number(trader, amount):
    assert trader.post("/account/deposit", b'{"amount": ' + amount + b"}").json()["cash"] == "10.0000"


@pytest.mark.parametrize(
    "amount",
    [
        b"0", b"-1", b'"-1"', b'"+1"', b"true", b"null", b"[]", b"{}", b'""', b'" 1"', b'"1 "', b"1e3", b'"1e3"',
        b"1E0",         b"1e309", b"0.00001", b'"0.00001"', b'"NaN"', b'"Infinity"', b'"0x10"', b'"1,000"', b'"1_000"',
        '"\uff11"'.encode(),
        b"9223372036854775807", b'"99999999999999999999999999"', b"1000000000.0001", b'".5"', b'"5."', b'"1\\n"',
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/account/deposit", "/account/withdraw"])
def test_a_malformed_amount_is_refused_and_moves_nothing(trader, path, amount):
    trader.post("/account/deposit", {"amount": "5"})
    answer = trader.post(path, b'{"amount": ' + amount + b"}")
    assert code_of(answer) == (400, "invalid_request")
    assert list(answer.json()["errors"]) == ["amount"]
    assert cash_of(trader) == "5.0000"


@pytest.mark.parametrize("client_id", ["", "x" * 65, "has space", "a\n", 7, True, ["a"], "é"])
def test_a_malformed_client_id_is_refused(trader, client_id):
    answer = trader.post("/account/deposit", {"amount": "5", "client_id": client_id})
    assert code_of(answer) == (400, "invalid_request")


def test_the_same_client_id_moves_money_once(trader):
    body = {"amount": "5", "client_id": "d-1"}
    assert trader.post("/account/deposit", body).status_code == 201
    again = trader.post("/account/deposit", {"amount": 5.0, "client_id": "d-1"})
    assert (again.status_code, again.json()["cash"]) == (200, "5.0000")
    assert code_of(trader.post("/account/deposit", {**body, "amount": "6"})) == (409, "idempotency_mismatch")
    assert code_of(trader.post("/account/withdraw", body)) == (409, "idempotency_mismatch")
    assert cash_of(trader) == "5.0000"


def test_more_than_the_free_cash_cannot_be_withdrawn(trader):
    trader.post("/account/deposit", {"amount": "5"})
    assert code_of(trader.post("/account/withdraw", {"amount": "5.0001"})) == (422, "exceeds_available_cash")
    assert cash_of(trader) == "5.0000"


def test_the_faucet_gives_its_limit_and_no_pip_more_except_to_staff(trader, make_caller, settings):
    settings.FAUCET_LIMIT_PIPS = 1_000_000
    assert trader.post("/account/deposit", {"amount": "100.0000"}).status_code == 201
    assert code_of(trader.post("/account/deposit", {"amount": "100.0001"})) == (422, "exceeds_limits")
    boss = make_caller("boss", scopes=("read", "trade", "admin"), staff=True)
    assert boss.post("/account/deposit", {"amount": "100.0001"}).status_code == 201


def test_a_read_key_moves_no_money_and_a_trade_key_reads_nothing(make_caller):
    reader = make_caller("reader", scopes=("read",))
    for path in ("/account/deposit", "/account/withdraw"):
        assert code_of(reader.post(path, {"amount": "5"})) == (403, "permission_denied")
    writer = make_caller("writer", scopes=("trade",))
    assert writer.post("/account/deposit", {"amount": "5"}).status_code == 201
    assert code_of(writer.get("/account")) == (403, "permission_denied")


def test_a_method_or_media_type_that_is_not_served_is_a_problem_document(trader):
    assert code_of(trader.get("/account/deposit")) == (405, "method_not_allowed")
    from django.test import Client

    answer = Client().post(
        "/api/v1/account/deposit", {"amount": "5"}, headers={"authorization": f"Bearer {trader.key}"}
    )
    assert code_of(answer) == (415, "unsupported_media_type")


def test_a_bug_is_a_logged_500_problem_document(trader, monkeypatch, caplog):
    def boom(*args: object) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr("accounts.selectors.account_view", boom)
    answer = trader.get("/account")
    assert code_of(answer) == (500, "internal_error")
    assert b"secret detail" not in answer.content
    assert "ZeroDivisionError" in caplog.text
