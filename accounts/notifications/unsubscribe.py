"""The links by which e-mails are ended, signed: whoever has one may end these e-mails, and nothing else."""

from typing import NamedTuple

from django.conf import settings
from django.core import signing
from django.urls import reverse

from accounts.notifications.texts import LABELS
from trading.errors import NotFound

_SALT = "accounts.notifications.unsubscribe"


class Subscription(NamedTuple):
    """What a link ends: e-mails of a kind to an account, or all of them."""

    account_id: str
    kind: str | None

    @property
    def text(self) -> str:
        return "all e-mails" if self.kind is None else f"e-mails about “{LABELS[self.kind]}”"


def link(account_id: str, kind: str | None) -> str:
    """A full URL; it does not run out, since a mail may be read years later."""
    token = signing.dumps([account_id, kind], salt=_SALT)
    return settings.SITE_URL + reverse("unsubscribe", args=[token])


def read_token(token: str) -> Subscription:
    """NotFound for a token that was not made here."""
    try:
        account_id, kind = signing.loads(token, salt=_SALT)
    except signing.BadSignature:
        raise NotFound("This link is not valid.") from None
    return Subscription(account_id, kind)
