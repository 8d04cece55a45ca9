"""What a file is, by what it begins with."""

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
    def test_is_tried_here_for_all_that_is_taken_by_default(self) -> None:
        assert sorted(HEADS) == sorted(ALLOWED)

    @pytest.mark.parametrize("kind", sorted(HEADS))
    def test_believes_what_the_content_shows(self, kind: str) -> None:
        assert identified(kind, HEADS[kind], ALLOWED) == kind

    @pytest.mark.parametrize("kind", BINARY)
    @pytest.mark.parametrize("other", sorted(HEADS))
    def test_believes_nothing_else(self, kind: str, other: str) -> None:
        if kind != other:
            with pytest.raises(FileTypeMismatch):
                identified(kind, HEADS[other], ALLOWED)

    @pytest.mark.parametrize("kind", ["text/plain", "text/csv", "application/json"])
    @pytest.mark.parametrize("other", BINARY)
    def test_takes_no_bytes_for_text(self, kind: str, other: str) -> None:
        with pytest.raises(FileTypeMismatch):
            identified(kind, HEADS[other], ALLOWED)

    @pytest.mark.parametrize("declared", ["Image/PNG", "image/png; a=b", " image/png "])
    def test_understands_the_forms_of_a_name(self, declared: str) -> None:
        assert identified(declared, PNG, ALLOWED) == "image/png"

    def test_understands_names_of_old(self) -> None:
        assert identified("image/jpg", HEADS["image/jpeg"], ALLOWED) == "image/jpeg"

    @pytest.mark.parametrize("declared", [None, "", "application/octet-stream"])
    @pytest.mark.parametrize("kind", [*BINARY, "application/pdf", "text/plain"])
    def test_finds_what_nobody_declares(self, declared: str | None, kind: str) -> None:
        assert identified(declared, HEADS[kind], ALLOWED) == kind

    @pytest.mark.parametrize("declared", ["text/html", "image/svg+xml", "nonsense"])
    def test_refuses_what_is_not_taken(self, declared: str) -> None:
        with pytest.raises(UnsupportedFileType, match="Accepted are application/json"):
            identified(declared, b"<svg>", ALLOWED)

    @given(st.binary(min_size=1, max_size=SNIFFED_BYTES), st.sampled_from([None, *ALLOWED]))
    def test_answers_for_any_bytes(self, head: bytes, declared: str | None) -> None:
        try:
            assert identified(declared, head, ALLOWED) in ALLOWED
        except UnsupportedContent:
            assert declared is None or declared in ALLOWED
