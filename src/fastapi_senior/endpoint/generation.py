"""Gathers the changes of a project that add an operation to a resource."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import jinja2
import libcst as cst

from fastapi_senior import editing
from fastapi_senior.changes import Changes
from fastapi_senior.editing import code
from fastapi_senior.endpoint.resource import Resource
from fastapi_senior.endpoint.specification import Endpoint
from fastapi_senior.errors import Refused
from fastapi_senior.project import Project
from fastapi_senior.resource.fields import camel, literal
from fastapi_senior.resource.rendering import environment, wrapped

_BASES: Final = {"updated_at": "ChangingResourceResponse", "id": "ResourceResponse"}
_INHERITED: Final = {
    "ChangingResourceResponse": ("id", "created_at", "updated_at"),
    "ResourceResponse": ("id", "created_at"),
    "ResponseModel": (),
}
_SCHEMAS: Final = "app.infrastructure.http.schemas"
_ROUTES: Final = "app.infrastructure.http.routes"


def generate(project: Project, endpoint: Endpoint) -> Changes:
    """Return the changes of a project that add an operation.

    Raises:
        Refused: The resource lacks what it needs, or has the operation.
    """
    changes = Changes(project.root)
    resource = Resource.read(project, changes, endpoint)
    values = _values(resource, endpoint)
    for part in (_add_schemas, _add_route, _add_method):
        part(resource, endpoint, values)
    if endpoint.tests:
        _add_tests(resource, values)
    return changes


def curl(endpoint: Endpoint) -> str:
    """Return the `curl` line of an operation; `$api` and `$access` come from the README's tour."""
    row = "/$id" if endpoint.parameter else ""
    body = ", ".join(f'"{each.name}": …' for each in endpoint.input)
    json = f" --json '{{{body}}}'" if endpoint.input else ""
    return (
        f"curl -s -X {endpoint.method} $api/{endpoint.resource}{row}/{endpoint.segment} "
        f'-H "Authorization: Bearer $access"{json}'
    )


def _values(resource: Resource, endpoint: Endpoint) -> dict[str, object]:
    names = resource.names
    words = endpoint.segment.replace("-", " ")
    creates, writes = endpoint.parameter is None, endpoint.method != "GET"
    function, summary, description = _texts(resource, endpoint, words)
    part = endpoint.segment.replace("-", "_")
    suffix = "Create" if creates else "Update"
    model = f"{names.entity}{camel(part)}{suffix}" if endpoint.input else ""
    inputs = list(_input_fields(resource, endpoint))
    base, output_fields = _output_fields(resource, endpoint)
    output = endpoint.model or f"{names.entity}Response"
    if endpoint.output:
        output = f"{names.entity}{camel(part)}Response"
    arguments, parameters, forwarded = _arguments(resource, endpoint)
    unique = [each.name for each in endpoint.input if resource.taken(each.name)]
    errors = [resource.taken(name) for name in unique]
    if creates:
        errors = [resource.quota, *errors] if resource.quota else errors
    else:
        precondition = ["PreconditionFailed"] if "expected" in arguments else []
        errors = [f"{names.entity}NotFound", *precondition, *errors]
    given = _list([each.name for each in endpoint.input])
    new_content = f"content = {names.singular}_content(arrange, ada)"
    if not creates:
        new_content += " | CHANGES"
    if {each.name for each in endpoint.input} < resource.create.keys():
        new_content = f"""values = {new_content.removeprefix("content = ")}
        content = {{name: values[name] for name in {given}}}"""
    shown = names.variable
    if output != f"{names.entity}Response":
        every = _list(_shown(resource, endpoint, base))
        shown = f"{{name: {names.variable}[name] for name in {every}}}"
    return {
        "endpoint": endpoint,
        "names": names,
        "entity": names.entity,
        "article": names.a.split()[0],
        "method": endpoint.method.lower(),
        "creates": creates,
        "writes": writes,
        "function": function,
        "summary": summary,
        "description": description,
        "service_method": resource.free_method(function),
        "base_method": resource.base_method(endpoint),
        "route_parameters": list(_route_parameters(resource, endpoint, arguments, model)),
        "arguments": arguments,
        "parameters": parameters,
        "forwarded": forwarded,
        "errors": errors,
        "unique": unique,
        "quota": resource.quota,
        "owned": resource.owned,
        "input": model,
        "input_fields": inputs,
        "output": output,
        "output_title": f"{words.capitalize()} of {names.a}"
        if endpoint.method != "POST"
        else f"Some fields of {names.a}",
        "output_fields": output_fields,
        "base": base,
        "new_content": new_content,
        "content_of_row": f"content = {{name: {names.variable}[name] for name in {given}}}",
        "shown": shown,
        "partial": creates and {each.name for each in endpoint.input} < resource.create.keys(),
        "url": f'f"{{{names.constant}}}{endpoint.path}"'
        if creates
        else f'f"{{path_of({names.variable})}}/{endpoint.segment}"',
        "camel": camel,
    }


