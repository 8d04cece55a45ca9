"""Media types of files, by their content."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.config.storage import StorageSettings
from app.core.errors import UnsupportedContent
from app.domain.files import FileTypeMismatch, UnsupportedFileType
from app.services.media_types import SNIFFED_BYTES, identified
from tests.support.files import PNG

ALLOWED = StorageSettings().media_types
HEADS = {
    "application/json": b' {"a": 1}',
    "application/pdf": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
    "application/zip": b"PK\x03\x04\x14\0\0\0\0\0" + bytes(40),
    "audio/mpeg": b"ID3\x03\0\0\0\0" + bytes(40),
    "image/gif": b"GIF89a" + bytes(40),
    "image/jpeg": b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01" + bytes(40),
    "image/png": PNG,
    "image/webp": b"RIFF\x24\0\0\0WEBPVP8 " + bytes(40),
    "text/csv": b"a,b\r\n1,2\r\n",
    "text/plain": "Grüße\n".encode(),
    "video/mp4": b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41" + bytes(40),
}
BINARY = sorted(kind for kind in HEADS if kind.startswith(("image", "video")))


class TestIdentified:
    def test_is_tested_for_every_default_type(self) -> None:
        assert sorted(HEADS) == sorted(ALLOWED)

    @pytest.mark.parametrize("kind", sorted(HEADS))
    def test_accepts_matching_content(self, kind: str) -> None:
        assert identified(kind, HEADS[kind], ALLOWED) == kind

    @pytest.mark.parametrize("kind", BINARY)
    @pytest.mark.parametrize("other", sorted(HEADS))
    def test_refuses_other_content(self, kind: str, other: str) -> None:
        if kind != other:
            with pytest.raises(FileTypeMismatch):
                identified(kind, HEADS[other], ALLOWED)

    @pytest.mark.parametrize("kind", ["text/plain", "text/csv", "application/json"])
    @pytest.mark.parametrize("other", BINARY)
    def test_refuses_bytes_as_text(self, kind: str, other: str) -> None:
        with pytest.raises(FileTypeMismatch):
            identified(kind, HEADS[other], ALLOWED)

    @pytest.mark.parametrize("declared", ["Image/PNG", "image/png; a=b", " image/png "])
    def test_normalizes_names(self, declared: str) -> None:
        assert identified(declared, PNG, ALLOWED) == "image/png"

    def test_knows_aliases(self) -> None:
        assert identified("image/jpg", HEADS["image/jpeg"], ALLOWED) == "image/jpeg"

    @pytest.mark.parametrize("declared", [None, "", "application/octet-stream"])
    @pytest.mark.parametrize("kind", [*BINARY, "application/pdf", "text/plain"])
    def test_detects_undeclared_types(self, declared: str | None, kind: str) -> None:
        assert identified(declared, HEADS[kind], ALLOWED) == kind

    @pytest.mark.parametrize("declared", ["text/html", "image/svg+xml", "nonsense"])
    def test_refuses_types_that_are_not_allowed(self, declared: str) -> None:
        with pytest.raises(UnsupportedFileType, match="Accepted types: application/json"):
            identified(declared, b"<svg>", ALLOWED)

    @given(st.binary(min_size=1, max_size=SNIFFED_BYTES), st.sampled_from([None, *ALLOWED]))
    def test_handles_any_bytes(self, head: bytes, declared: str | None) -> None:
        try:
            assert identified(declared, head, ALLOWED) in ALLOWED
        except UnsupportedContent:
            assert declared is None or declared in ALLOWED
