"""Name, version, contact and licence of the service (rule APP04), from the installed metadata."""

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, metadata
from typing import Final

DISTRIBUTION: Final = "{{ cookiecutter.project_slug }}"
TITLE: Final = "{{ cookiecutter.__project_name_literal }}"


def distribution_metadata(name: str) -> dict[str, str]:
    """Return the metadata of a distribution; empty if the sources run without being installed."""
    try:
        found = metadata(name)
    except PackageNotFoundError:
        return {}
    return {field: found[field] for field in found}


def contact(fields: Mapping[str, str]) -> dict[str, str]:
    """Return the first author, `Name <address>`, as OpenAPI's Contact Object."""
    name, separator, address = fields.get("Author-email", "").rpartition("<")
    if not separator:
        return {}
    return {"name": name.strip(), "email": address.strip().rstrip(">")}


def licence(fields: Mapping[str, str]) -> dict[str, str]:
    """Return the licence, an SPDX expression, as OpenAPI's License Object."""
    expression = fields.get("License-Expression", "LicenseRef-Proprietary")
    return {"name": expression.removeprefix("LicenseRef-"), "identifier": expression}


_FIELDS: Final = distribution_metadata(DISTRIBUTION)

VERSION: Final = _FIELDS.get("Version", "0.0.0")
DESCRIPTION: Final = _FIELDS.get("Summary", TITLE)
CONTACT: Final = contact(_FIELDS)
LICENSE_INFO: Final = licence(_FIELDS)
