"""What admin pages share that show rows and save none."""

import json
from typing import Any

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString

MOST_COUNTED = 10_000


class BoundedPaginator(Paginator):
    """Counts no further than anybody would page."""

    @cached_property
    def count(self) -> int:
        assert isinstance(self.object_list, QuerySet)
        return self.object_list.order_by()[:MOST_COUNTED].count()


class ReadOnlyAdmin(admin.ModelAdmin):
    """Lists and shows; what changes a row is a service, if anything does."""

    list_per_page = 50
    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def document_block(document: Any) -> SafeString:
    """A JSON document, indented."""
    return format_html("<pre>{}</pre>", json.dumps(document, indent=2, ensure_ascii=False))


def shortened(text: str, length: int) -> str:
    """At most that many characters."""
    return text if len(text) <= length else text[: length - 1] + "…"
