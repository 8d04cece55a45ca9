# file: src/app/api/schemas/violation.py
from app.infrastructure.http.schemas import ResponseModel


class ViolationResponse(ResponseModel):
    """Break a rule."""

    id: str
