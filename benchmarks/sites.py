"""Services as their clients see them: accounts made over HTTP, and the load of each operation."""

import http.client
import json
import secrets
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from benchmarks.load import Load
from benchmarks.servers import Server

_OWN = Path(__file__).with_name("service.toml")
ACCOUNTS = 100
ITEMS = 25
PASSWORD = "Analytical1Engine"  # noqa: S105 - of accounts that live as long as a run
TIMEOUT_SECONDS = 120
_DAY = 24 * 60 * 60


@dataclass(frozen=True, slots=True)
class Account:
    """A logged-in account and one of its items."""

    name: str
    token: str
    item: str


@dataclass(frozen=True, slots=True)
class Site:
    """A service and its accounts.

    Attributes:
        plan: Its description, as in `service.toml`.
    """

    plan: Mapping[str, Any]
    accounts: Sequence[Account]

    def load(self, operation: str, tokens: Sequence[str] = ()) -> Load:
        """Return the load of an operation, by all accounts in turn.

        Args:
            operation: Its name in the description.
            tokens: Send these in place of the accounts' tokens; all are of the first account.
        """
        path: str = self.plan[operation]
        targets = [(path.format(item=each.item), each.token) for each in self.accounts]
        if tokens:
            targets = [(targets[0][0], token) for token in tokens]
        if operation == "health":
            return Load("GET", [(path, "")])
        if operation == "create":
            return Load("POST", targets, json.dumps(self.plan["new_item"]))
        return Load("GET", targets)

    def send(self, client: http.client.HTTPConnection, operation: str, number: int) -> None:
        """Send one request of an operation, by the account of a number."""
        load = self.load(operation)
        path, token = load.targets[number]
        body = self.plan["new_item"] if operation == "create" else ""
        ask(client, load.method, path, token=token, body=body)


def own_plan() -> dict[str, Any]:
    """Return the description of the generated service."""
    return tomllib.loads(_OWN.read_text(encoding="utf-8"))


def read_foreign(path: Path) -> tuple[dict[str, Any], Server]:
    """Return the description of a foreign service that runs already, and its server."""
    plan = tomllib.loads(path.read_text(encoding="utf-8"))
    return plan, Server(plan["name"], plan["url"], plan["pid"], plan.get("database_pid", 0))


def open_site(url: str, plan: Mapping[str, Any], accounts: int = ACCOUNTS) -> Site:
    """Register accounts of a service, log each in, and have it create items."""
    run = secrets.token_hex(4)  # a database may have accounts of another run
    with closing(connect(url)) as client:
        return Site(plan, [_account(client, plan, f"bench{run}n{n}") for n in range(accounts)])


def _account(client: http.client.HTTPConnection, plan: Mapping[str, Any], name: str) -> Account:
    if "register" in plan:
        _form(client, plan["register"], name)
    token = log_in(client, plan, name)
    for _ in range(ITEMS):
        created = ask(client, "POST", plan["create"], token=token, body=plan["new_item"])
    return Account(name, token, json.loads(created)["id"])


def log_in(client: http.client.HTTPConnection, plan: Mapping[str, Any], name: str) -> str:
    """Return a new access token of an account."""
    token: str = json.loads(_form(client, plan["login"], name))["access_token"]
    return token


def _form(client: http.client.HTTPConnection, step: Mapping[str, Any], name: str) -> bytes:
    kind = "json" if "json" in step else "form"
    body = {key: value.format(name=name, password=PASSWORD) for key, value in step[kind].items()}
    return ask(client, "POST", step["path"], body=urlencode(body) if kind == "form" else body)


def connect(url: str) -> http.client.HTTPConnection:
    """Return a client of a server."""
    return http.client.HTTPConnection(url.removeprefix("http://"), timeout=TIMEOUT_SECONDS)


def ask(
    client: http.client.HTTPConnection,
    method: str,
    path: str,
    *,
    token: str = "",
    body: Mapping[str, object] | str = "",
) -> bytes:
    """Send a request, with a mapping as JSON and a string as a form, and return the body.

    Raises:
        RuntimeError: It was refused.
    """
    is_form = isinstance(body, str)
    text = body if isinstance(body, str) else json.dumps(body)
    headers = {
        "Content-Type": "application/x-www-form-urlencoded" if is_form else "application/json"
    }
    if token:
        headers["Authorization"] = f"Bearer {token}"
    client.request(method, path, text, headers)
    response = client.getresponse()
    answer = response.read()
    if response.status >= http.HTTPStatus.BAD_REQUEST:
        raise RuntimeError(f"{method} {path} answers {response.status}: {answer[:1000]!r}")
    return answer


@dataclass(frozen=True, slots=True)
class Mint:
    """Signs access tokens of accounts that are logged in, with the keys of the service.

    Attributes:
        keys: The private keys, as a JWK Set.
    """

    keys: str

    def lasting(self, site: Site) -> Site:
        """Return a site whose tokens last for a day: a run takes longer than a token."""
        accounts = [
            Account(each.name, next(self.tokens(each.token)), each.item) for each in site.accounts
        ]
        return Site(site.plan, accounts)

    def tokens(self, token: str) -> Iterator[str]:
        """Yield further tokens of the same session, each of them new."""
        import jwt

        header = jwt.get_unverified_header(token)
        claims = jwt.decode(token, options={"verify_signature": False})
        (key,) = [key for key in json.loads(self.keys)["keys"] if key["kid"] == header["kid"]]
        private = jwt.PyJWK(key).key
        claims["exp"] = int(time.time()) + _DAY
        extra = {"kid": header["kid"], "typ": header["typ"]}
        prefix = secrets.token_hex(8)
        for number in count():
            claims["jti"] = f"{prefix}-{number}"
            yield jwt.encode(claims, private, header["alg"], headers=extra)
