"""What the groups of settings have in common."""

import json
from collections.abc import Mapping
from typing import Annotated, LiteralString

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError


class SettingsGroup(BaseModel):
    """A group of settings: unchangeable, closed to unknown names, and silent about its values."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
        validate_default=True,
    )


def _split(value: object) -> object:
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except json.JSONDecodeError as error:
            message = "starts like a JSON list and is none"
            raise ValueError(message) from error
    return [part for part in (part.strip() for part in value.split(",")) if part]


Names = Annotated[list[str], BeforeValidator(_split)]
"""A list of words; the environment gives it with commas (`a,b`) or as JSON (`["a", "b"]`)."""

Location = tuple[str, ...]
"""Where a setting stands: `("auth", "access_token_minutes")`."""


Fault = tuple[str, str]
"""What is wrong with a group: the setting to change, and a sentence that goes after its name."""


UNFIT = "unfit_for_production"
"""The type of error of settings that are good, and no good in production."""


def refusal(
    title: str, faults: Mapping[Location, str], *, error_type: LiteralString = "refused"
) -> ValidationError:
    """The error a validator raises when what is wrong concerns several settings.

    Args:
        title: Name of the model that refuses.
        faults: What is wrong, by the place of the setting to change, seen from that model.
        error_type: Pydantic's `type` of each error.
    """
    return ValidationError.from_exception_data(
        title,
        [
            InitErrorDetails(
                type=PydanticCustomError(error_type, "{sentence}", {"sentence": sentence}),
                loc=location,
                input=None,
            )
            for location, sentence in faults.items()
        ],
        hide_input=True,
    )
