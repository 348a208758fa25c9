"""Sign-ins from new places: a browser and a network from which a user has not signed in before.

Of a place only a hash is kept, keyed with SECRET_KEY and the user, since addresses alone are few enough to be guessed.
The first sign-in ever tells nothing, because to nobody it would be news. A network is a /24 or a /48: providers change
the rest.
"""

import datetime as dt
import ipaddress

from django.db import transaction
from django.utils import timezone
from django.utils.crypto import salted_hmac

from accounts.client_ip import parse_address
from accounts.models import KnownPlace, User
from accounts.notifications import texts
from accounts.notifications.writing import tell

# Whoever pretends to be another comes first: Edge and Opera say Chrome too, and Chrome says Safari.
_BROWSERS = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("CriOS/", "Chrome"),
    ("Chromium/", "Chrome"),
    ("Safari/", "Safari"),
    ("curl/", "curl"),
)
KEPT = dt.timedelta(days=400)


def browser_of(user_agent: str) -> str:
    """The family of a User-Agent header."""
    return next((name for mark, name in _BROWSERS if mark in user_agent), "another browser")


def network_of(ip: str | None) -> str:
    """The /24 or /48 of an address."""
    address = parse_address(ip)
    if address is None:
        return "an unknown network"
    prefix = 24 if address.version == 4 else 48
    return str(ipaddress.ip_network(f"{address}/{prefix}", strict=False))


@transaction.atomic
def note_sign_in(user: User, *, user_agent: str, ip: str | None) -> None:
    """Remember the place, and tell the user of it if it is new and not the first."""
    if user.is_simulated:
        return
    browser, network = browser_of(user_agent), network_of(ip)
    digest = salted_hmac(
        "accounts.known_place", f"{user.pk}|{browser}|{network}", algorithm="sha256"
    ).digest()
    now = timezone.now()
    has_others = KnownPlace.objects.filter(user=user).exists()
    place, is_new = KnownPlace.objects.get_or_create(
        user=user, place_hash=digest, defaults={"first_seen_at": now, "last_seen_at": now}
    )
    if not is_new:
        KnownPlace.objects.filter(pk=place.pk).update(last_seen_at=now)
        return
    if has_others:
        at_us = int(now.timestamp() * 1_000_000)
        tell(
            [
                texts.sign_in(
                    str(user.account_id), browser=browser, network=network, place_id=place.pk, at_us=at_us
                )
            ]
        )


def forget_old() -> int:
    """Forget places not seen for over a year: they count as new again. Answers how many."""
    return KnownPlace.objects.filter(last_seen_at__lt=timezone.now() - KEPT).delete()[0]
