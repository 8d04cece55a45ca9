"""The migration that creates the table of a resource."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from secrets import token_hex

from fastapi_senior.errors import Refused
from fastapi_senior.files import parsed, text_of
from fastapi_senior.project import Project
from fastapi_senior.resource.fields import constraint_name, indexes, literal, sa_type, sentence
from fastapi_senior.resource.specification import Specification

FOLDER = "migrations/versions"
_VALUE = re.compile(r"^(?P<name>revision|down_revision)\b[^=\n]*= (?P<value>.+)$", re.MULTILINE)
_FIRST = re.compile(r"(create|drop|batch_alter)_table|(add|drop|alter)_column")
"""Operations whose first argument is the table, not a name."""


@dataclass(frozen=True, slots=True)
class Revision:
    """A migration of a project.

    Attributes:
        before: The revisions that it follows.
    """

    path: str
    text: str
    revision: str
    before: tuple[str, ...]


def head(project: Project) -> str:
    """Return the revision that a new one follows.

    Raises:
        Refused: There are several.
    """
    found = revisions(project)
    followed = {before for each in found for before in each.before}
    heads = [each for each in found if each.revision not in followed]
    if len(heads) != 1:
        files = " and ".join(each.path for each in heads)
        raise Refused(
            f"Nothing follows {files}. Run `alembic merge heads` first."
            if heads
            else f"There are no migrations in {FOLDER}. Restore them, then run this again."
        )
    return heads[0].revision


def revisions(project: Project) -> list[Revision]:
    """Return the migrations of a project."""
    found = []
    for file in sorted((project.root / FOLDER).glob("*.py")):
        content = text_of(file)
        values = {match["name"]: match["value"] for match in _VALUE.finditer(content)}
        if "revision" not in values:
            raise Refused(f"{FOLDER}/{file.name} has no `revision`. Move it away, or mend it.")
        before = re.findall(r"[\"'](\w+)[\"']", values.get("down_revision", ""))
        revision = values["revision"].strip().strip("\"'")
        found.append(Revision(f"{FOLDER}/{file.name}", content, revision, tuple(before)))
    return found


def creating(project: Project, table: str) -> Revision | None:
    """Return the migration that creates a table and does nothing else, if there is one.

    Raises:
        Refused: It does more, or others follow it.
    """
    found = revisions(project)
    own = next((each for each in found if ("create_table", table) in _changed(each)), None)
    if own is None:
        return None
    if others := {changed for _, changed in _changed(own)} - {table}:
        raise Refused(
            f"{own.path} changes {', '.join(sorted(others))}, too. "
            f"Take `{table}` out of it, then run this again."
        )
    before = " or ".join(own.before)
    for each in found:
        if own.revision in each.before:
            raise Refused(
                f'{each.path} follows {own.path}. Set its down_revision to "{before}" first.'
            )
    return own


def _changed(revision: Revision) -> Iterator[tuple[str, str]]:
    """Yield each operation of a migration with the table that it changes."""
    for node in ast.walk(parsed(revision.text, revision.path)):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name("op"), attr=name)) if name != "f":
                first = _FIRST.fullmatch(name) is not None
                given = [each.value for each in node.keywords if each.arg == "table_name"]
                given += node.args[0 if first else 1 :]
                match given:
                    case [ast.Constant(str(table)), *_]:
                        yield name, table
                    case _:
                        yield name, f"something by `op.{name}`"


def path(resource: Specification, now: datetime) -> str:
    """Return the path of a new migration, as Alembic would name it."""
    return f"{FOLDER}/{now.astimezone(UTC):%Y%m%d_%H%M}_add_{resource.names.plural}.py"


def text(
    resource: Specification,
    down_revision: str,
    targets: dict[str, str],
    *,
    revision: str = "",
    title: str = "",
) -> str:
    """Return the module.

    Args:
        resource: The resource.
        down_revision: The revision before.
        targets: Tables that relations refer to, by field.
        revision: Its own revision; by default a new one.
        title: The first line; by default what it does.
    """
    table = resource.names.plural
    columns = [("owner_id", "sa.Uuid()", False)]
    columns += [(each.name, sa_type(each), each.optional) for each in resource.fields]
    columns = [("id", "sa.Uuid()", False), *columns, ("version", "sa.Integer()", False)]
    columns += [
        (name, "sa.DateTime(timezone=True)", False) for name in ("created_at", "updated_at")
    ]
    lines = [f'sa.Column("{n}", {kind}, nullable={nullable}),' for n, kind, nullable in columns]
    for each in resource.fields:
        if each.type == "enum":
            values = ", ".join(f"'{value}'" for value in each.choices)
            condition = f"{each.name} IN ({values})"
            name = constraint_name("ck", table, each.name)
            lines.append(f'sa.CheckConstraint({sentence(condition)}, name=op.f("{name}")),')
    keys = [("owner_id", "users", "CASCADE")]
    keys += [(each.name, targets[each.name], each.on_delete) for each in resource.relations]
    lines += [
        f'sa.ForeignKeyConstraint(["{column}"], ["{target}.id"], '
        f'name=op.f("{constraint_name("fk", table, column, target)}"), ondelete="{on_delete}"),'
        for column, target, on_delete in sorted(keys)
    ]
    lines.append(f'sa.PrimaryKeyConstraint("id", name=op.f("pk_{table}")),')
    for each in resource.fields:
        if each.unique:
            unique = ("owner_id", each.name) if resource.owned else (each.name,)
            listed = ", ".join(map(literal, unique))
            name = constraint_name("uq", table, *unique)
            lines.append(f'sa.UniqueConstraint({listed}, name=op.f("{name}")),')
    ordered = sorted(indexes(resource))
    created = [
        f'op.create_index(op.f("{name}"), "{table}", [{", ".join(map(literal, columns_))}])'
        for name, columns_ in ordered
    ]
    dropped = [
        f'op.drop_index(op.f("{name}"), table_name="{table}")' for name, _ in reversed(ordered)
    ]
    return "\n".join(
        [
            f'"""{title or f"Add {resource.names.many}."}"""',
            "",
            "import sqlalchemy as sa",
            "from alembic import op",
            "",
            f'revision = "{revision or token_hex(6)}"',
            f'down_revision = "{down_revision}"',
            "branch_labels = None",
            "depends_on = None",
            "",
            "",
            "def upgrade() -> None:",
            f'    op.create_table("{table}",',
            *(f"        {line}" for line in lines),
            "    )",
            *(f"    {line}" for line in created),
            "",
            "",
            "def downgrade() -> None:",
            *(f"    {line}" for line in dropped),
            f'    op.drop_table("{table}")',
            "",
        ]
    )
