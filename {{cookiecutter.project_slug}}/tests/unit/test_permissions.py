"""Roles, permissions and principals (rule SEC06)."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import InsufficientScope
from app.domain.permissions import (
    DELEGABLE,
    PERMISSIONS,
    ROLES,
    Permission,
    permissions_in,
    scope_of,
)
from tests.support.arrange import gone

permission_sets = st.frozensets(st.sampled_from(sorted(PERMISSIONS)))


class TestRoles:
    def test_grow_from_one_to_the_next_and_hold_all_permissions(self) -> None:
        assert ROLES["user"] < ROLES["support"] < ROLES["admin"] == PERMISSIONS.keys()
        assert [role for role, held in ROLES.items() if "users:write" in held] == ["admin"]

    def test_no_key_can_take_over_an_account(self) -> None:
        kept = {"account:manage", "profile:write", "users:write"}
        assert PERMISSIONS.keys() - DELEGABLE == kept


class TestScopes:
    @given(permission_sets)
    def test_are_read_as_they_are_written(self, permissions: frozenset[Permission]) -> None:
        assert permissions_in(scope_of(permissions)) == permissions

    @given(permission_sets, st.text())
    def test_contain_known_permissions_only(
        self, permissions: frozenset[Permission], noise: str
    ) -> None:
        found = permissions_in(f"{noise} {scope_of(permissions)}")
        assert permissions <= found <= PERMISSIONS.keys()

    @pytest.mark.parametrize(
        "scope", ["", "  ", "PROFILE:READ", "profile", "profile:read,users:read"]
    )
    def test_drop_unknown_permissions(self, scope: str) -> None:
        assert permissions_in(scope) == frozenset()

    def test_have_a_stable_order(self) -> None:
        assert scope_of(frozenset({"users:read", "profile:read"})) == "profile:read users:read"


def test_a_principal_needs_all_required_permissions() -> None:
    account = replace(gone(), permissions=frozenset({"users:read"}))
    account.require(("users:read",))
    account.require(())
    with pytest.raises(InsufficientScope) as caught:
        account.require(("users:read", "profile:read"))
    assert caught.value.required == ("users:read", "profile:read")