def _texts(resource: Resource, endpoint: Endpoint, words: str) -> tuple[str, str, str]:
    """Return name, summary and description of the operation."""
    names = resource.names
    part = endpoint.segment.replace("-", "_")
    verb, sentence = {
        "GET": ("get", f"Retrieve the {words} of"),
        "PUT": ("replace", f"Replace the {words} of"),
        "PATCH": ("change", f"Update the {words} of"),
        "POST": ("", words.capitalize()),
    }[endpoint.method]
    function = endpoint.name or (
        f"{verb}_{names.singular}_{part}" if verb else f"{part}_{names.singular}"
    )
    begin = sentence.replace("Retrieve", "Get")
    summary = endpoint.summary or f"{begin} {names.a}"
    if endpoint.name and not endpoint.summary:
        summary = endpoint.name.replace("_", " ").capitalize()
    if len(summary) > 50:  # noqa: PLR2004 - as the contract tests of projects
        raise Refused(f"The summary `{summary}` is too long. Pass a shorter one with `--summary`.")
    whose = f"one of your {names.many}" if resource.owned else names.a
    description = f"{sentence} {whose}."
    if endpoint.parameter is None or endpoint.name or endpoint.summary:
        description = f"{summary}."
    resource.require_free(endpoint, function, summary)
    return function, summary, description


def _input_fields(resource: Resource, endpoint: Endpoint) -> Iterator[str]:
    """Yield the declarations of the fields of a request."""
    model = f"{resource.names.entity}Create"
    for given in endpoint.input:
        field = resource.field(given, resource.create, "accept")
        if endpoint.parameter is None:
            yield code(field)
        elif given.optional or endpoint.method == "PATCH":
            if given.name not in resource.update:
                raise editing.moved(resource.path("api/schemas"), f"`{given.name} of {model}`")
            yield code(resource.update[given.name])
        else:
            yield _required(field)
    if endpoint.parameter is None:
        given_names = {each.name for each in endpoint.input}
        missing = [
            n for n, f in resource.create.items() if _is_required(f) and n not in given_names
        ]
        if missing:
            options = " ".join(f"--input {name}" for name in missing)
            raise Refused(
                f"POST on the collection creates {resource.names.a}, which needs "
                f"{', '.join(missing)}. Add `{options}`."
            )


def _is_required(field: cst.AnnAssign) -> bool:
    return field.value is None


def _required(field: cst.AnnAssign) -> str:
    """Return a field without its default."""
    value = field.value
    if isinstance(value, cst.Call) and code(value.func) == "Field":
        rest = value.args[1:] if value.args and value.args[0].keyword is None else value.args
        return code(field.with_changes(value=value.with_changes(args=rest)))
    return f"{code(field.target)}: {code(field.annotation.annotation)}"


