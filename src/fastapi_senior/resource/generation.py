"""Gathers the changes of a project that add a resource."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from fastapi_senior.changes import Changes
from fastapi_senior.errors import Refused
from fastapi_senior.project import Project, Table
from fastapi_senior.resource import fields, migration, registrations, samples
from fastapi_senior.resource.names import Names
from fastapi_senior.resource.rendering import formatted, render
from fastapi_senior.resource.specification import Field, Specification

LAYERS = ("models", "domain", "repositories", "services", "api/schemas", "api/deps", "api/v1")
TYPES = ("src/app/infrastructure/http/fields.py", "tests/unit/test_fields.py")
"""The modules of types of fields, which projects get with the first resource that needs them."""

_OF_EVENTS = ("src/app/messages/", "tests/realtime/")
_OF_EXPORTS = ("tasks/items.py", "items_export.py")


@dataclass(frozen=True, slots=True)
class Parent:
    """A row that a test must store before one of the resource.

    Attributes:
        variable: Name of the variable.
        factory: Name of the factory.
        arguments: Arguments of its `build`.
    """

    variable: str
    factory: str
    arguments: str


def generate(project: Project, resource: Specification, now: datetime) -> Changes:
    """Return the changes of a project that add a resource.

    Raises:
        Refused: There is one of that name, or the project lacks what it needs.
    """
    names = resource.names
    changes = Changes(project.root)
    paths = example_paths(project, resource)
    taken = [path for path in paths.values() if changes.exists(path)]
    taken += [f"the table `{table}`" for table in project.models.values() if table == names.plural]
    taken += [f"the model `{model}`" for model in project.models if model == names.entity]
    if taken:
        removal = f"remove it with `fastapi-senior resource remove {names.path}`"
        remedy = f", or {removal}" if names.plural in project.resources else ""
        raise Refused(f"There is {taken[0]} already. Choose another name{remedy}.")
    if resource.export_job and not project.has_jobs:
        raise Refused("`--export-job` needs background jobs, which this project lacks.")
    tables = {
        **project.tables,
        names.plural: Table(names.entity, "owner_id", {}, not resource.owned),
    }
    registrations.register(changes, resource, events=project.has_events)
    context = _context(project, resource, tables)
    for path, text in render(resource, paths, context, project.root):
        changes.write(path, text)
    path = migration.path(resource, now)
    targets = {each.name: each.target or "" for each in resource.relations}
    text = migration.text(resource, migration.head(project), targets)
    changes.write(path, formatted(text, project.root / path))
    return changes


def example_paths(project: Project, resource: Specification) -> dict[str, str]:
    """Return the path of each file of the resource, by that of the example."""
    return {
        example: path
        for example, path in every_path(resource.names).items()
        if (project.has_events or not example.startswith(_OF_EVENTS))
        and (resource.export_job or not example.endswith(_OF_EXPORTS))
        and (resource.tests or not example.startswith("tests/"))
    } | _types(project, resource)


def _types(project: Project, resource: Specification) -> dict[str, str]:
    """Return the modules of types that no resource has needed so far."""
    if project.has(TYPES[0]) or fields.OF_TYPES.isdisjoint(each.type for each in resource.fields):
        return {}
    return {path: path for path in TYPES}


def every_path(names: Names) -> dict[str, str]:
    """Return the path of each file that a resource can have, by that of the example."""
    examples = [f"src/app/{layer}/items.py" for layer in (*LAYERS, "messages", "tasks")]
    examples += [f"src/app/api/{layer}/items_export.py" for layer in ("schemas", "v1")]
    examples += ["tests/support/items.py", "tests/realtime/test_items.py"]
    examples += ["tests/api/test_items.py", "tests/api/test_items_export.py"]
    return {each: each.replace("items", names.plural) for each in examples}


def _context(
    project: Project, resource: Specification, tables: Mapping[str, Table]
) -> dict[str, object]:
    parents: dict[str, Parent] = {}
    given: dict[str, str] = {}
    for field in resource.relations:
        if not field.optional:
            given[field.name] = _add_parent(
                project, tables, field.name, field.target or "", parents
            )
    factories = {parent.factory for parent in parents.values()}
    related = {each.name: _related(project, tables, resource, each) for each in resource.relations}
    imports = {(module, name) for module, name, _ in related.values() if module}
    return {
        "targets": {each.target: tables[each.target or ""] for each in resource.relations},
        "parents": list(parents.values()),
        "given": ", ".join(f'"{name}": {variable}.id' for name, variable in given.items()),
        "parent_factories": sorted((project.factories[name], name) for name in factories),
        "related_imports": sorted(imports),
        "related": {name: call for name, (_, _, call) in related.items()},
        "searched": [fields.words(name) for name in resource.search],
        "plain_filters": list(samples.filters(resource)),
    }


def _add_parent(
    project: Project,
    tables: Mapping[str, Table],
    column: str,
    target: str,
    parents: dict[str, Parent],
) -> str:
    """Add what a row refers to, after what that refers to; return its variable."""
    table = tables[target]
    factory = f"{table.entity}Factory"
    if factory not in project.factories:
        raise Refused(
            f"There is no `{factory}` in tests, which the tests of relations to {target} need."
        )
    arguments = [f"{table.owner}=owner.id"] if table.owner else []
    for name, other in table.required.items():
        referred = next((t for t, each in tables.items() if each.entity == other), None)
        if referred is not None:
            arguments.append(f"{name}={_add_parent(project, tables, name, referred, parents)}.id")
    variable = Names.of(target).variable if column == "" else column.removesuffix("_id")
    while variable in parents and parents[variable].factory != factory:
        variable += "_"
    parents[variable] = Parent(variable, factory, ", ".join(arguments))
    return variable


def _related(
    project: Project, tables: Mapping[str, Table], resource: Specification, field: Field
) -> tuple[str, str, str]:
    """Return module, name and call that make a row that a relation refers to, for `{owner}`."""
    target = field.target or ""
    if target == resource.names.plural:
        return "", "", f"new_{target}({{owner}})"
    if project.has(f"tests/support/{target}.py"):
        text = (project.root / f"tests/support/{target}.py").read_text(encoding="utf-8")
        if f"def new_{target}(" in text:
            return f"tests.support.{target}", f"new_{target}", f"new_{target}({{owner}})"
    parents: dict[str, Parent] = {}
    _add_parent(project, tables, field.name, target, parents)
    factory = f"{tables[target].entity}Factory"
    if len(parents) > 1:
        raise Refused(
            f"Rows of {target} need others; add `new_{target}` to tests/support/{target}.py."
        )
    owner = tables[target].owner
    arguments = f"{owner}={{owner}}.id" if owner else ""
    return project.factories[factory], factory, f"[{factory}.build({arguments})]"
