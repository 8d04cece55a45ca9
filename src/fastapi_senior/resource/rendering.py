"""Renders the files of a resource from those of `items`, the template's example.

A file of the example is a Jinja template whose blocks hold what depends on the specification. Its
child in `templates/` overrides these blocks; the rest is the example's text with other names.
"""

import ast
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from inspect import isfunction
from pathlib import Path
from typing import Final, cast

import jinja2

from fastapi_senior.distribution import template_root
from fastapi_senior.editing import ruffed
from fastapi_senior.errors import Refused
from fastapi_senior.files import parsed
from fastapi_senior.project import Table
from fastapi_senior.resource import fields, samples
from fastapi_senior.resource.names import Names
from fastapi_senior.resource.publication import published
from fastapi_senior.resource.specification import Specification

TREE: Final = "{{cookiecutter.project_slug}}"
_PROSE = re.compile(r"\"\"\".*?\"\"\"|\"[^\"\n]*\"|#[^\n]*", re.DOTALL)
_DIRECTIVE = re.compile(r" *# \{%.*")
_WORD = re.compile(
    r"(?<![A-Za-z])(?P<article>[Aa]n )?(?P<word>items?|Items?|ITEMS?)(?![a-z])(?!\(\))"
    r"|(?<=[a-z])(?P<inner>Items?)(?![a-z])"
)
_SENTENCE = re.compile(r"[A-Z][\w ,.;:'`()/-]*")
_NEUTRAL: Final = Names("qqthings", "qqthing")
_SPARED: Final = "\0"
_OF_PAGES = re.compile(r"\.items\(\)|(?<=[\w)])\[\"items\"\]|\"items\": \[|page\.items")


def render(
    specification: Specification,
    paths: Mapping[str, str],
    context: Mapping[str, object],
    root: Path,
) -> Iterator[tuple[str, str]]:
    """Yield path and text of each file, formatted by the settings of the project.

    Args:
        specification: The resource.
        paths: The path in the project for the path of each file of the example.
        context: Further values for the templates.
        root: Folder of the project.

    Raises:
        Refused: Its names mean something else in these files.
    """
    for identifiers in _identifiers(*_neutral(specification, context), paths):
        for name, neutral in zip(_as_code(specification.names), _as_code(_NEUTRAL), strict=True):
            if name in identifiers and neutral in identifiers:
                raise Refused(
                    f"`{name}` means something else in the code of a resource. Choose a name of "
                    "two words for it."
                )
    for path, text in _texts(specification, paths, context):
        yield path, formatted(text, root / path)


def _as_code(names: Names) -> tuple[str, ...]:
    return (names.plural, names.variable, names.entity)


def _neutral(
    specification: Specification, context: Mapping[str, object]
) -> tuple[Specification, dict[str, object]]:
    """Return a resource and its context with names that mean nothing."""
    own = specification.names.plural
    fields_ = [
        replace(each, target=_NEUTRAL.plural) if each.target == own else each
        for each in specification.fields
    ]
    targets = dict(cast("Mapping[str, Table]", context["targets"]))
    if own in targets:
        targets[_NEUTRAL.plural] = replace(targets.pop(own), entity=_NEUTRAL.entity)
    neutral = replace(specification, names=_NEUTRAL, fields=tuple(fields_))
    return neutral, {**context, "targets": targets}


def _identifiers(
    specification: Specification, context: Mapping[str, object], paths: Mapping[str, str]
) -> Iterator[set[str]]:
    """Yield the names that each module of any resource with these options uses."""
    own = {name for each in specification.fields for name in (each.name, fields.alias(each))}
    for path, text in _texts(specification, paths, context):
        found: set[str] = set()
        for node in ast.walk(parsed(text, path)):
            match node:
                case ast.Name(id=name) | ast.arg(arg=name) | ast.ClassDef(name=name):
                    found.add(name)
                case ast.alias(name=name, asname=asname):
                    found.add(asname or name)
        yield found - own


def environment(loader: jinja2.BaseLoader) -> jinja2.Environment:
    """Return the environment of templates of Python, whose directives are comments."""
    found = jinja2.Environment(
        loader=loader,
        block_start_string="# {%",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - it renders Python
    )
    found.filters |= {
        "literal": fields.literal,
        "literals": lambda values: f"[{', '.join(map(fields.literal, values))}]",
        "entry": ": ".join,
    }
    return found


