"""Media types of files, verified against their content."""

import re
from collections.abc import AsyncIterator, Collection
from typing import Final

import puremagic

from app.domain.files import FileTypeMismatch, UnsupportedFileType

SNIFFED_BYTES: Final = 4096
"""Bytes at the beginning of a file that are enough to identify it."""

UNKNOWN: Final = "application/octet-stream"
"""The type that clients declare when they do not know it."""

_ALIASES: Final = {
    "application/x-pdf": "application/pdf",
    "application/x-zip-compressed": "application/zip",
    "application/x-gzip": "application/gzip",
    "audio/mp3": "audio/mpeg",
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "text/json": "application/json",
}
_TEXTUAL: Final = frozenset({"application/json", "application/x-ndjson", "application/xml"})
_JSON_BEGINS: Final = re.compile(rb'\s*[{\["\-0-9tfn]')
_CONTROLS: Final = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f]")


def identified(declared: str | None, head: bytes, allowed: Collection[str]) -> str:
    """Return the declared type of a file, or the first allowed one that its content matches.

    Binary types are identified by signature; text is content without control characters.

    Raises:
        UnsupportedFileType: The type is not allowed or unknown.
        FileTypeMismatch: The content does not match the declared type.
    """
    name = (declared or UNKNOWN).partition(";")[0].strip().lower()
    name = _ALIASES.get(name, name)
    if name == UNKNOWN:
        candidates = [*_signatures(head), *(["text/plain"] if _is_text(head) else [])]
        found = next((each for each in candidates if each in allowed), None)
        if found is None:
            raise UnsupportedFileType("The content matches no accepted type.")
        return found
    require_allowed(name, allowed)
    if not _matches(name, head):
        raise FileTypeMismatch("The content does not match the declared type.")
    return name


def require_allowed(name: str, allowed: Collection[str]) -> None:
    """Require an allowed type."""
    if name not in allowed:
        raise UnsupportedFileType(f"Accepted types: {', '.join(sorted(allowed))}.")


async def peeked(chunks: AsyncIterator[bytes]) -> tuple[bytes, AsyncIterator[bytes]]:
    """Return the first `SNIFFED_BYTES` bytes, and an iterator over all of them."""
    head = bytearray()
    async for chunk in chunks:
        head += chunk
        if len(head) >= SNIFFED_BYTES:
            break

    async def from_the_start() -> AsyncIterator[bytes]:
        yield bytes(head)
        async for chunk in chunks:
            yield chunk

    return bytes(head[:SNIFFED_BYTES]), from_the_start()


def _matches(name: str, head: bytes) -> bool:
    if name == "application/json":
        return _is_text(head) and _JSON_BEGINS.match(head) is not None
    if name.startswith("text/") or name in _TEXTUAL:
        return _is_text(head)
    return name in _signatures(head)


def _signatures(head: bytes) -> list[str]:
    """Return the types whose signature matches, the likeliest first."""
    try:
        found = puremagic.magic_string(head)
    except (puremagic.PureError, ValueError):
        return []
    names = (match.mime_type.lower() for match in found)
    return list(dict.fromkeys(_ALIASES.get(name, name) for name in names if name))


def _is_text(head: bytes) -> bool:
    return _CONTROLS.search(head) is None
