"""Reads of accounts: keys, notifications, and an account's money in one view."""

from typing import Any

from django.db.models import QuerySet

from accounts.models import ApiKey, Notification, User
from trading import cash, selectors
from trading.money import format_pips


def keys_of(user: User) -> QuerySet[ApiKey]:
    """A user's keys, newest first, without the revoked ones."""
    return ApiKey.objects.filter(user=user, revoked_at=None).order_by("-id")


def notifications_of(account_id: str, *, unread_only: bool = False) -> QuerySet[Notification]:
    """An account's notifications, newest first."""
    found = Notification.objects.filter(account_id=account_id).order_by("-id")
    return found.filter(read_at=None) if unread_only else found


def unread_count(account_id: str) -> int:
    """How many notifications wait for their owner."""
    return Notification.objects.filter(account_id=account_id, read_at=None).count()


def account_view(account_id: str) -> dict[str, Any]:
    """Free cash, what orders hold, positions at best bid else last price, and their sum less debt, as texts."""
    balance = cash.account_balance(account_id)
    positions_pips = selectors.positions_value(account_id)
    equity_pips = balance["cash_pips"] + balance["reserved_pips"] + positions_pips - balance["debt_pips"]
    return {
        "account_id": account_id,
        "cash": format_pips(balance["cash_pips"]),
        "reserved": format_pips(balance["reserved_pips"]),
        "positions_value": format_pips(positions_pips),
        "equity": format_pips(equity_pips),
        "debt": format_pips(balance["debt_pips"]),
        "fees_paid": format_pips(balance["fees_paid_pips"]),
        "as_of": balance["as_of"],
    }
