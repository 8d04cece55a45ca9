"""Files, stored: what is known of them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, bindparam, delete, func, select

from app import models
from app.core.pages import Page, PageRequest
from app.domain.files import ContentId, File, FileId, FileSort, FileState, PendingFile, Usage
from app.domain.users import UserId
from app.infrastructure.database.repository import Reader, Repository, Sorts, columns_of, table_of
from app.infrastructure.database.statements import Statement

_files = table_of(models.File).c
_FILE = columns_of(models.File, File)
_PENDING = columns_of(models.File, PendingFile)
_SORTS: Sorts = {"created_at": _files.created_at, "name": _files.name}


class FileReader(Reader):
    """Reads files; those of others are not found, nor those that are not all there."""

    async def one(self, owner_id: UserId, file_id: FileId) -> File | None:
        """Return one file of an owner."""
        return await self._one(Statement(_of_id), File, file_id=file_id, owner_id=owner_id)

    async def page(self, owner_id: UserId, sort: FileSort, page: PageRequest) -> Page[File]:
        """Return a page of an owner's files.

        Raises:
            InvalidInput: The cursor is not one of this list.
        """
        return await self._page(
            Statement(_of_owner),
            File,
            page,
            sort=sort,
            sorts=_SORTS,
            id_column=_files.id,
            owner_id=owner_id,
        )

    async def place(self, owner_id: UserId, file_id: FileId) -> PendingFile | None:
        """Return one file of an owner, whether or not it is there yet."""
        statement = select(*_PENDING).where(_files.id == file_id, _files.owner_id == owner_id)
        return await self._one(statement, PendingFile)

    async def usage(self, owner_id: UserId) -> Usage:
        """Return what the files of an owner take, with those that are on their way."""
        statement = select(func.count(), func.coalesce(func.sum(_files.size), 0)).where(
            _files.owner_id == owner_id
        )
        [(files, size)] = await self._rows(statement)
        return Usage(files, int(size))

    async def contents(
        self, file_ids: Sequence[FileId]
    ) -> dict[FileId, tuple[FileState, ContentId | None]]:
        """Return which of these files there are, how far they are, and what their content is."""
        statement = select(_files.id, _files.state, _files.content_id).where(
            _files.id.in_(file_ids)
        )
        rows = await self._rows(statement)
        return {FileId(file_id): (state, content_id) for file_id, state, content_id in rows}


class FileRepository(FileReader, Repository[models.File]):
    """Stores files."""

    entity = models.File

    async def give_up(self, file_id: FileId) -> bool:
        """Give up the place of a file, unless the file is there; tell whether there was one."""
        return bool(await self._delete_where((_files.id == file_id) & (_files.state != "ready")))

    async def give_up_expired(
        self, now: datetime, *, owner_id: UserId | None = None
    ) -> list[FileId]:
        """Give up the places whose time is over, of one owner or of all; return which they are."""
        statement = delete(models.File).where(models.File.expires_at <= now)
        if owner_id is not None:
            statement = statement.where(models.File.owner_id == owner_id)
        given_up = statement.returning(models.File.id)
        return [FileId(file_id) for file_id in await self._session.scalars(given_up)]


def _of_owner() -> Select[Any]:
    return select(*_FILE).where(_files.owner_id == bindparam("owner_id"), _files.state == "ready")


def _of_id() -> Select[Any]:
    return _of_owner().where(_files.id == bindparam("file_id"))
