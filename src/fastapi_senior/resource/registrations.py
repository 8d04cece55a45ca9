"""Registers a resource in the modules that list all of them, or removes it there.

Only the lines of the resource change: everything else stays to the letter, comments included.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import StringIO

import libcst as cst
from libcst.metadata import PositionProvider

from fastapi_senior.changes import Changes
from fastapi_senior.editing import code, moved, target_of, wrapped_tree
from fastapi_senior.resource.names import Names
from fastapi_senior.resource.specification import Specification

PERMISSIONS = "src/app/domain/permissions.py"
MODELS = "src/app/models/__init__.py"
ROUTER = "src/app/api/v1/router.py"
MESSAGES = "src/app/messages/__init__.py"
TASKS = "src/app/tasks/__init__.py"
JOBS = "src/app/api/deps/jobs.py"
CONFIG = "src/app/config.py"
ENVIRONMENT = ".env.example"
LINE = 100
"""Length of lines in projects."""


@dataclass(frozen=True, slots=True)
class _Import:
    """A name that a module imports.

    Attributes:
        wrapped: Whether the template has one name a line, even if all fit on one.
    """

    path: str
    module: str
    name: str
    wrapped: bool = False


@dataclass(frozen=True, slots=True)
class _Entry:
    """An entry of the tuple, list, dict, call or `Literal` that a name is bound to.

    Attributes:
        default: The entry of a list that has no other.
    """

    path: str
    variable: str
    text: str
    default: str = ""


@dataclass(frozen=True, slots=True)
class _Element:
    """Where an element of a list is: between two offsets, its comma left out."""

    text: str
    start: int
    end: int
    has_comma: bool


def register(changes: Changes, resource: Specification, *, events: bool) -> None:
    """Add a resource to the project's lists.

    Raises:
        Refused: A list is not where the template has it.
    """
    for each in _registrations(resource.names, events=events, export_job=resource.export_job):
        _module_with(changes, each)
    _add_quota(changes, resource)


def unregister(changes: Changes, names: Names) -> None:
    """Remove a resource from the project's lists, as far as it is there."""
    for each in _registrations(names, events=True, export_job=True):
        if changes.exists(each.path):
            _module_without(changes, each)
    _remove_quota(changes, names)


def _registrations(names: Names, *, events: bool, export_job: bool) -> Iterator["_Import | _Entry"]:
    plural, entity = names.plural, names.entity
    yield _Import(MODELS, f"app.models.{plural}", f"{entity} as {entity}")
    if export_job:
        exports = f"Export{names.entities}"
        yield _Import(ROUTER, "app.api.v1", f"{plural}_export", wrapped=True)
        yield _Entry(ROUTER, "FEATURES", f"{plural}_export")
        yield _Import(TASKS, f"app.tasks.{plural}", exports)
        yield _Import(TASKS, f"app.tasks.{plural}", f"export_{plural}")
        yield _Entry(TASKS, "TASKS", f"{exports}: export_{plural}")
        yield _Entry(JOBS, "_PERMISSIONS", f'"{plural}:read"', default='"profile:read"')
    yield _Import(ROUTER, "app.api.v1", plural, wrapped=True)
    yield _Entry(ROUTER, "FEATURES", plural)
    yield _Import(PERMISSIONS, "app.domain", plural)
    yield _Entry(PERMISSIONS, "_Delegable", f"{plural}.{entity}Permission")
    yield _Entry(PERMISSIONS, "_DESCRIBED", f"{plural}.PERMISSIONS")
    if events:
        yield _Import(MESSAGES, "app.messages", plural)
        yield _Entry(MESSAGES, "MESSAGES", f"{plural}.MESSAGES")


def _module_with(changes: Changes, registration: _Import | _Entry) -> None:
    module = _Module(registration.path, changes.read(registration.path))
    if isinstance(registration, _Import):
        text = _with_import(module, registration)
    else:
        text = _with_entry(module, registration)
    changes.write(registration.path, text)


def _module_without(changes: Changes, registration: _Import | _Entry) -> None:
    module = _Module(registration.path, changes.read(registration.path))
    if isinstance(registration, _Import):
        text = _without_import(module, registration)
    else:
        text = _without_entry(module, registration)
    changes.write(registration.path, text)


