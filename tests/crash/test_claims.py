"""Keys that another shard's batch has claimed and gives back."""

from typing import Any

import pytest

from tests.crash.stage import Stage, place, query, view
from trading.shard import tenure
from trading.shard.faults import ClaimGone
from trading.shard.reserve import stored_claim


def test_key_given_back_between_two_looks_is_claimed_at_the_next_attempt(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other batch is gone when the shard asks for what it had claimed; the command is no poison for that."""
    account_id, market_id = stage.account(), stage.market()
    query(
        "INSERT INTO client_order (account_id, key, command_hash) VALUES (%s, 'k', '') RETURNING 1",
        account_id,
    )

    def given_back(connection: Any, claim: Any) -> Any:
        query("DELETE FROM client_order WHERE account_id = %s AND key = 'k' RETURNING 1", account_id)
        monkeypatch.setattr(tenure, "stored_claim", stored_claim)
        return stored_claim(connection, claim)

    monkeypatch.setattr(tenure, "stored_claim", given_back)
    outcome = stage.do(place(market_id, account_id, "buy", 4000, 10, client_id="k"))
    assert view(outcome).status == "open"
    assert [type(failure) for failure in stage.shard.failures] == [ClaimGone]
    assert query("SELECT count(*) FROM dead_letter") == [(0,)]
