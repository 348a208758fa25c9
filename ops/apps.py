"""Django's registration of the ops app."""

from django.apps import AppConfig


class OpsConfig(AppConfig):
    name = "ops"
