"""The resolver `price_feed`: the first price at or after a time, on which two readings in a row agree, decides.

BASE/SYMBOL answers {"symbol": "BTC-USD", "price": "64123.50", "time": "2027-01-31T12:00:00Z"}: the price is a string of
plain digits, the time RFC 3339. Two readings agree if the feed has moved on between them and both lie on the same side
of the threshold.
"""

import datetime as dt
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django import forms

from markets.resolvers.fields import (
    COMPARISONS,
    ComparisonField,
    MomentField,
    NumberField,
    OutcomeField,
    UrlField,
    decimal_of,
    moment_of,
)
from markets.resolvers.plugin import AskedMarket, Decision, NotYet, Resolver, SettingsForm
from markets.resolvers.reading import Reading, read_json
from trading.jobs import GiveUp

BETWEEN_S = 10.0
"""From one reading to the next."""

AHEAD = dt.timedelta(seconds=5)
"""By how much a feed's clock may be ahead of ours."""


class PriceFeedForm(SettingsForm):
    """Which price, what it is compared with, and from when on it counts."""

    base_url = UrlField(
        label="Base URL",
        help_text="The symbol is put behind it. Part of the evidence, which everybody may read: no secrets in it.",
    )
    symbol = forms.RegexField(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,31}\Z", help_text="Such as BTC-USD")
    comparison = ComparisonField(help_text="The price …")
    threshold = NumberField(help_text="… compared with this number; both are exact.")
    at = MomentField(
        required=False,
        label="At or after",
        help_text="The first price from then on counts, such as of 2027-01-31T12:00:00Z; empty: from the market's "
        "closing time on.",
    )
    max_age_s = forms.IntegerField(
        min_value=1,
        max_value=86_400,
        initial=60,
        label="Oldest price",
        help_text="In seconds; one that is older is stale and does not count.",
    )
    outcome_if_true = OutcomeField()
    outcome_if_false = OutcomeField()

    def clean_base_url(self) -> str:
        url = self.cleaned_data["base_url"]
        if "?" in url or "#" in url:
            raise forms.ValidationError("Must have no query and no fragment.")
        return url.rstrip("/")

    def clean(self) -> dict[str, Any]:
        given = self.cleaned_data
        if not self.errors and given["outcome_if_true"] == given["outcome_if_false"]:
            raise forms.ValidationError("The two outcomes must differ.")
        return given


@dataclass(frozen=True, slots=True)
class Quote:
    """What the feed says: the price as it wrote it, and the moment it is of."""

    price: str
    time: dt.datetime


class PriceFeed(Resolver):
    """Reads a feed twice; the price decides."""

    name = "price_feed"
    title = "A price at or after a time, compared with a threshold"
    form = PriceFeedForm

    def decide(self, settings: Mapping[str, Any], market: AskedMarket, now: dt.datetime) -> Decision | NotYet:
        counts_from = moment_of(settings["at"]) or market.closes_at
        if now < counts_from:
            waits_s = (counts_from - now).total_seconds()
            return NotYet(f"prices count from {counts_from.isoformat()} on", retry_in_s=waits_s)
        reading = read_json(f"{settings['base_url']}/{settings['symbol']}", now)
        if isinstance(reading, NotYet):
            return reading
        quote = quote_of(reading.document, settings["symbol"])
        oldest = reading.read_at - dt.timedelta(seconds=settings["max_age_s"])
        fault = _fault(quote, reading.read_at, counts_from=counts_from, oldest=oldest)
        if fault is not None:
            return NotYet(fault, retry_in_s=BETWEEN_S)
        if not market.kept and quote.time > counts_from + dt.timedelta(seconds=settings["max_age_s"]):
            raise GiveUp(
                f"the price of {quote.time.isoformat()} is not the first one from {counts_from.isoformat()} on: "
                "that was missed"
            )
        return _agreed(settings, market.kept, quote, reading)


def quote_of(document: Any, symbol: str) -> Quote:
    """Raises GiveUp for a document that has not the feed's form, or is of another symbol."""
    if type(document) is not dict:
        raise GiveUp("the feed's answer is no object")
    price, time = document.get("price"), moment_of(document.get("time"))
    if document.get("symbol") != symbol:
        raise GiveUp(f"the feed's answer is not of the symbol {symbol}")
    if type(price) is not str or decimal_of(price) is None:
        raise GiveUp("the feed's price is no string of plain digits")
    if time is None:
        raise GiveUp("the feed's time is no moment such as 2027-01-31T12:00:00Z")
    return Quote(price, time)


def _fault(
    quote: Quote, read_at: dt.datetime, *, counts_from: dt.datetime, oldest: dt.datetime
) -> str | None:
    """Why a price does not count; None if it does."""
    if quote.time > read_at + AHEAD:
        return f"the price is of {quote.time.isoformat()}, which is in the future"
    if quote.time < oldest:
        return f"the price is of {quote.time.isoformat()}, which is stale"
    if quote.time < counts_from:
        return f"the price is of {quote.time.isoformat()}, before {counts_from.isoformat()}"
    return None


def _agreed(
    settings: Mapping[str, Any], first: Mapping[str, Any], quote: Quote, reading: Reading
) -> Decision | NotYet:
    """A decision if the reading before says the same; else this one is the first of two."""
    sign, threshold = settings["comparison"], settings["threshold"]
    is_so = COMPARISONS[sign](Decimal(quote.price), Decimal(threshold))
    outcome = settings["outcome_if_true" if is_so else "outcome_if_false"]
    first_time = moment_of(first.get("time"))
    if first_time == quote.time and first.get("outcome") == outcome:
        return NotYet(f"the feed still says {quote.price}", retry_in_s=BETWEEN_S, kept=first)
    if first_time is None or first_time > quote.time or first.get("outcome") != outcome:
        kept = {
            "outcome": outcome,
            "price": quote.price,
            "time": quote.time.isoformat(),
            "sha256": hashlib.sha256(reading.body).hexdigest(),
        }
        return NotYet(f"{quote.price} means {outcome}; a second reading has to agree", BETWEEN_S, kept)
    because = (
        f"{settings['symbol']} was {first['price']} at {first['time']} (body with SHA-256 {first['sha256']}) and "
        f"{quote.price} at {quote.time.isoformat()}, both {'' if is_so else 'not '}{sign} {threshold}."
    )
    return Decision(outcome, because, reading.evidence(quote.price))
