"""How a market ends where it takes two persons and holders may object, as each of them sees it. One exchange, one story
a test; every step that is not a person's to take is refused, by the API, and by the database where code is left out."""

import secrets
from collections.abc import Iterator
from typing import Any, NamedTuple

import psycopg
import pytest

from tests.markets.reviewers import Person, member_of_staff, trader, wait_until
from tests.running_exchange import RunningExchange

pytestmark = pytest.mark.slow
NOT_HIS = "403 permission_denied"
CLOSED = "422 market_not_open"


class Cast(NamedTuple):
    """ann and bea are staff. yan holds 10 Yes for $6, noa 10 No for $4, dan nothing; each had $10."""

    ann: Person
    bea: Person
    yan: Person
    noa: Person
    dan: Person
    market: str


@pytest.fixture(scope="module")
def staff(reviewed: RunningExchange) -> Iterator[tuple[Person, Person]]:
    yield member_of_staff(reviewed, "ann"), member_of_staff(reviewed, "bea")
    # Whatever they did, it adds up.
    for command in ("verify_log", "reconcile"):
        reviewed.manage(command)


@pytest.fixture
def cast(reviewed: RunningExchange, staff: tuple[Person, Person]) -> Cast:
    ann, bea = staff
    yan, noa, dan = (trader(reviewed, "10.0000") for _ in range(3))
    status, made = ann.post("/markets", {
        "question": f"Will four eyes see {secrets.token_hex(4)}?", "resolution_criteria": "As seen.",
        "category": "four eyes", "outcomes": ["Yes", "No"], "closes_at": "2040-01-01T12:00:00Z",
    })  # fmt: skip
    assert status == 201, made
    market = made["market_id"]
    for person, side in ((yan, "buy"), (noa, "sell")):
        order = {"outcome": "Yes", "side": side, "price": "0.6000", "quantity": 10}
        assert person.post(f"/markets/{market}/orders", order)[0] == 201
    return Cast(ann, bea, yan, noa, dan, f"/markets/{market}")


def proposed(cast: Cast, by: Person, outcome: str = "Yes") -> str:
    """The path of a proposal."""
    status, answer = by.post(
        f"{cast.market}/resolutions", {"outcome": outcome, "evidence": "Seen on the news."}
    )
    assert (status, answer["status"]) == (201, "proposed"), answer
    return f"{cast.market}/resolutions/{answer['resolution_id']}"


def shown(person: Person, resolution: str, **wanted: Any) -> dict[str, Any]:
    """The resolution, once it is as wanted."""
    wait_until(lambda: wanted.items() <= person.get(resolution)[1].items(), f"{resolution} is {wanted}")
    return person.get(resolution)[1]


def upheld(cast: Cast, resolution: str) -> str:
    """A dispute and its answer, which is the end without waiting for the window; the settlement's path."""
    assert cast.noa.post(f"{resolution}/dispute", {"reason": "It was not so."})[0] == 202
    assert cast.bea.post(f"{resolution}/approve")[0] == 202
    settlement = f"/settlements/{resolution.rpartition('/')[2]}"
    wait_until(lambda: cast.ann.get(settlement)[1].get("status") == "done", "the market is settled")
    return settlement


def test_a_proposal_is_seen_by_all_and_approved_by_another(cast: Cast) -> None:
    # ann proposes. Nobody else could have, and she has no shorter way.
    for person in (cast.yan, cast.dan):
        assert person.refused(f"{cast.market}/resolutions", {"outcome": "Yes", "evidence": "x"}) == NOT_HIS
    assert (
        cast.ann.refused(f"{cast.market}/resolve", {"outcome": "Yes", "evidence": "x"}) == "422 not_supported"
    )
    assert cast.ann.refused(f"{cast.market}/void", {"evidence": "x"}) == "422 not_supported"
    resolution = proposed(cast, cast.ann)
    order = {"outcome": "Yes", "side": "buy", "price": "0.6000", "quantity": 1}
    assert cast.yan.refused(f"{cast.market}/orders", order) == CLOSED
    # Everybody reads who has proposed what, on which evidence.
    seen = shown(cast.dan, resolution, status="proposed")
    assert (seen["outcome"], seen["proposed_by"], seen["evidence"]) == (
        "Yes",
        cast.ann.name,
        "Seen on the news.",
    )
    assert (seen["approvals_needed"], seen["approved_by"]) == (1, [])
    # It is not hers to approve, nor a trader's. Only staff looks at what all are paid.
    assert cast.ann.refused(f"{resolution}/approve") == NOT_HIS
    assert cast.yan.refused(f"{resolution}/approve") == NOT_HIS
    assert cast.yan.get(f"{resolution}/preview")[0] == 403
    # bea looks at it, and approves.
    status, preview = cast.bea.get(f"{resolution}/preview")
    assert (status, preview["totals"]["adds_up"], preview["totals"]["paid"]) == (200, True, "10.0000")
    assert [(each["username"], each["payout"], each["profit"]) for each in preview["winners"]] == [
        (cast.yan.name, "10.0000", "4.0000")
    ]
    assert cast.bea.post(f"{resolution}/approve")[0] == 202
    assert shown(cast.yan, resolution, status="approved")["approved_by"] == [cast.bea.name]
    # Nothing is paid while holders may object, and no second approval shortens that.
    assert cast.bea.refused(f"{resolution}/approve") == NOT_HIS
    assert cast.yan.cash() == ("4.0000", "0.0000")


