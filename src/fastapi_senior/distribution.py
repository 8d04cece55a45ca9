"""The template that the package carries."""

from pathlib import Path


def template_root() -> Path:
    """Return the folder of the template: in a clone, or in the installed package."""
    packaged = Path(__file__).with_name("template")
    return packaged if packaged.is_dir() else Path(__file__).parents[2]
