"""`manage.py create_api_key USER --scopes read,trade`: prints a new key, this once."""

from argparse import ArgumentParser

from django.core.management.base import BaseCommand, CommandError

from accounts.models import User
from accounts.services import KEY_LIFETIME_DAYS, MAX_KEY_LIFETIME_DAYS, issue_key
from trading.errors import ExchangeError
from trading.principal import SCOPES


class Command(BaseCommand):
    """Makes a key on the operator's word; the key alone goes to standard output."""

    help = "Create an API key for a user and print it, this once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("user", metavar="USER", help="the username")
        parser.add_argument("--scopes", default="read,trade", help=f"comma-separated, of {', '.join(SCOPES)}")
        parser.add_argument("--name", default="command line")
        parser.add_argument("--days", type=int, default=KEY_LIFETIME_DAYS, help="until it expires")

    def handle(self, *args: object, user: str, scopes: str, name: str, days: int, **options: object) -> None:
        wanted = [scope.strip() for scope in scopes.split(",") if scope.strip()]
        unknown = [scope for scope in wanted if scope not in SCOPES]
        if unknown or not wanted:
            raise CommandError(f"scopes are {', '.join(SCOPES)}; not {scopes!r}")
        if not 1 <= days <= MAX_KEY_LIFETIME_DAYS:
            raise CommandError(f"--days must be 1 to {MAX_KEY_LIFETIME_DAYS}")
        owner = User.objects.filter(username__iexact=user).first()
        if owner is None:
            raise CommandError(f"there is no user {user!r}")
        try:
            issued = issue_key(user=owner, name=name, scopes=wanted, expires_in_days=days)
        except ExchangeError as error:
            raise CommandError(error.detail) from None
        self.stdout.write(issued.secret)
