"""Where errors end that nobody foresaw."""

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from app.core.logging import LoggedError
from app.infrastructure.http.context import request_context
from app.infrastructure.http.problems import log_broken_off, unexpected_response


class ErrorBoundary:
    """Logs what was not handled, and answers a 500 that tells nothing."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the request, and answer for it if it fails before its response has begun.

        Raises:
            LoggedError: The response has begun. The server breaks the connection off, so that the
                client can tell half an answer from a whole one.
        """
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        try:
            await self.app(scope, receive, send)
        except ClientDisconnect:
            return
        except Exception as error:
            if scope["type"] != "http" or request_context(scope).status is not None:
                log_broken_off(scope, error)
                raise LoggedError(type(error).__name__) from error
            await unexpected_response(scope, error)(scope, receive, send)
