"""Files that users upload."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "files",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("media_type", sa.String(length=127), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=True),
        sa.Column("content_id", sa.Uuid(), nullable=True),
        sa.Column("signed_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "state IN ('pending', 'ready', 'cancelled')", name=op.f("ck_files_state")
        ),
        sa.CheckConstraint(
            "(state = 'ready') = (expires_at IS NULL)", name=op.f("ck_files_expires_at")
        ),
        sa.CheckConstraint(
            "state <> 'ready' OR (sha256 IS NOT NULL AND content_id IS NOT NULL)",
            name=op.f("ck_files_content"),
        ),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["users.id"], name=op.f("fk_files_owner_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_files")),
    )
    op.create_index(op.f("ix_files_expires_at"), "files", ["expires_at"])
    op.create_index(
        op.f("ix_files_owner_id_state_created_at_id"),
        "files",
        ["owner_id", "state", "created_at", "id"],
    )
    op.create_index(
        op.f("ix_files_owner_id_state_name_id"), "files", ["owner_id", "state", "name", "id"]
    )


def downgrade() -> None:
    op.drop_table("files")
