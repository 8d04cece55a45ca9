# file: src/app/domain/violation.py
import enum  # caught
from enum import StrEnum  # caught


class Colour(StrEnum):
    """A colour."""

    RED = "red"
