"""The forms of the account pages. They check shape; services judge the rest and name the fields that will not do."""

from typing import Any

from django import forms

from accounts.models import USERNAME_RULE
from accounts.notifications.texts import ABOUT
from accounts.services import KEY_LIFETIME_DAYS, MAX_KEY_LIFETIME_DAYS
from trading.cash import MAX_AMOUNT_PIPS
from trading.errors import ExchangeError
from trading.ids import new_id
from trading.money import format_pips, parse_pips
from trading.outside.address import MAX_URL
from trading.principal import ADMIN, READ, SCOPES, TRADE


class PipsField(forms.CharField):
    """An amount of money with at most four decimals; pips inside."""

    widget = forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"})

    def clean(self, value: Any) -> int:
        text = super().clean(value).removeprefix("$").replace(",", "")
        try:
            pips = parse_pips(text)
        except ValueError as error:
            raise forms.ValidationError(f"The amount {error}.") from None
        if not 1 <= pips <= MAX_AMOUNT_PIPS:
            raise forms.ValidationError(f"The amount must be 0.0001 to {format_pips(MAX_AMOUNT_PIPS)}.")
        return pips


class SignUpForm(forms.Form):
    """A new user."""

    username = forms.CharField(
        max_length=64, help_text=USERNAME_RULE, widget=forms.TextInput(attrs={"autocomplete": "username"})
    )
    password = forms.CharField(
        max_length=256,
        strip=False,
        help_text="At least 8 characters, and not one of the common ones.",
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )


class MoneyForm(forms.Form):
    """A deposit or a withdrawal; its id makes a form that is sent twice move money once."""

    amount = PipsField(max_length=32)
    client_id = forms.RegexField(
        r"\A[A-Za-z0-9_.:-]{1,64}\Z", initial=lambda: f"page:{new_id()}", widget=forms.HiddenInput
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["amount"].label = f"{str(self.prefix).capitalize()}, in $"


class KeyForm(forms.Form):
    """A new API key."""

    name = forms.CharField(max_length=100, widget=forms.TextInput(attrs={"autocomplete": "off"}))
    scopes = forms.MultipleChoiceField(
        choices=[(scope, scope) for scope in SCOPES],
        initial=[READ, TRADE],
        widget=forms.CheckboxSelectMultiple,
    )
    expires_in_days = forms.IntegerField(
        min_value=1, max_value=MAX_KEY_LIFETIME_DAYS, initial=KEY_LIFETIME_DAYS, label="Expires in days"
    )

    def __init__(self, *args: Any, is_staff: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        offered = [scope for scope in SCOPES if scope != ADMIN or is_staff]
        scopes = self.fields["scopes"]
        assert isinstance(scopes, forms.MultipleChoiceField)
        scopes.choices = [(scope, scope) for scope in offered]


class EmailForm(forms.Form):
    """Where e-mails go."""

    email = forms.EmailField(
        max_length=254,
        required=False,
        label="E-mail address",
        widget=forms.EmailInput(attrs={"autocomplete": "email"}),
    )


class WebhookForm(forms.Form):
    """A new endpoint."""

    url = forms.CharField(
        max_length=MAX_URL, label="URL", widget=forms.URLInput(attrs={"placeholder": "https://"})
    )
    kinds = forms.MultipleChoiceField(
        choices=[(str(kind), label) for kind, label in ABOUT.items()],
        initial=[str(kind) for kind in ABOUT],
        widget=forms.CheckboxSelectMultiple,
    )


def add_errors(form: forms.Form, error: ExchangeError) -> None:
    """Show what a service refused at the fields it names, or above the form."""
    if not error.errors:
        form.add_error(None, error.detail)
        return
    for field, texts in error.errors.items():
        for text in texts:
            form.add_error(field if field in form.fields else None, text)
