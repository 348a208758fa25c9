"""API keys: made, shown once, listed, bound, ended, and refused when they do not count."""

import datetime as dt

import pytest
from django.utils import timezone

from accounts.models import ApiKey, User
from tests.accounts.callers import Caller, code_of


def test_a_new_key_is_shown_once_and_then_listed_without_itself(trader):
    made = trader.post("/keys", {"name": "bot", "scopes": ["read"]})
    assert made.status_code == 201
    assert made["Cache-Control"] == "no-store"
    key = made.json()["key"]
    assert Caller(key).get("/account").status_code == 200
    listed = trader.get("/keys").json()
    assert [row["name"] for row in listed["results"]] == ["bot", "test"]
    assert listed["next"] is None
    assert key not in str(listed)
    assert listed["results"][0].keys() == {
        "id", "name", "prefix", "scopes", "tier", "ip_allowlist", "created_at", "expires_at", "last_used_at"
    }  # fmt: skip


def test_a_key_lives_a_year_unless_told_otherwise(trader):
    for asked, days in (({}, 365), ({"expires_in_days": 7}, 7)):
        made = trader.post("/keys", {"name": "bot", "scopes": ["read"], **asked}).json()
        lifetime = dt.datetime.fromisoformat(made["expires_at"]) - dt.datetime.fromisoformat(
            made["created_at"]
        )
        assert abs(lifetime - dt.timedelta(days=days)) < dt.timedelta(seconds=5)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": "", "scopes": ["read"]},
        {"name": "x" * 101, "scopes": ["read"]},
        {"name": "bot", "scopes": []},
        {"name": "bot", "scopes": "read"},
        {"name": "bot", "scopes": ["everything"]},
        {"name": "bot", "scopes": ["read"], "expires_in_days": 0},
        {"name": "bot", "scopes": ["read"], "expires_in_days": True},
        {"name": "bot", "scopes": ["read"], "expires_in_days": "7"},
        {"name": "bot", "scopes": ["read"], "expires_in_days": 7.0},
        {"name": "bot", "scopes": ["read"], "expires_in_days": 2**62},
        {"name": "bot", "scopes": ["read"], "ip_allowlist": ["nowhere"]},
        {"name": "bot", "scopes": ["read"], "ip_allowlist": ["10.0.0.1/8"]},
        {"name": "bot", "scopes": ["read"], "ip_allowlist": [7]},
        {"name": "bot", "scopes": ["read"], "ip_allowlist": ["10.0.0.1"] * 51},
        {"name": "bot", "scopes": ["read"], "tier": "professional"},
        [],
    ],
)
def test_a_malformed_wish_for_a_key_is_refused_and_makes_none(trader, body):
    assert code_of(trader.post("/keys", body)) == (400, "invalid_request")
    assert ApiKey.objects.count() == 1


def test_a_key_grants_no_scope_it_lacks(make_caller):
    reader = make_caller("reader", scopes=("read",))
    assert code_of(reader.post("/keys", {"name": "x", "scopes": ["trade"]})) == (403, "permission_denied")
    assert reader.post("/keys", {"name": "x", "scopes": ["read"]}).status_code == 201


def test_the_admin_scope_is_for_staff(trader, make_caller):
    assert code_of(trader.post("/keys", {"name": "x", "scopes": ["admin"]})) == (403, "permission_denied")
    boss = make_caller("boss", scopes=("read", "trade", "admin"), staff=True)
    assert boss.post("/keys", {"name": "x", "scopes": ["admin", "read"]}).json()["scopes"] == [
        "read",
        "admin",
    ]


def test_a_user_has_a_hundred_live_keys_at_most(trader, monkeypatch):
    monkeypatch.setattr("accounts.services.MAX_LIVE_KEYS", 2)
    assert trader.post("/keys", {"name": "x", "scopes": ["read"]}).status_code == 201
    assert code_of(trader.post("/keys", {"name": "x", "scopes": ["read"]})) == (422, "exceeds_limits")


def test_a_revoked_key_is_refused_at_once_and_no_longer_listed(trader):
    made = trader.post("/keys", {"name": "bot", "scopes": ["read"]}).json()
    assert trader.delete(f"/keys/{made['id']}").status_code == 204
    assert code_of(Caller(made["key"]).get("/account")) == (401, "not_authenticated")
    assert [row["name"] for row in trader.get("/keys").json()["results"]] == ["test"]
    assert code_of(trader.delete(f"/keys/{made['id']}")) == (404, "not_found")


def test_a_key_ends_no_mightier_key_but_itself(make_caller):
    owner = make_caller("owner")
    made = owner.post("/keys", {"name": "reader", "scopes": ["read"]}).json()
    mighty = ApiKey.objects.get(name="test")
    reader = Caller(made["key"])
    assert code_of(reader.delete(f"/keys/{mighty.id}")) == (403, "permission_denied")
    assert reader.delete(f"/keys/{made['id']}").status_code == 204


