"""No secret reaches the log (rule SEC10): fields go by their name, text by its shape.

This is the net under the rule that nobody logs secrets, and catches what libraries put into
their messages.
"""

import re
from collections.abc import Container, Mapping
from collections.abc import Set as AbstractSet
from datetime import date
from typing import Final
from uuid import UUID

from structlog.typing import EventDict, WrappedLogger

REDACTED: Final = "[redacted]"

_MAX_TEXT: Final = 8192
_MAX_DEPTH: Final = 8
_SCALARS: Final = frozenset({bool, int, float, type(None)})

_SENSITIVE: Final = (
    r"(?:pass(?:word|wd|phrase)|pwd|secret|token|ticket|authori[sz]ation|cookie|jwt|dsn|credential"
    r"|(?:api|access|private|secret|signing|encryption)[-_ ]?key)"
)
# `token_id`, `token_type` and `refresh_token_days` say nothing; `password_hash` does.
_SENSITIVE_NAME: Final = re.compile(
    rf"{_SENSITIVE}s?(?:[-_](?:hash|digest|value|json|header))?$", re.IGNORECASE | re.ASCII
)
# Each match of the patterns holds one of these. To look for them first costs a tenth of a search
# by pattern, and next to no text on a request path holds any.
_CLUES_IN_NAMES: Final = (
    *("pass", "pwd", "secret", "token", "ticket", "authori", "cookie", "jwt", "dsn"),
    *("credential", "key"),
)
_CLUES_IN_TEXTS: Final = (
    *_CLUES_IN_NAMES,
    *(
        "bearer",
        "basic",
        "digest",
        "negotiate",
        "eyj",
        "ak_",
        "rt_",
        "tk_",
        "$argon2",
        "://",
        "kty",
    ),
    *("[parameters: ", "input_value=", "failing row"),
)
_JWK_PRIVATE_MEMBERS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})

# Named groups are shown, and the rest of what matches is not. Each alternative runs in linear time.
_SECRET_TEXT: Final = re.compile(
    "|".join(
        (
            # Header lines (RFC 9110, RFC 6265), to the end of the line.
            r"(?P<header>\b(?:authorization|cookie)(?:\\*[\"'])?\s*[:=]\s*)[^\r\n]+",
            r"(?P<scheme>\b(?:bearer|basic|digest|negotiate)\s+)[\w.~+/=:-]+",
            r"-----BEGIN[A-Z ]* PRIVATE KEY-----.*?(?:-----END[A-Z ]* PRIVATE KEY-----|\Z)",
            # JSON in base64url: every JWT begins so.
            r"eyJ[\w-]{5}[\w.-]*",
            r"\b(?:ak|rt|tk)_[\w-]{8,}",
            r"\$argon2[^\s\"']+",
            # `user:password@` and `token@` of a URL.
            r"(?P<url>://)[^\s/?#\"'@]{0,1024}(?::[^\s\"'@]{0,1024})?@(?:[^\s/?#\"'@]{0,1024}@)*",
            # `password=…` in a query, a form, a dict, a JSON text.
            (
                rf"(?P<pair>{_SENSITIVE}s?(?:\\*[\"'])?\s*[:=]\s*)"
                r"(?:b?\"(?:[^\"\\]|\\.)*(?:\"|\Z)|b?'(?:[^'\\]|\\.)*(?:'|\Z)|[^\s&]+)"
            ),
            # A private JWK has its `kty` before or behind its private members.
            r"(?P<jwk>[\"'](?:d|p|q|dp|dq|qi|k)[\"']\s*:\s*)[\"'][\w-]{16,}[\"']",
            # Values in the messages of SQLAlchemy, of the database and of Pydantic.
            r"(?P<parameters>\[parameters: ).*",
            r"(?P<detail>\bKey \([^)]{0,256}\)=\().*(?=\))",
            r"(?P<row>\bFailing row contains \().*(?=\))",
            r"(?P<input>\binput_value=).*?(?=, input_type=|\Z)",
        )
    ),
    re.IGNORECASE | re.DOTALL | re.ASCII,
)


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Take secrets out of an event: a structlog processor, to stand right before the renderer.

    What is left consists of plain JSON values: other objects become their redacted text.

    A field `vouched` names others that hold nothing but what the service has made: to look for a
    secret in its own words is most of the work on a line that each request writes. It says nothing
    of all other fields, whoever adds them.
    """
    vouched: Container[str] = event.pop("vouched", ())
    if _is_harmless(event, vouched):
        return event
    return {str(name): _field(str(name), value, 0) for name, value in event.items()}


def redacted_text(text: str) -> str:
    """The text with everything that looks like a secret replaced by `REDACTED`."""
    # What reaches beyond the cut is looked at whole, or half of it would stay.
    clean = text[: 2 * _MAX_TEXT]
    if _holds(_CLUES_IN_TEXTS, clean):
        clean = _SECRET_TEXT.sub(_without_secret, clean)
    return clean if len(clean) <= _MAX_TEXT else f"{clean[:_MAX_TEXT]}…"


def _is_harmless(event: EventDict, vouched: Container[str]) -> bool:
    """Whether all fields are plain and short, and none holds a clue: so it is with most events."""
    texts = []
    for name, value in event.items():
        if name in vouched:
            continue
        if type(value) is str:
            texts.append(value)
        elif type(value) not in _SCALARS:
            return False
        texts.append(name)
    text = "\n".join(texts)
    return len(text) <= _MAX_TEXT and not _holds(_CLUES_IN_TEXTS, text)


def _holds(clues: tuple[str, ...], text: str) -> bool:
    return any(map(text.lower().__contains__, clues))


def _without_secret(match: re.Match[str]) -> str:
    shown = match[match.lastgroup] if match.lastgroup else ""
    return f"{shown}{REDACTED}{'@' if match.lastgroup == 'url' else ''}"


def _field(name: str, value: object, depth: int) -> object:
    if value is None or isinstance(value, bool) or not _is_sensitive(name):
        return _plain(value, depth)
    return REDACTED


def _is_sensitive(name: str) -> bool:
    return _holds(_CLUES_IN_NAMES, name) and bool(_SENSITIVE_NAME.search(name))


def _plain(value: object, depth: int) -> object:
    match value:
        case str():
            plain: object = redacted_text(value)
        case None | bool() | float():
            plain = value
        case int():
            plain = int(value)
        case UUID() | date():
            plain = str(value)
        case bytes():
            plain = redacted_text(value.decode("utf-8", "backslashreplace"))
        case _ if depth >= _MAX_DEPTH:
            plain = "…"
        case Mapping():
            plain = _mapping(value, depth + 1)
        case (str() | bytes() as name, secret) if _is_sensitive(_name(name)):
            # A header as ASGI has it.
            plain = [_name(name), _field(_name(name), secret, depth)]
        case list() | tuple() | AbstractSet():
            plain = [_plain(each, depth + 1) for each in value]
        case _:
            plain = redacted_text(_repr(value))
    return plain


def _name(name: object) -> str:
    return name.decode("latin-1") if isinstance(name, bytes) else str(name)


def _mapping(values: Mapping[object, object], depth: int) -> dict[str, object]:
    is_key = "kty" in values
    return {
        redacted_text(_name(name)): REDACTED
        if is_key and name in _JWK_PRIVATE_MEMBERS
        else _field(_name(name), value, depth)
        for name, value in values.items()
    }


def _repr(value: object) -> str:
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - a log line must not fail because of what it tells
        return f"<{type(value).__name__}>"
