"""Edits of modules, as text at the positions that LibCST finds: the rest stays to the letter."""

import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

import libcst as cst
import ruff
from libcst.metadata import MetadataWrapper, PositionProvider

from fastapi_senior.changes import Changes
from fastapi_senior.errors import Refused

_NOTHING = cst.Module([])


def code(node: cst.CSTNode | None) -> str:
    """Return a node as it is written."""
    return "" if node is None else _NOTHING.code_for_node(node).strip()


def moved(path: str, part: str) -> Refused:
    """Return the refusal to edit a file that lacks a part of the template."""
    return Refused(
        f"{path}: {part} is not where the template has it. Move it back, then run this again."
    )


def wrapped_tree(path: str, text: str) -> MetadataWrapper:
    """Return the tree of a module, with metadata.

    Raises:
        Refused: It can't be parsed.
    """
    try:
        return MetadataWrapper(cst.parse_module(text), unsafe_skip_copy=True)
    except cst.ParserSyntaxError as error:
        raise Refused(f"{path}:{error.raw_line}: {error.message}. Mend it first.") from error


def target_of(node: cst.CSTNode) -> str | None:
    """Return the name that a statement binds."""
    match node:
        case cst.Assign(targets=[cst.AssignTarget(target=cst.Name(value=name))]):
            return name
        case cst.AnnAssign(target=cst.Name(value=name)):
            return name
        case _:
            return None


class Module:
    """A module of a project.

    Attributes:
        path: Its path in the project.
        text: Its text, with the edits.
    """

    def __init__(self, changes: Changes, path: str) -> None:
        """Read a module.

        Raises:
            Refused: It is missing or can't be parsed.
        """
        self.path = path
        self.text = changes.read(path)
        self._changes = changes
        self._parse()

    def _parse(self) -> None:
        self._wrapper = wrapped_tree(self.path, self.text)
        self.tree = self._wrapper.module

    def _end(self, node: cst.CSTNode) -> int:
        """Return the last line of a statement."""
        end = self._wrapper.resolve(PositionProvider)[node].end
        return end.line if end.column else end.line - 1  # a block ends where the next line begins

    @property
    def functions(self) -> list[cst.FunctionDef]:
        """Return the functions."""
        return [each for each in self.tree.body if isinstance(each, cst.FunctionDef)]

    @property
    def classes(self) -> dict[str, cst.ClassDef]:
        """Return the classes by name."""
        return {each.name.value: each for each in self.tree.body if isinstance(each, cst.ClassDef)}

    def class_(self, name: str) -> cst.ClassDef:
        """Return a class.

        Raises:
            Refused: There is none of that name.
        """
        if name not in self.classes:
            raise moved(self.path, f"`{name}`")
        return self.classes[name]

    def require(self, *names: str) -> None:
        """Refuse to go on if a name is not bound at the top level."""
        bound = {name for statement in self.tree.body for name in _bound(statement)}
        for name in names:
            if name not in bound:
                raise moved(self.path, f"`{name}`")

    def insert_after(self, node: cst.CSTNode, text: str) -> None:
        """Insert lines after a statement."""
        lines = self.text.splitlines(keepends=True)
        line = self._end(node)
        self._write("".join([*lines[:line], text, *lines[line:]]))

    def add_imports(self, imports: Iterable[tuple[str, str]]) -> None:
        """Import names from modules, sorted as in the project."""
        new = "".join(f"from {module} import {name}\n" for module, name in sorted(set(imports)))
        lines = self.text.splitlines(keepends=True)
        imported = [
            statement
            for statement in self.tree.body
            if isinstance(statement, cst.SimpleStatementLine)
            and isinstance(statement.body[0], cst.Import | cst.ImportFrom)
        ]
        if not imported:
            raise moved(self.path, "`import`")
        end = self._end(imported[-1])
        self._write(
            ruffed(
                "".join([*lines[:end], new, *lines[end:]]),
                self._changes.root / self.path,
                ("check", "--fix-only", "--exit-zero", "--select=I"),
            )
        )

    def _write(self, text: str) -> None:
        self.text = text
        self._changes.write(self.path, text)
        self._parse()


def methods(node: cst.ClassDef) -> dict[str, cst.FunctionDef]:
    """Return the methods of a class by name."""
    return {each.name.value: each for each in node.body.body if isinstance(each, cst.FunctionDef)}


def fields(node: cst.ClassDef) -> dict[str, cst.AnnAssign]:
    """Return the annotated fields of a class by name."""
    return {
        each.target.value: each
        for statement in node.body.body
        if isinstance(statement, cst.SimpleStatementLine)
        for each in statement.body
        if isinstance(each, cst.AnnAssign) and isinstance(each.target, cst.Name)
    }


def ruffed(text: str, path: Path, command: Sequence[str]) -> str:
    """Return a module after a command of ruff, by the settings of its project.

    Raises:
        Refused: Ruff can't read it.
    """
    folder = next(each for each in path.parents if each.is_dir())
    done = subprocess.run(
        [ruff.find_ruff_bin(), *command, "--quiet", "--no-cache", "--stdin-filename", path, "-"],
        input=text, capture_output=True, text=True, check=False, cwd=folder,
    )  # fmt: skip
    if done.returncode:
        raise Refused(f"{path.name} can't be formatted: {done.stderr.strip()}")
    return done.stdout


def _bound(statement: cst.CSTNode) -> list[str]:
    if isinstance(statement, cst.FunctionDef | cst.ClassDef):
        return [statement.name.value]
    if not isinstance(statement, cst.SimpleStatementLine):
        return []
    return [name for each in statement.body if (name := target_of(each)) is not None]