def test_a_holder_objects_and_the_proposal_waits_for_another_look(cast: Cast) -> None:
    resolution = proposed(cast, cast.ann)
    assert cast.bea.post(f"{resolution}/approve")[0] == 202
    reason = {"reason": "The count is not over."}
    # dan holds nothing, ann and bea neither; a reason has to be given.
    for person in (cast.dan, cast.ann, cast.bea):
        assert person.refused(f"{resolution}/dispute", reason) == NOT_HIS
    assert cast.noa.refused(f"{resolution}/dispute") == "400 invalid_request"
    status, answer = cast.noa.post(f"{resolution}/dispute", reason)
    assert (status, answer["status"]) == (202, "disputed")
    assert cast.noa.refused(f"{resolution}/dispute", reason) == "422 not_supported"
    # bea's approval is gone; it is hers to give again, and still not ann's.
    seen = shown(cast.dan, resolution, status="disputed", disputes=1)
    assert (seen["approved_by"], seen["disputable_until"]) == ([], None)
    assert cast.ann.refused(f"{resolution}/approve") == NOT_HIS
    # The public history tells it, but not which account it was.
    events = [event for event in cast.dan.get("/events", stream=cast.market.rpartition("/")[2], limit=500)[1]["results"]
              if event["type"] == "resolution_disputed/1"]  # fmt: skip
    assert [(event["data"]["reason"], event["data"]["account"]) for event in events] == [
        ("The count is not over.", None)
    ]
    status, answer = cast.bea.post(f"{resolution}/approve")
    assert (status, answer["status"]) == (202, "resolved")
    wait_until(lambda: cast.yan.cash() == ("14.0000", "0.0000"), "yan is paid")
    assert cast.noa.cash() == ("6.0000", "0.0000")


def test_proposals_are_read_by_pages_newest_first(cast: Cast) -> None:
    first, second = (proposed(cast, cast.ann, outcome) for outcome in ("Yes", "No"))
    ids = [path.rpartition("/")[2] for path in (second, first)]
    shown(cast.dan, second, status="proposed")
    page = cast.dan.get(f"{cast.market}/resolutions", limit=1)[1]
    assert [each["resolution_id"] for each in page["results"]] == ids[:1]
    rest = cast.dan.get(f"{cast.market}/resolutions", limit=1, cursor=page["next"])[1]
    assert ([each["resolution_id"] for each in rest["results"]], rest["next"]) == (ids[1:], None)
    for wrong in ({"limit": 0}, {"limit": 501}, {"cursor": "x"}, {"x": 1}):
        assert cast.dan.get(f"{cast.market}/resolutions", **wrong)[0] == 400


def test_a_withdrawn_proposal_lets_the_market_trade_again(cast: Cast) -> None:
    resolution = proposed(cast, cast.ann)
    assert cast.noa.refused(f"{resolution}/withdraw", {"reason": "no"}) == NOT_HIS
    status, answer = cast.bea.post(f"{resolution}/withdraw", {"reason": "Too early."})
    assert (status, answer["status"]) == (202, "suspended")
    assert cast.bea.refused(f"{resolution}/approve") == CLOSED
    status, answer = cast.ann.post(f"{cast.market}/resume", {"phase": "post_only", "phase_seconds": 600})
    assert (status, answer["status"]) == (200, "open")
    order = {"outcome": "Yes", "side": "buy", "price": "0.1000", "quantity": 1}
    assert cast.yan.post(f"{cast.market}/orders", order)[0] == 201
    assert cast.noa.refused(f"{cast.market}/orders", {**order, "side": "sell"}) == "422 would_cross"


