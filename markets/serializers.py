"""Request bodies of the catalogue API, taken strictly, and the shapes of its answers for the OpenAPI document."""

import datetime as dt
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from markets.models import OUTCOME_NAME_MAX, OUTCOMES_MAX, OUTCOMES_MIN, QUESTION_MAX, QUESTION_MIN, TEXT_MAX
from markets.new_market import DEFAULT_TICK_PIPS, MAX_FEE_E4, NewMarket
from markets.resolution_reads import STATUSES as RESOLUTION_STATUSES
from markets.resolutions import OBJECTION_MAX
from markets.selectors import STATUSES
from markets.services import OPERATOR, PHASE_MAX_S, PHASES, REASON_MAX, SUSPENSION_CODES
from trading.api.strict import (
    PipsField,
    StrictBooleanField,
    StrictCharField,
    StrictIntegerField,
    StrictSerializer,
)
from trading.moments import EXAMPLE, read_moment
from trading.money import SHARE_PIPS


@extend_schema_field(OpenApiTypes.DATETIME)
class MomentField(serializers.Field):
    """An RFC 3339 time with its offset from UTC."""

    default_error_messages = {"invalid": f"Must be an RFC 3339 time such as {EXAMPLE}."}

    def to_internal_value(self, data: Any) -> dt.datetime:
        try:
            return read_moment(data)
        except ValueError:
            self.fail("invalid")


class MarketRequestSerializer(StrictSerializer):
    """POST /markets. What the words and terms must be like is checked in markets.new_market."""

    question = StrictCharField(min_length=QUESTION_MIN, max_length=QUESTION_MAX)
    description = StrictCharField(max_length=TEXT_MAX, allow_blank=True, default="")
    resolution_criteria = StrictCharField(max_length=TEXT_MAX)
    category = StrictCharField()
    outcomes = serializers.ListField(
        child=StrictCharField(max_length=OUTCOME_NAME_MAX), min_length=OUTCOMES_MIN, max_length=OUTCOMES_MAX
    )
    closes_at = MomentField()
    opens_at = MomentField(required=False, allow_null=True, default=None)
    tick = PipsField(min_pips=1, max_pips=SHARE_PIPS - 1, default=DEFAULT_TICK_PIPS)
    taker_fee = PipsField(max_pips=MAX_FEE_E4, default=0)
    maker_fee = PipsField(max_pips=MAX_FEE_E4, default=0)

    def new_market(self) -> NewMarket:
        """The body as services take it."""
        body = self.validated_data
        return NewMarket(
            question=body["question"],
            description=body["description"],
            resolution_criteria=body["resolution_criteria"],
            category=body["category"],
            outcomes=tuple(body["outcomes"]),
            closes_at=body["closes_at"],
            opens_at=body["opens_at"],
            tick_pips=body["tick"],
            # A fee of "0.0700" is 700 ten-thousandths, as a price of "0.0700" is 700 pips.
            taker_fee_e4=body["taker_fee"],
            maker_fee_e4=body["maker_fee"],
        )


class SuspendRequestSerializer(StrictSerializer):
    """POST /markets/{id}/suspend: `code` says what kind of reason it is."""

    reason = StrictCharField(max_length=REASON_MAX, allow_blank=True, default="")
    code = serializers.ChoiceField(choices=SUSPENSION_CODES, default=OPERATOR)


class ResumeRequestSerializer(StrictSerializer):
    """POST /markets/{id}/resume: all at once, or in a phase first."""

    phase = serializers.ChoiceField(choices=PHASES, required=False, default="")
    phase_seconds = StrictIntegerField(min_value=1, max_value=PHASE_MAX_S, required=False, default=0)


class ResolveRequestSerializer(StrictSerializer):
    """POST /markets/{id}/resolve: one of `outcome` and `payouts`."""

    outcome = StrictCharField(required=False, default=None, max_length=OUTCOME_NAME_MAX)
    payouts = serializers.DictField(
        child=PipsField(max_pips=SHARE_PIPS), required=False, default=None, allow_empty=False
    )
    evidence = StrictCharField(max_length=TEXT_MAX)


class EvidenceRequestSerializer(StrictSerializer):
    """POST /markets/{id}/void and …/reverse: why."""

    evidence = StrictCharField(max_length=TEXT_MAX)


class ProposeRequestSerializer(ResolveRequestSerializer):
    """POST /markets/{id}/resolutions: one of `outcome`, `payouts` and `void`."""

    void = StrictBooleanField(default=False)


class ReasonRequestSerializer(StrictSerializer):
    """POST …/dispute and …/withdraw."""

    reason = StrictCharField(max_length=OBJECTION_MAX)


class OutcomeSerializer(serializers.Serializer):
    """An outcome with its prices; null where there is none."""

    name = serializers.CharField()
    last_price = serializers.CharField(allow_null=True)
    price_change_24h = serializers.CharField(
        allow_null=True, help_text="last_price less that of 24 hours ago; null where either is unknown"
    )
    best_bid = serializers.CharField(allow_null=True)
    best_ask = serializers.CharField(allow_null=True)


