"""Users, keys and notifications in the admin. A key's secret cannot be shown, and keys are made elsewhere."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.db import transaction
from django.forms import ModelForm
from django.http import HttpRequest

from accounts.models import ApiKey, Notification, User, Webhook, WebhookDelivery
from accounts.revocations import announce
from trading import cash
from trading.read_only_admin import ReadOnlyAdmin


@admin.register(User)
class UserAdmin(DjangoUserAdmin):
    """Users; one made here gets its cash account like any other."""

    list_display = ("username", "account_id", "is_staff", "is_active", "is_simulated", "date_joined")
    list_filter = ("is_staff", "is_superuser", "is_active", "is_simulated", "groups")
    search_fields = ("username", "email", "account_id")
    readonly_fields = ("account_id", "last_login", "date_joined")
    fieldsets = (*(DjangoUserAdmin.fieldsets or ()), ("Exchange", {"fields": ("account_id", "is_simulated")}))

    def save_model(self, request: HttpRequest, obj: User, form: ModelForm, change: bool) -> None:
        with transaction.atomic():
            super().save_model(request, obj, form, change)
            if not change:
                cash.open_account(str(obj.account_id))
        transaction.on_commit(announce)  # It may have been made inactive, and its keys with it.

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # An account's events stay for ever; whoever leaves is made inactive.
        return False


@admin.register(ApiKey)
class ApiKeyAdmin(admin.ModelAdmin):
    """Keys, by prefix; the tier can be raised and the key revoked."""

    list_display = ("prefix", "name", "user", "scopes", "tier", "last_used_at", "expires_at", "revoked_at")
    list_filter = ("tier", ("revoked_at", admin.EmptyFieldListFilter))
    list_select_related = ("user",)
    search_fields = ("prefix", "name", "user__username")
    fields = (
        "prefix", "name", "user", "scopes", "ip_allowlist", "tier",
        "created_at", "last_used_at", "expires_at", "revoked_at",
    )  # fmt: skip
    readonly_fields = (
        "prefix",
        "name",
        "user",
        "scopes",
        "ip_allowlist",
        "created_at",
        "last_used_at",
        "expires_at",
    )

    def save_model(self, request: HttpRequest, obj: ApiKey, form: ModelForm, change: bool) -> None:
        super().save_model(request, obj, form, change)
        transaction.on_commit(announce)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Notification)
class NotificationAdmin(ReadOnlyAdmin):
    """Notifications as they were sent; read-only."""

    list_display = ("created_at", "account_id", "kind", "title", "read_at")
    list_filter = ("kind",)
    search_fields = ("account_id", "title")
    date_hierarchy = None


@admin.register(Webhook)
class WebhookAdmin(ReadOnlyAdmin):
    """Users' endpoints, without their secrets."""

    list_display = ("created_at", "account_id", "url", "is_on", "failing_since")
    list_filter = ("is_on",)
    search_fields = ("account_id", "url")
    exclude = ("secret", "previous_secret")


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(ReadOnlyAdmin):
    """The log of deliveries."""

    list_display = ("at", "webhook", "kind", "try_number", "status_code", "duration_ms", "error")
    list_select_related = ("webhook",)
    search_fields = ("webhook__account_id", "delivery_id")
