"""Django's database router: the ORM's reads of read models follow the block, everything else is the primary's."""

from typing import Any

from django.db import DEFAULT_DB_ALIAS, models

from trading.replicas.reads import current_alias

# Users, keys and sessions are in no app named here: who somebody is never lags.
MAY_LAG = frozenset({"markets", "trading"})


class ReplicaRouter:
    """Decides every query: left to itself, Django would go back to where an object was read, also to write it."""

    def db_for_read(self, model: type[models.Model], **hints: Any) -> str:
        return current_alias() if model._meta.app_label in MAY_LAG else DEFAULT_DB_ALIAS

    def db_for_write(self, model: type[models.Model], **hints: Any) -> str:
        return DEFAULT_DB_ALIAS

    def allow_relation(self, first: models.Model, second: models.Model, **hints: Any) -> bool:
        return True

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return db == DEFAULT_DB_ALIAS
