"""What the OpenAPI document says of the service (rule APP04)."""

import tomllib
from pathlib import Path

from app import about

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]


class TestAbout:
    def test_says_what_the_project_file_says(self) -> None:
        said = {
            "name": about.DISTRIBUTION,
            "version": about.VERSION,
            "description": about.DESCRIPTION,
            "authors": [about.CONTACT],
            "license": about.LICENSE_INFO["identifier"],
        }
        assert said == {field: PROJECT[field] for field in said}

    def test_has_a_title(self) -> None:
        assert about.TITLE.strip()

    def test_does_without_an_installed_distribution(self) -> None:
        assert about.distribution_metadata("not-installed-anywhere") == {}


class TestContact:
    def test_keeps_a_name_with_punctuation(self) -> None:
        fields = {"Author-email": 'Doe, "Jane" <x> <jane@example.com>'}
        expected = {"name": 'Doe, "Jane" <x>', "email": "jane@example.com"}
        assert about.contact(fields) == expected

    def test_is_empty_without_an_author(self) -> None:
        assert about.contact({}) == {}


class TestLicence:
    def test_names_its_spdx_expression(self) -> None:
        expected = {"name": "MIT", "identifier": "MIT"}
        assert about.licence({"License-Expression": "MIT"}) == expected

    def test_is_proprietary_when_there_is_none(self) -> None:
        assert about.licence({})["name"] == "Proprietary"
