"""What ops keeps: the totals of months that are over, since the log they were added up from may be archived."""

from django.db import models


class MonthlyTotal(models.Model):
    """A UTC month's totals, as `ops.monthly` has added them up; `month` is its first day."""

    month = models.DateField(primary_key=True)
    totals = models.JSONField()
    made_at = models.DateTimeField()

    class Meta:
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.month:%Y-%m}"
