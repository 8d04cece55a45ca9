"""Lets everybody read a resource: takes the owner out of the code that reads."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar, cast

import libcst as cst
import libcst.matchers as m

from fastapi_senior.resource.names import Names

Node = TypeVar("Node", bound=cst.CSTNode)
Replacement = Callable[[Any, Mapping[str, Any]], Any]

_OWNER: Final = m.Name("owner_id") | m.Attribute(value=m.Name("owner"), attr=m.Name("id"))
_CONDITION: Final = m.Call(
    func=m.Attribute(value=m.SaveMatchedNode(m.DoNotCare(), "all"), attr=m.Name("where")),
    args=[m.Arg(value=m.Comparison(left=m.Attribute(attr=m.Name("owner_id"))))],
)
_KEY: Final = m.Call(func=m.Name("_stats_key"))
_ROUTE: Final = m.Decorator(decorator=m.Call(func=m.Attribute(value=m.Name("router"))))
_IN_DOCSTRINGS: Final = (
    ("does not exist or belongs", "does not exist or, to be changed, belongs"),
    ("those of other owners are not found", "changes do not find those of other owners"),
)
_IN_READERS: Final = (
    ("one of your ", "one of the "),
    (" your ", " the "),
    ("an owner's ", "all "),
    ("The owner has no such", "There is no such"),
)


def published(text: str, names: Names) -> str:
    """Return a module whose functions for reading serve all rows, without credentials."""
    one, many = names.singular, names.plural
    readers = {"get", "list", "stats", "stream", "export", "load", "_stats_key"}
    readers |= {f"list_{many}", f"get_{one}", f"get_{one}_stats", f"export_{many}"}
    reader = m.FunctionDef(name=m.Name(m.MatchIfTrue(readers.__contains__)))
    tree = _replaced(cst.parse_module(text), reader, lambda node, _: _without_owner(node))
    tree = _replaced(tree, _CONDITION, lambda _, found: found["all"])
    tree = _replaced(tree, _KEY, lambda node, _: node.with_changes(args=[]))
    return _reworded(tree.code, _IN_DOCSTRINGS).replace("_OWNED", "_ALL")


def _without_owner(function: cst.CSTNode) -> cst.CSTNode:
    entry = m.DictElement(key=m.SimpleString('"owner_id"'))
    for unneeded in (
        m.Param(name=m.Name("owner_id") | m.Name("owner")),
        m.Arg(value=_OWNER | m.Dict(elements=[entry])),
    ):
        function = _replaced(function, unneeded, lambda *_: cst.RemoveFromParent())
    function = _replaced(function, _ROUTE, lambda node, _: _opened(node))
    text = cst.Module([]).code_for_node(function).replace(", )", ")")
    text = re.sub(r'f("[\w-]+):\{owner_id\}', r"\1", text)  # the key of the cache
    return cst.parse_module(_reworded(text, _IN_READERS)).body[0]


def _opened(decorator: cst.CSTNode) -> cst.CSTNode:
    """Return the decorator of an operation that needs no credentials."""
    assert isinstance(decorator, cst.Decorator)
    assert isinstance(decorator.decorator, cst.Call)
    opened = cst.Arg(keyword=cst.Name("openapi_extra"), value=cst.Name("OPEN"))
    return decorator.with_deep_changes(
        decorator.decorator, args=[*decorator.decorator.args, opened]
    )


def _replaced(node: Node, matcher: m.BaseMatcherNode, new: Replacement) -> Node:
    return cast("Node", m.replace(node, matcher, new))


def _reworded(text: str, words: tuple[tuple[str, str], ...]) -> str:
    for before, after in words:
        text = text.replace(before, after)
    return text
