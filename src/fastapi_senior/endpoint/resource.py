"""A resource of a project, as its modules have it today."""

import ast
import builtins
import keyword
import re
from dataclasses import dataclass
from pathlib import Path

import libcst as cst

from fastapi_senior import editing
from fastapi_senior.changes import Changes
from fastapi_senior.editing import Module, code
from fastapi_senior.endpoint.specification import Endpoint, Given
from fastapi_senior.errors import Refused
from fastapi_senior.project import Project
from fastapi_senior.resource.fields import python_types
from fastapi_senior.resource.names import Names

_OPERATION = re.compile(r"router\.(get|post|put|patch|delete)\(\s*(\"[^\"]*\")")
_PARAMETER = re.compile(r"\{\w+\}")


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource to which an operation is added.

    Attributes:
        create: The fields of requests that create a row.
        update: Those of requests that change one.
        response: The fields of responses, without the inherited ones.
        methods: The methods of its service.
    """

    root: Path
    names: Names
    domain: str
    schemas: Module
    routes: Module
    service: Module
    tests: Module | None
    create: dict[str, cst.AnnAssign]
    update: dict[str, cst.AnnAssign]
    response: dict[str, cst.AnnAssign]
    methods: dict[str, cst.FunctionDef]

    @classmethod
    def read(cls, project: Project, changes: Changes, endpoint: Endpoint) -> "Resource":
        """Read the resource of an operation.

        Raises:
            Refused: There is none, or its modules are not as the template has them.
        """
        plural = endpoint.resource.replace("-", "_")
        table = project.tables.get(plural)
        known = [each for each in project.tables if changes.exists(f"src/app/api/v1/{each}.py")]
        if table is None or plural not in known:
            paths = ", ".join(f"/{each.replace('_', '-')}" for each in known)
            raise Refused(
                f"There is no resource `{endpoint.resource}`. Add it with `fastapi-senior resource "
                f"{endpoint.resource} FIELD…`, or use one of {paths}."
            )
        singular = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", table.entity).lower()
        names = Names(plural, singular)
        entity = names.entity
        deps = changes.read(f"src/app/api/deps/{plural}.py")
        for alias in ("Viewer", "Editor", "QueriesDep", "ServiceDep"):
            if not re.search(rf"^{entity}{alias} = ", deps, re.MULTILINE):
                raise Refused(
                    f"src/app/api/deps/{plural}.py has no `{entity}{alias}`: {names.many} are not "
                    "like the resources that this program adds. Write the operation by hand."
                )
        schemas = Module(changes, f"src/app/api/schemas/{plural}.py")
        service = Module(changes, f"src/app/services/{plural}.py")
        test_path = f"tests/api/test_{plural}.py"
        found = cls(
            project.root,
            names,
            changes.read(f"src/app/domain/{plural}.py"),
            schemas,
            Module(changes, f"src/app/api/v1/{plural}.py"),
            service,
            Module(changes, test_path) if changes.exists(test_path) else None,
            editing.fields(schemas.class_(f"{entity}Create")),
            editing.fields(schemas.class_(f"{entity}Update")),
            editing.fields(schemas.class_(f"{entity}Response")),
            editing.methods(service.class_(f"{entity}Service")),
        )
        found._check(endpoint)
        return found

    def _check(self, endpoint: Endpoint) -> None:
        parameter = f"{self.names.singular}_id"
        if endpoint.parameter not in {None, parameter}:
            raise Refused(
                f"{endpoint.title}: {self.names.many} have no parameter `{endpoint.parameter}`. "
                f"Write `/{endpoint.resource}/{{{parameter}}}/{endpoint.segment}`."
            )
        shape = _PARAMETER.sub("{}", endpoint.path)
        for function in self.routes.functions:
            found = self.operation_of(function)
            if found and (found[0], _PARAMETER.sub("{}", found[1])) == (endpoint.method, shape):
                raise Refused(
                    f"{endpoint.title} exists: `{function.name.value}` in {self.routes.path}. "
                    "Change that, or use another path."
                )
        if self.base_method(endpoint) not in self.methods:
            raise editing.moved(self.service.path, f"`{self.base_method(endpoint)}`")

    @property
    def test_path(self) -> str:
        """Return the path of the tests."""
        return f"tests/api/test_{self.names.plural}.py"

    @property
    def owned(self) -> bool:
        """Whether only its owner finds a row."""
        return any(each.name.value == "owner_id" for each in self.methods["get"].params.params)

    @property
    def quota(self) -> str:
        """Return the error of an account with too many rows, if there is one."""
        name = f"TooMany{self.names.entities}"
        return name if self._raises(name) else ""

    def path(self, layer: str) -> str:
        """Return the path of the resource's module in a layer."""
        return f"src/app/{layer}/{self.names.plural}.py"

    def taken(self, field: str) -> str:
        """Return the error of a value that another row has, if the field is unique."""
        name = f"{self.names.entity}{''.join(each.title() for each in field.split('_'))}Taken"
        return name if self._raises(name) else ""

    def _raises(self, name: str) -> bool:
        return re.search(rf"^class {name}\(", self.domain, re.MULTILINE) is not None

    def base_method(self, endpoint: Endpoint) -> str:
        """Return the method of the service that the operation builds on."""
        if endpoint.method == "GET":
            return "get"
        return "update" if endpoint.parameter else "create"

    def operation_of(self, node: cst.CSTNode) -> tuple[str, str] | None:
        """Return method and path of a route."""
        if isinstance(node, cst.FunctionDef):
            for decorator in node.decorators:
                if match := _OPERATION.match(code(decorator.decorator)):
                    return match[1].upper(), str(ast.literal_eval(match[2]))
        return None

    def free_method(self, function: str) -> str:
        """Return a name for the method of the service."""
        short = re.sub(rf"_{self.names.singular}(?=_|$)", "", function, count=1)
        for name in (short, function):
            is_word = keyword.iskeyword(name) or hasattr(builtins, name)
            if name not in self.methods and not is_word:
                return name
        raise Refused(
            f"{self.service.path}: there is a method `{function}`. Pass another name with `--name`."
        )

    def require_free(self, endpoint: Endpoint, function: str, summary: str) -> None:
        """Refuse a name or summary that another operation has.

        Raises:
            Refused: It is taken.
        """
        for file in sorted((self.root / "src/app/api/v1").glob("*.py")):
            text = file.read_text(encoding="utf-8")
            if re.search(rf"^(async )?def {function}\(", text, re.MULTILINE):
                raise Refused(
                    f"{endpoint.title}: {file.name} has an operation `{function}`. "
                    "Pass another name with `--name`."
                )
            if f'summary="{summary}"' in text:
                raise Refused(
                    f"{endpoint.title}: {file.name} has an operation with the summary "
                    f"`{summary}`. Pass another one with `--summary`."
                )

    def models_of_rows(self) -> list[str]:
        """Return the response models of a row."""
        whole = f"{self.names.entity}Response"
        known = self.response.keys()
        return [
            name
            for name, node in self.schemas.classes.items()
            if name == whole or (name.endswith("Response") and editing.fields(node).keys() <= known)
        ]

    def field(self, given: Given, known: dict[str, cst.AnnAssign], verb: str) -> cst.AnnAssign:
        """Return a field of the resource.

        Raises:
            Refused: The resource lacks it, or has it with another type.
        """
        if given.name not in known:
            raise Refused(
                f"`{given.name}` is no field of {self.names.many}, so that an operation can't "
                f"{verb} it. Add it to the resource first (AGENTS.md, “Add a column”). "
                f"The fields are {', '.join(known)}."
            )
        shown = self.response.get(given.name)
        annotation = code(shown.annotation.annotation) if shown else ""
        wanted = python_types(given.type)
        if shown and wanted and annotation.removesuffix(" | None") not in wanted:
            raise Refused(
                f"`{given.name}:{given.type}`: in {self.names.many} it is `{annotation}`. "
                "Leave the type out."
            )
        return known[given.name]
