"""The resolvers that this exchange has: those whose dotted paths are in settings.RESOLVERS."""

from collections.abc import Mapping
from functools import lru_cache

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from markets.resolvers.plugin import Resolver


def resolvers() -> Mapping[str, Resolver]:
    """By name, in the setting's order. Raises ImproperlyConfigured for a path that leads to none."""
    return _load(tuple(settings.RESOLVERS))


@lru_cache(maxsize=8)
def _load(paths: tuple[str, ...]) -> Mapping[str, Resolver]:
    found: dict[str, Resolver] = {}
    for path in paths:
        try:
            kind = import_string(path)
        except ImportError as error:
            raise ImproperlyConfigured(
                f"RESOLVERS names {path}, which cannot be imported: {error}"
            ) from error
        if not (isinstance(kind, type) and issubclass(kind, Resolver)):
            raise ImproperlyConfigured(f"RESOLVERS names {path}, which is no Resolver")
        if kind.name in found:
            raise ImproperlyConfigured(f"RESOLVERS has two resolvers of the name {kind.name}")
        found[kind.name] = kind()
    return found
