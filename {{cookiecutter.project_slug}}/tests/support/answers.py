"""Responses of the tested applications, compared with the document."""

import functools
import re
from collections.abc import Callable

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

Answer = tuple[str, str, int]
"""A method, a path and a status."""

Recorded = Callable[[FastAPI], FastAPI]
"""Has the answers of an application noted."""


class AnswerRecorder:
    """Records requests and the status of their responses."""

    def __init__(self, app: ASGIApp, answers: set[Answer]) -> None:
        self.app = app
        self._answers = answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._answers.add((scope["method"], scope["path"], message["status"]))
            await send(message)

        await self.app(scope, receive, send_noted)


def differences(documented: set[Answer], answers: set[Answer]) -> list[str]:
    """Describe statuses that are documented and did not occur, and the other way round.

    Args:
        documented: With templates for paths.
        answers: With paths as they were asked for; those of no operation are passed over.
    """
    got = {
        (method, template, status)
        for method, path, status in answers
        if (template := _template(documented, method, path)) is not None
    }
    return [
        *(f"{method} {path}: no test gets {s}" for method, path, s in sorted(documented - got)),
        *(
            f"{method} {path}: {s} is not documented"
            for method, path, s in sorted(got - documented)
        ),
    ]


def _template(documented: set[Answer], method: str, path: str) -> str | None:
    """Return the template of a path; one without parameters has precedence, as in routing."""
    templates = {template for known, template, _ in documented if known == method}
    if any(template == path for _, template, _ in documented):
        return path if path in templates else None
    return next((each for each in sorted(templates) if path_pattern(each).fullmatch(path)), None)


@functools.cache
def path_pattern(template: str) -> re.Pattern[str]:
    """Return a pattern that matches the paths of a template."""
    return re.compile(re.sub(r"\{\w+\}", "[^/]+", template))