def test_nobody_ends_the_key_of_another(trader, make_caller):
    other = ApiKey.objects.get(user=make_caller("other").user)
    assert code_of(trader.delete(f"/keys/{other.id}")) == (404, "not_found")
    assert code_of(trader.delete("/keys/nonsense")) == (404, "not_found")
    other.refresh_from_db()
    assert other.revoked_at is None


@pytest.mark.parametrize(
    "header",
    [
        "",
        " ",
        "Bearer",
        "Bearer ",
        "Bearer pm_",
        "Bearer pm_wrong",
        "Bearer x",
        "bearer pm_" + "x" * 5000,
        "Basic dXNlcjpwYXNz",
        "pm_abc",
        "Bearer pm_\xff\xfe",
        "Bearer pm_a b",
        "\x00",
    ],
)
def test_a_header_that_is_no_live_key_is_401(nobody, header):
    answer = nobody.get("/account", authorization=header)
    assert code_of(answer) == (401, "not_authenticated")
    assert answer["WWW-Authenticate"] == "Bearer"


def test_no_credentials_at_all_are_401(nobody):
    for method, path in (
        ("GET", "/account"), ("POST", "/account/deposit"), ("GET", "/keys"), ("POST", "/ws-ticket"),
        ("GET", "/notifications"),
    ):  # fmt: skip
        assert code_of(nobody.send(method, path)) == (401, "not_authenticated")


def test_a_key_gets_no_ticket_which_would_outlive_it(trader):
    assert code_of(trader.send("POST", "/ws-ticket")) == (403, "permission_denied")


def test_expired_key_and_key_of_an_inactive_user_are_401(trader):
    ApiKey.objects.update(expires_at=timezone.now())
    assert code_of(trader.get("/account")) == (401, "not_authenticated")
    ApiKey.objects.update(expires_at=timezone.now() + dt.timedelta(days=1))
    assert trader.get("/account").status_code == 200
    User.objects.update(is_active=False)
    assert code_of(trader.get("/account")) == (401, "not_authenticated")


def test_a_key_counts_only_from_its_addresses(make_caller):
    bound = make_caller("bound", ip_allowlist=["10.1.0.0/16"])
    assert code_of(bound.get("/account")) == (401, "not_authenticated")
    here = make_caller("here", ip_allowlist=["127.0.0.0/8", "::1"])
    assert here.get("/account").status_code == 200


def test_a_forwarded_address_counts_only_from_a_trusted_proxy(make_caller, settings):
    bound = make_caller("bound", ip_allowlist=["10.1.0.0/16"])
    forwarded = {"x-forwarded-for": "10.1.2.3"}
    assert bound.get("/account", **forwarded).status_code == 401
    settings.TRUSTED_PROXIES = ["127.0.0.1"]
    assert bound.get("/account", **forwarded).status_code == 200
    assert bound.get("/account", **{"x-forwarded-for": "10.1.2.3, 203.0.113.9"}).status_code == 401


def test_a_bound_key_hands_its_binding_on(make_caller):
    bound = make_caller("bound", ip_allowlist=["127.0.0.0/8"])
    heir = bound.post("/keys", {"name": "heir", "scopes": ["read"]})
    assert heir.json()["ip_allowlist"] == ["127.0.0.0/8"]
    narrower = {"name": "x", "scopes": ["read"], "ip_allowlist": ["127.0.0.1"]}
    assert bound.post("/keys", narrower).json()["ip_allowlist"] == ["127.0.0.1/32"]
    wider = {"name": "x", "scopes": ["read"], "ip_allowlist": ["0.0.0.0/0"]}
    assert code_of(bound.post("/keys", wider)) == (403, "permission_denied")


def test_pages_of_a_list_join_without_gap_or_double(trader):
    for number in range(4):
        trader.post("/keys", {"name": f"k{number}", "scopes": ["read"]})
    first = trader.get("/keys?limit=2").json()
    second = trader.get(f"/keys?limit=2&cursor={first['next']}").json()
    third = trader.get(f"/keys?limit=2&cursor={second['next']}").json()
    names = [row["name"] for page in (first, second, third) for row in page["results"]]
    assert (names, third["next"]) == (["k3", "k2", "k1", "k0", "test"], None)


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=501", "limit=x", "limit=-1", "limit=", "cursor=x", "cursor=%00", "cursor=é"]
)
def test_a_malformed_page_wish_is_refused(trader, query):
    assert code_of(trader.get(f"/keys?{query}")) == (400, "invalid_request")
