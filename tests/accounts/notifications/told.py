"""What accounts have been told."""


def notes_of(account_id: str, *kinds: str) -> list[tuple[str, str]]:
    """(kind, title) of an account's notifications, the oldest first: of those kinds, or of all but deposits."""
    from accounts.models import Notification

    rows = Notification.objects.filter(account_id=account_id).order_by("id")
    rows = rows.filter(kind__in=kinds) if kinds else rows.exclude(kind="deposit")
    return [(row.kind, row.title) for row in rows]
