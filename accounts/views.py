"""The account pages: sign-up, sign-in, sign-out, and /account with money, API keys and notifications."""

import uuid
from typing import Any

from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.decorators import login_required
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView, LogoutView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render, resolve_url
from django.utils.decorators import method_decorator
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts import page_limits, services
from accounts.account_page import account_page
from accounts.authentication import principal_of_page
from accounts.forms import KeyForm, MoneyForm, SignUpForm, add_errors
from accounts.leaderboard import MEASURES, PERIODS, remembered_board
from accounts.models import User
from trading.api.errors import request_id_of
from trading.errors import ExchangeError
from trading.money import format_pips

PERIOD_LABELS = {"day": "Today", "week": "7 days", "all": "All time"}
MEASURE_LABELS = {"profit": "Profit", "volume": "Volume", "accuracy": "Accuracy"}
EXPLANATIONS = {
    "profit": "what trading has brought, fees taken off; shares still held do not count",
    "volume": "price times shares of everything bought and sold",
    "accuracy": "mean Brier score of the prices traded at, in resolved markets: 0 is perfect, 1 always wrong",
}
NOBODY = {
    "profit": "Whoever trades in this time shows up here.",
    "volume": "Whoever trades in this time shows up here.",
    "accuracy": "A market has to be resolved before anybody can have been right.",
}


@method_decorator(never_cache, name="dispatch")
class SignInView(LoginView):
    """Sign-in by name and password; `next` is followed only within this site."""

    template_name = "accounts/sign_in.html"
    redirect_authenticated_user = True

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not page_limits.sign_in_is_limited(request):
            return super().post(request, *args, **kwargs)
        context = self.get_context_data(form=AuthenticationForm(request), limited=page_limits.TOO_MANY)
        return self.render_to_response(context, status=429)


sign_in = SignInView.as_view()
sign_out = LogoutView.as_view()


@never_cache
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def sign_up(request: HttpRequest) -> HttpResponse:
    """A new user, signed in at once."""
    following = request.POST.get("next") or request.GET.get("next", "")
    if request.user.is_authenticated:
        return redirect(_safe(request, following))
    form = SignUpForm(request.POST or None)
    if request.method != "POST":
        return render(request, "accounts/sign_up.html", {"form": form, "next": following})
    if page_limits.sign_up_is_limited(request):
        context = {"form": form, "next": following, "limited": page_limits.TOO_MANY}
        return render(request, "accounts/sign_up.html", context, status=429)
    if form.is_valid():
        try:
            user = services.register(**form.cleaned_data)
        except ExchangeError as error:
            add_errors(form, error)
        else:
            login(request, user, backend="django.contrib.auth.backends.ModelBackend")
            return redirect(_safe(request, following))
    return render(request, "accounts/sign_up.html", {"form": form, "next": following}, status=400)


@login_required
@never_cache
@require_GET
def account(request: HttpRequest) -> HttpResponse:
    """What the user has: money, keys, news."""
    return account_page(request)


@login_required
@require_POST
def deposit(request: HttpRequest) -> HttpResponse:
    """Play money in."""
    return _move_money(request, "deposit")


@login_required
@require_POST
def withdraw(request: HttpRequest) -> HttpResponse:
    """Play money out."""
    return _move_money(request, "withdraw")


@login_required
@never_cache
@require_POST
def create_key(request: HttpRequest) -> HttpResponse:
    """A new API key, shown in this answer and never again: so there is no redirect."""
    user = _user(request)
    form = KeyForm(request.POST, is_staff=user.is_staff)
    if page_limits.account_form_is_limited(request):
        form.add_error(None, page_limits.TOO_MANY)
        return account_page(request, forms={"key_form": form}, status=429)
    if form.is_valid():
        try:
            issued = services.issue_key(user=user, by=principal_of_page(request), **form.cleaned_data)
        except ExchangeError as error:
            add_errors(form, error)
        else:
            return account_page(request, fresh_key=issued)
    return account_page(request, forms={"key_form": form}, status=400)


@login_required
@require_POST
def revoke_key(request: HttpRequest, key_id: uuid.UUID) -> HttpResponse:
    """End an API key."""
    try:
        services.revoke_key(user=_user(request), key_id=str(key_id), by=principal_of_page(request))
    except ExchangeError as error:
        messages.error(request, error.detail)
    else:
        messages.success(request, "The key is revoked.")
    return redirect("account")


@login_required
@require_POST
def read_notifications(request: HttpRequest) -> HttpResponse:
    """All notifications have been read."""
    services.mark_read(account_id=str(_user(request).account_id), ids=None)
    return redirect("account")


@require_GET
@never_cache
def leaderboard_page(request: HttpRequest) -> HttpResponse:
    """`/leaderboard`: open to all; a period or measure that there is not is the usual one."""
    period, by = request.GET.get("period", "all"), request.GET.get("by", "profit")
    period, by = period if period in PERIODS else "all", by if by in MEASURES else "profit"
    context = {
        "rows": remembered_board(period, by).rows,
        "own_account_id": str(_user(request).account_id) if request.user.is_authenticated else None,
        "period": period,
        "by": by,
        "periods": PERIOD_LABELS,
        "measures": MEASURE_LABELS,
        "title": MEASURE_LABELS[by],
        "explanation": EXPLANATIONS[by],
        "nobody": NOBODY[by],
    }
    return render(request, "accounts/leaderboard.html", context)


def _move_money(request: HttpRequest, kind: str) -> HttpResponse:
    form = MoneyForm(request.POST, prefix=kind)
    move = services.deposit if kind == "deposit" else services.withdraw
    if page_limits.account_form_is_limited(request):
        form.add_error(None, page_limits.TOO_MANY)
        return account_page(request, forms={f"{kind}_form": form}, status=429)
    if form.is_valid():
        try:
            answer = move(
                principal=principal_of_page(request),
                amount_pips=form.cleaned_data["amount"],
                client_id=form.cleaned_data["client_id"],
                request_id=request_id_of(request),
            )
        except ExchangeError as error:
            add_errors(form, error)
        else:
            messages.success(request, f"Done. You have ${format_pips(answer.cash_pips)} in free cash.")
            return redirect("account")
    # A refused id is used up, so the form that goes back to the user carries a new one.
    form.data = {**request.POST.dict(), form.add_prefix("client_id"): form["client_id"].initial}
    return account_page(request, forms={f"{kind}_form": form}, status=400)


def _user(request: HttpRequest) -> User:
    assert isinstance(request.user, User), "login_required stands above every caller"
    return request.user


def _safe(request: HttpRequest, target: str) -> str:
    """The target if it lies on this site, else the front page: nobody is sent elsewhere by a link to us."""
    if url_has_allowed_host_and_scheme(
        target, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    ):
        return target
    return resolve_url("/")
