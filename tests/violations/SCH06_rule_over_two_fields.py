# file: src/app/api/schemas/violation.py
from pydantic import BaseModel, RootModel, ValidationInfo, field_validator  # caught


class Period(BaseModel):
    """A period."""

    start: int
    end: int

    @field_validator("end")
    @classmethod
    def _is_later(cls, end: int, info: ValidationInfo) -> int:
        return max(end, info.data["start"])
