"""Routers that are quick to tell that a request is not theirs."""

from fastapi import APIRouter
from starlette.routing import Match
from starlette.types import Scope


class FeatureRouter(APIRouter):
    """The routes of one feature, which share a prefix.

    FastAPI tries the pattern of each route of each router, up to the one that matches. A router of
    this class is passed over whole if its prefix is not in the path.
    """

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match a request to these routes, if it can be one of theirs."""
        if self.prefix not in scope["path"]:
            return Match.NONE, {}
        return super().matches(scope)
