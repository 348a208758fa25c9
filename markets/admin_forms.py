"""The forms of the market admin. They read fields; what will do is for markets.new_market and the services to say."""

from itertools import chain
from typing import Any

from django import forms
from django.contrib.admin.widgets import AdminSplitDateTime, AdminTextareaWidget, AdminTextInputWidget
from django.utils import timezone

from markets import resolutions, services
from markets.models import CATEGORY_MAX, QUESTION_MAX, TEXT_MAX
from markets.new_market import NewMarket, checked_market
from markets.resolvers.registry import resolvers
from markets.selectors import Listing
from markets.services import REASON_MAX, Actor, Change
from trading.errors import ExchangeError, InvalidRequest
from trading.money import parse_pips


class PipsField(forms.CharField):
    """A price, fee or pay-out with at most four decimals; pips inside, None if left empty."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=12, widget=AdminTextInputWidget(attrs={"inputmode": "decimal"}), **kwargs)

    def clean(self, value: Any) -> int | None:
        text = super().clean(value)
        if not text:
            return None
        try:
            return parse_pips(text)
        except ValueError as error:
            raise forms.ValidationError(f"This {error}.") from None


class NewMarketForm(forms.Form):
    """A market to be created."""

    question = forms.CharField(max_length=QUESTION_MAX, widget=AdminTextInputWidget(attrs={"size": 90}))
    category = forms.CharField(max_length=CATEGORY_MAX)
    outcomes = forms.CharField(
        widget=AdminTextareaWidget(attrs={"rows": 4}),
        initial="Yes\nNo",
        help_text="One a line, 2 to 50 of them.",
    )
    resolution_criteria = forms.CharField(
        max_length=TEXT_MAX, widget=AdminTextareaWidget(), help_text="What decides, and by which source."
    )
    description = forms.CharField(max_length=TEXT_MAX, required=False, widget=AdminTextareaWidget())
    closes_at = forms.SplitDateTimeField(widget=AdminSplitDateTime(), help_text="UTC")
    opens_at = forms.SplitDateTimeField(
        widget=AdminSplitDateTime(), required=False, help_text="UTC; at once if left out"
    )
    tick = PipsField(initial="0.0100")
    taker_fee = PipsField(initial="0.0000", help_text='"0.0700" is 7 % of p × (1 − p) a share')
    maker_fee = PipsField(initial="0.0000")
    resolver = forms.ChoiceField(
        required=False,
        choices=lambda: [
            ("", "none: staff decides"),
            *((each.name, each.title) for each in resolvers().values()),
        ],
        help_text="What finds out how it ends; configured on the next page.",
    )

    def clean(self) -> dict[str, Any]:
        if not self.errors:
            try:
                checked_market(self.new_market(), now=timezone.now())
            except InvalidRequest as error:
                add_errors(self, error)
        return self.cleaned_data

    def new_market(self) -> NewMarket:
        """What the fields say."""
        given = self.cleaned_data
        return NewMarket(
            question=given["question"],
            description=given["description"],
            resolution_criteria=given["resolution_criteria"],
            category=given["category"],
            outcomes=tuple(name for name in given["outcomes"].splitlines() if name.strip()),
            closes_at=given["closes_at"],
            opens_at=given["opens_at"],
            tick_pips=given["tick"],
            taker_fee_e4=given["taker_fee"],
            maker_fee_e4=given["maker_fee"],
        )


class CommandForm(forms.Form):
    """What has to be said for one command about one market. `done` tells what has become of the market."""

    done = ""

    def __init__(self, row: Listing, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.row = row

    def submit(self, actor: Actor) -> Change:
        """Send the command. Raises ExchangeError."""
        raise NotImplementedError


class SuspendForm(CommandForm):
    """Why trading stops for a while."""

    done = "suspended"
    code = forms.ChoiceField(choices=[(code, code.capitalize()) for code in services.SUSPENSION_CODES])
    reason = forms.CharField(
        max_length=REASON_MAX, required=False, widget=AdminTextInputWidget(attrs={"size": 90})
    )

    def submit(self, actor: Actor) -> Change:
        given = self.cleaned_data
        return services.suspend(self.row.market_id, reason=given["reason"], code=given["code"], actor=actor)


class ResumeForm(CommandForm):
    """How trading begins again."""

    done = "open again"
    phase = forms.ChoiceField(
        required=False,
        label="At first",
        choices=[
            ("", "everything at once"),
            ("cancel_only", "cancels only"),
            ("post_only", "orders that do not trade"),
        ],
    )
    phase_seconds = forms.IntegerField(
        required=False, min_value=1, max_value=services.PHASE_MAX_S, label="for so many seconds"
    )

    def submit(self, actor: Actor) -> Change:
        given = self.cleaned_data
        return services.resume(
            self.row.market_id, phase=given["phase"], phase_s=given["phase_seconds"] or 0, actor=actor
        )


class ResolveForm(CommandForm):
    """Which outcome has come true, or what each of them pays."""

    done = "being settled"
    winner = forms.ChoiceField(widget=forms.RadioSelect, required=False)
    evidence = forms.CharField(
        max_length=TEXT_MAX,
        widget=AdminTextareaWidget(),
        help_text="Sources and reasons, for everybody to read.",
    )

    def __init__(self, row: Listing, *args: Any, **kwargs: Any) -> None:
        super().__init__(row, *args, **kwargs)
        winner = self.fields["winner"]
        assert isinstance(winner, forms.ChoiceField)
        winner.choices = [*((name, name) for name in row.outcomes), ("", "none alone: they pay as below")]
        for index, name in enumerate(row.outcomes):
            self.fields[f"payout_{index}"] = PipsField(required=False, label=f"A share of {name} pays $")

    def clean(self) -> dict[str, Any]:
        if not self.errors:
            try:
                resolutions.payout_vector(self.row.outcomes, **self._choice)
            except InvalidRequest as error:
                self.add_error(
                    None, " ".join(chain.from_iterable((error.errors or {}).values())) or error.detail
                )
        return self.cleaned_data

    def submit(self, actor: Actor) -> Change:
        return resolutions.resolve(
            self.row, **self._choice, evidence=self.cleaned_data["evidence"], actor=actor
        )

    @property
    def _choice(self) -> dict[str, Any]:
        """`outcome` and `payouts` as resolutions.resolve takes them; both or neither is its to refuse."""
        payouts = {
            name: self.cleaned_data[f"payout_{index}"]
            for index, name in enumerate(self.row.outcomes)
            if self.cleaned_data[f"payout_{index}"] is not None
        }
        return {"outcome": self.cleaned_data["winner"] or None, "payouts": payouts or None}


class ProposeForm(ResolveForm):
    """How the market should end; others have to agree."""

    done = "proposed to end so"
    voids = forms.BooleanField(required=False, label="Void: give back what was paid in, fees included")
    field_order = ("winner",)

    def clean(self) -> dict[str, Any]:
        return self.cleaned_data if self.cleaned_data.get("voids") else super().clean()

    def submit(self, actor: Actor) -> Change:
        voids = self.cleaned_data["voids"]
        choice: dict[str, Any] = {} if voids else self._choice
        evidence = self.cleaned_data["evidence"]
        return resolutions.propose(self.row, **choice, voids=voids, evidence=evidence, actor=actor)


class ReasonForm(forms.Form):
    """Why a proposal is withdrawn."""

    reason = forms.CharField(max_length=TEXT_MAX)


class EvidenceForm(forms.Form):
    """Why a result is undone."""

    evidence = forms.CharField(max_length=TEXT_MAX)


class VoidForm(CommandForm):
    """Why a market is unwound."""

    done = "being unwound"
    evidence = forms.CharField(max_length=TEXT_MAX, widget=AdminTextareaWidget(), label="Reason")

    def submit(self, actor: Actor) -> Change:
        return resolutions.void(self.row, evidence=self.cleaned_data["evidence"], actor=actor)


COMMAND_FORMS: dict[str, type[CommandForm]] = {
    "suspend": SuspendForm,
    "resume": ResumeForm,
    "propose": ProposeForm,
    "resolve": ResolveForm,
    "void": VoidForm,
}


def first_error(form: forms.Form) -> str:
    """What is wrong with a form of a field or two, in one line."""
    return " ".join(f"{field.capitalize()}: {texts[0]}" for field, texts in form.errors.items())


def add_errors(form: forms.Form, error: ExchangeError) -> None:
    """Put what was refused at the fields it names, or above the form."""
    if not error.errors:
        form.add_error(None, f"{error.title} {error.detail}")
        return
    for field, texts in error.errors.items():
        for text in texts:
            form.add_error(field if field in form.fields else None, text)
