"""A PostgreSQL connection of a process's own, outside Django's pool: for the shard, the projector and the
watches of replicas, which hold one for as long as they live."""

import psycopg
from django.db import DEFAULT_DB_ALIAS, connections


def own_connection(application_name: str, *, alias: str = DEFAULT_DB_ALIAS) -> psycopg.Connection:
    """Autocommit, server-side binding, statements prepared from their second use on."""
    parameters = connections[alias].get_connection_params()
    for django_only in ("cursor_factory", "context", "prepare_threshold"):
        parameters.pop(django_only, None)
    parameters["application_name"] = application_name
    return psycopg.connect(**parameters, autocommit=True, prepare_threshold=1)
