"""The fixture `exchange` itself: what other tests rely on when they use the real processes."""

import signal

import httpx

from tests.running_exchange import RunningExchange


def test_the_real_processes_are_well_and_apart_from_the_tests_database(exchange: RunningExchange) -> None:
    assert httpx.get(f"{exchange.http}/health").json() == {"status": "ok"}
    assert httpx.get(f"{exchange.live_http}/ws/health").status_code == 200
    with exchange.connect() as connection:
        (name,) = connection.execute("SELECT current_database()").fetchone() or ("",)
    assert name.startswith("exchange_")


def test_a_new_trader_has_its_cash_and_the_operator_a_key(exchange: RunningExchange) -> None:
    trader = exchange.new_trader(cash="123.4500")
    account = httpx.get(f"{exchange.http}/api/v1/account", headers=trader.headers)
    assert (account.status_code, account.json()["cash"]) == (200, "123.4500")
    assert exchange.staff_key().startswith("pm_")


def test_a_killed_engine_stays_down_until_it_is_started(exchange: RunningExchange) -> None:
    exchange.kill("engine", signal.SIGKILL)
    assert not exchange.is_alive("engine")
    exchange.start_process("engine")
    exchange.wait_healthy()
    exchange.restart("projector")
    assert all(exchange.is_alive(name) for name in ("web", "live", "engine", "projector", "settlement"))
