"""Generated projects: one per variant and test run, others once per process."""

import fcntl
import os
import shutil
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from pytest_cookies.plugin import Cookies

from tests import manifest
from tools import variant

collect_ignore = ["inside"]

Bake = Callable[[Mapping[str, Any]], Path]


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template as in a clone, without leftovers of tools."""
    return variant.copy_template(tmp_path_factory.mktemp("clone") / "template")


@pytest.fixture(scope="session")
def bake(cookies_session: Cookies, template: Path) -> Bake:
    """A function that generates a project from answers, by default the defaults."""

    return _baking(cookies_session, template)


@pytest.fixture(scope="session")
def small_template(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template with only the files that contain values: fast."""
    small = tmp_path_factory.mktemp("values") / "template"
    shutil.copytree(template, small)
    for path in filter(Path.is_file, (small / manifest.TREE.name).rglob("*")):
        kept = path.name == manifest.NAME or "{{ cookiecutter." in path.read_text(encoding="utf-8")
        if not kept:
            path.unlink()
    return small


@pytest.fixture(scope="session")
def bake_values(cookies_session: Cookies, small_template: Path) -> Bake:
    """A function that generates only the files that contain values."""
    return _baking(cookies_session, small_template)


def _baking(cookies: Cookies, template: Path) -> Bake:
    @cache
    def baked(answers: tuple[tuple[str, Any], ...]) -> Path:
        result = cookies.bake(extra_context=dict(answers), template=str(template))
        if result.exception is not None:
            raise result.exception
        path: Path = result.project_path
        return path

    return lambda answers: baked(tuple(answers.items()))


@pytest.fixture(params=list(variant.names()), scope="session")
def name(request: pytest.FixtureRequest) -> str:
    """The name of a variant; every test that asks for it runs for each of them."""
    return str(request.param)


@pytest.fixture(scope="session")
def answers(name: str) -> dict[str, str | bool]:
    """The answers that make the variant."""
    return variant.answers(name)


@pytest.fixture(scope="session")
def project(name: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The variant, generated once for all test processes. Tests must not change it."""
    base = tmp_path_factory.getbasetemp()
    place = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "variants" / name
    place.parent.mkdir(exist_ok=True)
    with place.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            unfinished = place.with_suffix(".unfinished")
            variant.generate(name, unfinished)
            unfinished.rename(place)
    return place / variant.SLUG
