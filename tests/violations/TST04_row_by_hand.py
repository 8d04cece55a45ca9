# file: tests/api/test_violation.py
import httpx2

from app.models import users
from app.models.users import User as Person


def test_has_a_name() -> None:
    assert users.User(username="ada").username == "ada"  # caught
    assert Person(username="ada").username == "ada"  # caught


def test_asks_the_world() -> None:
    assert httpx2.Client()  # caught
