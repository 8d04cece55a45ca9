"""Items, the example resource."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
# {% if cookiecutter.use_s3 %}
down_revision = "0002"
# {% else %}
down_revision = "0001"
# {% endif %}
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "items",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("title", sa.String(length=200), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "status IN ('draft', 'active', 'archived')", name=op.f("ck_items_status")
        ),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["users.id"], name=op.f("fk_items_owner_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_items")),
    )
    op.create_index(
        op.f("ix_items_owner_id_created_at_id"), "items", ["owner_id", "created_at", "id"]
    )
    op.create_index(
        op.f("ix_items_owner_id_status_created_at_id"),
        "items",
        ["owner_id", "status", "created_at", "id"],
    )
    op.create_index(op.f("ix_items_owner_id_title_id"), "items", ["owner_id", "title", "id"])
    op.create_index(
        op.f("ix_items_owner_id_updated_at_id"), "items", ["owner_id", "updated_at", "id"]
    )


def downgrade() -> None:
    op.drop_index(op.f("ix_items_owner_id_updated_at_id"), table_name="items")
    op.drop_index(op.f("ix_items_owner_id_title_id"), table_name="items")
    op.drop_index(op.f("ix_items_owner_id_status_created_at_id"), table_name="items")
    op.drop_index(op.f("ix_items_owner_id_created_at_id"), table_name="items")
    op.drop_table("items")