class _Module:
    """A module with the positions of its parts, as offsets in its text."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.text = text
        wrapper = wrapped_tree(path, text)
        self.body = wrapper.module.body
        self._positions = wrapper.resolve(PositionProvider)
        self._lines = [0]
        for line in _lines(text):
            self._lines.append(self._lines[-1] + len(line))

    def start(self, node: cst.CSTNode) -> int:
        """Return the offset at which a node starts."""
        place = self._positions[node].start
        return self._lines[place.line - 1] + place.column

    def end(self, node: cst.CSTNode) -> int:
        """Return the offset after a node."""
        place = self._positions[node].end
        return self._lines[place.line - 1] + place.column

    def imports(self) -> list[tuple[cst.SimpleStatementLine, cst.ImportFrom]]:
        """Return the imports of names with their statements."""
        return [
            (statement, statement.body[0])
            for statement in self.body
            if isinstance(statement, cst.SimpleStatementLine)
            and isinstance(statement.body[0], cst.ImportFrom)
        ]

    def imported(self, module: str) -> tuple[cst.SimpleStatementLine, list[_Element]] | None:
        """Return the import of names from a module, if there is one."""
        for statement, each in self.imports():
            if _module_of(each) == module and not isinstance(each.names, cst.ImportStar):
                return statement, [self._element(alias) for alias in each.names]
        return None

    def bound(self, variable: str) -> tuple[cst.BaseExpression, list[_Element]]:
        """Return the list that a name is bound to.

        Raises:
            Refused: There is none.
        """
        for statement in self.body:
            if isinstance(statement, cst.SimpleStatementLine):
                for each in statement.body:
                    if target_of(each) == variable:
                        value = each.value if isinstance(each, cst.Assign | cst.AnnAssign) else None
                        elements = _elements_of(value)
                        if value is not None and elements is not None:
                            return value, [self._element(element) for element in elements]
        raise moved(self.path, f"the list `{variable}`")

    def _element(self, node: cst.CSTNode) -> _Element:
        comma = getattr(node, "comma", cst.MaybeSentinel.DEFAULT)
        plain = node.with_changes(comma=cst.MaybeSentinel.DEFAULT)
        text = code(plain)
        start = self.start(node)
        return _Element(text, start, start + len(text), isinstance(comma, cst.Comma))


def _with_import(module: _Module, wanted: _Import) -> str:
    """Return a module that imports a name, in the order of the alphabet."""
    text = module.text
    found = module.imported(wanted.module)
    if found is None:
        return _with_statement(module, wanted)
    statement, elements = found
    if any(each.text == wanted.name for each in elements):
        return text
    later = [each for each in elements if _order(each.text) > _order(wanted.name)]
    start, end = module.start(statement), module.end(statement)
    if "\n" in text[start:end]:
        place = later[0].start if later else end
        at = text.rindex("\n", start, place) + 1
        comma = "" if later or elements[-1].has_comma else ","
        before = (
            text[: elements[-1].end] + comma + text[elements[-1].end : at] if comma else text[:at]
        )
        return before + _lined(text, f"    {wanted.name},\n") + text[at:]
    names = [each.text for each in elements]
    names.insert(len(names) - len(later), wanted.name)
    return text[:start] + _lined(text, _import_of(wanted.module, names)) + text[end:]


def _without_import(module: _Module, unwanted: _Import) -> str:
    """Return a module that does not import a name."""
    text = module.text
    statement, elements = module.imported(unwanted.module) or (None, [])
    others = [each for each in elements if each.text != unwanted.name]
    if statement is None or len(others) == len(elements):
        return text
    start, end = module.start(statement), module.end(statement)
    if not others:
        return _without_lines(text, start, end)
    names = [each.text for each in elements]
    one_line = _import_of(unwanted.module, [each.text for each in others])
    is_too_long = "\n" in _import_of(unwanted.module, names)
    if "\n" in text[start:end] and (unwanted.wrapped or not is_too_long or "\n" in one_line):
        return _without_element(
            text, elements, [each.text for each in elements].index(unwanted.name)
        )
    return text[:start] + _lined(text, one_line) + text[end:]


def _with_statement(module: _Module, wanted: _Import) -> str:
    text = module.text
    statements = module.imports()
    own = [(s, _module_of(each)) for s, each in statements if _module_of(each).startswith("app.")]
    before = [statement for statement, name in own if name < wanted.module]
    new = _lined(text, f"from {wanted.module} import {wanted.name}\n")
    if before:
        at = _next_line(text, module.end(before[-1]))
    elif own:
        at = _line_start(text, module.start(own[0][0]))
    elif statements:
        at = _next_line(text, module.end(statements[-1][0]))
        new = _lined(text, "\n") + new
    else:
        raise moved(module.path, "the imports")
    return text[:at] + new + text[at:]


def _with_entry(module: _Module, wanted: _Entry) -> str:
    """Return a module with an entry at the end of a list."""
    text = module.text
    value, elements = module.bound(wanted.variable)
    if any(each.text == wanted.text for each in elements):
        return text
    if [each.text for each in elements] == [wanted.default]:
        return text[: elements[0].start] + wanted.text + text[elements[0].end :]
    close = _close(module, value)
    if not elements:
        return text[:close] + wanted.text + text[close:]
    last = elements[-1]
    line = _line_start(text, close)
    if line > last.end:
        comma = "" if last.has_comma else ","
        indent = re.match(r"\s*", text[_line_start(text, last.start) :])
        new = _lined(text, f"{indent[0] if indent else ''}{wanted.text},\n")
        return text[: last.end] + comma + text[last.end : line] + new + text[line:]
    start = _line_start(text, elements[0].start)
    whole = f"{text[start : last.end]}, {wanted.text}"
    if len(whole) + len(text[close : _next_line(text, close)].rstrip()) <= LINE:
        return f"{text[:start]}{whole}{text[close:]}"
    lines = "".join(f"    {each},\n" for each in (*(e.text for e in elements), wanted.text))
    return text[: elements[0].start].rstrip() + _lined(text, f"\n{lines}") + text[close:]


def _without_entry(module: _Module, unwanted: _Entry) -> str:
    """Return a module without an entry of a list."""
    text = module.text
    value, elements = module.bound(unwanted.variable)
    names = [each.text for each in elements]
    if unwanted.text not in names:
        return text
    close = _close(module, value)
    if len(names) == 1:
        (only,) = elements
        if unwanted.default:
            return text[: only.start] + unwanted.default + text[only.end :]
        return text[: only.start].rstrip() + text[close:]
    if (
        isinstance(value, cst.Tuple)
        and len(names) == 2  # noqa: PLR2004
        and "\n" not in text[elements[0].start : close]
    ):
        (left,) = (each for each in names if each != unwanted.text)
        return f"{text[: elements[0].start]}{left},{text[close:]}"
    return _without_element(text, elements, names.index(unwanted.text))


def _without_element(text: str, elements: Sequence[_Element], index: int) -> str:
    """Return a text without one of several elements, and without its line if it has one."""
    own = elements[index]
    start, end = _line_start(text, own.start), _next_line(text, own.end)
    others = [each for each in elements if each is not own]
    if not any(start <= each.start < end or start < each.end <= end for each in others):
        before = text[start : own.start]
        after = text[own.end : end].lstrip(" ,").rstrip()
        if not before.strip() and (not after or after.startswith("#")):
            return text[:start] + text[end:]
    if index + 1 < len(elements):
        return text[: own.start] + text[elements[index + 1].start :]
    return text[: elements[index - 1].end] + text[own.end :]


def _add_quota(changes: Changes, resource: Specification) -> None:
    plural = resource.names.plural
    words = resource.names.many.capitalize()
    help_ = f"{words}; further ones are refused until one is deleted."
    module = _Module(CONFIG, changes.read(CONFIG))
    at = _next_line(module.text, module.end(_quotas(module)))
    field = (
        f"\n    {plural}: Annotated[int, Field(ge=1, le=1_000_000)] = {resource.quota:_}\n"
        f'    """{help_}"""\n'
    )
    changes.write(CONFIG, _inserted(module.text, at, field))
    text = changes.read(ENVIRONMENT)
    settings = list(re.finditer(r"APP_QUOTAS__.*", text))
    if not settings:
        raise moved(ENVIRONMENT, "`APP_QUOTAS__`")
    entry = f"\n# {help_}\n#APP_QUOTAS__{plural.upper()}={resource.quota}\n"
    changes.write(ENVIRONMENT, _inserted(text, _next_line(text, settings[-1].end()), entry))


def _remove_quota(changes: Changes, names: Names) -> None:
    module = _Module(CONFIG, changes.read(CONFIG))
    body = _quotas(module).body.body
    for number, statement in enumerate(body):
        if isinstance(statement, cst.SimpleStatementLine):
            field = statement.body[0]
            if isinstance(field, cst.AnnAssign) and target_of(field) == names.plural:
                last = body[number + 1] if _is_text(body[number + 1 : number + 2]) else statement
                start, end = module.start(statement), module.end(last)
                changes.write(CONFIG, _without_lines(module.text, start, end, follows=True))
    text = changes.read(ENVIRONMENT)
    setting = re.compile(
        rf"(?:^\r?\n)?(?:^#(?!\w+=).*\n)*^#? *APP_QUOTAS__{names.plural.upper()}=.*(?:\n|\Z)",
        re.MULTILINE,
    )
    changes.write(ENVIRONMENT, setting.sub("", text))


def _quotas(module: _Module) -> cst.ClassDef:
    for node in module.body:
        if isinstance(node, cst.ClassDef) and node.name.value == "QuotaSettings":
            return node
    raise moved(module.path, "the class `QuotaSettings`")


def _is_text(statements: Sequence[cst.BaseStatement | cst.BaseSmallStatement]) -> bool:
    match statements:
        case [cst.SimpleStatementLine(body=[cst.Expr(value=cst.SimpleString())])]:
            return True
        case _:
            return False


def _elements_of(value: cst.BaseExpression | None) -> Sequence[cst.CSTNode] | None:
    match value:
        case cst.List() | cst.Dict():
            return value.elements
        case cst.Tuple(rpar=[*_, _]):
            return value.elements
        case cst.Call():
            return value.args
        case cst.Subscript():
            return value.slice
        case _:
            return None


def _close(module: _Module, value: cst.BaseExpression) -> int:
    """Return the offset of the last bracket of a list."""
    return module.end(value.rpar[-1] if isinstance(value, cst.Tuple) else value) - 1


def _module_of(node: cst.ImportFrom) -> str:
    return code(node.module)


def _import_of(module: str, names: Sequence[str]) -> str:
    line = f"from {module} import {', '.join(names)}"
    if len(line) <= LINE:
        return line
    return f"from {module} import (\n" + "".join(f"    {name},\n" for name in names) + ")"


def _order(name: str) -> tuple[bool, bool, str]:
    """Return the key by which isort orders names: constants, classes, the rest."""
    return not name.isupper(), not name[0].isupper(), name


def _lines(text: str) -> list[str]:
    """Return the lines of a module, as Python counts them."""
    return StringIO(text, newline="").readlines()


def _lined(text: str, new: str) -> str:
    """Return new lines with the line ends of a text."""
    return new.replace("\n", "\r\n") if "\r\n" in text else new


def _line_start(text: str, offset: int) -> int:
    return text.rfind("\n", 0, offset) + 1


def _next_line(text: str, offset: int) -> int:
    found = text.find("\n", offset)
    return len(text) if found < 0 else found + 1


def _inserted(text: str, at: int, new: str) -> str:
    ended = "" if text[:at].endswith("\n") else "\n"
    return text[:at] + _lined(text, ended + new) + text[at:]


def _without_lines(text: str, start: int, end: int, *, follows: bool = False) -> str:
    """Return a text without lines, and without the blank line before if one follows, too.

    Args:
        text: The text.
        start: Offset in the first line.
        end: Offset in the last line.
        follows: Whether the blank line before goes in any case.
    """
    before, after = text[: _line_start(text, start)], text[_next_line(text, end) :]
    blank = re.search(r"(?<=\n)\r?\n\Z", before)
    if blank and (follows or re.match(r"\r?\n", after)):
        before = before[: blank.start()]
    return before + after
