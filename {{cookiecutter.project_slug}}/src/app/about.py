"""What the service is called, and whose it is (rule APP04).

All but the title is what `pyproject.toml` says, read from the installed distribution.
"""

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, metadata
from typing import Final

DISTRIBUTION: Final = "{{ cookiecutter.project_slug }}"
TITLE: Final = "{{ cookiecutter.__project_name_literal }}"


def distribution_metadata(name: str) -> dict[str, str]:
    """The core metadata of an installed distribution; that of one that is not installed is empty.

    Sources that run without having been installed have no version, and should still run.
    """
    try:
        found = metadata(name)
    except PackageNotFoundError:
        return {}
    return {field: found[field] for field in found}


def contact(fields: Mapping[str, str]) -> dict[str, str]:
    """The first author, as OpenAPI's Contact Object has it, from `Name <address>`."""
    name, separator, address = fields.get("Author-email", "").rpartition("<")
    if not separator:
        return {}
    return {"name": name.strip(), "email": address.strip().rstrip(">")}


def licence(fields: Mapping[str, str]) -> dict[str, str]:
    """The licence, as OpenAPI's License Object has it, from an SPDX expression."""
    expression = fields.get("License-Expression", "LicenseRef-Proprietary")
    return {"name": expression.removeprefix("LicenseRef-"), "identifier": expression}


_FIELDS: Final = distribution_metadata(DISTRIBUTION)

VERSION: Final = _FIELDS.get("Version", "0.0.0")
DESCRIPTION: Final = _FIELDS.get("Summary", TITLE)
CONTACT: Final = contact(_FIELDS)
LICENSE_INFO: Final = licence(_FIELDS)
