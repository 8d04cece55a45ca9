# file: src/app/infrastructure/http/violation.py
from starlette.middleware import base
from starlette.middleware.base import BaseHTTPMiddleware  # caught


class Slow(base.BaseHTTPMiddleware):  # caught
    """Break a rule."""
