"""Whatever is sent, the answer is one that the document promises (rule TST07).

Schemathesis makes requests from the document, good and bad ones: no 500, no status, header, media
type or body that is not documented, nothing let in that should not be, and nothing refused that
the document permits.
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


# One login and one transaction for all requests to an operation is what we want of the fixtures.
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
    someone = arrange.someone(role="admin")
    aim(case, ids_in(case.path, arrange.a_row_of_each_table(someone)))
    # In the case, too: what was generated in their place is not what the answer is about.
    case.headers.update(someone.headers)
    for framing in ("Content-Length", "Transfer-Encoding"):
        # Made up, it may be no HTTP: the server refuses that before there is an operation.
        case.headers.pop(framing, None)
    case.call_and_validate(base_url=address, headers=someone.headers)


def aim(case: Case, known: dict[str, str]) -> None:
    """Let every other generated id be that of something that is there, and send what is read.

    Of a parameter that is sent twice, the service reads the last, and of text what is between the
    white space around it, which no schema can say.
    """
    for name, value in case.path_parameters.items():
        if name in known and is_even(value):
            case.path_parameters[name] = known[name]
    for name, value in case.query.items():
        last = value[-1] if isinstance(value, list) and value else value
        case.query[name] = trimmed(last)
    case.body = trimmed(case.body)


def trimmed(value: object) -> object:
    """The same, with no white space around any text in it."""
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
