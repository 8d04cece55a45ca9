"""Keep secrets out of the log (rule SEC10): fields are redacted by name, texts by pattern.

This is a safety net, mostly for the messages of libraries. Do not log secrets in the first place.
"""

import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Final

from structlog.typing import EventDict, WrappedLogger

REDACTED: Final = "[redacted]"

_MAX_TEXT: Final = 16_384
_MAX_DEPTH: Final = 8
_SENSITIVE: Final = (
    r"(?:pass(?:word|wd|phrase)|pwd|secret|token|authori[sz]ation|cookie|jwt|dsn|credential"
    r"|(?:api|access|private|secret|signing|encryption)[-_ ]?key)"
)
# `token_id`, `token_type` and `refresh_token_days` are harmless; `password_hash` is not.
_SENSITIVE_NAME: Final = re.compile(
    rf"{_SENSITIVE}s?(?:[-_](?:hash|digest|value|json|header))?$", re.IGNORECASE | re.ASCII
)
# Searching all names at once for these takes a tenth of the time.
_NAME_CLUE: Final = re.compile(
    "pass|pwd|secret|token|authori|cookie|jwt|dsn|credential|key", re.ASCII
)
_JWK_PRIVATE_MEMBERS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
# A named group is kept, the rest of its match redacted. Each alternative runs in linear time.
_SECRET_TEXT: Final = re.compile(
    "|".join(
        (
            # Header lines (RFC 9110, RFC 6265), to the end of the line.
            r"(?P<header>\b(?:authorization|cookie)(?:\\*[\"'])?\s*[:=]\s*)[^\r\n]+",
            r"(?P<scheme>\b(?:bearer|basic|digest|negotiate)\s+)[\w.~+/=:-]+",
            r"-----BEGIN[A-Z ]* PRIVATE KEY-----.*?(?:-----END[A-Z ]* PRIVATE KEY-----|\Z)",
            # A JWT: JSON in base64url.
            r"eyJ[\w-]{5}[\w.-]*",
            # Opaque tokens of this service: two letters, an underscore, 256 bits in base64url.
            r"\b[a-z]{2}_[\w-]{40,}",
            r"\$argon2[^\s\"']+",
            # `user:password@` and `token@` of a URL.
            r"(?P<url>://)[^\s/?#\"'@]{0,1024}(?::[^\s\"'@]{0,1024})?@(?:[^\s/?#\"'@]{0,1024}@)*",
            # `password=…` in a query, a form, a dict, a JSON text.
            (
                rf"(?P<pair>{_SENSITIVE}s?(?:\\*[\"'])?\s*[:=]\s*)"
                r"(?:b?\"(?:[^\"\\]|\\.)*(?:\"|\Z)|b?'(?:[^'\\]|\\.)*(?:'|\Z)|[^\s&]+)"
            ),
            # A private JWK has its `kty` before or after its private members.
            r"(?P<jwk>[\"'](?:d|p|q|dp|dq|qi|k)[\"']\s*:\s*)[\"'][\w-]{16,}[\"']",
            # Values in the messages of SQLAlchemy, of the database and of Pydantic.
            r"(?P<parameters>\[parameters: )[^\n]*",
            r"(?P<detail>\bKey \([^)]{0,256}\)=\().*(?=\))",
            r"(?P<row>\bFailing row contains \().*(?=\))",
            r"(?P<input>\binput_value=).*?(?=, input_type=|\Z)",
        )
    ),
    re.IGNORECASE | re.DOTALL | re.ASCII,
)
# Texts up to this length without one of these characters match none of the alternatives.
_SHORT: Final = 36
_SEPARATOR: Final = re.compile(r"[\s:=]")


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Remove secrets from an event; a structlog processor.

    Values become plain JSON values: other objects are replaced by their redacted text.
    """
    texts = [value for value in event.values() if type(value) is str]
    is_plain = max(map(len, texts), default=0) <= _SHORT and not _SEPARATOR.search("".join(texts))
    may_be_sensitive = _NAME_CLUE.search("\n".join(event).lower()) is not None
    for name, value in event.items():
        kind = type(value)
        if kind is bool or value is None:
            continue
        if may_be_sensitive and _SENSITIVE_NAME.search(name):
            event[name] = REDACTED
        elif kind is str:
            if not is_plain:
                event[name] = redacted_text(value)
        elif kind is not int and kind is not float:
            event[name] = _plain(value, 0)
    return event


def redacted_text(text: str) -> str:
    """Replace everything that looks like a secret with `REDACTED`."""
    # Twice the limit, so that a secret at the limit is seen whole.
    clean = text[: 2 * _MAX_TEXT]
    if len(clean) > _SHORT or _SEPARATOR.search(clean):
        clean = _SECRET_TEXT.sub(_without_secret, clean)
    return clean if len(clean) <= _MAX_TEXT else f"{clean[:_MAX_TEXT]}…"


def _without_secret(match: re.Match[str]) -> str:
    shown = match[match.lastgroup] if match.lastgroup else ""
    return f"{shown}{REDACTED}{'@' if match.lastgroup == 'url' else ''}"


def _field(name: str, value: object, depth: int) -> object:
    if value is None or isinstance(value, bool) or not _SENSITIVE_NAME.search(name):
        return _plain(value, depth)
    return REDACTED


def _plain(value: object, depth: int) -> object:
    match value:
        case None | bool() | int() | float():
            return value
        case (str() | bytes() as name, secret) if _SENSITIVE_NAME.search(_text(name)):  # a header
            return [_text(name), _field(_text(name), secret, depth)]
        case _ if depth >= _MAX_DEPTH:
            return "…"
        case Mapping():
            hidden = _JWK_PRIVATE_MEMBERS if "kty" in value else ()
            return {
                redacted_text(_text(name)): REDACTED
                if name in hidden
                else _field(_text(name), each, depth + 1)
                for name, each in value.items()
            }
        case list() | tuple() | AbstractSet():
            return [_plain(each, depth + 1) for each in value]
        case _:
            return redacted_text(_text(value))


def _text(value: object) -> str:
    try:
        if isinstance(value, bytes):
            return value.decode("utf-8", "backslashreplace")
        return repr(value) if isinstance(value, BaseException) else str(value)
    except Exception:  # noqa: BLE001 - a log line must not fail because of a value
        return f"<{type(value).__name__}>"
