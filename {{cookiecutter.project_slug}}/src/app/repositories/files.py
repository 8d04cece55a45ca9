"""Storage of files' metadata."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import bindparam, delete, func, select

from app.core.pages import Page, PageRequest
from app.domain.files import ContentId, File, FileId, FileSort, FileState, PendingFile, Usage
from app.infrastructure.database import Repository, in_orders
from app.infrastructure.database.repository import columns_of, delete_where, read_as, table_of
from app.models.files import File as FileRow

_table = table_of(FileRow)
_files = _table.c
_READY = select(*columns_of(FileRow, File)).where(
    _files.owner_id == bindparam("owner_id"), _files.state == "ready"
)
_BY_ID = _READY.where(_files.id == bindparam("file_id"))
_LISTS = in_orders(_READY, FileRow, "created_at", "name")
_PENDING = select(*columns_of(FileRow, PendingFile)).where(
    _files.owner_id == bindparam("owner_id"), _files.id == bindparam("file_id")
)


class FileRepository(Repository[FileRow]):
    """Reads and writes files; those of other owners, or not yet complete, are not found."""

    model = FileRow

    async def get(self, owner_id: UUID, file_id: FileId) -> File | None:
        """Return a file."""
        return await self.one(_BY_ID, File, file_id=file_id, owner_id=owner_id)

    async def list(self, owner_id: UUID, sort: FileSort, request: PageRequest) -> Page[File]:
        """Return a page of files."""
        return await self.page(_LISTS[sort], File, request, sort=sort, owner_id=owner_id)

    async def pending(self, owner_id: UUID, file_id: FileId) -> PendingFile | None:
        """Return a file, complete or not."""
        return await self.one(_PENDING, PendingFile, file_id=file_id, owner_id=owner_id)

    async def create(self, owner_id: UUID, **fields: object) -> PendingFile:
        """Insert an incomplete file."""
        row = FileRow(owner_id=owner_id, state="pending", **fields)
        await self.add(row)
        return read_as(PendingFile, row)

    async def usage(self, owner_id: UUID) -> Usage:
        """Return number and size of an owner's files, unfinished ones included."""
        statement = select(
            func.count(),
            func.count().filter(_files.state != "ready"),
            func.coalesce(func.sum(_files.size), 0),
        ).where(_files.owner_id == owner_id)
        files, unfinished, size = (await self.session.execute(statement)).one()
        return Usage(files, unfinished, int(size))

    async def contents(
        self, file_ids: Sequence[FileId]
    ) -> dict[FileId, tuple[FileState, ContentId | None]]:
        """Return state and content of files, by id."""
        statement = select(_files.id, _files.state, _files.content_id).where(
            _files.id.in_(file_ids)
        )
        rows = await self.session.execute(statement)
        return {FileId(file_id): (state, content_id) for file_id, state, content_id in rows}

    async def complete(
        self, row: FileRow, content_id: ContentId, media_type: str, *, size: int, sha256: str
    ) -> File:
        """Mark a file as complete."""
        changes = {
            "state": "ready",
            "expires_at": None,
            "content_id": content_id,
            "media_type": media_type,
            "size": size,
            "sha256": sha256,
        }
        await self.save(row, changes)
        return read_as(File, row)

    async def give_up(self, file_id: FileId) -> bool:
        """Delete a file unless it is complete; return whether there was one."""
        incomplete = (_files.id == file_id) & (_files.state != "ready")
        return bool(await delete_where(self.session, FileRow, incomplete))

    async def give_up_expired(
        self, now: datetime, *, owner_id: UUID | None = None
    ) -> Sequence[FileId]:
        """Delete expired incomplete files, of one owner or of all; return their ids."""
        statement = delete(_table).where(_files.expires_at <= now)
        if owner_id is not None:
            statement = statement.where(_files.owner_id == owner_id)
        deleted = await self.session.scalars(statement.returning(_files.id))
        return [FileId(file_id) for file_id in deleted]
