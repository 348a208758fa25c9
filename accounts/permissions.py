"""What a caller may do, as DRF permissions over the Principal: no caller is 401, a missing scope is 403."""

from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from trading.principal import READ, TRADE, require_principal


class ScopePermission(BasePermission):
    """The caller holds one scope; subclasses name it."""

    scope: str

    def has_permission(self, request: Request, view: APIView) -> bool:
        require_principal(request.auth).require(self.scope)
        return True


class CanRead(ScopePermission):
    """Reads of the caller's own data."""

    scope = READ


class CanTrade(ScopePermission):
    """Orders and money."""

    scope = TRADE
