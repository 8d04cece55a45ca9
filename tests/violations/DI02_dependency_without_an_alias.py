# file: src/app/api/v1/violation.py
from typing import Annotated

import fastapi
from fastapi import Depends as Needs

from app.api.deps.common import get_client


async def one(settings: Annotated[object, Needs(get_client)]) -> None: ...  # caught


async def two(settings: Annotated[object, Needs(get_client)]) -> None: ...  # caught
