# file: src/app/api/schemas/violation.py
from pydantic import BaseModel


class ViolationResponse(BaseModel):
    """Break a rule."""
