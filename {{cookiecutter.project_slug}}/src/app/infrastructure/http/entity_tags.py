"""Entity tags: how HTTP names versions (RFC 9110 §8.8.3)."""

import re
from typing import Final

_VERSION: Final = re.compile(r'"[1-9][0-9]{0,18}"')


def names_tag(header: str, tag: str, *, weak: bool = False) -> bool:
    """Tell whether an `If-Match` or `If-None-Match` header names a tag.

    Args:
        header: `*` or a list of entity tags.
        tag: The tag of what is stored.
        weak: Whether weak tags count, as they do for `If-None-Match` (RFC 9110 §13.1.2).
    """
    tags = [each.strip() for each in header.split(",")]
    if weak:
        tags = [each.removeprefix("W/") for each in tags]
    return "*" in tags or tag in tags


def tag_of(version: int) -> str:
    """Return the entity tag of a version."""
    return f'"{version}"'


def versions_in(header: str) -> frozenset[int] | None:
    """Return the versions in an `If-Match` header; `None` for `*`, which matches any."""
    tags = [each.strip() for each in header.split(",")]
    if "*" in tags:
        return None
    return frozenset(int(each[1:-1]) for each in tags if _VERSION.fullmatch(each))
