"""Changes are written all or not at all."""

from pathlib import Path

import pytest

from fastapi_senior.changes import Changes
from fastapi_senior.errors import Refused
from tests.toolkit.projects import commit, contents


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two files, committed."""
    (tmp_path / "a.txt").write_bytes(b"one\r\ntwo\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/b.txt").write_bytes(b"b\n")
    commit(tmp_path)
    return tmp_path


def test_edits_build_on_each_other(folder: Path) -> None:
    changes = Changes(folder)
    changes.write("a.txt", changes.read("a.txt") + "three\n")
    changes.write("a.txt", changes.read("a.txt") + "four\n")
    changes.write("new/c.txt", "c\n")
    changes.delete("sub/b.txt")
    assert (changes.created, changes.edited, changes.deleted) == (
        ["new/c.txt"],
        ["a.txt"],
        ["sub/b.txt"],
    )
    assert (changes.exists("new/c.txt"), changes.exists("sub/b.txt")) == (True, False)
    assert "+four" in changes.diff()
    assert contents(folder) == {"a.txt": b"one\r\ntwo\n", "sub/b.txt": b"b\n"}
    changes.apply()
    assert contents(folder) == {"a.txt": b"one\r\ntwo\nthree\nfour\n", "new/c.txt": b"c\n"}
    assert not (folder / "sub").exists()


def test_a_write_that_fails_restores_the_others(folder: Path) -> None:
    before = contents(folder)
    changes = Changes(folder)
    changes.write("a.txt", "changed\n")
    changes.delete("sub/b.txt")
    changes.write("new/c.txt", "c\n")
    changes.write("a.txt/d.txt", "its folder is a file\n")
    with pytest.raises(Refused, match=r"can't be written: .*Nothing was changed"):
        changes.apply()
    assert contents(folder) == before
    assert not (folder / "new").exists()


@pytest.mark.parametrize("path", ["a.txt", "sub/b.txt"])
def test_refuses_uncommitted_changes(folder: Path, path: str) -> None:
    (folder / path).write_text("changed\n", encoding="utf-8")
    changes = Changes(folder)
    changes.write("a.txt", "edited\n")
    changes.delete("sub/b.txt")
    with pytest.raises(Refused, match=f"uncommitted changes in {path}. Commit or stash"):
        changes.require_committed()


def test_other_uncommitted_changes_are_of_no_interest(folder: Path) -> None:
    (folder / "sub/b.txt").write_text("changed\n", encoding="utf-8")
    (folder / "new.txt").write_text("new\n", encoding="utf-8")
    changes = Changes(folder)
    changes.write("a.txt", "edited\n")
    changes.require_committed()


def test_refuses_a_folder_without_git(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a", encoding="utf-8")
    changes = Changes(tmp_path)
    changes.write("a.txt", "b")
    with pytest.raises(Refused, match="Run `git init` and commit first"):
        changes.require_committed()


def test_refuses_unreadable_files(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xff")
    with pytest.raises(Refused, match=r"a\.txt is no text in UTF-8"):
        Changes(tmp_path).read("a.txt")
    with pytest.raises(Refused, match=r"b\.txt is missing. .*Restore it"):
        Changes(tmp_path).read("b.txt")
