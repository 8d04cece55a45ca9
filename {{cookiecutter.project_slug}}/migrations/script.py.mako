"""${message}."""
<%
    def quoted(value):
        if isinstance(value, (tuple, list)):
            return "(" + "".join(f'"{one}", ' for one in value) + ")"
        return "None" if value is None else f'"{value}"'
%>
% if not upgrades or "sa." in upgrades + downgrades:
import sqlalchemy as sa
% endif
from alembic import op
% if imports:
${imports}
% endif

revision = ${quoted(up_revision)}
down_revision = ${quoted(down_revision)}
branch_labels = ${quoted(branch_labels)}
depends_on = ${quoted(depends_on)}


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "pass"}
