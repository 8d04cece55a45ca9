# file: src/app/repositories/violation.py
import sqlalchemy
from sqlalchemy import Connection, text

statement_of = text


def named(connection: Connection, name: str) -> None:
    """Break a rule."""
    text(f"SELECT {name}")  # caught
    sqlalchemy.text("SELECT " + name)  # caught
    statement_of("SELECT {}".format(name))  # caught
    statement = f"SELECT {name}"
    connection.exec_driver_sql(statement)  # caught
    text(f"SELECT id FROM users WHERE username = '{name}'")  # caught
