"""Creates the market listing: the texts of markets, with their full-text index."""

import django.contrib.postgres.fields
import django.contrib.postgres.indexes
import django.contrib.postgres.search
import django.core.validators
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import markets.models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Market",
            fields=[
                (
                    "market_id",
                    models.UUIDField(
                        default=markets.models.new_uuid, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("slug", models.SlugField(editable=False, max_length=80, unique=True)),
                (
                    "question",
                    models.CharField(
                        max_length=500, validators=[django.core.validators.MinLengthValidator(10)]
                    ),
                ),
                ("description", models.TextField(blank=True, max_length=20000)),
                ("resolution_criteria", models.TextField(max_length=20000)),
                ("category", models.CharField(max_length=50)),
                (
                    "outcomes",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=100), size=None
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "search",
                    models.GeneratedField(
                        db_persist=True,
                        expression=django.contrib.postgres.search.CombinedSearchVector(
                            django.contrib.postgres.search.SearchVector(
                                "question", config="english", weight="A"
                            ),
                            "||",
                            django.contrib.postgres.search.SearchVector(
                                "resolution_criteria", config="english", weight="B"
                            ),
                            django.contrib.postgres.search.SearchConfig("english"),
                        ),
                        output_field=django.contrib.postgres.search.SearchVectorField(),
                    ),
                ),
                (
                    "created_by",
                    models.ForeignKey(
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "db_table": "market_listing",
                "indexes": [
                    django.contrib.postgres.indexes.GinIndex(fields=["search"], name="market_listing_search"),
                    models.Index(fields=["category"], name="market_listing_category"),
                ],
            },
        ),
    ]
