"""Background tasks: a module per feature, each task registered here."""

from typing import Final

from app.domain.notifications import SendMail
from app.resources import Tasks

# {%- if cookiecutter.use_s3 +%}
from app.tasks.files import DeleteFiles, delete_files

# {%- endif +%}
# {%- if cookiecutter.use_arq +%}
from app.tasks.items import ExportItems, export_items
from app.tasks.maintenance import (
    DeleteExports,
    Prune,
    RemoveExports,
    delete_exports,
    prune,
    remove_exports,
)

# {%- endif +%}
from app.tasks.notifications import send_mail

TASKS: Final[Tasks] = {
    SendMail: send_mail,
    # {% if cookiecutter.use_s3 %}
    DeleteFiles: delete_files,
    # {% endif %}
    # {% if cookiecutter.use_arq %}
    DeleteExports: delete_exports,
    Prune: prune,
    RemoveExports: remove_exports,
    ExportItems: export_items,
    # {% endif %}
}
