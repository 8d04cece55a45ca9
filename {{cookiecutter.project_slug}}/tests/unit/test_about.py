"""Metadata of the OpenAPI document (rule APP04)."""

import tomllib
from pathlib import Path

from app import about

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]


def test_metadata_equal_the_project_file() -> None:
    found = {
        "name": about.DISTRIBUTION,
        "version": about.VERSION,
        "description": about.DESCRIPTION,
        "authors": [about.CONTACT],
        "license": about.LICENSE_INFO["identifier"],
    }
    assert found == {field: PROJECT[field] for field in found}
    assert about.TITLE.strip()
