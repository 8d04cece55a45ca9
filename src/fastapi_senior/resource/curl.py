"""The `curl` line of each operation of a resource."""

import json
from collections.abc import Iterator

from fastapi_senior.resource.fields import example
from fastapi_senior.resource.specification import Specification


def lines(resource: Specification) -> Iterator[str]:
    """Yield a line for each operation; `$api` and `$access` come from the README's tour."""
    url = f"$api/{resource.names.path}"
    one = f"{url}/$id"
    header = '-H "Authorization: Bearer $access"'
    body = {each.name: example(each) for each in resource.fields if not each.optional}
    content = json.dumps(body, ensure_ascii=False, default=str).replace("'", "'\\''")
    first = next(iter(body), "")
    change = json.dumps({first: body[first]} if first else {}, ensure_ascii=False, default=str)
    yield f"curl -s {url} {header} --json '{content}'"
    yield f'curl -s "{url}?limit=10" {header}'
    if resource.count_by:
        yield f"curl -s {url}/stats {header}"
    if resource.export:
        yield f'curl -s "{url}/export?format=csv" {header}'
    yield f"curl -s {one} {header}"
    yield f"curl -s -X PUT {one} {header} --json '{content}'"
    yield f"curl -s -X PATCH {one} {header} --json '{change}'"
    yield f"curl -s -X DELETE {one} {header}"
