"""Plain dependencies without a thread hop."""

import functools
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def on_loop(function: Callable[P, T]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Let FastAPI call a plain dependency on the event loop.

    FastAPI sends every plain `def` dependency through its thread pool, because it might block. One
    that does no I/O stays a plain function in the source (rule DI04), and this saves it the hop,
    which costs more than what such a function does.
    """

    @functools.wraps(function)
    async def call(*args: P.args, **kwargs: P.kwargs) -> T:
        return function(*args, **kwargs)

    return call
