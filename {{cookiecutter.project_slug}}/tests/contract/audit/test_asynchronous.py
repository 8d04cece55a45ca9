"""Rules of asynchronous code that the source shows."""

import ast
from collections.abc import Iterator

import pytest

from tests.contract.audit.source import Function, Module, assert_none, keyword, modules

pytestmark = pytest.mark.untraced

CALLS_OUT = {
    "aiosmtplib.SMTP": "timeout",
    "aiosmtplib.send": "timeout",
    "httpx.AsyncClient": "timeout",
    "httpx2.AsyncClient": "timeout",
    "smtplib.SMTP": "timeout",
    "socket.create_connection": "timeout",
    "subprocess.check_output": "timeout",
    "subprocess.run": "timeout",
    "urllib.request.urlopen": "timeout",
}
"""Ways out of the process, and the argument that limits each. Others belong in here as well."""

LIMITS = frozenset({"asyncio.timeout", "asyncio.timeout_at", "asyncio.wait_for"})
OPENED = frozenset({"asyncio.open_connection", "asyncio.open_unix_connection"})
MIGRATIONS = "app.infrastructure.database.migrations"
"""An index on a large table takes a while, and whoever migrates waits for it."""

IN_ORDER = "# In order:"


def test_asy02_waits_for_independent_things_together() -> None:
    """ASY02: independent waits go together (a task group), with time limits."""
    assert_none(fault for module in modules() for fault in _one_after_another(module))
    assert_none(fault for module in modules() for fault in _unlimited_groups(module))


def test_asy03_limits_every_call_out_of_the_process() -> None:
    """ASY03: every call out of the process has a time limit."""
    assert_none(
        module.at(call, f"give {origin} a `{CALLS_OUT[origin]}`")
        for module in modules()
        for call, origin in module.calls()
        if origin in CALLS_OUT and keyword(call, CALLS_OUT[origin]) is None
    )
    assert_none(
        module.at(call, f"put {origin} inside `async with asyncio.timeout(...)`")
        for module in modules()
        for call, origin in module.calls()
        if origin in OPENED and call not in _within_limits(module)
    )
    engines = [
        (module, call)
        for module in modules(but=(MIGRATIONS,))
        for call, origin in module.calls()
        if origin.endswith(".create_async_engine")
    ]
    assert engines, "the engine is made by create_async_engine"
    assert_none(
        module.at(call, "give the engine a pool_timeout, and connect_args with a timeout")
        for module, call in engines
        if not (_waits_in_time(call) and _connects_in_time(call))
    )


def _one_after_another(module: Module) -> Iterator[str]:
    lines = module.text.splitlines()
    for function in module.functions():
        for node in _own_nodes(function):
            if not _repeats_a_wait(node) or _ends_the_function(node):
                continue
            assert isinstance(node, ast.stmt | ast.expr)
            line = node.lineno - 2
            while lines[line].strip().startswith("# ") and IN_ORDER not in lines[line]:
                line -= 1
            if IN_ORDER not in lines[line]:
                yield module.at(
                    node,
                    "it waits for one after another: use an asyncio.TaskGroup, or say above the"
                    f" loop why the order matters, `{IN_ORDER} ...`",
                )


def _repeats_a_wait(node: ast.AST) -> bool:
    match node:
        case ast.For(body=body):
            return any(_awaits(ast.Module([statement], [])) for statement in body)
        case ast.ListComp(elt=element) | ast.SetComp(elt=element) | ast.DictComp(value=element):
            return _awaits(ast.Expr(element))
        case _:
            return False


def _awaits(node: ast.AST) -> bool:
    return any(isinstance(inner, ast.Await) for inner in _own_nodes(node))


def _ends_the_function(loop: ast.AST) -> bool:
    """Whether every wait in a loop is followed by a return: then it waits once."""
    blocks = [n.body for n in _own_nodes(loop) if isinstance(n, ast.If)]
    awaiting = [body for body in blocks if any(_awaits(s) and not _is_if(s) for s in body)]
    return bool(awaiting) and all(isinstance(body[-1], ast.Return) for body in awaiting)


def _is_if(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.If)


def _unlimited_groups(module: Module) -> Iterator[str]:
    calls = list(module.calls())
    limited = any(origin in {*LIMITS, "asyncio.wait"} for _, origin in calls)
    for call, origin in calls:
        if origin == "asyncio.gather" and keyword(call, "return_exceptions") is None:
            yield module.at(call, "use an asyncio.TaskGroup: it ends the others when one fails")
        if origin == "asyncio.TaskGroup" and not limited:
            yield module.at(call, "limit what the group waits for, by `asyncio.timeout(...)`")
        if origin == "asyncio.wait" and keyword(call, "timeout") is None:
            yield module.at(call, "give asyncio.wait a `timeout`")


def _own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """What belongs to a function or loop itself, and not to a function defined inside it."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, Function | ast.Lambda):
            yield child
            yield from _own_nodes(child)


def _within_limits(module: Module) -> set[ast.Call]:
    return {
        inner
        for node in module.nodes
        if isinstance(node, ast.AsyncWith)
        if any(module.origin(item.context_expr) in LIMITS for item in node.items)
        for inner, _ in module.calls(node)
    }


def _waits_in_time(engine: ast.Call) -> bool:
    """Without a pool, nobody waits for a connection."""
    pool = keyword(engine, "poolclass")
    unpooled = isinstance(pool, ast.Name) and pool.id == "NullPool"
    return unpooled or keyword(engine, "pool_timeout") is not None


def _connects_in_time(engine: ast.Call) -> bool:
    arguments = keyword(engine, "connect_args")
    keys = arguments.keys if isinstance(arguments, ast.Dict) else []
    return "timeout" in {getattr(key, "value", None) for key in keys}
