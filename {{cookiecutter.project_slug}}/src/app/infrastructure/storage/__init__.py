"""Where files are kept."""

from app.infrastructure.storage.adapter import Storage, open_storage

__all__ = ["Storage", "open_storage"]