def _texts(
    specification: Specification, paths: Mapping[str, str], context: Mapping[str, object]
) -> Iterator[tuple[str, str]]:
    templates = environment(jinja2.FunctionLoader(_loader(specification.names)))
    values = {
        "resource": specification,
        "names": specification.names,
        "entity": specification.names.entity,
        "MANY_CONDITIONS": 5,  # more branches are too complex for the project's linter
        **{
            name: each
            for module in (fields, samples)
            for name, each in vars(module).items()
            if isfunction(each)
        },
        **context,
    }
    for example, path in paths.items():
        child = f"{example}.jinja"
        name = child if _child(child).is_file() else example
        text = templates.get_template(name).render(values)
        if not specification.owned and example.startswith("src/"):
            text = published(text, specification.names)
        yield path, text


_FIX: Final = (
    *("check", "--fix-only", "--exit-zero"),
    *("--config", "lint.isort.split-on-trailing-comma=false"),
)


def formatted(text: str, path: Path) -> str:
    """Return a module as the linter and the formatter of its project would have it."""
    text = wrapped(text)
    for command in (("format",), _FIX, ("format",)):  # first, or parts of a text would be joined
        text = ruffed(text, path, command)
    return text


def wrapped(text: str, width: int = 100) -> str:
    """Return a module with the long lines of docstrings wrapped."""
    lines: list[str] = []
    inside = False
    for line in text.split("\n"):
        inside ^= line.count('"""') % 2 == 1
        indent = line[: len(line) - len(line.lstrip())]
        if len(line) <= width or not inside or not _SENTENCE.match(line.lstrip()):
            lines.append(line)
        else:
            lines += textwrap.wrap(line, width, subsequent_indent=indent, break_long_words=False)
    return "\n".join(lines)


def _child(name: str) -> Path:
    return Path(__file__).with_name("templates") / name


def _loader(names: Names) -> Callable[[str], str | None]:
    def load(name: str) -> str | None:
        if name.endswith(".jinja"):
            return _child(name).read_text(encoding="utf-8")
        text = (template_root() / TREE / name).read_text(encoding="utf-8")
        return renamed(text, names)

    return load


def renamed(text: str, names: Names) -> str:
    """Return a module about `items` with the names of another resource.

    In texts the words of a name are separate, in code they are not.
    """
    kept = _OF_PAGES.sub(lambda match: match[0].replace("items", _SPARED), text)
    parts: list[str] = []
    end = 0
    for match in _PROSE.finditer(kept):
        parts.append(_with_names(kept[end : match.start()], names, prose=False))
        found = match[0]
        is_prose = (" " in found or found.startswith('"""')) and not _DIRECTIVE.match(found)
        parts.append(_with_names(found, names, prose=is_prose))
        end = match.end()
    parts.append(_with_names(kept[end:], names, prose=False))
    return "".join(parts).replace(_SPARED, "items")


def _with_names(text: str, names: Names, *, prose: bool) -> str:
    def replacement(match: re.Match[str]) -> str:
        article = match["article"] or ""
        word = match["word"] or match["inner"]
        before = " " if article else text[: match.start()][-1:]
        after = text[match.end() :][:1]
        alone = before not in {"_", "."} and after not in ({"_", "("} if prose else {"_"})
        is_word = prose and alone and before not in {"`", "/"} and after not in {":", "/", "`"}
        many = word.lower() == "items"
        if word in {"item", "items"}:
            if is_word:
                new = names.many if many else names.one
            elif before == "/" or (after == "-" and not prose) or (before == '"' and after == "-"):
                new = names.path if many else names.singular.replace("_", "-")
            elif many:
                new = names.plural
            else:
                new = names.variable if alone and not match["inner"] else names.singular
        elif word in {"Item", "Items"}:
            if is_word and not (after and after.isupper()):
                new = (names.many if many else names.one).capitalize()
            else:
                new = names.entities if many else names.entity
        else:
            new = (names.plural if many else names.singular).upper()
        if article:
            new_article = names.a.removesuffix(names.one)
            article = new_article if article[0] == "a" else new_article.capitalize()
        return article + new

    return _WORD.sub(replacement, text)
