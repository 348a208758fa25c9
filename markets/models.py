"""The texts of a market: what is asked, how it is judged, and who asked.

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