class ResolutionSerializer(serializers.Serializer):
    """How a market ended."""

    kind = serializers.ChoiceField(choices=["resolve", "void"])
    outcome = serializers.CharField(allow_null=True)
    payouts = serializers.DictField(child=serializers.CharField(), allow_null=True)
    evidence = serializers.CharField()
    settlement_id = serializers.CharField()


class MarketSerializer(serializers.Serializer):
    """A market as the API shows it."""

    market_id = serializers.UUIDField()
    slug = serializers.CharField()
    question = serializers.CharField()
    description = serializers.CharField()
    resolution_criteria = serializers.CharField()
    category = serializers.CharField()
    outcomes = OutcomeSerializer(many=True)
    status = serializers.ChoiceField(choices=STATUSES)
    tick = serializers.CharField()
    taker_fee = serializers.CharField()
    maker_fee = serializers.CharField()
    created_at = serializers.DateTimeField()
    opens_at = serializers.DateTimeField(allow_null=True)
    closes_at = serializers.DateTimeField()
    resolved_at = serializers.DateTimeField(allow_null=True)
    volume = serializers.CharField()
    volume_24h = serializers.CharField()
    trade_count = serializers.IntegerField()
    trader_count = serializers.IntegerField()
    open_interest = serializers.IntegerField()
    resolution = ResolutionSerializer(allow_null=True)
    seq = serializers.IntegerField()


class MarketAnswerSerializer(MarketSerializer):
    """One market, with the token of what it reflects."""

    as_of = serializers.CharField()


class MarketListSerializer(serializers.Serializer):
    """A page of markets."""

    results = MarketSerializer(many=True)
    next = serializers.CharField(allow_null=True)
    as_of = serializers.CharField()


class ChangeSerializer(serializers.Serializer):
    """What a change of a market's status left."""

    market_id = serializers.UUIDField()
    status = serializers.ChoiceField(choices=STATUSES)
    as_of = serializers.CharField()


class EndingSerializer(ChangeSerializer):
    """A market on its way to be settled."""

    settlement_id = serializers.UUIDField()


class ProposedSerializer(EndingSerializer):
    """A market with a resolution under way, whose id becomes its settlement's."""

    resolution_id = serializers.UUIDField()


class ProposalSerializer(serializers.Serializer):
    """How a market is to end, and who has said what about it."""

    resolution_id = serializers.UUIDField()
    settlement_id = serializers.UUIDField(help_text="the same: to be read once the market has ended")
    market_id = serializers.UUIDField()
    status = serializers.ChoiceField(choices=RESOLUTION_STATUSES)
    kind = serializers.ChoiceField(choices=["resolve", "void"])
    outcome = serializers.CharField(allow_null=True)
    payouts = serializers.DictField(child=serializers.CharField(), allow_null=True)
    evidence = serializers.CharField()
    proposed_by = serializers.CharField()
    proposed_at = serializers.DateTimeField()
    approvals_needed = serializers.IntegerField()
    approved_by = serializers.ListField(child=serializers.CharField())
    dispute_window_seconds = serializers.IntegerField()
    disputable_until = serializers.DateTimeField(allow_null=True)
    disputes = serializers.IntegerField()
    reversal_asked_by = serializers.ListField(child=serializers.CharField())
    reversal_settlement_id = serializers.UUIDField(allow_null=True)


class ResolutionListSerializer(serializers.Serializer):
    """All of a market's."""

    results = ProposalSerializer(many=True)
    next = serializers.CharField(allow_null=True)
    as_of = serializers.CharField()


class PartSerializer(serializers.Serializer):
    """What a resolution means for one account."""

    account_id = serializers.UUIDField()
    username = serializers.CharField(allow_null=True)
    shares = serializers.DictField(child=serializers.IntegerField())
    taken_back = serializers.CharField()
    payout = serializers.CharField()
    profit = serializers.CharField(help_text="all that the market will have brought the account")


class TotalsSerializer(serializers.Serializer):
    """`collateral` + `fees_returned` + `taken_back` come in, `paid` goes out."""

    accounts = serializers.IntegerField()
    orders_to_cancel = serializers.IntegerField()
    released = serializers.CharField()
    sets_netted = serializers.IntegerField()
    collateral = serializers.CharField()
    fees_returned = serializers.CharField()
    taken_back = serializers.CharField()
    paid = serializers.CharField()
    adds_up = serializers.BooleanField()


class PreviewSerializer(serializers.Serializer):
    """What everybody would be paid."""

    totals = TotalsSerializer()
    winners = PartSerializer(many=True)
    losers = PartSerializer(many=True)
    results = PartSerializer(many=True)
    next = serializers.CharField(allow_null=True)
    as_of = serializers.CharField()


class SettlementSerializer(serializers.Serializer):
    """How far a settlement is; what is null is not known before the market's last order is cancelled."""

    settlement_id = serializers.UUIDField()
    market_id = serializers.UUIDField()
    kind = serializers.ChoiceField(choices=["resolve", "void", "reverse"])
    status = serializers.ChoiceField(choices=["pending", "running", "done", "failed"])
    accounts_paid = serializers.IntegerField()
    accounts_total = serializers.IntegerField()
    paid = serializers.CharField(allow_null=True)
    collateral = serializers.CharField(allow_null=True)
    created_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)
    as_of = serializers.CharField()
