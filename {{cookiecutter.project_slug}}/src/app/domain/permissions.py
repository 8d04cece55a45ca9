"""Roles hold permissions; routes ask for permissions, never for roles."""

from typing import Final, Literal, get_args

from typing_extensions import TypeAliasType

_Delegable = Literal[
    "profile:read",
    "items:read",
    "items:write",
    # {% if cookiecutter.use_s3 %}
    "files:read",
    "files:write",
    # {% endif %}
    "users:read",
]
DelegablePermission = TypeAliasType("DelegablePermission", _Delegable)
Permission = TypeAliasType(
    "Permission", Literal[_Delegable, "profile:write", "account:manage", "users:write"]
)
Role = TypeAliasType("Role", Literal["user", "support", "admin"])

PERMISSIONS: Final[dict[Permission, str]] = {
    "profile:read": "Read your own profile.",
    "profile:write": "Change your own profile.",
    "account:manage": "Manage your password, sessions and API keys, and delete your account.",
    "items:read": "Read your items.",
    "items:write": "Create, change and delete your items.",
    # {% if cookiecutter.use_s3 %}
    "files:read": "Read your files.",
    "files:write": "Upload and delete your files.",
    # {% endif %}
    "users:read": "Read all users.",
    "users:write": "Change and delete any user.",
}
"""Every permission with the words that a person who grants it reads."""

_OF_OTHERS: Final[frozenset[Permission]] = frozenset({"users:read", "users:write"})
_OWN: Final[frozenset[Permission]] = frozenset(PERMISSIONS) - _OF_OTHERS

ROLES: Final[dict[Role, frozenset[Permission]]] = {
    "user": _OWN,
    "support": _OWN | {"users:read"},
    "admin": _OWN | _OF_OTHERS,
}
"""What each role may do."""

DELEGABLE: Final[frozenset[Permission]] = frozenset(get_args(_Delegable))
"""What an API key may hold.

A leaked key must not be able to take an account over, be it by a password, by the e-mail address in
a profile, or by giving somebody the role of an administrator.
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
