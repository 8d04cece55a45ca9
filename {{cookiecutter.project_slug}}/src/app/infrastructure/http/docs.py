"""The documentation pages, which work without the internet.

Their scripts and styles come from the package fastapi-offline: with those of a CDN, its operator
could read the tokens that users enter.
"""

import re
from base64 import b64encode
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Final

import fastapi_offline
from fastapi import FastAPI, Request
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from starlette.responses import FileResponse, HTMLResponse

from app.infrastructure.http.openapi import DOCS_PATH, OPENAPI_PATH, REDOC_PATH

_SCRIPT: Final = re.compile(rb"<script>(.*?)</script>", re.DOTALL)
_POLICY: Final = (
    "default-src 'none'; script-src {}; style-src {}; "
    "img-src 'self' data:; connect-src 'self'; worker-src blob:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
_ASSETS: Final = Path(fastapi_offline.__file__).parent / "static"


def add_routes(app: FastAPI) -> None:
    """Add the pages and their assets."""

    async def swagger_ui(request: Request) -> HTMLResponse:
        root = request.scope.get("root_path", "")
        page = get_swagger_ui_html(
            openapi_url=f"{root}{OPENAPI_PATH}",
            title=app.title,
            swagger_js_url=f"{root}{DOCS_PATH}/swagger-ui-bundle.js",
            swagger_css_url=f"{root}{DOCS_PATH}/swagger-ui.css",
            swagger_favicon_url=f"{root}{DOCS_PATH}/favicon.png",
            swagger_ui_parameters={"persistAuthorization": True},
        )
        return _with_policy(page)

    async def redoc(request: Request) -> HTMLResponse:
        root = request.scope.get("root_path", "")
        page = get_redoc_html(
            openapi_url=f"{root}{OPENAPI_PATH}",
            title=app.title,
            redoc_js_url=f"{root}{DOCS_PATH}/redoc.standalone.js",
            redoc_favicon_url=f"{root}{DOCS_PATH}/favicon.png",
            with_google_fonts=False,
        )
        return _with_policy(page, styles="'self' 'unsafe-inline'")

    app.add_route(DOCS_PATH, swagger_ui)
    app.add_route(REDOC_PATH, redoc)
    for file in _ASSETS.iterdir():
        app.add_route(f"{DOCS_PATH}/{file.name}", partial(_asset, file))


def _with_policy(page: HTMLResponse, *, styles: str = "'self'") -> HTMLResponse:
    """Allow the inline scripts of the page, and files of this service."""
    digests = (sha256(script).digest() for script in _SCRIPT.findall(page.body))
    hashes = (f"'sha256-{b64encode(digest).decode()}'" for digest in digests)
    page.headers["content-security-policy"] = _POLICY.format(" ".join(("'self'", *hashes)), styles)
    return page


async def _asset(file: Path, _: Request) -> FileResponse:
    return FileResponse(file, headers={"cache-control": "public, max-age=86400"})
