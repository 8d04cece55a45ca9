"""Changes of a project's files: gathered first, then written all or not at all."""

import subprocess
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from difflib import unified_diff
from pathlib import Path

from fastapi_senior.errors import Refused
from fastapi_senior.files import text_of


@dataclass(slots=True)
class Changes:
    """New texts of files below a folder; `None` deletes one.

    Edits build on each other: `read` returns what was written before.
    """

    root: Path
    texts: dict[str, str | None] = field(default_factory=dict)

    def read(self, path: str) -> str:
        """Return the text of a file as it will be.

        Raises:
            Refused: There is no such file.
        """
        text = self.texts[path] if path in self.texts else self.stored(path)
        if text is None:
            raise Refused(f"{path} is missing. Has it been moved? Restore it, then run this again.")
        return text

    def exists(self, path: str) -> bool:
        """Tell whether a file will exist."""
        return self.texts[path] is not None if path in self.texts else (self.root / path).is_file()

    def stored(self, path: str) -> str | None:
        """Return the text of a file as it is."""
        file = self.root / path
        return text_of(file) if file.is_file() else None

    def write(self, path: str, text: str) -> None:
        """Give a file a new text."""
        self.texts[path] = text

    def delete(self, path: str) -> None:
        """Delete a file."""
        self.texts[path] = None

    @property
    def created(self) -> list[str]:
        """Return the paths of new files."""
        return sorted(p for p, t in self.texts.items() if t is not None and self.stored(p) is None)

    @property
    def edited(self) -> list[str]:
        """Return the paths of files with another text than before."""
        return sorted(
            path
            for path, text in self.texts.items()
            if text is not None and self.stored(path) not in {None, text}
        )

    @property
    def deleted(self) -> list[str]:
        """Return the paths of files that will be gone."""
        return sorted(p for p, t in self.texts.items() if t is None and self.stored(p) is not None)

    def diff(self) -> str:
        """Return the changes as a unified diff."""
        lines: list[str] = []
        for path in (*self.created, *self.edited, *self.deleted):
            before, after = self.stored(path), self.texts[path]
            lines += unified_diff(
                (before or "").splitlines(keepends=True),
                (after or "").splitlines(keepends=True),
                f"a/{path}" if before is not None else "/dev/null",
                f"b/{path}" if after is not None else "/dev/null",
            )
        return "".join(lines)

    def require_committed(self) -> None:
        """Refuse if git could not bring back what is edited or deleted.

        Raises:
            Refused: A file has uncommitted changes, or there is no repository.
        """
        paths = [*self.edited, *self.deleted]
        lines = self._git("status", "--porcelain", "-z", "--ignored", "--", *paths)
        if paths and lines:
            found = ", ".join(line[3:] for line in lines)
            raise Refused(f"There are uncommitted changes in {found}. Commit or stash them first.")

    def kept(self) -> list[str]:
        """Return the paths of all files but those that git ignores.

        Raises:
            Refused: There is no repository.
        """
        found = self._git("ls-files", "-z", "--cached", "--others", "--exclude-standard")
        return [path for path in found if (self.root / path).is_file()]

    def _git(self, *arguments: str) -> list[str]:
        try:
            done = subprocess.run(
                ["git", *arguments], cwd=self.root, capture_output=True, text=True, check=True
            )
        except (OSError, subprocess.CalledProcessError):
            raise Refused("This is no git repository. Run `git init` and commit first.") from None
        return [line for line in done.stdout.split("\0") if line]

    def apply(self) -> None:
        """Write all files; if one can't be written, restore the others.

        Raises:
            Refused: A file can't be written.
        """
        before = {path: self.stored(path) for path in self.texts}
        try:
            for path, text in self.texts.items():
                _put(self.root / path, text)
        except OSError as error:
            for path, text in before.items():
                with suppress(OSError):
                    _put(self.root / path, text)
            raise Refused(
                f"{error.filename} can't be written: {error.strerror}. Nothing was changed."
            ) from error


def _put(path: Path, text: str | None) -> None:
    if text is None:
        path.unlink(missing_ok=True)
        _remove_empty(path.parents)
    elif not path.is_file() or path.read_bytes().decode() != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="")


def _remove_empty(folders: Iterable[Path]) -> None:
    for folder in folders:
        if (folder / ".git").exists() or any(folder.iterdir()):
            return
        folder.rmdir()
