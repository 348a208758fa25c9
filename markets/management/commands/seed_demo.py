"""`manage.py seed_demo`: the demo's markets. Run again, it adds what is missing and changes nothing else."""

from argparse import ArgumentParser
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from tqdm import tqdm

from markets.demo import DemoMarket, demo_markets
from markets.models import Market
from markets.new_market import checked_market
from markets.services import Actor, confirm_market, create_market
from trading.errors import ExchangeError
from trading.models import MarketState


class Command(BaseCommand):
    """Creates markets through the services, as the user `admin` or another superuser."""

    help = "Create the demo's markets on a running exchange, as far as they are not there yet."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--as", dest="username", default="admin", help="who creates them (default: %(default)s)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        actor = Actor(_user_id(options["username"]))
        made = 0
        with tqdm(demo_markets(), desc="demo markets", unit="market") as markets:
            for market in markets:
                try:
                    made += _seed(market, actor)
                except ExchangeError as error:
                    raise CommandError(f"{market.question!r}: {error.code}: {error.detail}") from error
        self.stdout.write(f"{made} of {len(demo_markets())} demo markets created")


def _seed(demo: DemoMarket, actor: Actor) -> bool:
    """Whether the market had to be made. One whose text is there without a state lost the engine's answer."""
    new = demo.new_market(timezone.now())
    listed = Market.objects.filter(question=demo.question).first()
    if listed is None:
        create_market(new, actor=actor)
        return True
    if MarketState.objects.filter(market_id=listed.market_id).exists():
        return False
    try:
        confirm_market(listed, checked_market(new, now=timezone.now()), actor=actor)
    except ExchangeError as error:
        # The engine has it already, and the read side is late.
        if error.code != "not_supported":
            raise
        return False
    return True


def _user_id(username: str) -> int:
    users = get_user_model().objects
    user = users.filter(username=username).first() or users.filter(is_superuser=True).order_by("pk").first()
    if user is None:
        raise CommandError("there is no superuser yet: run seed_users first")
    return int(user.pk)
