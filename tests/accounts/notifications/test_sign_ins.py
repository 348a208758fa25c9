"""A sign-in from a new place is told of, the first one ever is not, and of places only hashes are kept."""

import pytest
from django.test import Client

from accounts.notifications.sign_ins import browser_of, network_of
from tests.accounts.callers import PASSWORD
from tests.accounts.notifications.told import notes_of

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
CHROME = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
)


@pytest.fixture
def sign_in():
    def post(username: str, *, ip: str = "203.0.113.7", agent: str = FIREFOX) -> None:
        answer = Client(REMOTE_ADDR=ip, HTTP_USER_AGENT=agent).post(
            "/sign-in", {"username": username, "password": PASSWORD}
        )
        assert answer.status_code == 302, answer.content

    return post


def told(account_id: str) -> list[str]:
    return [title for _, title in notes_of(account_id, "sign_in")]


def test_only_a_place_that_is_new_and_not_the_first_is_told_of(someone, sign_in):
    mia = someone("mia")
    sign_in("mia")
    sign_in("mia", ip="203.0.113.200")
    assert told(mia) == []
    sign_in("mia", ip="198.51.100.7")
    assert told(mia) == ["Signed in from a new place: Firefox, 198.51.100.0/24"]
    sign_in("mia", ip="198.51.100.8")
    sign_in("mia")
    assert len(told(mia)) == 1
    sign_in("mia", agent=CHROME)
    assert told(mia)[1:] == ["Signed in from a new place: Chrome, 203.0.113.0/24"]


def test_one_users_places_are_not_anothers(someone, sign_in):
    mia, max_ = someone("mia"), someone("max")
    sign_in("mia")
    sign_in("max", ip="198.51.100.7")
    sign_in("max")
    assert (told(mia), len(told(max_))) == ([], 1)


def test_it_is_mailed_by_default(someone, sign_in, jobs):
    someone("mia", email="mia@mail.example")
    sign_in("mia")
    sign_in("mia", ip="198.51.100.7")
    assert [name for name, _ in jobs()] == ["accounts.send_email"]


def test_nothing_that_could_be_read_is_kept_of_a_place(someone, sign_in):
    from accounts.models import KnownPlace

    someone("mia")
    sign_in("mia")
    (place,) = KnownPlace.objects.all()
    assert len(bytes(place.place_hash)) == 32
    assert b"203" not in bytes(place.place_hash)


def test_a_failed_sign_in_and_a_simulated_user_leave_no_place(someone, sign_in):
    from accounts.models import KnownPlace

    someone("mia")
    someone("crowd", is_simulated=True)
    Client(REMOTE_ADDR="203.0.113.7").post("/sign-in", {"username": "mia", "password": "wrong"})
    sign_in("crowd")
    assert not KnownPlace.objects.exists()


@pytest.mark.parametrize(
    ("agent", "family"),
    [
        (FIREFOX, "Firefox"), (CHROME, "Chrome"), (f"{CHROME} Edg/140.0", "Edge"), (f"{CHROME} OPR/120.0", "Opera"),
        ("Mozilla/5.0 (Macintosh) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605.1.15", "Safari"),
        ("curl/8.0", "curl"), ("", "another browser"), ("\x00" * 10_000, "another browser"),
    ],
)  # fmt: skip
def test_browsers_are_known_by_family(agent, family):
    assert browser_of(agent) == family


@pytest.mark.parametrize(
    ("ip", "network"),
    [
        ("203.0.113.7", "203.0.113.0/24"), ("2001:db8:1:2::7", "2001:db8:1::/48"),
        ("::ffff:203.0.113.7", "203.0.113.0/24"),
        (None, "an unknown network"),
    ],
)  # fmt: skip
def test_networks_are_a_24_or_a_48(ip, network):
    assert network_of(ip) == network
