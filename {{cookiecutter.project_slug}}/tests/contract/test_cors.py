"""Pages of other origins may send and read the headers that the document names."""

from app.infrastructure.http.middleware import REQUEST_HEADERS, RESPONSE_HEADERS
from tests.support.document import OPERATIONS

ON_EVERY_ANSWER = {"RateLimit", "RateLimit-Policy", "X-Process-Time", "X-Request-ID"}


class TestPagesOfOtherOrigins:
    def test_may_send_the_headers_that_operations_take(self) -> None:
        taken = {
            each["name"]
            for operation in OPERATIONS
            for each in operation.parameters
            if each["in"] == "header"
        }
        assert taken | {"Authorization", "X-Request-ID"} <= set(REQUEST_HEADERS)

    def test_may_read_the_headers_of_responses(self) -> None:
        answered = {
            name
            for operation in OPERATIONS
            for response in operation.responses.values()
            for name in response.get("headers", {})
        }
        # Why a token is not taken stands in the problem, too.
        assert answered - {"WWW-Authenticate"} | ON_EVERY_ANSWER <= set(RESPONSE_HEADERS)
