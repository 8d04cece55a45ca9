"""Access tokens: short-lived JWTs by the profile of RFC 9068, signed with ES256."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from app.core.clock import utc_now
from app.core.config import AuthSettings
from app.core.errors import InsufficientUserAuthentication, InvalidToken
from app.core.ids import new_id
from app.core.security.keys import ALGORITHM, SigningKeys

TOKEN_TYPE: Final = "at+jwt"  # noqa: S105 - a media type, not a secret
_LEEWAY_SECONDS: Final = 5
_REMEMBERED: Final = 4096
_REMEMBERED_HEADERS: Final = 16
_CLAIMS: Final = ["exp", "nbf", "iat", "iss", "aud", "sub", "jti", "sid", "scope", "auth_time"]


@dataclass(frozen=True, slots=True)
class AccessClaims:
    """Claims of a verified access token; times are in seconds since 1970."""

    user_id: UUID
    session_id: UUID
    scope: frozenset[str]
    authenticated_at: float
    not_before: float
    expires_at: float


class AccessTokens:
    """Issues and verifies access tokens."""

    def __init__(self, keys: SigningKeys, settings: AuthSettings) -> None:
        """Sign with the first of the keys and accept all of them."""
        self._keys = keys
        self._issuer = settings.issuer
        self._audience = settings.audience
        self._life = timedelta(minutes=settings.access_token_minutes)
        self._max_age = settings.step_up_seconds
        # A signature is checked once per token, its times at every request. The cache can't go
        # stale: keys are immutable.
        self._verified = lru_cache(_REMEMBERED)(self._verify_signature)
        # All tokens of a key have the same header.
        self._key_of = lru_cache(_REMEMBERED_HEADERS)(self._find_key)

    @property
    def life_seconds(self) -> int:
        """Lifetime of a new token, in seconds."""
        return int(self._life.total_seconds())

    def issue(self, user_id: UUID, session_id: UUID, scope: str, authenticated_at: datetime) -> str:
        """Return a new token.

        Args:
            user_id: The user.
            session_id: The session; the token ends with it.
            scope: Permissions, separated by spaces.
            authenticated_at: Time at which the user entered the password.
        """
        now = utc_now()
        claims = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": str(user_id),
            "sid": str(session_id),
            "scope": scope,
            "auth_time": int(authenticated_at.timestamp()),
            "jti": str(new_id()),
            "iat": now,
            "nbf": now,
            "exp": now + self._life,
        }
        key = self._keys.signing
        headers = {"kid": key.kid, "typ": TOKEN_TYPE}
        return jwt.encode(claims, key.private, ALGORITHM, headers=headers)

    def verify(self, token: str) -> AccessClaims:
        """Return the claims of a token.

        Raises:
            InvalidToken: It is not one of ours, has expired, or is not valid yet.
        """
        claims = self._verified(token)
        now = utc_now().timestamp()
        if now >= claims.expires_at + _LEEWAY_SECONDS:
            raise InvalidToken("The token has expired.")
        if now < claims.not_before - _LEEWAY_SECONDS:
            raise InvalidToken("The token is not valid yet.")
        return claims

    def require_recent(self, authenticated_at: float | None) -> None:
        """Require that a user has entered the password recently (RFC 9470).

        Raises:
            InsufficientUserAuthentication: That was too long ago, or is in the future.
        """
        age = utc_now().timestamp() - (authenticated_at or 0)
        if not -_LEEWAY_SECONDS <= age <= self._max_age:
            raise InsufficientUserAuthentication(self._max_age)

    def _verify_signature(self, token: str) -> AccessClaims:
        # PyJWT takes a signature with padding, which RFC 7515 §2 omits.
        if token.endswith("="):
            raise InvalidToken
        try:
            claims = jwt.decode(
                token,
                self._key_of(token.partition(".")[0]),
                algorithms=[ALGORITHM],
                issuer=self._issuer,
                audience=self._audience,
                options={
                    "require": _CLAIMS,
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
            return _claims(claims)
        except (jwt.PyJWTError, ValueError, TypeError, AttributeError) as error:
            raise InvalidToken from error

    def _find_key(self, header: str) -> EllipticCurvePublicKey:
        """Return the key that the header of a token names."""
        members = jwt.get_unverified_header(f"{header}..")
        key = self._keys.get(members.get("kid"))
        if key is None or members.get("typ") != TOKEN_TYPE:
            raise InvalidToken
        return key.public


def _claims(claims: dict[str, Any]) -> AccessClaims:
    return AccessClaims(
        user_id=UUID(hex=claims["sub"]),
        session_id=UUID(hex=claims["sid"]),
        scope=frozenset(claims["scope"].split()),
        authenticated_at=float(claims["auth_time"]),
        not_before=float(claims["nbf"]),
        expires_at=float(claims["exp"]),
    )
