"""The forms of the notifications' part of /account, and the pages behind the links in e-mails."""

import uuid

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_POST

from accounts import page_limits
from accounts.account_page import account_page
from accounts.forms import EmailForm, WebhookForm, add_errors
from accounts.models import NotificationPreferences, User
from accounts.notifications import addresses, alerts, preferences, unsubscribe, webhooks
from trading.errors import ExchangeError, NotFound

PART = "/account#channels"


@login_required
@require_POST
def change_preferences(request: HttpRequest) -> HttpResponse:
    """The whole grid: a box that is not ticked is not sent."""
    cells = {
        kind: {channel: f"{kind}.{channel}" in request.POST for channel in preferences.channels_of(kind)}
        for kind in preferences.KINDS
    }
    digest = request.POST.get("digest")
    if digest not in NotificationPreferences.Digest.values:
        digest = None
    preferences.change(_account_id(request), cells=cells, digest=digest)
    messages.success(request, "Your choices are saved.")
    return redirect(PART)


@login_required
@never_cache
@require_POST
def change_email(request: HttpRequest) -> HttpResponse:
    """Where e-mails go."""
    form = EmailForm(request.POST)
    if page_limits.account_form_is_limited(request):
        form.add_error(None, page_limits.TOO_MANY)
        return account_page(request, forms={"email_form": form}, status=429)
    if form.is_valid():
        try:
            addresses.set_address(_user(request), form.cleaned_data["email"])
        except ExchangeError as error:
            add_errors(form, error)
        else:
            messages.success(request, "Saved. A new address gets a mail with a link that confirms it.")
            return redirect(PART)
    return account_page(request, forms={"email_form": form}, status=400)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def confirm_email(request: HttpRequest, token: str) -> HttpResponse:
    """The link of a question mail. Programs follow links by themselves, so only the button confirms."""
    try:
        _, email = addresses.read_token(token)
        if request.method == "POST":
            addresses.confirm(token)
    except NotFound as error:
        return render(request, "accounts/email_link.html", {"failure": error.detail}, status=404)
    context = {
        "heading": "Confirm your address",
        "question": f"Notifications will go to {email}.",
        "button": "Confirm",
        "done": f"{email} is confirmed." if request.method == "POST" else None,
    }
    return render(request, "accounts/email_link.html", context)


@csrf_exempt  # Mail programs send it without having seen a page of ours (RFC 8058); the link is the proof.
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def unsubscribe_link(request: HttpRequest, token: str) -> HttpResponse:
    """The link that ends e-mails, for people and, by one POST, for mail programs."""
    try:
        subscription = unsubscribe.read_token(token)
    except NotFound as error:
        return render(request, "accounts/email_link.html", {"failure": error.detail}, status=404)
    if request.method == "POST":
        preferences.end_email(subscription.account_id, subscription.kind)
    context = {
        "heading": "No more e-mails",
        "question": f"This ends {subscription.text}. In the app you are still told.",
        "button": "Unsubscribe",
        "done": f"You will get no more of {subscription.text}." if request.method == "POST" else None,
    }
    return render(request, "accounts/email_link.html", context)


@login_required
@require_POST
def delete_alert(request: HttpRequest, alert_id: uuid.UUID) -> HttpResponse:
    """End a price alert."""
    try:
        alerts.delete_alert(account_id=_account_id(request), alert_id=str(alert_id))
    except ExchangeError as error:
        messages.error(request, error.detail)
    return redirect("/account#alerts")


@login_required
@never_cache
@require_POST
def create_webhook(request: HttpRequest) -> HttpResponse:
    """A new endpoint, its secret shown in this answer and never again: so there is no redirect."""
    form = WebhookForm(request.POST)
    if page_limits.account_form_is_limited(request):
        form.add_error(None, page_limits.TOO_MANY)
        return account_page(request, forms={"webhook_form": form}, status=429)
    if form.is_valid():
        try:
            made = webhooks.create(user=_user(request), **form.cleaned_data)
        except ExchangeError as error:
            add_errors(form, error)
        else:
            return account_page(request, fresh_webhook=made)
    return account_page(request, forms={"webhook_form": form}, status=400)


@login_required
@never_cache
@require_POST
def act_on_webhook(request: HttpRequest, webhook_id: uuid.UUID, action: str) -> HttpResponse:
    """What the buttons beside an endpoint do."""
    account_id, identifier = _account_id(request), str(webhook_id)
    try:
        if action == "secret":
            rotated = webhooks.rotate_secret(account_id=account_id, webhook_id=identifier)
            return account_page(request, fresh_webhook=rotated)
        if action == "test":
            webhooks.send_test(account_id=account_id, webhook_id=identifier)
            messages.success(request, "A test is on its way; reload to see how it went.")
        elif action in ("on", "off"):
            webhooks.change(account_id=account_id, webhook_id=identifier, is_on=action == "on")
        elif action == "delete":
            webhooks.delete(account_id=account_id, webhook_id=identifier)
        else:
            raise Http404
    except ExchangeError as error:
        messages.error(request, error.detail)
    return redirect("/account#webhooks")


def _account_id(request: HttpRequest) -> str:
    return str(_user(request).account_id)


def _user(request: HttpRequest) -> User:
    assert isinstance(request.user, User), "login_required stands above every caller"
    return request.user
