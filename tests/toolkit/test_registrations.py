"""Registrations change the lines of a resource and keep everything else to the letter."""

from pathlib import Path

import pytest

from fastapi_senior.changes import Changes
from fastapi_senior.errors import Refused
from fastapi_senior.resource import registrations as places
from fastapi_senior.resource.names import Names
from fastapi_senior.resource.registrations import register, unregister
from fastapi_senior.resource.specification import Specification, parse_field

FILES = {
    places.MODELS: '''\
"""All models."""

from app.models.users import User as User  # the account
''',
    places.ROUTER: '''\
"""Routes."""

from app.api.v1 import (
    auth,  # first
    users,
)

FEATURES = (
    auth,
    # Users come last (why: see the docs).
    users,  # )
)  # the end
"""Modules."""
''',
    places.PERMISSIONS: """\
from typing_extensions import TypeAliasType

_Delegable = Literal["profile:read", "users:read"]
_DESCRIBED: Final = ({"users:read": "Read users (all)."},)
""",
    places.MESSAGES: """\
from app.messages import chat, zones

MESSAGES: Final = Messages(chat.MESSAGES, zones.MESSAGES)
""",
    places.TASKS: """\
from app.resources import Tasks
from app.tasks.notifications import send_mail

TASKS: Final[Tasks] = {
    SendMail: send_mail,
}
""",
    places.JOBS: """\
_PERMISSIONS: Final = [
    "profile:read",
]
""",
    places.CONFIG: '''\
class QuotaSettings(SettingsGroup):
    """Limits."""

    sessions: int = 100
    """Sessions."""

    # A comment at the end.


class Settings:
    pass
''',
    places.ENVIRONMENT: """\
# Sessions.
#APP_QUOTAS__SESSIONS=100

# Other.
APP_OTHER=1
""",
}


def resource(name: str = "orders") -> Specification:
    return Specification(Names.of(name), (parse_field("title", []),), export=True, export_job=True)


@pytest.fixture(params=["\n", "\r\n"], ids=["LF", "CRLF"])
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    for path, text in FILES.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8", newline=request.param)
    return tmp_path


def test_adds_lines_and_keeps_the_others(folder: Path) -> None:
    changes = Changes(folder)
    register(changes, resource(), events=True)
    for path, text in FILES.items():
        ends = changes.read(path).count("\n"), changes.read(path).count("\r\n")
        assert ends[1] in {0, ends[0]}
        left = changes.read(path).replace("\r\n", "\n").splitlines()
        for line in text.splitlines():
            shared = path in {places.MESSAGES, places.PERMISSIONS, places.TASKS, places.JOBS}
            assert line in left or shared, f"{path}: {line}"
    router = changes.read(places.ROUTER).replace("\r\n", "\n")
    assert "    auth,  # first\n    orders,\n    orders_export,\n    users,\n)" in router
    assert "    users,  # )\n    orders_export,\n    orders,\n)  # the end\n" in router
    messages = changes.read(places.MESSAGES).replace("\r\n", "\n")
    assert "import chat, orders, zones\n" in messages
    assert "Messages(chat.MESSAGES, zones.MESSAGES, orders.MESSAGES)\n" in messages
    permissions = changes.read(places.PERMISSIONS).replace("\r\n", "\n")
    assert "TypeAliasType\n\nfrom app.domain import orders\n\n_Del" in permissions
    assert 'Literal["profile:read", "users:read", orders.OrderPermission]' in permissions
    assert '({"users:read": "Read users (all)."}, orders.PERMISSIONS)' in permissions
    assert "    SendMail: send_mail,\n    ExportOrders: export_orders,\n}" in changes.read(
        places.TASKS
    ).replace("\r\n", "\n")
    assert '[\n    "orders:read",\n]' in changes.read(places.JOBS).replace("\r\n", "\n")


def test_adding_twice_changes_nothing(folder: Path) -> None:
    changes = Changes(folder)
    register(changes, resource(), events=True)
    once = {path: changes.read(path) for path in FILES}
    names = [path for path in FILES if path not in {places.CONFIG, places.ENVIRONMENT}]
    register(changes, resource(), events=True)
    assert {path: changes.read(path) for path in names} == {path: once[path] for path in names}


@pytest.mark.parametrize("others", [0, 9])
def test_removal_restores_every_byte(folder: Path, others: int) -> None:
    changes = Changes(folder)
    for letter in "abcdefghi"[:others]:
        register(changes, resource(f"kept_things_{letter}x_items"), events=True)
    before = {path: changes.read(path) for path in FILES}
    register(changes, resource(), events=True)
    assert before != {path: changes.read(path) for path in FILES}
    unregister(changes, resource().names)
    assert {path: changes.read(path) for path in FILES} == before


def test_adds_the_comma_before(folder: Path) -> None:
    file = folder / places.TASKS
    file.write_bytes(file.read_bytes().replace(b"send_mail,", b"send_mail  # last"))
    changes = Changes(folder)
    register(changes, resource(), events=True)
    text = changes.read(places.TASKS).replace("\r\n", "\n")
    assert "    SendMail: send_mail,  # last\n    ExportOrders: export_orders,\n}" in text


@pytest.mark.parametrize(
    ("path", "old", "new", "name"),
    [
        (places.ROUTER, "FEATURES =", "PARTS =", "the list `FEATURES`"),
        (places.PERMISSIONS, "_Delegable = Literal[", "_Delegable = str  # [", "`_Delegable`"),
        (places.MESSAGES, "MESSAGES: Final", "ALL: Final", "`MESSAGES`"),
        (places.CONFIG, "class QuotaSettings", "class Quotas", "`QuotaSettings`"),
        (places.ENVIRONMENT, "APP_QUOTAS__", "APP_LIMITS__", "`APP_QUOTAS__`"),
    ],
)
def test_refuses_moved_places(folder: Path, path: str, old: str, new: str, name: str) -> None:
    file = folder / path
    file.write_bytes(file.read_bytes().replace(old.encode(), new.encode()))
    with pytest.raises(Refused, match=r"is not where the template has it\. Move it back") as error:
        register(Changes(folder), resource(), events=True)
    assert str(error.value).startswith(f"{path}: ")
    assert name in str(error.value)


def test_refuses_invalid_modules(folder: Path) -> None:
    (folder / places.ROUTER).write_text("FEATURES = (\n", encoding="utf-8")
    with pytest.raises(Refused, match=r"router\.py:\d+: .*Mend it first"):
        register(Changes(folder), resource(), events=True)


def test_refuses_missing_modules(folder: Path) -> None:
    (folder / places.MODELS).unlink()
    with pytest.raises(Refused, match=r"models/__init__\.py is missing"):
        register(Changes(folder), resource(), events=True)
