"""The skills follow the open convention and name commands that exist."""

import re
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from fastapi_senior import cli
from fastapi_senior.project import REPOSITORY
from tools.variant import ROOT

SKILLS = sorted(ROOT.glob("skills/*/SKILL.md"))
COMMAND = re.compile(r"^uvx --from (\S+) fastapi-senior (.+)$", re.MULTILINE)


def test_there_are_skills() -> None:
    assert [skill.parent.name for skill in SKILLS] == ["fastapi-init", "fastapi-resource"]


@pytest.mark.parametrize("skill", SKILLS, ids=lambda skill: skill.parent.name)
def test_has_a_name_and_a_trigger(skill: Path) -> None:
    _, head, body = skill.read_text(encoding="utf-8").split("---\n", 2)
    matter = yaml.safe_load(head)
    assert matter.keys() == {"name", "description"}
    assert matter["name"] == skill.parent.name
    assert "Use when " in matter["description"]
    assert len(matter["description"]) <= 1024
    assert re.findall(r"^## (.+)$", body, re.MULTILINE) == ["When", "Command", "Afterwards"]


@pytest.mark.parametrize("skill", SKILLS, ids=lambda skill: skill.parent.name)
def test_names_commands_and_options_that_exist(skill: Path) -> None:
    text = skill.read_text(encoding="utf-8")
    commands = COMMAND.findall(text)
    assert commands
    assert {source for source, _ in commands} == {REPOSITORY}
    known = ""
    plain = {"COLUMNS": "200", "TERM": "dumb"}
    for _, command in commands:
        shown = CliRunner().invoke(cli.app, [command.split()[0], "--help"], env=plain)
        assert shown.exit_code == 0, command
        known += shown.output
    # Options of other programs are in lines that name them.
    own = "\n".join(line for line in text.splitlines() if "cruft" not in line)
    for option in set(re.findall(r"(?<!-)--[a-z][a-z-]+", own)) - {"--from"}:
        assert option in known, option
