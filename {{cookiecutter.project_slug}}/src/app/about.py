"""Name, version, contact and licence of the service (rule APP04), from the installed metadata."""

from importlib.metadata import metadata
from typing import Final

DISTRIBUTION: Final = "{{ cookiecutter.project_slug }}"
TITLE: Final = "{{ cookiecutter.__project_name_literal }}"

_METADATA: Final = metadata(DISTRIBUTION)
_FIELDS: Final = {field: _METADATA[field] for field in _METADATA}
_AUTHOR, _, _ADDRESS = _FIELDS.get("Author-email", "").rpartition("<")
_LICENCE: Final = _FIELDS.get("License-Expression", "LicenseRef-Proprietary")

VERSION: Final = _FIELDS["Version"]
DESCRIPTION: Final = _FIELDS.get("Summary", TITLE)
CONTACT: Final = {"name": _AUTHOR.strip(), "email": _ADDRESS.strip().rstrip(">")} if _AUTHOR else {}
LICENSE_INFO: Final = {"name": _LICENCE.removeprefix("LicenseRef-"), "identifier": _LICENCE}
