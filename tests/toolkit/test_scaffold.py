"""`fastapi-senior scaffold` adds the empty layers of a service to a folder."""

import ast
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from fastapi_senior import cli
from fastapi_senior.errors import Refused
from fastapi_senior.scaffold.layers import PACKAGES
from tools.variant import ROOT

TREE = ROOT / "{{cookiecutter.project_slug}}"


def scaffold(folder: Path) -> Result:
    return CliRunner().invoke(
        cli.app, ["scaffold", str(folder)], catch_exceptions=False, color=False
    )


def test_writes_a_package_per_layer(tmp_path: Path) -> None:
    output = scaffold(tmp_path).output
    written = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file())
    assert written == sorted(["pyproject.toml", *(f"src/app/{p}__init__.py" for p in PACKAGES)])
    for path in written:
        assert f"new      {path}" in output


def test_layers_are_those_of_the_template(tmp_path: Path) -> None:
    scaffold(tmp_path)
    ours = tomllib.loads((tmp_path / "pyproject.toml").read_text(encoding="utf-8"))
    theirs = tomllib.loads((TREE / "pyproject.toml").read_text(encoding="utf-8"))
    [contract] = ours["tool"]["importlinter"]["contracts"]
    [full] = [c for c in theirs["tool"]["importlinter"]["contracts"] if c["id"] == "layers"]
    assert contract["layers"] == [each for each in full["layers"] if each in contract["layers"]]
    assert {f"{each}/" for each in contract["layers"]} <= PACKAGES.keys()
    for package in PACKAGES:
        module = TREE / f"src/app/{package}__init__.py"
        assert ast.get_docstring(ast.parse(module.read_text(encoding="utf-8")))


def test_appends_a_contract_to_the_settings(tmp_path: Path) -> None:
    settings = '[project]\nname = "x" # mine\nversion = "1"\n'
    (tmp_path / "pyproject.toml").write_text(settings, encoding="utf-8")
    assert "edited   pyproject.toml" in scaffold(tmp_path).output
    text = (tmp_path / "pyproject.toml").read_text(encoding="utf-8")
    assert text.startswith(f"{settings}\n[tool.importlinter]\n")


@pytest.mark.parametrize("path", ["pyproject.toml", ".importlinter"])
def test_keeps_contracts(tmp_path: Path, path: str) -> None:
    (tmp_path / path).write_text('[tool.importlinter]\nroot_package = "x"\n', encoding="utf-8")
    scaffold(tmp_path)
    settings = tmp_path / "pyproject.toml"
    assert not settings.exists() or "contracts" not in settings.read_text(encoding="utf-8")
    assert (tmp_path / path).read_text(encoding="utf-8").endswith('root_package = "x"\n')


def test_refuses_to_overwrite(tmp_path: Path) -> None:
    mine = tmp_path / "src/app/models/__init__.py"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine = 1\n", encoding="utf-8")
    with pytest.raises(Refused, match=r"src/app/models/__init__\.py exists already"):
        scaffold(tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [mine]


def test_refuses_what_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="There is no folder"):
        scaffold(tmp_path / "nowhere")


def test_refuses_invalid_settings(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[", encoding="utf-8")
    with pytest.raises(Refused, match=r"pyproject\.toml is invalid"):
        scaffold(tmp_path)
    assert not (tmp_path / "src").exists()
