"""Reads the files of a project."""

import ast
from pathlib import Path

from fastapi_senior.errors import Refused


def text_of(file: Path) -> str:
    """Return the text of a file, line ends as they are.

    Raises:
        Refused: It can't be read.
    """
    try:
        return file.read_bytes().decode()
    except OSError as error:
        raise Refused(f"{file} can't be read: {error.strerror}. Mend that first.") from error
    except UnicodeDecodeError:
        raise Refused(f"{file} is no text in UTF-8. Convert it first.") from None


def parsed(text: str, path: object) -> ast.Module:
    """Return a module of Python.

    Args:
        text: Its text.
        path: Where it is, for errors.

    Raises:
        Refused: It can't be parsed.
    """
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        raise Refused(f"{path}:{line} is no valid Python: {error}. Mend it first.") from error