def _output_fields(resource: Resource, endpoint: Endpoint) -> tuple[str, list[str]]:
    """Return the base of the response model and the declarations of its own fields."""
    if endpoint.model:
        known = resource.models_of_rows()
        if endpoint.model not in known:
            raise Refused(
                f"`{endpoint.model}` shows no {resource.names.one}. Use one of {', '.join(known)}, "
                "or list fields."
            )
        return "", []
    asked = {each.name for each in endpoint.output}
    base = "ResponseModel"
    if "updated_at" in asked:
        base = _BASES["updated_at"]
    elif asked & {"id", "created_at"}:
        base = _BASES["id"]
    for given in endpoint.output:
        if given.optional:
            raise Refused(
                f"`{given.name}:optional`: responses have all of their fields. Leave it out."
            )
        if given.name not in _INHERITED[_BASES["updated_at"]]:
            resource.field(given, resource.response, "show")
    own = [each.name for each in endpoint.output if each.name not in _INHERITED[base]]
    return base, [code(resource.response[name]) for name in own]


def _shown(resource: Resource, endpoint: Endpoint, base: str) -> list[str]:
    """Return the names of all fields of the response model."""
    own = [each.name for each in endpoint.output]
    if endpoint.model:
        model = resource.schemas.class_(endpoint.model)
        base, own = code(model.bases[0]), list(editing.fields(model))
    inherited = _INHERITED.get(base, ())
    return [*(name for name in inherited if name not in own), *own]


def _arguments(
    resource: Resource, endpoint: Endpoint
) -> tuple[dict[str, str], list[str], list[str]]:
    """Return what the route passes, what the method takes, and what it passes on."""
    method = resource.base_method(endpoint)
    arguments: dict[str, str] = {}
    parameters: list[str] = []
    forwarded: list[str] = []
    known = {
        "owner_id": "owner.id",
        f"{resource.names.singular}_id": f"{resource.names.entity}Id({endpoint.parameter})",
        "changes": "body.fields()",
        "fields": "body.fields()",
        "expected": "expected",
    }
    for parameter in resource.methods[method].params.params[1:]:
        name = parameter.name.value
        if name not in known:
            if parameter.default is not None:
                continue
            raise Refused(
                f"{resource.path('services')}: `{method}` takes `{name}`, which the generator "
                "does not know. Give it a default, or write the operation by hand."
            )
        if known[name] == "body.fields()" and not endpoint.input:
            forwarded.append("{}")
            continue
        arguments[name] = known[name]
        parameters.append(code(parameter).rstrip(",").strip())
        forwarded.append(name)
    return arguments, parameters, forwarded


def _route_parameters(
    resource: Resource, endpoint: Endpoint, arguments: Mapping[str, str], model: str
) -> Iterator[str]:
    names, writes = resource.names, endpoint.method != "GET"
    if endpoint.parameter is None:
        yield "request: Request"
    yield f"owner: {names.entity}{'Editor' if writes else 'Viewer'}"
    if endpoint.parameter is None:
        yield "_: IdempotencyDep"
    else:
        yield f"{endpoint.parameter}: {names.entity}IdPath"
    if model:
        yield f"body: {model}"
    yield f"{names.plural}: {names.entity}{'ServiceDep' if writes else 'QueriesDep'}"
    if writes:
        yield "response: Response"
    if "expected" in arguments:
        yield "expected: ExpectedVersions"


def _add_schemas(resource: Resource, endpoint: Endpoint, values: Mapping[str, object]) -> None:
    module, entity = resource.schemas, resource.names.entity
    for model, after in ((values["input"], "Update"), (values["output"], "Response")):
        wanted = endpoint.input if after == "Update" else endpoint.output
        if wanted and model in module.classes:
            raise Refused(f"{module.path}: there is a model `{model}`. Use another path.")
    if endpoint.output:
        text = _rendered(resource, "output", values)
        shown = [each for name, each in module.classes.items() if name.endswith("Response")]
        module.insert_after(shown[-1], f"\n\n{text}")
        module.add_imports([(_SCHEMAS, str(values["base"]))])
    if endpoint.input:
        text = _rendered(resource, "input", values)
        sent = [
            each
            for name, each in module.classes.items()
            if name.startswith(entity) and name.endswith(("Create", "Update"))
        ]
        module.insert_after(sent[-1], f"\n\n{text}")


