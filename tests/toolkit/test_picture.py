"""The picture in the README shows what the command prints."""

import html
import re

from tools import picture


def _text(image: str) -> list[str]:
    lines = re.findall(r"<text[^>]*>([^<]*)</text>", image)
    return [html.unescape(line).replace("\xa0", " ").rstrip() for line in lines]


def test_the_picture_shows_the_output_of_the_command() -> None:
    """If not: `python tools/picture.py`."""
    assert _text(picture.PICTURE.read_text(encoding="utf-8")) == _text(picture.draw())


def test_the_picture_loads_nothing() -> None:
    image = picture.PICTURE.read_text(encoding="utf-8")
    assert not re.search(r"url\((?!#)|<image|@import|@font-face", image)
    assert picture.ARGUMENTS[1] in image
