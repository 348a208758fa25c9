"""`manage.py seed_users`: the first users. Run again, it changes nothing."""

import os

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from accounts.models import User, username_validator
from trading import cash
from trading.money import PIPS_PER_DOLLAR

DEMO_PASSWORD = "demo-pmarket"  # noqa: S105  (public on purpose: the demo prints it)
DEMO_TRADERS = ("alice", "bob")
DEMO_CASH_PIPS = 1_000 * PIPS_PER_DOLLAR


class Command(BaseCommand):
    """With DEMO the demo's users, whose password everybody knows, its traders with some cash; else one superuser."""

    help = "Create the demo's users (DEMO=1), or the superuser ADMIN_USERNAME with ADMIN_PASSWORD (DEMO=0)."

    def handle(self, *args: object, **options: object) -> None:
        if settings.DEMO:
            self._seed("admin", DEMO_PASSWORD, is_superuser=True)
            for name in DEMO_TRADERS:
                self._seed(name, DEMO_PASSWORD, is_superuser=False)
                account_id = str(User.objects.get(username__iexact=name).account_id)
                cash.deposit(
                    account_id=account_id, amount_pips=DEMO_CASH_PIPS, client_id="demo", actor="system"
                )
            return
        name, password = os.environ.get("ADMIN_USERNAME", ""), os.environ.get("ADMIN_PASSWORD", "")
        if name and password:
            self._seed(name, password, is_superuser=True)
        elif User.objects.filter(is_superuser=True).exists():
            self.stdout.write("a superuser exists")
        else:
            raise CommandError("DEMO=0 needs ADMIN_USERNAME and ADMIN_PASSWORD for the first superuser")

    def _seed(self, username: str, password: str, *, is_superuser: bool) -> None:
        try:
            username_validator(username)
        except ValidationError as error:
            raise CommandError(f"the username {username!r} will not do: {' '.join(error.messages)}") from None
        if User.objects.filter(username__iexact=username).exists():
            self.stdout.write(f"{username}: exists")
            return
        create = User.objects.create_superuser if is_superuser else User.objects.create_user
        create(username, "", password)
        self.stdout.write(f"{username}: created")