def test_another_proposal_takes_the_place_of_a_disputed_one(cast: Cast) -> None:
    first = proposed(cast, cast.ann)
    assert cast.noa.post(f"{first}/dispute", {"reason": "No won."})[0] == 202
    second = proposed(cast, cast.bea, "No")
    shown(cast.dan, first, status="superseded")
    assert cast.bea.refused(f"{first}/approve") == "404 not_found"
    assert cast.bea.refused(f"{second}/approve") == NOT_HIS
    assert cast.ann.post(f"{second}/approve")[0] == 202
    assert shown(cast.dan, second, status="approved")["outcome"] == "No"


def test_a_result_is_undone_by_two_and_what_was_spent_is_owed(cast: Cast) -> None:
    resolution = proposed(cast, cast.ann)
    assert cast.ann.refused(f"{resolution}/reverse", {"evidence": "x"}) == "404 not_found"
    upheld(cast, resolution)
    wait_until(lambda: cast.yan.cash() == ("14.0000", "0.0000"), "yan is paid")
    assert cast.yan.post("/account/withdraw", {"amount": "9.0000"})[0] == 201
    # Two persons, again: whoever asks first cannot be the second, and traders are neither.
    wrong = {"evidence": "The recount says No."}
    for person in (cast.yan, cast.noa, cast.dan):
        assert person.refused(f"{resolution}/reverse", wrong) == NOT_HIS
    status, answer = cast.ann.post(f"{resolution}/reverse", wrong)
    assert (status, answer["status"], answer.get("settlement_id")) == (202, "resolved", None)
    assert cast.ann.refused(f"{resolution}/reverse", wrong) == NOT_HIS
    status, answer = cast.bea.post(f"{resolution}/reverse", wrong)
    assert (status, answer["status"]) == (202, "reversed")
    undoing = f"/settlements/{answer['settlement_id']}"
    wait_until(lambda: cast.ann.get(undoing)[1].get("status") == "done", "it is undone")
    # yan had $14 and took $9 out: of the $10 he owes 5. His shares are his again.
    assert cast.yan.cash() == ("0.0000", "5.0000")
    assert cast.noa.cash() == ("6.0000", "0.0000")
    wait_until(lambda: [each["quantity"] for each in cast.yan.get("/portfolio/positions")[1]["results"]] == [10],
               "yan holds his shares")  # fmt: skip
    shown(cast.dan, resolution, status="reversed")
    # Decided anew, and a deposit repays.
    second = proposed(cast, cast.bea, "No")
    assert cast.yan.post(f"{second}/dispute", {"reason": "Yes won."})[0] == 202
    assert cast.ann.post(f"{second}/approve")[1]["status"] == "resolved"
    wait_until(lambda: cast.noa.cash() == ("16.0000", "0.0000"), "noa is paid")
    # What was undone once is not undone again in the place of what stands now.
    assert cast.ann.refused(f"{resolution}/reverse", wrong) == "404 not_found"
    assert cast.yan.post("/account/deposit", {"amount": "7.0000"})[0] == 201
    assert cast.yan.cash() == ("2.0000", "0.0000")


def test_the_database_keeps_four_eyes_four(cast: Cast, reviewed: RunningExchange) -> None:
    """What code left out could not sign twice either, nor change what was said."""
    resolution = proposed(cast, cast.ann).rpartition("/")[2]
    with reviewed.connect() as connection:
        again = (
            "INSERT INTO resolution_signature (resolution_id, act, user_id, role, signed_at) "
            "SELECT resolution_id, act, user_id, 'approver', now() FROM resolution_signature WHERE resolution_id = %s"
        )
        with pytest.raises(psycopg.errors.UniqueViolation, match="one_a_person"):
            connection.execute(again, [resolution])
        other = (
            "INSERT INTO resolution_signature (resolution_id, act, user_id, role, signed_at) "
            "SELECT resolution_id, act, (SELECT max(id) FROM accounts_user), 'proposer', now() "
            "FROM resolution_signature WHERE resolution_id = %s"
        )
        with pytest.raises(psycopg.errors.UniqueViolation, match="one_proposer"):
            connection.execute(other, [resolution])
        with pytest.raises(psycopg.Error, match=r"append-only|permission denied"):
            connection.execute("UPDATE event SET data = '{}' WHERE type = 'resolution_proposed/1'")
