"""Django's handle on the accounts app."""

from typing import Any

from django.apps import AppConfig
from django.contrib.auth.signals import user_logged_in
from django.http import HttpRequest


class AccountsConfig(AppConfig):
    """Identity and everything a user owns besides orders."""

    name = "accounts"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # drf-spectacular finds its extensions by their being imported.
        from accounts import schema  # noqa: F401
        from accounts.client_ip import client_ip
        from accounts.notifications.sign_ins import note_sign_in

        def signed_in(sender: Any, request: HttpRequest | None, user: Any, **more: Any) -> None:
            meta = {} if request is None else request.META
            ip = None if request is None else client_ip(request)
            note_sign_in(user, user_agent=meta.get("HTTP_USER_AGENT", ""), ip=ip)

        # Every way to sign in, the admin's too, sends this.
        user_logged_in.connect(signed_in, weak=False, dispatch_uid="accounts.note_sign_in")