def _add_route(resource: Resource, endpoint: Endpoint, values: Mapping[str, object]) -> None:
    module, names = resource.routes, resource.names
    text = _rendered(resource, "route", values)
    body = list(module.tree.body)
    positions = [
        index
        for index, each in enumerate(body)
        if isinstance(each, cst.FunctionDef) and resource.operation_of(each)
    ]
    if not positions:
        raise editing.moved(module.path, f"`@router.{values['method']}`")
    after = body[positions[-1]]
    if endpoint.parameter is None:  # before `/{item_id}`, which would match its path
        rows = [
            index
            for index in positions
            if (found := resource.operation_of(body[index])) and found[1].startswith("/{")
        ]
        after = body[rows[0] - 1] if rows else after
    module.insert_after(after, f"\n\n{text}")
    errors = values["errors"]
    core = {"PreconditionFailed"}
    assert isinstance(errors, list)
    imports = [(f"app.domain.{names.plural}", each) for each in errors if each not in core]
    imports += [("app.core.errors", each) for each in errors if each in core]
    imports += [
        (f"app.api.schemas.{names.plural}", str(values[n]))
        for n in ("input", "output")
        if values[n]
    ]
    imports += [
        (module_, name)
        for name, module_ in {
            "ExpectedVersions": "app.api.deps.common",
            "IdempotencyDep": "app.api.deps.idempotency",
            "Request": "fastapi",
            "Response": "fastapi",
            "problems": "app.infrastructure.http.problems",
            "VERSION": _ROUTES,
            "created": _ROUTES,
            "replayable": _ROUTES,
            "tag_of": _ROUTES,
            f"{names.entity}Editor": f"app.api.deps.{names.plural}",
            f"{names.entity}Viewer": f"app.api.deps.{names.plural}",
            f"{names.entity}ServiceDep": f"app.api.deps.{names.plural}",
            f"{names.entity}QueriesDep": f"app.api.deps.{names.plural}",
            f"{names.entity}Id": f"app.domain.{names.plural}",
        }.items()
        if re.search(rf"\b{name}\b", text)
    ]
    module.add_imports(imports)
    if endpoint.parameter:
        module.require(f"{names.entity}IdPath")


def _add_method(resource: Resource, endpoint: Endpoint, values: Mapping[str, object]) -> None:
    text = _rendered(resource, "service", values)
    method = text.partition("\n")[2].lstrip("\n")
    after = resource.methods[resource.base_method(endpoint)]
    resource.service.insert_after(after, f"\n{method}")


def _add_tests(resource: Resource, values: Mapping[str, object]) -> None:
    module, names = resource.tests, resource.names
    if module is None:
        raise Refused(
            f"{resource.test_path} is missing, to which the tests belong. "
            "Restore it, or pass `--no-requires-tests`."
        )
    text = _rendered(resource, "tests", values)
    used = ("CHANGES", "NOBODYS", "path_of", names.constant, names.variable)
    module.require(*(name for name in used if re.search(rf"(?<![.\"\w]){name}\b(?!:)", text)))
    module.insert_after(list(module.classes.values())[-1], f"\n\n{text}")
    places = {
        "Any": "typing",
        "Callable": "collections.abc",
        "TestClient": "starlette.testclient",
        "Settings": "app.config",
        "Account": "tests.support.arrange",
        "ArrangeSync": "tests.support.arrange",
        f"{names.singular}_content": f"tests.support.{names.plural}",
        f"store_{names.plural}": f"tests.support.{names.plural}",
        "assert_invalid": "tests.support.lists",
        "assert_problem": "tests.support.lists",
    }
    module.add_imports(
        (place, name) for name, place in places.items() if re.search(rf"\b{name}\b", text)
    )


def _rendered(resource: Resource, name: str, values: Mapping[str, object]) -> str:
    """Return a fragment, formatted by the settings of the project."""
    loader = jinja2.FileSystemLoader(Path(__file__).with_name("templates"))
    text = environment(loader).get_template(f"{name}.py.jinja").render(values)
    return editing.ruffed(wrapped(text), resource.root / resource.routes.path, ("format",))


def _list(names: list[str]) -> str:
    return f"[{', '.join(map(literal, names))}]"
