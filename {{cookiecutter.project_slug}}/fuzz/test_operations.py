"""Every response to a generated request is documented (rule TST07).

Schemathesis generates valid and invalid requests from the document. There must be no 500, no
undocumented status, header, media type or body, no invalid request that is accepted, and no valid
one that is rejected.
"""

from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import Case

from app.core.config import RateLimitSettings
from app.infrastructure.limits import RateLimiter
from tests.support.arrange import ArrangeSync
from tests.support.document import DOCUMENT, ids_in

config = schemathesis.Config.from_path(Path(__file__).with_name("schemathesis.toml"))
schema = schemathesis.openapi.from_dict(DOCUMENT, config=config)


# Function-scoped fixtures are intended: all requests to an operation share a login and transaction.
@schema.parametrize()
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
    max_examples=40,
)
def test_answers_as_documented(
    case: Case, address: str, arrange: ArrangeSync, use: Callable[..., None]
) -> None:
    use(rate_limiter=RateLimiter(RateLimitSettings(enabled=False)))
    account = arrange.account(role="admin")
    aim(case, ids_in(case.path, arrange.a_row_of_each_table(account)))
    # Also in the case: the response is not to generated credentials.
    case.headers.update(account.headers)
    for framing in ("Content-Length", "Transfer-Encoding"):
        # A generated value may be invalid HTTP, which the server refuses before routing.
        case.headers.pop(framing, None)
    case.call_and_validate(base_url=address, headers=account.headers)


def aim(case: Case, known: dict[str, str]) -> None:
    """Use an existing id for every other generated one, and values as the service reads them.

    It uses the last of repeated parameters and trims text, which no schema can express.
    """
    for name, value in case.path_parameters.items():
        if name in known and is_even(value):
            case.path_parameters[name] = known[name]
    for name, value in case.query.items():
        last = value[-1] if isinstance(value, list) and value else value
        case.query[name] = trimmed(last)
    case.body = trimmed(case.body)


def trimmed(value: object) -> object:
    """Return a value with all its text trimmed."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, list):
        return [trimmed(each) for each in value]
    if isinstance(value, dict):
        return {name: trimmed(each) for name, each in value.items()}
    return value


def is_even(value: object) -> bool:
    try:
        return UUID(str(value)).int % 2 == 0
    except ValueError:
        return False
