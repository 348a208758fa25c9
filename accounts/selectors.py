"""Reads of accounts: keys, notifications, and an account's money in one view."""

from typing import Any, NamedTuple

from django.db import connection
from django.db.models import QuerySet

from accounts.models import ApiKey, Notification, User
from trading import cash, selectors
from trading.eventlog.read import read_creations
from trading.money import format_pips
from trading.selectors.ledger import LedgerEntry, ledger_page

ENTRY_TITLES = {
    "deposit": "Deposit",
    "withdrawal": "Withdrawal",
    "order_reserved": "Reserved for an order",
    "order_released": "Back from an order",
    "trade": "Trade",
    "payout": "Pay-out",
    "refund": "Refund",
    "take_back": "Taken back",
    "reversal": "Resolution undone",
}


class AccountFigures(NamedTuple):
    """An account's money in pips, and what it reflects."""

    cash_pips: int
    reserved_pips: int
    positions_pips: int
    equity_pips: int
    debt_pips: int
    fees_paid_pips: int
    as_of: str


class ShownEntry(NamedTuple):
    """A change of cash as the account page words it."""

    title: str
    entry: LedgerEntry
    question: str | None


def keys_of(user: User) -> QuerySet[ApiKey]:
    """A user's keys, newest first, without the revoked ones."""
    return ApiKey.objects.filter(user=user, revoked_at=None).order_by("-id")


def notifications_of(account_id: str, *, unread_only: bool = False) -> QuerySet[Notification]:
    """An account's notifications, newest first."""
    found = Notification.objects.filter(account_id=account_id, in_app=True).order_by("-id")
    return found.filter(read_at=None) if unread_only else found


def unread_count(account_id: str) -> int:
    """How many notifications wait for their owner."""
    return Notification.objects.filter(account_id=account_id, in_app=True, read_at=None).count()


def account_figures(account_id: str) -> AccountFigures:
    """Free cash, what orders hold, positions at best bid else last price, and their sum less debt."""
    balance = cash.balance_with_positions(account_id)
    positions_pips = selectors.positions_value(account_id)
    return AccountFigures(
        balance["cash_pips"],
        balance["reserved_pips"],
        positions_pips,
        cash.equity_pips(balance, positions_pips),
        balance["debt_pips"],
        balance["fees_paid_pips"],
        balance["as_of"],
    )


def account_view(account_id: str) -> dict[str, Any]:
    """The same as texts."""
    *amounts, as_of = account_figures(account_id)
    names = ("cash", "reserved", "positions_value", "equity", "debt", "fees_paid")
    texts = {name: format_pips(pips) for name, pips in zip(names, amounts, strict=True)}
    return {"account_id": account_id, **texts, "as_of": as_of}


def newest_entries(account_id: str, limit: int) -> list[ShownEntry]:
    """The newest changes of an account's cash, with the questions of their markets."""
    entries = ledger_page(account_id, limit=limit, cursor=None).rows
    market_ids = sorted({entry.market_id for entry in entries if entry.market_id is not None})
    created: dict[str, dict[str, Any]] = {}
    if market_ids:
        with connection.cursor() as cursor:
            created = read_creations(cursor, market_ids)
    return [
        ShownEntry(ENTRY_TITLES[entry.kind], entry, created.get(entry.market_id or "", {}).get("question"))
        for entry in entries
    ]
