"""Permissions and roles. Routes require permissions, never roles."""

from collections.abc import Mapping
from typing import Any, Final, Literal, get_args

from typing_extensions import TypeAliasType

from app.domain import items

_Delegable = Literal[
    "profile:read",
    # {% if cookiecutter.use_s3 %}
    "files:read",
    "files:write",
    # {% endif %}
    "users:read",
    items.ItemPermission,
]
DelegablePermission = TypeAliasType("DelegablePermission", _Delegable)
Permission = TypeAliasType(
    "Permission", Literal[_Delegable, "profile:write", "account:manage", "users:write"]
)
Role = TypeAliasType("Role", Literal["user", "support", "admin"])

_DESCRIBED: Final[tuple[Mapping[Any, str], ...]] = (
    {
        "profile:read": "Read your own profile.",
        "profile:write": "Change your own profile.",
        "account:manage": "Manage your password, sessions and API keys, and delete your account.",
    },
    # {% if cookiecutter.use_s3 %}
    {"files:read": "Read your files.", "files:write": "Upload and delete your files."},
    # {% endif %}
    {"users:read": "Read all users.", "users:write": "Change and delete any user."},
    items.PERMISSIONS,
)
PERMISSIONS: Final[dict[Permission, str]] = {
    name: description for part in _DESCRIBED for name, description in part.items()
}
"""Permissions with their descriptions, for those who grant them."""

_OF_OTHERS: Final[frozenset[Permission]] = frozenset({"users:read", "users:write"})
_OWN: Final[frozenset[Permission]] = frozenset(PERMISSIONS) - _OF_OTHERS

ROLES: Final[dict[Role, frozenset[Permission]]] = {
    "user": _OWN,
    "support": _OWN | {"users:read"},
    "admin": _OWN | _OF_OTHERS,
}
"""Permissions of each role."""

DELEGABLE: Final[frozenset[Permission]] = frozenset(get_args(_Delegable))
"""Permissions that an API key may have.

A leaked key must not give an account away: by its password, by the e-mail address of its profile,
or by making someone an administrator.
"""


def permissions_in(scope: str) -> frozenset[Permission]:
    """Return the permissions in an OAuth scope string (RFC 6749 §3.3); ignore unknown ones."""
    names = scope.split()
    return frozenset(permission for permission in PERMISSIONS if permission in names)


def scope_of(permissions: frozenset[Permission]) -> str:
    """Return the permissions as an OAuth scope string, in a stable order."""
    return " ".join(sorted(permissions))
