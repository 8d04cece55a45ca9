# file: src/app/services/violation.py
import pydantic_settings
from pydantic_settings import BaseSettings as Base  # caught


class MoreSettings(pydantic_settings.BaseSettings):  # caught
    stage: str = ""
