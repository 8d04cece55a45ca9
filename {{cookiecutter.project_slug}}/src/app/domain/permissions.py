"""Roles hold permissions; routes ask for permissions, never for roles."""

from typing import Final, Literal, get_args

DelegablePermission = Literal[
    "profile:read",
    "items:read",
    "items:write",
    "users:read",
    "users:write",
]
Permission = Literal[DelegablePermission, "profile:write", "account:manage"]
Role = Literal["user", "support", "admin"]

PERMISSIONS: Final[dict[Permission, str]] = {
    "profile:read": "Read your own profile.",
    "profile:write": "Change your own profile.",
    "account:manage": "Manage your password, sessions and API keys, and delete your account.",
    "items:read": "Read your items.",
    "items:write": "Create, change and delete your items.",
    "users:read": "Read all users.",
    "users:write": "Change and delete any user.",
}
"""Every permission with the words that a person who grants it reads."""

_OWN: Final[frozenset[Permission]] = frozenset(
    {"profile:read", "profile:write", "account:manage", "items:read", "items:write"}
)

ROLES: Final[dict[Role, frozenset[Permission]]] = {
    "user": _OWN,
    "support": _OWN | {"users:read"},
    "admin": _OWN | {"users:read", "users:write"},
}
"""What each role may do."""

DELEGABLE: Final[frozenset[Permission]] = frozenset(get_args(DelegablePermission))
"""What an API key may hold.

A leaked key must not be able to take the account over: not by its password, and not by the e-mail
address in its profile.
"""


def permissions_in(scope: str) -> frozenset[Permission]:
    """Return the permissions named in an OAuth scope string (RFC 6749 §3.3).

    Args:
        scope: Names separated by spaces; those that we don't know are left out.
    """
    names = scope.split()
    return frozenset(permission for permission in PERMISSIONS if permission in names)


def scope_of(permissions: frozenset[Permission]) -> str:
    """Return the permissions as an OAuth scope string, in a stable order."""
    return " ".join(sorted(permissions))
