"""`.env.example` names every setting, with its default, and can be used as it is."""

import os
import re
import runpy
from pathlib import Path

import pytest

from app import config
from app.config import Settings, load_settings
from app.core.config import variable_names
from app.core.config.example import env_example

EXAMPLE = Path(__file__).parents[2] / ".env.example"


def assignments() -> dict[str, str]:
    return dict(re.findall(r"^#(APP_\w+)=(.*)$", EXAMPLE.read_text(), re.MULTILINE))


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.upper().startswith("APP_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_says_what_the_settings_say() -> None:
    assert EXAMPLE.read_text() == env_example(Settings)


def test_is_what_the_module_prints(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(config.__file__, run_name="__main__")
    assert capsys.readouterr().out == env_example(Settings)


def test_names_every_setting_once_in_order() -> None:
    names = re.findall(r"^#(APP_\w+)=", EXAMPLE.read_text(), re.MULTILINE)
    assert names == variable_names(Settings)


def test_holds_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in assignments().items():
        monkeypatch.setenv(name, value)
    assert load_settings() == Settings()


def test_can_be_copied_and_uncommented() -> None:
    Path(".env").write_text(re.sub(r"^#(?=APP_)", "", EXAMPLE.read_text(), flags=re.MULTILINE))
    assert load_settings() == Settings()
