"""The texts of a market: what is asked, how it is judged, and who asked; and who or what says how it ends.

Owns words only. Status, terms, times and figures are trading's (MarketState, MarketSummary); a row here
without a row there is a market that the engine has not confirmed, and nobody is shown it.
"""

import uuid

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVector, SearchVectorField
from django.core.validators import MinLengthValidator
from django.db import models

from trading.ids import new_id
from trading.models import MarketState

QUESTION_MIN, QUESTION_MAX = 10, 500
OUTCOMES_MIN, OUTCOMES_MAX = 2, 50
OUTCOME_NAME_MAX = 100
SLUG_MAX = 80
CATEGORY_MAX = 50
TEXT_MAX = 20_000
SEARCH_CONFIG = "english"


def new_uuid() -> uuid.UUID:
    """A fresh market id."""
    return uuid.UUID(new_id())


class Signature(models.Model):
    """One person's word in how a market ends, or in undoing that: nobody has a second one.

    The constraint is what keeps four eyes four: whoever proposed a resolution cannot sign it again as its approver,
    whatever code asks for it. A row is written before the command that it is about goes to the engine.
    """

    class Act(models.TextChoices):
        """What is signed."""

        RESOLVE = "resolve"
        REVERSE = "reverse"

    class Role(models.TextChoices):
        """Who came first, and who agrees."""

        PROPOSER = "proposer"
        APPROVER = "approver"

    resolution_id = models.UUIDField()
    act = models.CharField(max_length=8, choices=Act.choices)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    role = models.CharField(max_length=8, choices=Role.choices)
    signed_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "resolution_signature"
        constraints = [
            models.UniqueConstraint(
                fields=["resolution_id", "act", "user"], name="resolution_signature_one_a_person"
            ),
            models.UniqueConstraint(
                fields=["resolution_id", "act"],
                condition=models.Q(role="proposer"),
                name="resolution_signature_one_proposer",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.role} of {self.act} {self.resolution_id}"


class Market(models.Model):
    """A question with its outcomes' names; written once, by `markets.services.create_market`."""

    market_id = models.UUIDField(primary_key=True, default=new_uuid, editable=False)
    slug = models.SlugField(max_length=SLUG_MAX, unique=True, editable=False)
    question = models.CharField(max_length=QUESTION_MAX, validators=[MinLengthValidator(QUESTION_MIN)])
    description = models.TextField(blank=True, max_length=TEXT_MAX)
    resolution_criteria = models.TextField(max_length=TEXT_MAX)
    category = models.CharField(max_length=CATEGORY_MAX)
    outcomes = ArrayField(models.CharField(max_length=OUTCOME_NAME_MAX))
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, editable=False, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    search = models.GeneratedField(
        expression=SearchVector("question", config=SEARCH_CONFIG, weight="A")
        + SearchVector("resolution_criteria", config=SEARCH_CONFIG, weight="B"),
        output_field=SearchVectorField(),
        db_persist=True,
    )

    class Meta:
        db_table = "market_listing"
        indexes = [
            GinIndex(fields=["search"], name="market_listing_search"),
            models.Index(fields=["category"], name="market_listing_category"),
        ]

    def __str__(self) -> str:
        return self.question


class MarketResolver(models.Model):
    """The plug-in that decides a market once it has closed, and its settings, as staff has given them.

    `revision` is a new id with each change; markets.resolvers.asking writes the rows.
    """

    market = models.OneToOneField(Market, on_delete=models.CASCADE, primary_key=True, related_name="resolver")
    name = models.CharField(max_length=40)
    configured_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    """Whose settings these are: to what comes of them that person does not say yes as another one."""

    settings = models.JSONField()
    revision = models.UUIDField(default=new_uuid)
    changed_at = models.DateTimeField(auto_now=True)
    started_at = models.DateTimeField(null=True)
    """When the job that asks it was made; the market had closed by then."""

    proposal = models.UUIDField(null=True)
    """The id of the revision's one proposal, written before that is sent."""

    kept = models.JSONField(default=dict)
    """What the plug-in wants to know of its last answer."""

    asked_at = models.DateTimeField(null=True)
    answer = models.TextField(blank=True)
    """What it said when it was last asked, for staff to read."""

    class Meta:
        db_table = "market_resolver"
        indexes = [
            models.Index(
                fields=["market"], condition=models.Q(started_at=None), name="market_resolver_not_started"
            )
        ]

    def __str__(self) -> str:
        return f"{self.name} of {self.market_id}"


class Reminder(models.Model):
    """Staff was told that a market has waited for its end for so long: once a level of each wait."""

    class Level(models.TextChoices):
        """How long a market without a proposal has waited."""

        DUE = "due"
        OVERDUE = "overdue"
        ESCALATED = "escalated"

    market = models.ForeignKey(Market, on_delete=models.CASCADE, related_name="+")
    level = models.CharField(max_length=9, choices=Level.choices)
    since = models.DateTimeField()
    """When the wait began: a market whose end is undone waits anew."""

    told_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "market_reminder"
        constraints = [
            models.UniqueConstraint(fields=["market", "since", "level"], name="market_reminder_once_a_level")
        ]

    def __str__(self) -> str:
        return f"{self.market_id} {self.level}"


class AwaitingMarket(MarketState):
    """A market whose end somebody has to do something about; markets.awaiting says which those are."""

    class Meta:
        proxy = True
        default_permissions = ("view",)
        verbose_name = "resolution due"
        verbose_name_plural = "resolutions due"

    def __str__(self) -> str:
        return str(self.market_id)
