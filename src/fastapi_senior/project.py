"""The generated project that a command works on."""

import ast
import re
import tomllib
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

from fastapi_senior.errors import Refused
from fastapi_senior.files import parsed, text_of

REPOSITORY = "git+https://github.com/org/fastapi-senior"


@dataclass(frozen=True)
class Project:
    """A project made from the template.

    Attributes:
        root: Its folder.
    """

    root: Path

    @classmethod
    def find(cls, start: Path) -> "Project":
        """Return the project that a folder is in.

        Raises:
            Refused: It is in none, or in one of another major version.
        """
        for folder in (start, *start.parents):
            file = folder / "pyproject.toml"
            if file.is_file():
                return cls._read(folder, file)
        raise Refused(
            "There is no project here. Change into a folder made from the template, "
            "or make one with `fastapi-senior init`."
        )

    @classmethod
    def _read(cls, folder: Path, file: Path) -> "Project":
        try:
            content = tomllib.loads(text_of(file))
        except tomllib.TOMLDecodeError as error:
            raise Refused(f"{file} is invalid: {error}. Mend it first.") from error
        given = content.get("tool", {}).get("fastapi-senior", {}).get("version")
        if given is None:
            raise Refused(
                f"{folder} is no project made from the template: its pyproject.toml has no "
                "`[tool.fastapi-senior]`."
            )
        own = version("fastapi-senior")
        if str(given).split(".")[0] != own.split(".")[0]:
            raise Refused(
                f"This project is of version {given}, and this program of {own}. Run\n"
                f"uvx --from {REPOSITORY}@v{given} fastapi-senior"
            )
        return cls(folder)

    def has(self, path: str) -> bool:
        """Tell whether a file or folder exists."""
        return (self.root / path).exists()

    @property
    def has_jobs(self) -> bool:
        """Whether there are background jobs."""
        return self.has("src/app/core/jobs.py")

    @property
    def has_events(self) -> bool:
        """Whether events are sent to WebSockets."""
        return self.has("src/app/messages/__init__.py")

    @cached_property
    def tables(self) -> dict[str, "Table"]:
        """Return the features with a table, by the name of their modules."""
        found = {}
        for file in sorted((self.root / "src/app/models").glob("[!_]*.py")):
            for node in parsed(text_of(file), file).body:
                if isinstance(node, ast.ClassDef) and _table_name(node) == file.stem:
                    found[file.stem] = replace(_table(node), public=self._is_public(file.stem))
        return found

    def _is_public(self, feature: str) -> bool:
        file = self.root / f"src/app/domain/{feature}.py"
        text = file.read_text(encoding="utf-8") if file.is_file() else ""
        return f'"{feature}:write"' in text and f'"{feature}:read"' not in text

    @cached_property
    def models(self) -> dict[str, str]:
        """Return the names of all tables, by those of their models."""
        return {
            node.name: name
            for file in sorted((self.root / "src/app/models").glob("[!_]*.py"))
            for node in parsed(text_of(file), file).body
            if isinstance(node, ast.ClassDef) and (name := _table_name(node))
        }

    @property
    def resources(self) -> list[str]:
        """Return the tables with a feature like those of the command."""
        return [name for name in self.tables if self._has_permissions(name)]

    def _has_permissions(self, name: str) -> bool:
        file = self.root / f"src/app/domain/{name}.py"
        return file.is_file() and "\nPERMISSIONS:" in text_of(file)

    @cached_property
    def factories(self) -> dict[str, str]:
        """Return the modules of the tests' factories, by the names of the factories."""
        found: dict[str, str] = {}
        for file in sorted((self.root / "tests").glob("*/*.py")):
            text = text_of(file)
            module = ".".join(file.relative_to(self.root).with_suffix("").parts)
            found |= dict.fromkeys(re.findall(r"^class (\w+Factory)\(", text, re.MULTILINE), module)
        return found


@dataclass(frozen=True, slots=True)
class Table:
    """A model of the project.

    Attributes:
        owner: The column that names the account it belongs to.
        public: Whether rows can be read by everybody.
        required: The tables that its other required foreign keys refer to, by column.
    """

    entity: str
    owner: str | None
    required: dict[str, str]
    public: bool = False

    @property
    def private(self) -> str | None:
        """Return the owner's column, if only the owner may refer to a row."""
        return None if self.public else self.owner


def _table_name(node: ast.ClassDef) -> str | None:
    for each in node.body:
        match each:
            case ast.Assign(targets=[ast.Name("__tablename__")], value=ast.Constant(str(name))):
                return name
    return None


def _table(node: ast.ClassDef) -> Table:
    owner = None
    required = {}
    for each in node.body:
        if not (isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)):
            continue
        name, text = each.target.id, ast.unparse(each)
        referred = re.search(r"ForeignKey\(\W?(\w+)\.", text)
        if name in {"owner_id", "user_id"}:
            owner = name
        elif referred and "None" not in ast.unparse(each.annotation):
            required[name] = referred[1]
    return Table(node.name, owner, required)
