"""Packages for the layers of a service."""

import tomllib
from pathlib import Path
from typing import Final

from fastapi_senior.changes import Changes
from fastapi_senior.errors import Refused

PACKAGES: Final = {
    "": "The service.",
    "api/": "HTTP: routes, schemas, dependencies.",
    "api/v1/": "Version 1 of the interface.",
    "api/deps/": "Dependencies, as aliases that routes name.",
    "api/schemas/": "Pydantic models of requests and responses.",
    "services/": "Use cases. They know no HTTP.",
    "repositories/": "The only code that queries the database.",
    "models/": "Tables.",
    "domain/": "Read models, errors and pure rules.",
    "infrastructure/": "Adapters that implement the ports of the services.",
    "core/": "Settings, security and logging, for every layer.",
}
"""The docstring of each package."""

CONTRACT: Final = """\
[tool.importlinter]
root_packages = ["app"]

[[tool.importlinter.contracts]]
id = "layers"
name = "Imports go down the layers"
type = "layers"
containers = ["app"]
layers = [
    "api",
    "services",
    "repositories",
    "models",
    "domain",
    "infrastructure",
    "core",
]
"""


def add(folder: Path) -> Changes:
    """Return the changes that add the layers to a folder.

    Raises:
        Refused: There is no such folder, a file is there already, or `pyproject.toml` is invalid.
    """
    if not folder.is_dir():
        raise Refused(f"There is no folder {folder}. Make it, or run `fastapi-senior init`.")
    changes = Changes(folder)
    for package, text in PACKAGES.items():
        path = f"src/app/{package}__init__.py"
        if (folder / path).exists():
            raise Refused(f"{folder / path} exists already. Move it away first.")
        changes.write(path, f'"""{text}"""\n')
    settings = changes.stored("pyproject.toml") or ""
    try:
        has_contracts = "importlinter" in tomllib.loads(settings).get("tool", {})
    except tomllib.TOMLDecodeError as error:
        raise Refused(f"{folder / 'pyproject.toml'} is invalid: {error}.") from error
    if not has_contracts and not changes.exists(".importlinter"):
        gap = "\n" if settings else ""
        changes.write("pyproject.toml", f"{settings.rstrip()}\n{gap}{CONTRACT}".lstrip("\n"))
    return changes
