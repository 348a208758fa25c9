"""Who wants to be told what, and how: the grid of kinds and channels.

In the app everything is shown, since it costs nobody anything. Webhooks are told everything too: they exist only
where a user has made them, and each names its own kinds. E-mail is for what changes an account while nobody trades: a
market that ends, a sign-in that the owner may not have made, a webhook that is no longer told. A deposit comes from the
owner's own hand, fills come by the hundred, and an alert or a market that closes soon is of use for minutes; whoever
wants those by e-mail switches them on. The daily statement (accounts.statements) is no notification, but has a row of
the grid: e-mail is its one channel, off until it is switched on, and digests leave it alone.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import QuerySet

from accounts.models import Notification, NotificationPreferences
from accounts.notifications.texts import STATEMENT
from trading.array_literals import array_of

Kind = Notification.Kind
IN_APP, EMAIL, WEBHOOK = "in_app", "email", "webhook"
CHANNELS = (IN_APP, EMAIL, WEBHOOK)
KINDS = (*Kind.values, STATEMENT)
"""The rows of the grid."""

MAILED_BY_DEFAULT = frozenset(
    {Kind.MARKET_RESOLVED, Kind.MARKET_VOIDED, Kind.MARKET_REVERSED, Kind.SIGN_IN, Kind.WEBHOOK_OFF}
)

_READ = """
SELECT u.account_id::text, u.is_active AND u.email <> '' AND u.email = p.confirmed_email, p.choices, p.digest,
       (SELECT jsonb_agg(jsonb_build_array(w.id, w.kinds)) FROM accounts_webhook w
        WHERE w.account_id = u.account_id AND w.is_on AND u.is_active)
FROM accounts_user u LEFT JOIN accounts_notificationpreferences p ON p.account_id = u.account_id
WHERE u.account_id = ANY(%s::uuid[]) AND NOT u.is_simulated
"""

Grid = dict[str, dict[str, bool]]


class Wishes(NamedTuple):
    """What one account wants: its choices where they differ from the defaults, and where it can be reached."""

    has_email: bool
    choices: Mapping[str, bool]
    digest: str
    webhooks: tuple[tuple[str, frozenset[str]], ...]

    def wants(self, kind: str, channel: str) -> bool:
        """What the grid says, whether or not there is an address."""
        return self.choices.get(_cell(kind, channel), is_default(kind, channel))

    def mails(self, kind: str) -> bool:
        """Whether a kind goes out by e-mail."""
        return self.has_email and self.wants(kind, EMAIL)

    def webhooks_for(self, kind: str) -> list[str]:
        """The endpoints that are told of a kind."""
        if not self.webhooks or not self.wants(kind, WEBHOOK):
            return []
        return [webhook_id for webhook_id, kinds in self.webhooks if kind in kinds]


def channels_of(kind: str) -> tuple[str, ...]:
    """The channels that there are for a kind."""
    return (EMAIL,) if kind == STATEMENT else CHANNELS


def is_default(kind: str, channel: str) -> bool:
    """Whether the channel is on for the kind unless the user says otherwise."""
    return channel != EMAIL or kind in MAILED_BY_DEFAULT


def read_wishes(connection: Any, account_ids: Iterable[str]) -> dict[str, Wishes]:
    """The wishes of all these accounts in one statement; who may not be told anything is left out.

    `connection` is psycopg's, or a cursor of Django's.
    """
    rows = connection.execute(_READ, [array_of(account_ids)]).fetchall()
    return {
        account_id: Wishes(
            bool(has_email),
            _json(choices) or {},
            digest or NotificationPreferences.Digest.OFF,
            tuple((webhook_id, frozenset(kinds)) for webhook_id, kinds in _json(webhooks) or ()),
        )
        for account_id, has_email, choices, digest, webhooks in rows
    }


def grid_of(account_id: str) -> tuple[Grid, str]:
    """Every kind with its channels, and the digest."""
    row = NotificationPreferences.objects.filter(account_id=account_id).first()
    choices: dict[str, bool] = row.choices if row else {}
    grid = {
        str(kind): {
            channel: choices.get(_cell(kind, channel), is_default(kind, channel))
            for channel in channels_of(kind)
        }
        for kind in KINDS
    }
    return grid, row.digest if row else str(NotificationPreferences.Digest.OFF)


@transaction.atomic
def change(
    account_id: str, *, cells: Mapping[str, Mapping[str, bool]] | None = None, digest: str | None = None
) -> None:
    """Set cells of the grid, `{kind: {channel: on}}`, and the digest; what is not named stays as it is."""
    NotificationPreferences.objects.get_or_create(account_id=account_id)
    row = NotificationPreferences.objects.select_for_update().get(account_id=account_id)
    for kind, channels in (cells or {}).items():
        for channel, is_on in channels.items():
            if is_on == is_default(kind, channel):
                row.choices.pop(_cell(kind, channel), None)
            else:
                row.choices[_cell(kind, channel)] = is_on
    if digest is not None:
        row.digest = digest
    row.save()
    # What waits to be mailed, for a digest or for a server that is away, is not wanted any more either.
    ended = [kind for kind, channels in (cells or {}).items() if channels.get(EMAIL) is False]
    waiting = Notification.objects.filter(
        account_id=account_id, kind__in=ended, by_email=True, mailed_at=None
    )
    waiting.update(by_email=False)


def wanting_statements() -> QuerySet[NotificationPreferences]:
    """Who has switched daily statements on."""
    return NotificationPreferences.objects.filter(**{f"choices__{_cell(STATEMENT, EMAIL)}": True})


def end_email(account_id: str, kind: str | None) -> None:
    """No more e-mails of a kind, or of any."""
    kinds = [kind] if kind is not None else KINDS
    change(account_id, cells={each: {EMAIL: False} for each in kinds})


def _cell(kind: str, channel: str) -> str:
    return f"{kind}.{channel}"


def _json(value: Any) -> Any:
    """A document as psycopg reads it; Django's cursors leave jsonb as text."""
    return json.loads(value) if isinstance(value, str) else value
