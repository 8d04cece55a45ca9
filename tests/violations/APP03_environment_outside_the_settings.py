# file: src/app/services/violation.py
import os
import os as system
from os import getenv as read

STAGE = os.environ.get("STAGE")  # caught
OTHER = system.getenv("STAGE")  # caught


def stage() -> str | None:
    return read("STAGE")  # caught
