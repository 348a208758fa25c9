"""Someone new with a key, at the account API's own paths. Django is imported late: it is set up after this file."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.accounts.callers import Caller


@pytest.fixture(autouse=True)
def _own_paths(settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.accounts.urls"


@pytest.fixture(autouse=True)
def _key_use_is_not_written(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The writer's thread has a connection of its own, which cannot see a test's transaction."""
    from accounts import key_usage

    key_usage._noted_at.clear()
    monkeypatch.setattr(key_usage._writer, "submit", lambda *args: None)
    yield
    key_usage._noted_at.clear()


@pytest.fixture(autouse=True)
def _keys_are_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody announces what a test writes in its transaction; test_revocations.py is about what is remembered."""
    from accounts.authentication import ApiKeyAuthentication, KnownKeys

    monkeypatch.setattr(ApiKeyAuthentication, "_known", KnownKeys(generation=lambda: None))


@pytest.fixture
def nobody(db: None) -> "Caller":
    """A caller without credentials."""
    from tests.accounts.callers import Caller

    return Caller()


@pytest.fixture
def make_caller(db: None) -> Callable[..., "Caller"]:
    """`make_caller("name", scopes=(...), staff=True)`: a new user with a key."""
    from accounts import services
    from tests.accounts.callers import PASSWORD, Caller

    def make(
        username: str, *, scopes: tuple[str, ...] = ("read", "trade"), staff: bool = False, **key: Any
    ) -> "Caller":
        user = services.register(username=username, password=PASSWORD)
        user.is_staff = staff
        user.save(update_fields=["is_staff"])
        return Caller(services.issue_key(user=user, name="test", scopes=scopes, **key).secret, user)

    return make


@pytest.fixture
def trader(make_caller: Callable[..., "Caller"]) -> "Caller":
    """A user whose key may read and trade."""
    return make_caller("trader")
