"""Template filters for figures, and the tags that base.html needs; loadable by every page of the site."""

import datetime as dt

from django import template
from django.conf import settings
from django.template.context import RequestContext
from django.utils import timezone
from django.utils.dateformat import format as date_format
from django.utils.safestring import SafeString, mark_safe

from markets import figures

register = template.Library()

register.filter("price", figures.price_text)
register.filter("money", figures.money_text)
register.filter("signed_money", figures.signed_money_text)
register.filter("compact_money", figures.compact_money_text)
register.filter("chance", figures.chance_text)
register.filter("change", figures.change_text)
register.filter("rate", figures.rate_text)


@register.filter
def distance(moment: dt.datetime) -> str:
    """ "in 3 days", "2 min ago"."""
    return figures.distance_text(moment, timezone.now())


@register.filter
def moment(at_us: int, form: str) -> str:
    """Microseconds since the epoch as a date, in the form of Django's `date` filter."""
    return date_format(dt.datetime.fromtimestamp(at_us // 1_000_000, dt.UTC), form)


@register.filter
def bar_width(pips: int | None) -> str:
    """A price as the width of a bar, in percent: an SVG attribute, since inline styles are not allowed."""
    return "0" if pips is None else f"{pips // 100}.{pips % 100:02d}%"


@register.filter
def trend(pips: int | None) -> str:
    """The class of a gain or a loss."""
    return "" if not pips else "up" if pips > 0 else "down"


@register.simple_tag
def ws_port() -> int:
    """Where the sockets are; the page's host is the same."""
    return settings.WS_PORT


@register.simple_tag(takes_context=True)
def current_page(context: RequestContext, *paths: str) -> SafeString | str:
    """The aria-current attribute where the request's path is one of these, or below one that ends in a slash."""
    path = context["request"].path if "request" in context else ""
    here = any(
        path == each or (len(each) > 1 and each.endswith("/") and path.startswith(each)) for each in paths
    )
    return mark_safe(' aria-current="page"') if here else ""
